//! The envelope that all of Hadoop's tokens have: content, signature, kind and service, as a
//! message and as the text that requests carry.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ozone_proto::hdds::TokenProto;
use prost::Message;

use crate::token::{TokenError, malformed};

/// Something signed, in the envelope that all of Hadoop's tokens have.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What it says, encoded.
    pub identifier: Vec<u8>,
    /// The signature of that.
    pub password: Vec<u8>,
    /// What sort of token it is.
    pub kind: String,
    /// What it is good for.
    pub service: String,
}

impl fmt::Debug for Token {
    /// Without the signature, which is what makes it valuable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} for {})", self.kind, self.service)
    }
}

impl Token {
    /// As a message.
    pub fn to_proto(&self) -> TokenProto {
        TokenProto {
            identifier: self.identifier.clone().into(),
            password: self.password.clone().into(),
            kind: self.kind.clone(),
            service: self.service.clone(),
        }
    }

    /// From a message.
    pub fn from_proto(proto: &TokenProto) -> Self {
        Self {
            identifier: proto.identifier.to_vec(),
            password: proto.password.to_vec(),
            kind: proto.kind.clone(),
            service: proto.service.clone(),
        }
    }

    /// As bytes: the encoded message.
    pub fn encode(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, TokenError> {
        let proto = TokenProto::decode(bytes).map_err(malformed)?;
        Ok(Self::from_proto(&proto))
    }

    /// As the text that requests to datanodes carry.
    pub fn encode_text(&self) -> String {
        let mut out = Vec::new();
        let fields = [
            self.identifier.as_slice(),
            &self.password,
            self.kind.as_bytes(),
            self.service.as_bytes(),
        ];
        for field in fields {
            put_vint(&mut out, field.len() as u64);
            out.extend_from_slice(field);
        }
        URL_SAFE_NO_PAD.encode(out)
    }

    /// From the text that requests to datanodes carry.
    pub fn decode_text(text: &str) -> Result<Self, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(malformed)?;
        let mut rest = bytes.as_slice();
        let mut field = || take_field(&mut rest).ok_or_else(|| malformed("it is cut short"));
        let (identifier, password) = (field()?, field()?);
        let (kind, service) = (field()?, field()?);
        let token = Self {
            identifier,
            password,
            kind: String::from_utf8(kind).map_err(malformed)?,
            service: String::from_utf8(service).map_err(malformed)?,
        };
        match rest {
            [] => Ok(token),
            _ => Err(malformed("bytes after its end")),
        }
    }
}

/// Hadoop's variable-length integers: up to 127 one byte; else the number of bytes (as -113 and
/// down), then these, big end first.
fn put_vint(out: &mut Vec<u8>, value: u64) {
    if value <= 127 {
        out.push(value as u8);
        return;
    }
    let bytes = value.to_be_bytes();
    let length = 8 - value.leading_zeros() as usize / 8;
    out.push((-112i8 - length as i8).cast_unsigned());
    out.extend_from_slice(&bytes[8 - length..]);
}

fn take_vint(rest: &mut &[u8]) -> Option<u64> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    let first = first.cast_signed();
    if first >= 0 {
        return Some(first as u64);
    }
    let length = usize::try_from(-112i16 - i16::from(first)).ok()?;
    if !(1..=8).contains(&length) || rest.len() < length {
        return None;
    }
    let (bytes, after) = rest.split_at(length);
    *rest = after;
    Some(
        bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

fn take_field(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(take_vint(rest)?).ok()?;
    let (field, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(field.to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::rng::{Rng, SeededRng};

    use super::*;

    #[test]
    fn text_takes_fields_of_any_length() {
        let rng = SeededRng::new(3);
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let mut identifier = vec![0; length];
            rng.fill(&mut identifier);
            let token = Token {
                identifier,
                password: vec![1; 32],
                kind: "kind".to_owned(),
                service: "s".to_owned(),
            };
            let text = token.encode_text();
            assert_eq!(Token::decode_text(&text).unwrap(), token, "{length}");
        }
    }
}
