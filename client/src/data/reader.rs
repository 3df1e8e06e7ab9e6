//! Reading a file: its map from the OM, its bytes from the datanodes.
//!
//! Holes read as zeros, and nothing else does: bytes that cannot be had are an error, and a read is
//! shorter than asked for only at the end of the file.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use ozone_proto::namespace::{GetExtentsRequest, GetExtentsResponse, Inode, InodeRef};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::DataEnv;
use super::ahead::{self, Ahead, Part};
use super::extent_map::{BlockRange, ExtentMap, Piece};
use super::gather::join;
use super::own_replica::OwnReplica;
use super::replica;
use crate::namespace::{Namespace, place_of};
use crate::{ClientError, Result};

/// Bytes of a file whose map is asked for at once, and the most extents in one answer.
const MAP_WINDOW: u64 = 1 << 30;
const MAP_LIMIT: u32 = 2048;
/// The map of a file of at most this size is asked for from its start, wherever it is read.
const MAP_WHOLE: u64 = 64 << 20;
/// Pieces of one read that are fetched at the same time.
const CONCURRENT: usize = 16;
/// Times that a map is asked for again because the file changed meanwhile.
const MAX_CHANGES: u32 = 10;
/// How long replicas have to learn what was committed before they were started again, and how often they are asked.
const CATCH_UP: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A reader of one file. Reads may run at the same time.
#[derive(Debug, Clone)]
pub struct FileReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    env: Arc<DataEnv>,
    namespace: Namespace,
    state: Mutex<State>,
    ahead: Mutex<Ahead>,
    own: OwnReplica,
    /// Held by who asks for the map, so that reads at the same time do not all ask.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    inode: Inode,
    map: ExtentMap,
    /// Grows when the map is dropped; an answer from before is not believed.
    generation: u64,
    /// Blocks were not where the map said: the OM is to find out anew.
    doubted: bool,
}

/// What to ask the OM, for the sake of the byte at `wanted`.
struct Question {
    place: InodeRef,
    wanted: u64,
    asked: Range<u64>,
    generation: u64,
    fresh: bool,
}

enum Known {
    Pieces(Vec<Piece>),
    Ask(Question),
}

impl Question {
    fn new(state: &State, wanted: u64, size: u64) -> Result<Self> {
        let start = match state.map.is_empty() && size <= MAP_WHOLE {
            true => 0,
            false => state.map.unknown_from(wanted),
        };
        Ok(Self {
            place: place_of(&state.inode)?.clone(),
            wanted,
            asked: start..size.min(start.saturating_add(MAP_WINDOW)),
            generation: state.generation,
            fresh: state.doubted,
        })
    }

    fn request(&self) -> GetExtentsRequest {
        GetExtentsRequest {
            r#ref: Some(self.place.clone()),
            offset: self.asked.start,
            length: self.asked.end - self.asked.start,
            limit: MAP_LIMIT,
            fresh_locations: self.fresh,
        }
    }
}

impl FileReader {
    pub(super) fn new(env: Arc<DataEnv>, namespace: Namespace, inode: Inode) -> Self {
        let ahead = Ahead::new(env.config.read_ahead, env.ahead_budget.clone());
        let state = State {
            inode,
            map: ExtentMap::default(),
            generation: 0,
            doubted: false,
        };
        let shared = Shared {
            env,
            namespace,
            state: Mutex::new(state),
            ahead: Mutex::new(ahead),
            own: OwnReplica::default(),
            asking: tokio::sync::Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes in the beginning of the file's map, as it came with its inode.
    pub(super) fn learn(&self, map: GetExtentsResponse) -> Result<()> {
        let mut state = self.shared.state.lock();
        let size = state.size().unwrap_or(0);
        match size {
            0 => Ok(()),
            _ => state.map.learn(0, 0..size, map),
        }
    }

    /// Up to `len` bytes from `offset`: fewer only where the file ends.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes> {
        let pieces = self.read_pieces(offset, len).await?;
        let length = pieces.iter().map(Bytes::len).sum();
        Ok(join(pieces, length))
    }

    /// As `read`, in pieces as they came: nothing is copied.
    pub async fn read_pieces(&self, offset: u64, len: usize) -> Result<Vec<Bytes>> {
        let size = self.shared.known_size().await?;
        let end = offset.saturating_add(len as u64).min(size);
        if offset >= end {
            return Ok(Vec::new());
        }
        let shared = &self.shared;
        let start = |range| ahead::spawn(shared.clone().read_range(range));
        let parts = shared.ahead.lock().plan(offset..end, size, start);
        let parts = parts.into_iter().map(|part| self.part(part));
        let mut pieces = Vec::new();
        let mut parts = futures::stream::iter(parts).buffered(CONCURRENT);
        while let Some(mut part) = parts.try_next().await? {
            pieces.append(&mut part);
        }
        Ok(pieces)
    }

    /// The size of the file as last heard of, in bytes.
    pub fn size(&self) -> u64 {
        self.shared.state.lock().size().unwrap_or(0)
    }

    /// Tells of a change of the file. What was read of other content is forgotten.
    pub fn set_inode(&self, inode: Inode) {
        let mut state = self.shared.state.lock();
        let same = state.content() == content(&inode);
        state.inode = inode;
        if !same {
            self.shared.forget(&mut state);
        }
    }

    /// The block that is the whole file, if one is.
    pub(super) async fn whole_block(&self) -> Result<Option<BlockRange>> {
        let size = self.shared.known_size().await?;
        let mut pieces = self.shared.pieces(0..size).await?;
        Ok(match (pieces.pop(), pieces.is_empty()) {
            (Some(Piece::Block(range)), true) if range.offset == 0 => Some(range),
            _ => None,
        })
    }

    pub(super) fn env(&self) -> &Arc<DataEnv> {
        &self.shared.env
    }

    async fn part(&self, part: Part) -> Result<Vec<Bytes>> {
        match part {
            Part::Direct(range) => self.shared.clone().read_range(range).await,
            Part::Ahead { fetch, start, want } => {
                let data = fetch.await.ok();
                match data.and_then(|data| ahead::cut(&data, start, &want)) {
                    Some(pieces) => Ok(pieces),
                    // What failed ahead of time is tried again by who needs it.
                    None => self.shared.clone().read_range(want).await,
                }
            }
        }
    }
}

impl Shared {
    /// The bytes of a range; fewer only if the file became shorter.
    async fn read_range(self: Arc<Self>, range: Range<u64>) -> Result<Vec<Bytes>> {
        let deadline = Instant::now() + CATCH_UP;
        let mut pause = Duration::ZERO;
        loop {
            let error = match self.try_range(&range).await {
                Ok(pieces) => return Ok(pieces),
                Err(error) => error,
            };
            let behind = matches!(error, ClientError::Behind { .. });
            let again = pause.is_zero() || behind && Instant::now() < deadline;
            if !again {
                return Err(error);
            }
            // The map may be out of date, which is asked for at once: blocks move, and are freed when they are replaced.
            tracing::debug!(%error, "read failed, asking for a new map");
            tokio::time::sleep(pause).await;
            pause = PAUSE;
            self.doubt();
        }
    }

    async fn try_range(&self, range: &Range<u64>) -> Result<Vec<Bytes>> {
        let pieces = self.pieces(range.clone()).await?;
        let fetches = pieces.into_iter().map(|piece| self.fetch(piece));
        let data: Vec<Vec<Bytes>> = futures::stream::iter(fetches)
            .buffered(CONCURRENT)
            .try_collect()
            .await?;
        Ok(data.into_iter().flatten().collect())
    }

    async fn fetch(&self, piece: Piece) -> Result<Vec<Bytes>> {
        match piece {
            Piece::Hole(length) => Ok(zeros(length)),
            Piece::Inline(data) => Ok(vec![data]),
            Piece::Block(range) => replica::fetch(&self.env, &self.own, &range).await,
        }
    }

    /// What the bytes of the range are, asking the OM for what is not known.
    async fn pieces(&self, range: Range<u64>) -> Result<Vec<Piece>> {
        if let Known::Pieces(pieces) = self.known(&range)? {
            return Ok(pieces);
        }
        let _asking = self.asking.lock().await;
        let mut changes = 0;
        while changes < MAX_CHANGES {
            let question = match self.known(&range)? {
                Known::Pieces(pieces) => return Ok(pieces),
                Known::Ask(question) => question,
            };
            let answer = self.namespace.extents(question.request()).await?;
            if !self.learn(question, answer)? {
                changes += 1;
            }
        }
        Err(ClientError::unavailable(
            "the file's map",
            "the file keeps changing",
        ))
    }

    /// The range as far as the file goes, or what to ask to get to know it.
    fn known(&self, range: &Range<u64>) -> Result<Known> {
        let state = self.state.lock();
        let size = state.size().unwrap_or(0);
        let range = range.start.min(size)..range.end.min(size);
        if range.is_empty() || state.map.knows(&range) {
            return state.map.pieces(range).map(Known::Pieces);
        }
        Question::new(&state, range.start, size).map(Known::Ask)
    }

    /// Takes in a piece of map. False if the file changed since it was asked for.
    fn learn(&self, question: Question, answer: GetExtentsResponse) -> Result<bool> {
        let mut state = self.state.lock();
        if state.generation != question.generation {
            return Ok(false);
        }
        let Some(inode) = &answer.inode else {
            return Err(ClientError::protocol("OM", "extents without their inode"));
        };
        let changed = content(inode) != state.content();
        if changed {
            state.inode = inode.clone();
            self.forget(&mut state);
        }
        state.map.learn(question.wanted, question.asked, answer)?;
        state.doubted &= !question.fresh;
        Ok(!changed)
    }

    /// The size, asking the OM if it was never told.
    async fn known_size(&self) -> Result<u64> {
        let (known, place) = {
            let state = self.state.lock();
            (state.size(), place_of(&state.inode)?.clone())
        };
        if let Some(size) = known {
            return Ok(size);
        }
        let inode = self.namespace.get_attr(place).await?;
        let mut state = self.state.lock();
        if state.size().is_none() {
            state.inode = inode;
        }
        Ok(state.size().unwrap_or(0))
    }

    fn doubt(&self) {
        let mut state = self.state.lock();
        self.forget(&mut state);
        state.doubted = true;
    }

    fn forget(&self, state: &mut State) {
        state.map = ExtentMap::default();
        state.generation += 1;
        self.ahead.lock().clear();
        self.own.close();
    }
}

impl State {
    fn size(&self) -> Option<u64> {
        self.inode.row.as_ref().map(|row| row.size)
    }

    fn content(&self) -> Option<(u64, u64)> {
        content(&self.inode)
    }
}

/// What changes whenever the content does.
fn content(inode: &Inode) -> Option<(u64, u64)> {
    inode.row.as_ref().map(|row| (row.data_version, row.size))
}

fn zeros(mut length: u64) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while length > 0 {
        let now = length.min(ZEROS.len() as u64);
        pieces.push(Bytes::from_static(&ZEROS[..now as usize]));
        length -= now;
    }
    pieces
}
