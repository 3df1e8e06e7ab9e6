//! What is refused of a request before anything of it is believed or read.
//!
//! `s3s` verifies that the signature is the one of what was signed. Which of a request has to be signed, and which
//! ways of signing are served at all, is decided here, once for every operation: one way of signing, no header of
//! Amazon's that the signature does not cover, no link that is good for longer than a week. What a link has of headers
//! among its parameters is put among the headers, or it would be left out without a word.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, header};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::error::refuse;
use crate::promises;

/// All headers together, in bytes.
const MAX_HEADERS: usize = 16 << 10;
/// The longest target, in bytes: a key of 1024 bytes, all of them escaped, and what a link adds.
const MAX_TARGET: usize = 16 << 10;
/// Seconds for which a link may be good: a week.
const MAX_EXPIRES: u64 = 7 * 24 * 3600;
/// The one way of signing.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The parameters of a link that are no headers.
const SIGNATURE: [&str; 6] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
];
/// What a link says of its content when nothing is known of it, which is so without it.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// What a scope ends with.
const SCOPE_END: &str = "/s3/aws4_request";

/// A signature as the request shows it, taken apart as far as this module has to know.
struct Shown {
    /// Names of the headers that it covers, in lower case.
    headers: Vec<String>,
    /// Whether it is part of a link, which may be used by others than who made it.
    link: bool,
}

/// Refuses a request that cannot be served, whatever its signature.
pub(crate) fn inspect(request: &Parts) -> S3Result<()> {
    check_size(request)?;
    if is_form(request) {
        let message = "Uploads by HTML forms (POST) are not implemented";
        return Err(refuse(S3ErrorCode::NotImplemented, message));
    }
    let shown = find_signature(request)?;
    for name in request.headers.keys() {
        let name = name.as_str();
        if must_be_signed(name, shown.link) && !shown.headers.iter().any(|signed| signed == name) {
            let message =
                format!("There were headers present in the request which were not signed: {name}");
            return Err(refuse(S3ErrorCode::AccessDenied, message));
        }
    }
    if !shown.headers.iter().any(|name| name == "host") {
        return Err(s3_error!(AccessDenied, "The Host header has to be signed"));
    }
    promises::refuse_unkept(request)
}

fn check_size(request: &Parts) -> S3Result<()> {
    let headers: usize = request
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers > MAX_HEADERS {
        let message = format!("The headers have {headers} bytes; at most {MAX_HEADERS} are taken");
        return Err(refuse(S3ErrorCode::RequestHeaderSectionTooLarge, message));
    }
    let target = request
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET {
        let message = format!("The address has {target} bytes; at most {MAX_TARGET} are taken");
        return Err(refuse(S3ErrorCode::InvalidURI, message));
    }
    Ok(())
}

fn is_form(request: &Parts) -> bool {
    let types = request.headers.get_all(header::CONTENT_TYPE);
    request.method == Method::POST
        && types.iter().any(|kind| {
            let kind = kind.as_bytes().to_ascii_lowercase();
            kind.trim_ascii_start().starts_with(b"multipart/")
        })
}

/// The content's own digest needs no signature in a link: it can only make a request fail.
fn must_be_signed(name: &str, link: bool) -> bool {
    let exempt = match name {
        "x-amz-content-sha256" => link,
        "x-amz-user-agent" => true,
        _ => false,
    };
    name.starts_with("x-amz-") && !exempt
}

fn find_signature(request: &Parts) -> S3Result<Shown> {
    let query = parameters(request.uri.query().unwrap_or_default());
    let one = |name: &str| {
        let mut found = query.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    };
    if one("Signature").is_some() || one("AWSAccessKeyId").is_some() {
        return Err(other_algorithm());
    }
    let link = is_link(&query);
    let mut headers = request.headers.get_all(header::AUTHORIZATION).iter();
    match (headers.next(), headers.next(), link) {
        (None, _, false) => Err(s3_error!(
            AccessDenied,
            "Access Denied: the request is not signed"
        )),
        (Some(_), Some(_), _) | (Some(_), None, true) => Err(s3_error!(
            InvalidArgument,
            "Only one way of signing is allowed: an Authorization header, or parameters of the address"
        )),
        (Some(header), None, false) => in_header(header.to_str().unwrap_or_default()),
        (None, _, true) => in_link(one),
    }
}

fn other_algorithm() -> S3Error {
    let message =
        format!("The authorization mechanism you have provided is not supported: use {ALGORITHM}");
    refuse(S3ErrorCode::AccessDenied, message)
}

fn in_header(header: &str) -> S3Result<Shown> {
    let Some(fields) = header.strip_prefix(ALGORITHM) else {
        return Err(other_algorithm());
    };
    let malformed = |what: &str| {
        let message = format!("The authorization header you provided is invalid: {what}");
        refuse(S3ErrorCode::AuthorizationHeaderMalformed, message)
    };
    let field = |name: &str| {
        let mut found = fields
            .split(',')
            .filter_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='));
        found.next().filter(|_| found.next().is_none())
    };
    let credential = field("Credential").ok_or_else(|| malformed("no Credential"))?;
    check_scope(credential).map_err(|_| malformed("the Credential"))?;
    let signed = field("SignedHeaders").ok_or_else(|| malformed("no SignedHeaders"))?;
    Ok(Shown {
        headers: signed.split(';').map(str::to_owned).collect(),
        link: false,
    })
}

fn in_link<'a>(one: impl Fn(&str) -> Option<&'a str>) -> S3Result<Shown> {
    let malformed = |what: &str| {
        let message = format!("The parameters of the signature are not valid: {what}");
        refuse(S3ErrorCode::AuthorizationQueryParametersError, message)
    };
    if one("X-Amz-Algorithm") != Some(ALGORITHM) {
        return Err(malformed("X-Amz-Algorithm must be AWS4-HMAC-SHA256"));
    }
    let expires = one("X-Amz-Expires").and_then(|text| text.parse::<u64>().ok());
    if !expires.is_some_and(|expires| (1..=MAX_EXPIRES).contains(&expires)) {
        return Err(malformed(
            "X-Amz-Expires must be between 1 and 604800 seconds",
        ));
    }
    check_scope(one("X-Amz-Credential").unwrap_or_default())
        .map_err(|_| malformed("X-Amz-Credential"))?;
    let signed = one("X-Amz-SignedHeaders").ok_or_else(|| malformed("no X-Amz-SignedHeaders"))?;
    Ok(Shown {
        headers: signed.split(';').map(str::to_owned).collect(),
        link: true,
    })
}

/// `<access id>/<day>/<region>/s3/aws4_request`
fn check_scope(credential: &str) -> Result<(), ()> {
    let id = credential.strip_suffix(SCOPE_END).ok_or(())?;
    let id = id.rsplitn(3, '/').nth(2).unwrap_or_default();
    match id.is_empty() {
        true => Err(()),
        false => Ok(()),
    }
}

/// Whether an address carries a signature.
pub(crate) fn is_link(query: &[(String, String)]) -> bool {
    let mut names = query.iter().map(|(name, _)| name);
    names.any(|name| name.eq_ignore_ascii_case("x-amz-signature"))
}

/// Puts the headers that a link has among its parameters, where some clients sign them, among the headers.
pub(crate) fn take_in(request: &mut Parts) -> S3Result<()> {
    let query = parameters(request.uri.query().unwrap_or_default());
    if !is_link(&query) {
        return Ok(());
    }
    for (name, value) in query {
        let name = name.to_ascii_lowercase();
        let own = SIGNATURE.contains(&name.as_str());
        let nothing = name == "x-amz-content-sha256" && value == UNSIGNED;
        if own || nothing || !name.starts_with("x-amz-") {
            continue;
        }
        let invalid = || refuse(S3ErrorCode::InvalidArgument, format!("{name} is no header"));
        let value = HeaderValue::try_from(value).map_err(|_| invalid())?;
        let header = HeaderName::try_from(&name).map_err(|_| invalid())?;
        request.headers.append(header, value);
    }
    Ok(())
}

/// The bucket and the key of a path that has both.
pub(crate) fn key_of(path: &str) -> Option<(String, String)> {
    let path = decode(path, false);
    let (bucket, key) = path.strip_prefix('/')?.split_once('/')?;
    (!key.is_empty()).then(|| (bucket.to_owned(), key.to_owned()))
}

/// Names and values of a query, with escapes undone: what follows must not see other names than these.
pub(crate) fn parameters(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(name), unescape(value))
        })
        .collect()
}

/// Undoes the escapes of a query or a form.
pub(crate) fn unescape(text: &str) -> String {
    decode(text, true)
}

/// Undoes escapes; in a path a plus is one.
fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                let space = plus && bytes[at] == b'+';
                out.push(if space { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEADER: &str = "AWS4-HMAC-SHA256 Credential=bilbo/20260101/us-east-1/s3/aws4_request, \
                          SignedHeaders=host;x-amz-date, Signature=00";

    fn request(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(target).header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn refused(target: &str, headers: &[(&str, &str)]) -> Option<String> {
        let refused = inspect(&request(target, headers)).err();
        refused.map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn one_signature_of_the_one_kind_is_let_through() {
        assert_eq!(refused("/b/k", &[("authorization", HEADER)]), None);
        let denied = Some("AccessDenied".to_owned());
        assert_eq!(refused("/b/k", &[]), denied);
        assert_eq!(
            refused("/b/k", &[("authorization", "AWS bilbo:abc")]),
            denied
        );
        assert_eq!(
            refused("/b/k?%53ignature=x&AWSAccessKeyId=b&Expires=1", &[]),
            denied
        );
        let both = "/b/k?X-Amz-Signature=0";
        let twice = [("authorization", HEADER), ("authorization", HEADER)];
        let invalid = Some("InvalidArgument".to_owned());
        assert_eq!(refused(both, &[("authorization", HEADER)]), invalid);
        assert_eq!(refused("/b/k", &twice), invalid);
        let sts = HEADER.replace("/s3/", "/sts/");
        let malformed = Some("AuthorizationHeaderMalformed".to_owned());
        assert_eq!(
            refused("/b/k", &[("authorization", sts.as_str())]),
            malformed
        );
        let nobody = HEADER.replace("bilbo", "");
        assert_eq!(
            refused("/b/k", &[("authorization", nobody.as_str())]),
            malformed
        );
    }

    #[test]
    fn headers_that_are_not_signed_change_nothing() {
        let with = |name, value| refused("/b/k", &[("authorization", HEADER), (name, value)]);
        assert_eq!(with("x-amz-date", "20260101T000000Z"), None);
        assert_eq!(with("range", "bytes=0-1"), None);
        for name in ["x-amz-copy-source", "x-amz-meta-a", "x-amz-content-sha256"] {
            assert_eq!(with(name, "x"), Some("AccessDenied".to_owned()), "{name}");
        }
    }

    #[test]
    fn a_link_is_good_for_a_week_at_most() {
        let link = |expires: &str| {
            format!(
                "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=b%2F20260101%2Fr%2Fs3%2Faws4_request\
                 &X-Amz-Date=20260101T000000Z&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host&X-Amz-Signature=0"
            )
        };
        assert_eq!(refused(&link("604800"), &[]), None);
        assert_eq!(
            refused(&link("60"), &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]),
            None
        );
        let copy = refused(&link("60"), &[("x-amz-copy-source", "/b/secret")]);
        assert_eq!(copy, Some("AccessDenied".to_owned()));
        for bad in ["604801", "0", "-1", ""] {
            let wrong = Some("AuthorizationQueryParametersError".to_owned());
            assert_eq!(refused(&link(bad), &[]), wrong, "{bad}");
        }
    }

    #[test]
    fn nothing_is_taken_under_a_promise_that_is_not_kept() {
        let signed = HEADER.replace("x-amz-date", "x-amz-date;x-amz-object-lock-mode");
        let lock = [
            ("authorization", signed.as_str()),
            ("x-amz-object-lock-mode", "COMPLIANCE"),
        ];
        let missing = Some("NotImplemented".to_owned());
        assert_eq!(refused("/b/k", &lock), missing);
        let target = "/b/k?X-Amz-Server-Side-Encryption=AES256";
        assert_eq!(refused(target, &[("authorization", HEADER)]), missing);
    }

    #[test]
    fn headers_of_a_link_are_headers() {
        let target = "/b/k?X-Amz-Signature=0&X-Amz-Date=d&x-amz-meta-a=b%20c&X-Amz-Tagging=t%3D1\
                      &X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&response-expires=x";
        let mut link = request(target, &[]);
        take_in(&mut link).unwrap();
        let text = |name| link.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(text("x-amz-meta-a"), Some("b c"));
        assert_eq!(text("x-amz-tagging"), Some("t=1"));
        assert_eq!(link.headers.len(), 3, "{:?}", link.headers);
        let mut plain = request("/b/k?x-amz-meta-a=b", &[]);
        take_in(&mut plain).unwrap();
        assert_eq!(plain.headers.len(), 1);
    }

    #[test]
    fn a_path_leads_to_a_key() {
        let found = key_of("/b/a%20b+c/").unwrap();
        assert_eq!(found, ("b".to_owned(), "a b+c/".to_owned()));
        assert_eq!(key_of("/b//a").unwrap().1, "/a");
        for none in ["/", "/b", "/b/"] {
            assert_eq!(key_of(none), None);
        }
    }

    #[test]
    fn large_headers_and_forms_are_refused() {
        let long = "x".repeat(MAX_HEADERS);
        let large = refused("/b/k", &[("authorization", HEADER), ("a", &long)]);
        assert_eq!(large, Some("RequestHeaderSectionTooLarge".to_owned()));
        let mut form = request("/b", &[("content-type", "Multipart/form-data; boundary=x")]);
        form.method = Method::POST;
        let refused = inspect(&form).unwrap_err();
        assert_eq!(refused.code(), &S3ErrorCode::NotImplemented);
    }
}
