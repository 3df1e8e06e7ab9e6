//! Block data: writing to pipelines and reading from replicas.
//!
//! What reaches a datanode here is proved end to end: checksums are made once, when a chunk is cut,
//! and every byte that is read is checked against them.

mod ahead;
mod avoid;
mod block;
mod extent_map;
mod gather;
mod lent;
mod node;
mod overlay;
mod own_replica;
mod place;
mod pool;
mod reader;
mod replica;
mod verified;
mod writer;

use std::sync::Arc;

use ozone_proto::namespace::{DirRef, GetExtentsResponse, Inode, Replication};
use ozone_rpc::channel::Channels;
use tokio::sync::Semaphore;

use crate::Result;
use crate::config::ClientConfig;
use crate::namespace::Namespace;
use crate::session::Session;
use avoid::Avoid;
use lent::Doors;
use node::Datanodes;
use verified::Verified;

pub use lent::{LENT_FROM, Lending, LentFile};
pub use reader::FileReader;
pub use writer::FileWriter;

pub(crate) use gather::inline_extents;
pub(crate) use pool::{BlockPool, PoolKey};

/// Bytes that all readers of a client together fetch ahead, in KiB.
const READ_AHEAD_KIB: usize = 256 << 10;

/// Files of blocks on this machine that all readers of a client together have open.
const OPEN_FILES: usize = 128;

/// What all readers and writers of a client share.
#[derive(Debug)]
pub(crate) struct DataEnv {
    config: ClientConfig,
    nodes: Datanodes,
    doors: Doors,
    verified: Verified,
    avoid: Avoid,
    ahead_budget: Arc<Semaphore>,
    /// Files of blocks that may be open to read from.
    files: Arc<Semaphore>,
}

/// Access to block data. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Data {
    namespace: Namespace,
    env: Arc<DataEnv>,
}

impl Data {
    pub(crate) fn new(namespace: Namespace, config: ClientConfig, channels: Arc<Channels>) -> Self {
        let env = DataEnv {
            nodes: Datanodes::new(channels),
            doors: Doors::default(),
            verified: Verified::default(),
            files: Arc::new(Semaphore::new(OPEN_FILES)),
            avoid: Avoid::new(config.avoid_failed_for),
            ahead_budget: Arc::new(Semaphore::new(READ_AHEAD_KIB)),
            config,
        };
        let env = Arc::new(env);
        Self { namespace, env }
    }

    /// The same connections for another caller.
    pub(crate) fn with(&self, namespace: Namespace) -> Self {
        let env = self.env.clone();
        Self { namespace, env }
    }

    /// A writer of one file's new bytes, with the replication of its bucket. `bucket`: any
    /// directory of it.
    pub fn writer(&self, bucket: DirRef, session: &Arc<Session>) -> FileWriter {
        self.writer_with(bucket, session, None)
    }

    /// A writer with a replication of its own.
    pub fn writer_with(
        &self,
        bucket: DirRef,
        session: &Arc<Session>,
        replication: Option<Replication>,
    ) -> FileWriter {
        let key = PoolKey::new(bucket, replication);
        FileWriter::new(
            self.env.clone(),
            session.clone(),
            session.pool(key, &self.env),
        )
    }

    /// A reader of one file of which the beginning of the map is known.
    pub(crate) fn reader_knowing(
        &self,
        inode: Inode,
        map: GetExtentsResponse,
    ) -> Result<FileReader> {
        let reader = self.reader(inode);
        reader.learn(map)?;
        Ok(reader)
    }

    /// A reader of one file.
    pub fn reader(&self, inode: Inode) -> FileReader {
        FileReader::new(self.env.clone(), self.namespace.clone(), inode)
    }
}
