//! S3's clients against a cluster: those that people use ([`tools`]), and requests that are signed by hand, so that
//! they can be signed wrongly.

mod tools;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::Cluster;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);
const REGION: &str = "us-east-1";
/// The digest of a body that is not signed.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A user of a cluster's gateway.
#[derive(Clone, Debug)]
pub struct S3 {
    /// `host:port`.
    pub endpoint: String,
    /// The access id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// A request as it is sent.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `PUT`, ...
    pub method: &'static str,
    /// Path, escaped.
    pub path: String,
    /// Names and values, not escaped, in any order.
    pub query: Vec<(String, String)>,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What follows.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// All of it, as text.
    pub text: String,
    /// What follows the head.
    pub body: Vec<u8>,
}

impl Request {
    /// Path and query as the first line of the request has them.
    pub fn target(&self) -> String {
        match query(&self.query) {
            query if query.is_empty() => self.path.clone(),
            query => format!("{}?{query}", self.path),
        }
    }
}

impl Answer {
    /// The code of an error.
    pub fn code(&self) -> &str {
        self.element("Code")
    }

    /// What is in the first element of a name.
    pub fn element(&self, name: &str) -> &str {
        let inside = self.text.split_once(&format!("<{name}>"));
        inside
            .and_then(|(_, rest)| rest.split_once(&format!("</{name}>")))
            .map_or("", |(inside, _)| inside)
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

impl S3 {
    /// A user of the cluster, who gets a secret.
    pub fn of(cluster: &Cluster, id: &str) -> Self {
        let output = cluster.ozone(&["s3", "getsecret", "-u", id]);
        let text = tools::text(&output);
        let secret = text
            .lines()
            .find_map(|line| line.strip_prefix("awsSecret="));
        Self {
            endpoint: endpoint(cluster),
            id: id.to_owned(),
            secret: secret
                .unwrap_or_else(|| panic!("no secret: {text}"))
                .to_owned(),
        }
    }

    /// Finds the gateway of a cluster that was started again.
    pub fn follow(&mut self, cluster: &Cluster) {
        self.endpoint = endpoint(cluster);
    }

    /// Signs a request by its headers, at `when`; gives the signature.
    pub fn sign_at(&self, request: &mut Request, payload: &str, when: OffsetDateTime) -> String {
        let (date, _) = dates(when);
        request.headers.push(("host".into(), self.endpoint.clone()));
        request.headers.push(("x-amz-date".into(), date));
        request
            .headers
            .push(("x-amz-content-sha256".into(), payload.into()));
        request.headers.sort();
        let names: Vec<_> = request
            .headers
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let names = names.join(";");
        let signature = self.signature(request, (&names, payload), when);
        let credential = format!("{}/{}", self.id, scope(when));
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        );
        request.headers.push(("authorization".into(), value));
        signature
    }

    /// Signs a request by its headers, its body included.
    pub fn sign(&self, request: &mut Request) -> String {
        let payload = hex(&Sha256::digest(&request.body));
        self.sign_at(request, &payload, OffsetDateTime::now_utc())
    }

    /// Signs a request by its query, for so many seconds.
    pub fn presign_at(&self, request: &mut Request, seconds: u64, when: OffsetDateTime) {
        let (date, _) = dates(when);
        let credential = format!("{}/{}", self.id, scope(when));
        request.headers.push(("host".into(), self.endpoint.clone()));
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", credential),
            ("X-Amz-Date", date),
            ("X-Amz-Expires", seconds.to_string()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
        ] {
            request.query.push((name.to_owned(), value));
        }
        let signature = self.signature(request, ("host", UNSIGNED), when);
        request
            .query
            .push(("X-Amz-Signature".to_owned(), signature));
    }

    fn signature(
        &self,
        request: &Request,
        (names, payload): (&str, &str),
        when: OffsetDateTime,
    ) -> String {
        let headers: String = names
            .split(';')
            .map(|name| {
                let value = request.headers.iter().find(|(header, _)| header == name);
                format!("{name}:{}\n", value.map_or("", |(_, value)| value))
            })
            .collect();
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{names}\n{payload}",
            request.method,
            request.path,
            query(&request.query)
        );
        let hash = hex(&Sha256::digest(canonical));
        self.sign_text(
            &format!(
                "AWS4-HMAC-SHA256\n{}\n{}\n{hash}",
                dates(when).0,
                scope(when)
            ),
            when,
        )
    }

    /// The signature of a chunk of a streamed body, behind the one before.
    pub fn sign_chunk(&self, before: &str, data: &[u8], when: OffsetDateTime) -> String {
        let (date, empty) = (dates(when).0, hex(&Sha256::digest("")));
        let data = hex(&Sha256::digest(data));
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{}\n{before}\n{empty}\n{data}",
            scope(when)
        );
        self.sign_text(&text, when)
    }

    fn sign_text(&self, text: &str, when: OffsetDateTime) -> String {
        let day = dates(when).1;
        let secret = format!("AWS4{}", self.secret);
        let parts = [day.as_str(), REGION, "s3", "aws4_request"];
        let key = parts
            .iter()
            .fold(secret.into_bytes(), |key, part| mac(&key, part.as_bytes()));
        hex(&mac(&key, text.as_bytes()))
    }

    /// Sends a request as it is.
    pub fn send(&self, request: &Request) -> Answer {
        let mut stream = self.begin(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        Answer {
            status: status.unwrap_or_else(|| panic!("no answer: {text:?}")),
            text,
            body: end.map_or(Vec::new(), |end| answer.split_off(end + 4)),
        }
    }

    /// Sends a request and goes away.
    pub fn drop_after(&self, request: &Request) {
        drop(self.begin(request));
    }

    fn begin(&self, request: &Request) -> TcpStream {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nconnection: close\r\n",
            request.method,
            request.target()
        );
        if !request.headers.iter().any(|(name, _)| name == "host") {
            head.push_str(&format!("host: {}\r\n", self.endpoint));
        }
        if !request
            .headers
            .iter()
            .any(|(name, _)| name == "content-length")
        {
            head.push_str(&format!("content-length: {}\r\n", request.body.len()));
        }
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut stream = TcpStream::connect(&self.endpoint).expect("the gateway listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        stream.write_all(head.as_bytes()).expect("the head is sent");
        // A gateway that refuses at once does not wait for the body.
        let _ = stream.write_all(&request.body);
        stream
    }

    /// Signs and sends a request.
    pub fn ask(&self, method: &'static str, path: &str, body: &[u8]) -> Answer {
        self.ask_with(method, (path, &[]), body)
    }

    /// Signs and sends a request with a query.
    pub fn ask_with(
        &self,
        method: &'static str,
        (path, query): (&str, &[(&str, &str)]),
        body: &[u8],
    ) -> Answer {
        self.ask_for((method, path, query), &[], body)
    }

    /// Signs and sends a request with a query and headers.
    pub fn ask_for(
        &self,
        (method, path, query): (&'static str, &str, &[(&str, &str)]),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut request = Request {
            method,
            path: path.to_owned(),
            query: query.iter().map(pair).collect(),
            headers: headers.iter().map(pair).collect(),
            body: body.to_vec(),
        };
        self.sign(&mut request);
        self.send(&request)
    }
}

/// Where the cluster's gateway listens.
pub fn endpoint(cluster: &Cluster) -> String {
    let line = cluster.summary().iter().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words.first() == Some(&"S3")).then(|| words[1].to_owned())
    });
    let endpoint = line.expect("the gateway is in the summary");
    endpoint.trim_start_matches("http://").to_owned()
}

/// Time and day as signatures have them.
fn dates(when: OffsetDateTime) -> (String, String) {
    let date = format_description!("[year][month][day]T[hour][minute][second]Z");
    let day = format_description!("[year][month][day]");
    let text = |format| when.format(format).expect("a date");
    (text(date), text(day))
}

fn scope(when: OffsetDateTime) -> String {
    format!("{}/{REGION}/s3/aws4_request", dates(when).1)
}

fn query(pairs: &[(String, String)]) -> String {
    let mut escaped: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect();
    escaped.sort();
    escaped.join("&")
}

fn escape(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            (byte as char).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
