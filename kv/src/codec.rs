//! How keys and values are laid out in bytes.
//!
//! Keys keep their order: numbers are big-endian, text is UTF-8. Values are protobuf messages, so
//! that fields can be added without rewriting rows; [`Raw`] is for values that are bytes.

use ozone_common::ids::{
    ContainerId, DatanodeId, LocalId, ObjectId, PipelineId, SessionId, TransactionIndex,
};

/// Bytes that are no key or value of their table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct CodecError {
    /// `key` or `value`.
    pub what: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl CodecError {
    /// A bad key.
    pub fn key(reason: impl ToString) -> Self {
        Self {
            what: "key",
            reason: reason.to_string(),
        }
    }

    /// A bad value.
    pub fn value(reason: impl ToString) -> Self {
        Self {
            what: "value",
            reason: reason.to_string(),
        }
    }
}

/// Something that can be looked up: a key type, or a borrowed form of one.
pub trait EncodeKey {
    /// Appends the key's bytes.
    fn encode_to(&self, out: &mut Vec<u8>);

    /// The key's bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        self.encode_to(&mut out);
        out
    }
}

/// A key type. Order of bytes is order of keys.
pub trait KeyCodec: EncodeKey + Sized {
    /// The key that `bytes` stand for.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

/// A value type.
pub trait ValueCodec: Sized {
    /// The value's bytes.
    fn encode(&self) -> Vec<u8>;

    /// The value that `bytes` stand for.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

impl<M: prost::Message + Default> ValueCodec for M {
    fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        M::decode(bytes).map_err(CodecError::value)
    }
}

/// Bytes as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Raw(pub Vec<u8>);

impl ValueCodec for Raw {
    fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(Self(bytes.to_vec()))
    }
}

impl EncodeKey for [u8] {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl EncodeKey for Vec<u8> {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl KeyCodec for Vec<u8> {
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(bytes.to_vec())
    }
}

impl EncodeKey for str {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl EncodeKey for String {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl KeyCodec for String {
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let text = std::str::from_utf8(bytes).map_err(CodecError::key)?;
        Ok(text.to_owned())
    }
}

impl EncodeKey for u64 {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl KeyCodec for u64 {
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let array = bytes.try_into();
        let array = array.map_err(|_| CodecError::key(format!("{} bytes, not 8", bytes.len())))?;
        Ok(u64::from_be_bytes(array))
    }
}

impl EncodeKey for uuid::Uuid {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl KeyCodec for uuid::Uuid {
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::from_slice(bytes).map_err(CodecError::key)
    }
}

macro_rules! id_key {
    ($inner:ty: $($id:ident),*) => {$(
        impl EncodeKey for $id {
            fn encode_to(&self, out: &mut Vec<u8>) {
                self.0.encode_to(out);
            }
        }

        impl KeyCodec for $id {
            fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
                <$inner as KeyCodec>::decode(bytes).map(Self)
            }
        }
    )*};
}

id_key!(u64: ContainerId, LocalId, ObjectId, SessionId, TransactionIndex);
id_key!(uuid::Uuid: DatanodeId, PipelineId);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_order_in_bytes() {
        let numbers = [0u64, 1, 255, 256, 1 << 40, u64::MAX];
        let encoded: Vec<_> = numbers.iter().map(EncodeKey::encode).collect();
        assert!(encoded.is_sorted());
        for (number, bytes) in numbers.iter().zip(&encoded) {
            assert_eq!(<u64 as KeyCodec>::decode(bytes).unwrap(), *number);
        }
    }

    #[test]
    fn wrong_bytes_are_refused() {
        assert!(<u64 as KeyCodec>::decode(b"short").is_err());
        assert!(<String as KeyCodec>::decode(&[0xff]).is_err());
        assert!(<DatanodeId as KeyCodec>::decode(b"short").is_err());
        assert!(<String as ValueCodec>::decode(&[0xff]).is_err());
    }
}
