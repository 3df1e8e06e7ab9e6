//! Ids of everything that is named by a number or a UUID.
//!
//! Each kind has a type of its own, so that a container id can never be passed for a local id. All
//! of them print as the bare value, parse from it, and keep the order of the value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: expected {expected}")]
pub struct IdError {
    /// Name of the id type.
    pub kind: &'static str,
    /// What was given.
    pub text: String,
    /// The form that would be right.
    pub expected: &'static str,
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The bare number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self).map_err(|_| IdError {
                    kind: stringify!($name),
                    text: text.to_owned(),
                    expected: "a decimal number below 2^64",
                })
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> u64 {
                id.0
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The bare UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self).map_err(|_| IdError {
                    kind: stringify!($name),
                    text: text.to_owned(),
                    expected: "a UUID such as 5e0f6c1e-3d0a-4c5f-9d3c-0d9a6f1c2b3a",
                })
            }
        }

        impl From<Uuid> for $name {
            fn from(value: Uuid) -> Self {
                Self(value)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }
    };
}

number_id!(
    /// A volume, bucket, directory, file, symlink or key: from one replicated counter, below 2^48,
    /// never reused.
    ObjectId
);
number_id!(
    /// A container: a super block of blocks, replicated as one.
    ContainerId
);
number_id!(
    /// A block within its container.
    LocalId
);
number_id!(
    /// One call of a client; grows by one with each call.
    CallId
);
number_id!(
    /// A session that a mount holds with the namespace.
    SessionId
);
number_id!(
    /// The position of a transaction in a replicated log.
    TransactionIndex
);
uuid_id!(
    /// A replication pipeline, which is also the id of its Raft group.
    PipelineId
);
uuid_id!(
    /// A datanode, for its whole life.
    DatanodeId
);
uuid_id!(
    /// One client process.
    ClientId
);

/// A block: a container and the block's place in it. Prints as `container/local`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct BlockId {
    /// The container that holds the block.
    pub container: ContainerId,
    /// The block within it.
    pub local: LocalId,
}

impl BlockId {
    /// The block `local` of container `container`.
    pub const fn new(container: u64, local: u64) -> Self {
        Self {
            container: ContainerId(container),
            local: LocalId(local),
        }
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container, self.local)
    }
}

impl FromStr for BlockId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError {
            kind: "BlockId",
            text: text.to_owned(),
            expected: "container/local, two decimal numbers",
        };
        let (container, local) = text.split_once('/').ok_or_else(bad)?;
        Ok(Self {
            container: container.parse().map_err(|_| bad())?,
            local: local.parse().map_err(|_| bad())?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_what_they_print() {
        let block = BlockId::new(7, 115_816_896_921_600_001);
        assert_eq!(block.to_string(), "7/115816896921600001");
        assert_eq!(block.to_string().parse::<BlockId>().unwrap(), block);
        let node = DatanodeId(Uuid::from_u128(42));
        assert_eq!(node.to_string().parse::<DatanodeId>().unwrap(), node);
        assert_eq!("12".parse::<ObjectId>().unwrap(), ObjectId(12));
    }

    #[test]
    fn bad_ids_say_what_would_be_right() {
        let error = "7".parse::<BlockId>().unwrap_err();
        assert!(error.to_string().contains("container/local"), "{error}");
        assert!("-1".parse::<ContainerId>().is_err());
        assert!("nope".parse::<PipelineId>().is_err());
    }

    #[test]
    fn json_holds_the_bare_value() {
        assert_eq!(serde_json::to_string(&ObjectId(5)).unwrap(), "5");
        let json = serde_json::to_string(&ClientId(Uuid::nil())).unwrap();
        assert_eq!(json, "\"00000000-0000-0000-0000-000000000000\"");
    }
}
