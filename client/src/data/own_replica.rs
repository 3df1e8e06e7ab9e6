//! Short-circuit reads: the replica of a block whose datanode is on this machine is read from its file. The datanode
//! brings it into memory, and sends its checksums alone.
//!
//! A file that is not what the checksums say (the block may have another one by now) is not read any more.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ozone_proto::local::{LendToRead, local_request::Body};
use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::DataEnv;
use super::extent_map::BlockRange;
use super::lent::Said;
use super::place::{Member, Place};

/// Shorter ranges are read over the network: to ask for a file costs more.
const LEAST: u64 = 256 << 10;
/// How long a reader waits for files of the datanodes of this machine, before it reads over the network.
const HURRY: Duration = Duration::from_millis(100);
/// How long a datanode may take to open a file.
const PATIENCE: Duration = Duration::from_millis(500);

/// The blocks of which a reader remembers it, the last ones.
const BLOCKS: usize = 4;
/// When a datanode that did not lend a file is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Files of the blocks that a reader reads.
#[derive(Debug, Default)]
pub(super) struct OwnReplica {
    known: Mutex<VecDeque<Known>>,
    /// Held by who asks, so that reads at the same time do not all ask.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Known {
    /// Container and number of the block.
    block: (u64, u64),
    found: Found,
}

#[derive(Debug, Clone)]
enum Found {
    File(Arc<ReplicaFile>),
    /// No datanode of this machine has it.
    Nowhere,
    /// Not now: ask again then.
    Later(Instant),
}

/// The file of a block.
#[derive(Debug)]
pub(super) struct ReplicaFile {
    /// The datanode that has it.
    uuid: String,
    file: File,
    _permit: OwnedSemaphorePermit,
}

impl OwnReplica {
    /// The file of the block, if a datanode of this machine has it and it is worth while.
    pub(super) async fn file(
        &self,
        env: &Arc<DataEnv>,
        range: &BlockRange,
    ) -> Option<Arc<ReplicaFile>> {
        if range.length < LEAST {
            return None;
        }
        if let Some(found) = self.known(&range.place) {
            return found.file();
        }
        match tokio::time::timeout(HURRY, self.find(env, range)).await {
            Ok(found) => found.file(),
            Err(_) => {
                self.leave(range);
                None
            }
        }
    }

    async fn find(&self, env: &Arc<DataEnv>, range: &BlockRange) -> Found {
        let _asking = self.asking.lock().await;
        if let Some(found) = self.known(&range.place) {
            return found;
        }
        let (own, asked) = (env.clone(), range.clone());
        let found = tokio::task::spawn_blocking(move || open(&own, &asked)).await;
        let found = found.unwrap_or(Found::Nowhere);
        self.remember(&range.place, found.clone());
        found
    }

    /// The file is not what it should be.
    pub(super) fn give_up(&self, range: &BlockRange) {
        self.remember(&range.place, Found::Nowhere);
    }

    /// Its datanode does not answer.
    pub(super) fn leave(&self, range: &BlockRange) {
        self.remember(&range.place, Found::Later(Instant::now() + AGAIN));
    }

    /// Closes the files.
    pub(super) fn close(&self) {
        self.known.lock().clear();
    }

    fn known(&self, place: &Place) -> Option<Found> {
        let known = self.known.lock();
        let known = known.iter().find(|known| known.block == block(place))?;
        match known.found {
            Found::Later(then) if then <= Instant::now() => None,
            _ => Some(known.found.clone()),
        }
    }

    fn remember(&self, place: &Place, found: Found) {
        let (mut known, block) = (self.known.lock(), block(place));
        known.retain(|known| known.block != block);
        known.push_back(Known { block, found });
        if known.len() > BLOCKS {
            known.pop_front();
        }
    }
}

impl Found {
    fn file(self) -> Option<Arc<ReplicaFile>> {
        match self {
            Self::File(file) => Some(file),
            Self::Nowhere | Self::Later(_) => None,
        }
    }
}

fn block(place: &Place) -> (u64, u64) {
    (place.container, place.local)
}

/// Asks the datanodes of a block. Blocks.
fn open(env: &DataEnv, range: &BlockRange) -> Found {
    let place = &range.place;
    let mut found = Found::Nowhere;
    for member in &place.members {
        if env.avoid.has_datanode(&member.uuid) {
            found = Found::Later(Instant::now() + AGAIN);
            continue;
        }
        let Ok(permit) = env.files.clone().try_acquire_owned() else {
            return Found::Later(Instant::now() + AGAIN);
        };
        let request = place.ask_locally(Body::LendToRead(LendToRead {}));
        match env.doors.get(&member.uuid).ask_for_file(&request, PATIENCE) {
            Ok(Said::Done(Some(file))) => {
                return Found::File(Arc::new(ReplicaFile {
                    uuid: member.uuid.clone(),
                    file,
                    _permit: permit,
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tracing::trace!(node = member.uuid, "not on this machine");
            }
            other => {
                tracing::debug!(block = place.name(), ?other, "read over the network");
                found = Found::Later(Instant::now() + AGAIN);
            }
        }
    }
    found
}

impl ReplicaFile {
    /// Whether it is the replica of that datanode.
    pub(super) fn is_of(&self, member: &Member) -> bool {
        self.uuid == member.uuid
    }

    /// Reads exactly `length` bytes.
    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut data: Vec<u8> = Vec::with_capacity(length);
        while data.len() < length {
            let at = offset + data.len() as u64;
            if rustix::io::pread(&self.file, spare_capacity(&mut data), at)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        data.truncate(length);
        Ok(data.into())
    }
}
