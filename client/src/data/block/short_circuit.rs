//! Short-circuit writes: on the machine of its only datanode, a client puts the chunks of a long block into the
//! block's file by itself, and tells the datanode of them when it commits them. That saves the bytes the way through
//! the network stack, and three copies.
//!
//! The beginning of a block goes to the datanode as ever, so that only long streams ask for the file. When anything
//! is refused, the datanode is sent what is not committed, and all that follows.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ozone_common::disk::{DiskFile, PAST_CACHE_FROM, RealDisk, fits_past_cache};
use ozone_proto::local::{LendToWrite, LocalRequest, local_request::Body};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::data::DataEnv;
use crate::data::lent::{Door, LEND, Said};
use crate::data::place::Place;

/// Chunks that are written to a file at a time: the next one waits at the file already.
const AT_A_TIME: usize = 2;

/// How the next chunks of a block are stored.
#[derive(Debug)]
pub(super) enum ShortCircuit {
    /// By the datanode, which was not asked for the file yet.
    NotAsked,
    Asked(AbortOnDropHandle<io::Result<Arc<PlacedFile>>>),
    /// By this client.
    InPlace(Arc<PlacedFile>),
    /// By the datanode.
    Never,
}

/// The file of a block, while this client may write to it.
#[derive(Debug)]
pub(super) struct PlacedFile {
    file: Arc<dyn DiskFile>,
    turns: Arc<Semaphore>,
}

/// A chunk on its way to its place.
pub(super) type Placing = AbortOnDropHandle<io::Result<()>>;

impl ShortCircuit {
    pub(super) fn new(place: &Place) -> Self {
        match place.members.len() {
            1 => Self::NotAsked,
            _ => Self::Never,
        }
    }

    /// Whether the datanode is to be asked for the file of a block of `length` bytes.
    pub(super) fn is_due(&self, length: u64) -> bool {
        matches!(self, Self::NotAsked) && length >= PAST_CACHE_FROM && fits_past_cache(length, 0)
    }

    /// Asks the datanode for the file if that is due, and waits for its answer. May be dropped and called again.
    pub(super) async fn prepare(&mut self, env: &DataEnv, place: &Place, length: u64) {
        if self.is_due(length) {
            *self = Self::ask(env, place);
        }
        if let Self::Asked(asked) = self {
            *self = match asked.await {
                Ok(Ok(file)) => Self::InPlace(file),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ResourceBusy => Self::NotAsked,
                other => {
                    tracing::debug!(block = place.name(), ?other, "written by its datanode");
                    Self::Never
                }
            };
        }
    }

    fn ask(env: &DataEnv, place: &Place) -> Self {
        let door = env.doors.get(&place.members[0].uuid);
        let request = place.ask_locally(Body::LendToWrite(LendToWrite {}));
        let asked = tokio::task::spawn_blocking(move || PlacedFile::lend(&door, &request));
        Self::Asked(AbortOnDropHandle::new(asked))
    }

    /// The file to put the next chunk into.
    pub(super) fn file(&self) -> Option<&Arc<PlacedFile>> {
        match self {
            Self::InPlace(file) => Some(file),
            _ => None,
        }
    }

    /// The datanode may close the file now.
    pub(super) fn end(&mut self) {
        if !matches!(self, Self::Never) {
            *self = Self::NotAsked;
        }
    }
}

impl PlacedFile {
    fn lend(door: &Door, request: &LocalRequest) -> io::Result<Arc<Self>> {
        match door.ask_for_file(request, LEND)? {
            Said::Done(Some(file)) => Ok(Arc::new(Self {
                file: RealDisk::opened(file),
                turns: Arc::new(Semaphore::new(AT_A_TIME)),
            })),
            Said::Done(None) => Err(io::Error::other("the file did not arrive")),
            Said::Refused { why, .. } => Err(io::Error::other(why)),
        }
    }

    /// Puts a chunk in its place, unless the file is given up before.
    pub(super) fn place(self: &Arc<Self>, data: Bytes, offset: u64) -> Placing {
        let (file, turns) = (Arc::downgrade(self), self.turns.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            let write = move || {
                let _turn = turn;
                let file = file.upgrade().ok_or(io::ErrorKind::Interrupted)?;
                file.file.write_past_cache(&data, offset)
            };
            tokio::task::spawn_blocking(write).await?
        }))
    }
}
