//! Messages as protobuf has them on the wire, without knowing what they mean: to put numbers into any of them.

use bytes::Buf;
use prost::encoding::{decode_varint, encode_varint};

/// The fields of a message, in order. A later value of a number's field counts.
pub(crate) type Message = Vec<(u64, Value)>;

#[derive(Clone)]
pub(crate) enum Value {
    Varint(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    /// What cannot be a message.
    Bytes(Vec<u8>),
    /// What may be one.
    Message(Message),
}

const HOSTILE: [u64; 5] = [0, 1, 1 << 31, i64::MAX as u64, u64::MAX];

pub(crate) fn parse(mut bytes: &[u8]) -> Option<Message> {
    let mut fields = Message::new();
    while bytes.has_remaining() {
        let key = decode_varint(&mut bytes).ok()?;
        let value = match key & 7 {
            0 => Value::Varint(decode_varint(&mut bytes).ok()?),
            1 => Value::Eight(take(&mut bytes, 8)?.try_into().ok()?),
            2 => {
                let length = decode_varint(&mut bytes).ok()?;
                let inner = take(&mut bytes, usize::try_from(length).ok()?)?;
                parse(inner).map_or_else(|| Value::Bytes(inner.to_vec()), Value::Message)
            }
            5 => Value::Four(take(&mut bytes, 4)?.try_into().ok()?),
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

pub(crate) fn encode(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, value) in message {
        let mut put = |wire_type: u64| encode_varint(number << 3 | wire_type, &mut bytes);
        match value {
            Value::Varint(number) => {
                put(0);
                encode_varint(*number, &mut bytes);
            }
            Value::Eight(number) => {
                put(1);
                bytes.extend_from_slice(number);
            }
            Value::Bytes(inner) => {
                put(2);
                put_bytes(inner, &mut bytes);
            }
            Value::Message(inner) => {
                put(2);
                put_bytes(&encode(inner), &mut bytes);
            }
            Value::Four(number) => {
                put(5);
                bytes.extend_from_slice(number);
            }
        }
    }
    bytes
}

fn put_bytes(inner: &[u8], bytes: &mut Vec<u8>) {
    encode_varint(inner.len() as u64, bytes);
    bytes.extend_from_slice(inner);
}

/// Numbers of fields that any message of the OM has.
fn numbers() -> impl Iterator<Item = u64> {
    (1..=50).chain(1999..=2010)
}

/// The message with a hostile number in one field, of itself or of a message in it, whether or not the field was
/// there. Most of these are no messages of the kind any more, or none that differ.
pub(crate) fn with_hostile_numbers(message: &Message) -> Vec<Message> {
    let mut all = Vec::new();
    for (number, hostile) in numbers().flat_map(|number| HOSTILE.map(|hostile| (number, hostile))) {
        let four = u32::try_from(hostile).unwrap_or(u32::MAX);
        for value in [
            Value::Varint(hostile),
            Value::Eight(hostile.to_le_bytes()),
            Value::Four(four.to_le_bytes()),
        ] {
            let mut with = message.clone();
            with.push((number, value));
            all.push(with);
        }
    }
    for (at, (_, value)) in message.iter().enumerate() {
        let Value::Message(inner) = value else {
            continue;
        };
        for inner in with_hostile_numbers(inner) {
            let mut with = message.clone();
            with[at].1 = Value::Message(inner);
            all.push(with);
        }
    }
    all
}
