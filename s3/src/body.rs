//! The bytes of an upload: on their way to the datanodes, every digest that the client has sent of them is made
//! anew. What does not agree, or does not come whole, never becomes a key.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use ozone_client::objects::Upload;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};

use crate::error::{answer, refuse};

/// How long the client may be silent in the middle of a body.
const SILENCE: Duration = Duration::from_secs(120);
/// The header that announces what comes behind the body.
const TRAILER: &str = "x-amz-trailer";
/// What the names of checksums begin with.
const CHECKSUM: &str = "x-amz-checksum-";

/// What the client has said of the bytes.
#[derive(Default)]
pub(crate) struct Promised {
    /// How many there are.
    pub(crate) length: Option<u64>,
    /// Their MD5, in base64.
    pub(crate) md5: Option<String>,
    /// Checksums from headers.
    pub(crate) checksum: Checksum,
    /// The algorithm that was named without a value, which comes behind the body.
    pub(crate) algorithm: Option<String>,
    /// What comes behind the body.
    pub(crate) trailers: Option<TrailingHeaders>,
}

/// What the bytes were.
pub(crate) struct Received {
    /// Their MD5 in hexadecimal digits: the ETag.
    pub(crate) etag: String,
    /// The checksums that were asked for.
    pub(crate) checksum: Checksum,
}

/// The names of checksum headers, and where each is in a [`Checksum`].
type Field = fn(&mut Checksum) -> &mut Option<String>;
const FIELDS: [(&str, Field); 5] = [
    ("x-amz-checksum-crc32", |c| &mut c.checksum_crc32),
    ("x-amz-checksum-crc32c", |c| &mut c.checksum_crc32c),
    ("x-amz-checksum-crc64nvme", |c| &mut c.checksum_crc64nvme),
    ("x-amz-checksum-sha1", |c| &mut c.checksum_sha1),
    ("x-amz-checksum-sha256", |c| &mut c.checksum_sha256),
];

/// Checksum headers that are to come behind the body.
pub(crate) fn announced(headers: &http::HeaderMap) -> Option<String> {
    let value = headers.get(TRAILER)?.to_str().ok()?;
    Some(value.trim().to_ascii_lowercase())
}

/// Whether there is a checksum of that name.
pub(crate) fn is_algorithm(name: &str) -> bool {
    FIELDS
        .iter()
        .any(|(header, _)| header.strip_prefix(CHECKSUM) == Some(name))
}

impl Promised {
    /// The digests that are in headers.
    pub(crate) fn of_headers(headers: &http::HeaderMap) -> Self {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let mut promised = Self {
            md5: text("content-md5"),
            ..Self::default()
        };
        for (name, field) in FIELDS {
            *field(&mut promised.checksum) = text(name);
        }
        promised
    }

    /// Whether there are checksums.
    pub(crate) fn sums(&mut self) -> bool {
        let checksum = &mut self.checksum;
        FIELDS.iter().any(|(_, field)| field(checksum).is_some())
    }
}

/// Digests that are being made.
pub(crate) struct Digests {
    md5: Md5,
    sums: ChecksumHasher,
}

impl Digests {
    /// Those that the promises are about, and MD5.
    pub(crate) fn new(promised: &mut Promised) -> Self {
        Self {
            md5: Md5::new(),
            sums: hasher(promised),
        }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        self.sums.update(data);
    }

    /// Refuses bytes that are not those that were promised.
    pub(crate) fn verify(self, promised: &mut Promised) -> S3Result<Received> {
        let md5 = promised.md5.take();
        let md5 = md5.map(|text| parse_md5(&text)).transpose()?;
        let digest = self.md5.finalize();
        if md5.is_some_and(|md5| md5 != digest) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received"
            ));
        }
        let mut checksum = self.sums.finalize();
        add_trailers(promised)?;
        check(&mut promised.checksum, &mut checksum)?;
        Ok(Received {
            etag: hex(&digest),
            checksum,
        })
    }
}

/// Writes all of `body`, and finds it to be what was promised.
pub(crate) async fn receive(
    body: Option<StreamingBlob>,
    mut promised: Promised,
    upload: &mut Upload,
) -> S3Result<Received> {
    // What cannot be a digest is refused before anything is written.
    promised.md5.as_deref().map(parse_md5).transpose()?;
    let mut digests = Digests::new(&mut promised);
    let mut body = body.unwrap_or_else(empty);
    loop {
        let next = tokio::time::timeout(SILENCE, body.next()).await;
        let next = next.map_err(|_| s3_error!(RequestTimeout, "the client fell silent"))?;
        let Some(data) = next else { break };
        let data = data.map_err(|error| broken(&*error))?;
        digests.update(&data);
        upload.write(data).await.map_err(answer)?;
    }
    if promised
        .length
        .is_some_and(|length| length != upload.size())
    {
        let message = format!(
            "{} bytes were promised and {} came",
            promised.length.unwrap_or_default(),
            upload.size()
        );
        return Err(refuse(S3ErrorCode::IncompleteBody, message));
    }
    digests.verify(&mut promised)
}

fn empty() -> StreamingBlob {
    StreamingBlob::wrap(futures::stream::empty::<Result<bytes::Bytes, std::io::Error>>())
}

/// Makes the checksums that the client wants.
fn hasher(promised: &mut Promised) -> ChecksumHasher {
    let algorithm = promised.algorithm.clone().unwrap_or_default();
    let algorithm = algorithm.trim_start_matches(CHECKSUM).to_owned();
    let mut wanted = |name: &str| {
        let field = FIELDS
            .iter()
            .find(|(header, _)| header.ends_with(&format!("-{name}")));
        let promised = field.is_some_and(|(_, field)| field(&mut promised.checksum).is_some());
        promised || algorithm.eq_ignore_ascii_case(name)
    };
    ChecksumHasher {
        crc32: wanted("crc32").then(Crc32::new),
        crc32c: wanted("crc32c").then(Crc32c::new),
        sha1: wanted("sha1").then(Sha1::new),
        sha256: wanted("sha256").then(Sha256::new),
        crc64nvme: wanted("crc64nvme").then(Crc64Nvme::new),
    }
}

/// Takes in what came behind the body. What was announced and did not come is missed.
fn add_trailers(promised: &mut Promised) -> S3Result<()> {
    let Some(trailers) = promised
        .trailers
        .take()
        .and_then(|trailers| trailers.take())
    else {
        return match &promised.algorithm {
            Some(name) if name.starts_with(CHECKSUM) => Err(missing(name)),
            _ => Ok(()),
        };
    };
    let names = trailers.keys().map(|name| name.as_str());
    let mut sums = names.filter_map(|name| name.strip_prefix(CHECKSUM));
    if let Some(name) = sums.find(|name| !is_algorithm(name)) {
        let message = format!("the checksum {name:?} is not implemented");
        return Err(refuse(S3ErrorCode::NotImplemented, message));
    }
    for (name, field) in FIELDS {
        if let Some(value) = trailers.get(name).and_then(|value| value.to_str().ok()) {
            *field(&mut promised.checksum) = Some(value.to_owned());
        }
    }
    let announced = promised.algorithm.clone().unwrap_or_default();
    match announced.starts_with(CHECKSUM) && !trailers.contains_key(&announced) {
        true => Err(missing(&announced)),
        false => Ok(()),
    }
}

fn missing(name: &str) -> S3Error {
    let message = format!("{name} was announced and did not come behind the body");
    refuse(S3ErrorCode::InvalidRequest, message)
}

fn check(promised: &mut Checksum, made: &mut Checksum) -> S3Result<()> {
    for (name, field) in FIELDS {
        let Some(promised) = field(promised) else {
            continue;
        };
        if field(made).as_ref() != Some(promised) {
            let algorithm = name.trim_start_matches(CHECKSUM).to_uppercase();
            let message = format!("The {algorithm} you specified did not match what we received");
            return Err(refuse(S3ErrorCode::BadDigest, message));
        }
    }
    Ok(())
}

fn parse_md5(text: &str) -> S3Result<[u8; 16]> {
    let bytes = STANDARD.decode(text).ok();
    let bytes = bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    bytes.ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid"))
}

/// A body that ended badly. Its verifiers' errors have no types that can be named here.
fn broken(error: &(dyn std::error::Error + 'static)) -> S3Error {
    let text = error.to_string();
    let code = match &text {
        text if text.contains("Sha256Mismatch") => {
            return crate::error::custom(
                "XAmzContentSHA256Mismatch",
                http::StatusCode::BAD_REQUEST,
                "The provided 'x-amz-content-sha256' header does not match the computed hash."
                    .into(),
            );
        }
        text if text.contains("SignatureMismatch") => S3ErrorCode::SignatureDoesNotMatch,
        text if text.contains("FormatError") || text.contains("TooLarge") => {
            S3ErrorCode::InvalidRequest
        }
        _ => S3ErrorCode::IncompleteBody,
    };
    refuse(code, format!("the body could not be read: {text}"))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
