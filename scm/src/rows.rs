//! The rows of `scm.db`: versioned messages, and the typed values that the rest of SCM works with.
//!
//! A row of a newer version than this software writes is refused when it is read: it may mean
//! something that the fields known here do not say.

use ozone_common::ids::{ContainerId, DatanodeId, PipelineId};
use ozone_proto::hdds::{DatanodeDetailsProto, LifeCycleState, PipelineState, ReplicationType};
use ozone_security::secret_keys::SecretKey;
use prost::Message;
use uuid::Uuid;

use crate::container::Container;
use crate::pipeline::{Pipeline, Replication};

/// The version of the rows that this software writes.
pub(crate) const ROW_VERSION: u32 = 1;

/// A row that cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    /// Its bytes are no message.
    #[error("{table}: {reason}")]
    Decode {
        /// The table.
        table: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// It was written by newer software.
    #[error("{table}: row of version {found}, this software knows up to {ROW_VERSION}")]
    Newer {
        /// The table.
        table: &'static str,
        /// The row's version.
        found: u32,
    },
    /// A field has a value that it cannot have.
    #[error("{table}: bad {field}")]
    Field {
        /// The table.
        table: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// A value that is kept as a row of its own.
pub(crate) trait Row: Sized {
    /// Name of the table.
    const TABLE: &'static str;
    /// The message that it is kept as.
    type Message: Message + Default;

    /// The message, without its version.
    fn to_message(&self) -> Self::Message;
    /// The value of a message, or the name of the field that is wrong.
    fn from_message(message: Self::Message) -> Result<Self, &'static str>;
    /// The message's version.
    fn version(message: &Self::Message) -> u32;

    /// Its bytes.
    fn encode_row(&self) -> Vec<u8> {
        self.to_message().encode_to_vec()
    }

    /// The value of its bytes.
    fn decode_row(bytes: &[u8]) -> Result<Self, RowError> {
        let table = Self::TABLE;
        let message = Self::Message::decode(bytes).map_err(|e| RowError::Decode {
            table,
            reason: e.to_string(),
        })?;
        let found = Self::version(&message);
        if found > ROW_VERSION {
            return Err(RowError::Newer { table, found });
        }
        Self::from_message(message).map_err(|field| RowError::Field { table, field })
    }
}

/// Row of `pipelines`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PipelineRow {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) id: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub(crate) replication_type: i32,
    #[prost(int32, tag = "4")]
    pub(crate) factor: i32,
    #[prost(int32, tag = "5")]
    pub(crate) state: i32,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub(crate) members: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) suggested_leader: Vec<u8>,
    #[prost(uint64, tag = "8")]
    pub(crate) changed_ms: u64,
}

/// Row of `containers`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerRow {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) id: u64,
    #[prost(int32, tag = "3")]
    pub(crate) state: i32,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) pipeline: Vec<u8>,
    #[prost(int32, tag = "5")]
    pub(crate) replication_type: i32,
    #[prost(int32, tag = "6")]
    pub(crate) factor: i32,
    #[prost(string, tag = "7")]
    pub(crate) owner: String,
    #[prost(uint64, tag = "8")]
    pub(crate) used_bytes: u64,
    #[prost(uint64, tag = "9")]
    pub(crate) blocks: u64,
    #[prost(uint64, tag = "10")]
    pub(crate) sequence_id: u64,
    #[prost(uint64, tag = "11")]
    pub(crate) changed_ms: u64,
}

/// Row of `datanodes`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DatanodeRow {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) details: Option<DatanodeDetailsProto>,
    #[prost(uint32, tag = "3")]
    pub(crate) layout_version: u32,
    #[prost(uint64, tag = "4")]
    pub(crate) registered_ms: u64,
}

/// Row of `deletedBlocks`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeletedBlocksRow {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) container: u64,
    #[prost(uint64, repeated, tag = "3")]
    pub(crate) local_ids: Vec<u64>,
}

/// Row of `sequenceId`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SequenceRow {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) last: u64,
}

/// Row of `secretKeys`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SecretKeyRow {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) id: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(crate) created_ms: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) expires_ms: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) key: Vec<u8>,
}

/// Row of `validCerts` and `validSCMCerts`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CertificateRow {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(string, tag = "2")]
    pub(crate) pem: String,
    #[prost(string, tag = "3")]
    pub(crate) node_type: String,
    #[prost(string, tag = "4")]
    pub(crate) node_uuid: String,
    #[prost(uint64, tag = "5")]
    pub(crate) issued_ms: u64,
}

/// Row of `statefulServiceConfig` that sums up the queue of deleted blocks.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DeletedBlocksSummary {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    /// Transactions in the queue.
    #[prost(uint64, tag = "2")]
    pub(crate) transactions: u64,
    /// Blocks in them.
    #[prost(uint64, tag = "3")]
    pub(crate) blocks: u64,
}

/// A datanode that registered once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Datanode {
    /// Its id.
    pub(crate) id: DatanodeId,
    /// Where it is reached.
    pub(crate) details: DatanodeDetailsProto,
    /// Layout of its data.
    pub(crate) layout_version: u32,
    /// When it first registered, or changed; ms since 1970.
    pub(crate) registered_ms: u64,
}

/// The 16 bytes of a UUID.
pub(crate) fn uuid_bytes(id: impl Into<Uuid>) -> Vec<u8> {
    id.into().as_bytes().to_vec()
}

/// A UUID from its 16 bytes.
pub(crate) fn uuid_from<T: From<Uuid>>(bytes: &[u8]) -> Option<T> {
    Uuid::from_slice(bytes).ok().map(T::from)
}

/// UUIDs from their bytes; none if one is wrong.
pub(crate) fn uuids_from<T: From<Uuid>>(all: &[Vec<u8>]) -> Option<Vec<T>> {
    all.iter().map(|bytes| uuid_from(bytes)).collect()
}

/// The id that a datanode's details carry.
pub(crate) fn datanode_id(details: &DatanodeDetailsProto) -> Option<DatanodeId> {
    details.uuid.as_deref()?.parse().ok()
}

impl Row for Pipeline {
    const TABLE: &'static str = "pipelines";
    type Message = PipelineRow;

    fn to_message(&self) -> PipelineRow {
        PipelineRow {
            version: ROW_VERSION,
            id: uuid_bytes(self.id),
            replication_type: ReplicationType::Ratis as i32,
            factor: self.replication.factor() as i32,
            state: self.state as i32,
            members: self.members.iter().map(|m| uuid_bytes(*m)).collect(),
            suggested_leader: self.suggested_leader.map(uuid_bytes).unwrap_or_default(),
            changed_ms: self.changed_ms,
        }
    }

    fn from_message(row: PipelineRow) -> Result<Self, &'static str> {
        Ok(Self {
            id: uuid_from::<PipelineId>(&row.id).ok_or("id")?,
            replication: Replication::from_proto(row.replication_type, row.factor)
                .ok_or("replication")?,
            state: PipelineState::try_from(row.state).map_err(|_| "state")?,
            members: uuids_from(&row.members).ok_or("members")?,
            suggested_leader: uuid_from(&row.suggested_leader),
            changed_ms: row.changed_ms,
        })
    }

    fn version(row: &PipelineRow) -> u32 {
        row.version
    }
}

impl Row for Container {
    const TABLE: &'static str = "containers";
    type Message = ContainerRow;

    fn to_message(&self) -> ContainerRow {
        ContainerRow {
            version: ROW_VERSION,
            id: self.id.get(),
            state: self.state as i32,
            pipeline: uuid_bytes(self.pipeline),
            replication_type: ReplicationType::Ratis as i32,
            factor: self.replication.factor() as i32,
            owner: self.owner.clone(),
            used_bytes: self.used_bytes,
            blocks: self.blocks,
            sequence_id: self.sequence_id,
            changed_ms: self.changed_ms,
        }
    }

    fn from_message(row: ContainerRow) -> Result<Self, &'static str> {
        Ok(Self {
            id: ContainerId(row.id),
            state: LifeCycleState::try_from(row.state).map_err(|_| "state")?,
            pipeline: uuid_from(&row.pipeline).ok_or("pipeline")?,
            replication: Replication::from_proto(row.replication_type, row.factor)
                .ok_or("replication")?,
            owner: row.owner,
            used_bytes: row.used_bytes,
            blocks: row.blocks,
            sequence_id: row.sequence_id,
            changed_ms: row.changed_ms,
        })
    }

    fn version(row: &ContainerRow) -> u32 {
        row.version
    }
}

impl Row for Datanode {
    const TABLE: &'static str = "datanodes";
    type Message = DatanodeRow;

    fn to_message(&self) -> DatanodeRow {
        DatanodeRow {
            version: ROW_VERSION,
            details: Some(self.details.clone()),
            layout_version: self.layout_version,
            registered_ms: self.registered_ms,
        }
    }

    fn from_message(row: DatanodeRow) -> Result<Self, &'static str> {
        let details = row.details.ok_or("details")?;
        Ok(Self {
            id: datanode_id(&details).ok_or("details.uuid")?,
            details,
            layout_version: row.layout_version,
            registered_ms: row.registered_ms,
        })
    }

    fn version(row: &DatanodeRow) -> u32 {
        row.version
    }
}

impl Row for SecretKey {
    const TABLE: &'static str = "secretKeys";
    type Message = SecretKeyRow;

    fn to_message(&self) -> SecretKeyRow {
        SecretKeyRow {
            version: ROW_VERSION,
            id: uuid_bytes(self.id),
            created_ms: self.created_ms,
            expires_ms: self.expires_ms,
            key: self.bytes.clone(),
        }
    }

    fn from_message(row: SecretKeyRow) -> Result<Self, &'static str> {
        Ok(Self {
            id: uuid_from(&row.id).ok_or("id")?,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            bytes: row.key,
        })
    }

    fn version(row: &SecretKeyRow) -> u32 {
        row.version
    }
}

macro_rules! plain_rows {
    ($($row:ident in $table:literal),*) => {
        $(impl Row for $row {
            const TABLE: &'static str = $table;
            type Message = Self;

            fn to_message(&self) -> Self {
                let mut row = self.clone();
                row.version = ROW_VERSION;
                row
            }

            fn from_message(row: Self) -> Result<Self, &'static str> {
                Ok(row)
            }

            fn version(row: &Self) -> u32 {
                row.version
            }
        })*
    };
}

plain_rows!(
    DeletedBlocksRow in "deletedBlocks",
    SequenceRow in "sequenceId",
    CertificateRow in "validCerts",
    DeletedBlocksSummary in "statefulServiceConfig"
);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_what_was_written() {
        let pipeline = Pipeline {
            id: PipelineId(Uuid::from_u128(1)),
            replication: Replication::Three,
            state: PipelineState::PipelineOpen,
            members: (2..5).map(|n| DatanodeId(Uuid::from_u128(n))).collect(),
            suggested_leader: Some(DatanodeId(Uuid::from_u128(2))),
            changed_ms: 9,
        };
        assert_eq!(
            Pipeline::decode_row(&pipeline.encode_row()).unwrap(),
            pipeline
        );
        let container = Container {
            id: ContainerId(7),
            state: LifeCycleState::Closing,
            pipeline: pipeline.id,
            replication: Replication::One,
            owner: "om".to_owned(),
            used_bytes: 1,
            blocks: 2,
            sequence_id: 3,
            changed_ms: 4,
        };
        assert_eq!(
            Container::decode_row(&container.encode_row()).unwrap(),
            container
        );
    }

    #[test]
    fn rows_of_newer_software_and_nonsense_are_refused() {
        let newer = SequenceRow {
            version: 9,
            last: 1,
        }
        .encode_to_vec();
        let text = SequenceRow::decode_row(&newer).unwrap_err().to_string();
        assert!(text.contains('9') && text.contains('1'), "{text}");
        let empty = PipelineRow::default().encode_to_vec();
        assert!(matches!(
            Pipeline::decode_row(&empty),
            Err(RowError::Field { field: "id", .. })
        ));
        assert!(matches!(
            SequenceRow::decode_row(&[0xff, 0xff]),
            Err(RowError::Decode { .. })
        ));
    }
}
