//! One block that is being written, and its pipeline.
//!
//! Chunks go to one member, which passes them on; `PutBlock` goes to the pipeline's leader and makes
//! them durable on a majority. Until then a chunk is unproven and kept here. A member that fails is
//! replaced by another while a majority is left; else the block is lost and its unproven chunks are
//! given back to be written elsewhere.

mod put;
mod requests;
mod short_circuit;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ozone_proto::hdds::datanode::container_command_response_proto::Body as Answer;
use ozone_proto::hdds::datanode::{ContainerCommandResponseProto as Response, Result as Code};
use ozone_proto::namespace::Extent;

use super::DataEnv;
use super::gather::Chunk;
use super::node::Pending;
use super::place::Place;
use crate::{ClientError, Result};
use put::{Put, PutState};
use short_circuit::{Placing, ShortCircuit};

#[derive(Debug)]
pub(super) struct OpenBlock {
    env: Arc<DataEnv>,
    place: Arc<Place>,
    /// Members that failed, by index.
    dead: Vec<bool>,
    /// The members that get chunks and PutBlocks, by index.
    writer: usize,
    leader: usize,
    length: u64,
    unproven: VecDeque<Sent>,
    put: Option<Put>,
    /// Takes no more chunks.
    full: bool,
    /// Not all members store what is written.
    degraded: bool,
    short_circuit: ShortCircuit,
}

#[derive(Debug)]
struct Sent {
    chunk: Chunk,
    offset: u64,
    state: State,
    /// Not sent: put into the file of the block.
    in_place: bool,
}

#[derive(Debug)]
enum State {
    Placing(Placing),
    Sending(Pending),
    Stored,
}

/// What became of a block.
#[derive(Debug)]
pub(super) enum Progress {
    /// Something was stored.
    Stored,
    /// These bytes are durable.
    Proven(Vec<Proven>),
    /// Nothing more can be written to it.
    Lost(ClientError),
}

/// Durable bytes: what to commit for one run of a chunk.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) seq: u64,
    pub(super) extent: Extent,
}

enum Reply {
    Chunk(usize, Result<Response>),
    Placed(usize, Result<()>),
    Put(Result<Response>),
    Retry,
}

impl OpenBlock {
    pub(super) fn new(env: Arc<DataEnv>, place: Arc<Place>) -> Self {
        let dead: Vec<bool> = place
            .members
            .iter()
            .map(|m| env.avoid.has_datanode(&m.uuid))
            .collect();
        let first = dead.iter().position(|dead| !dead).unwrap_or(0);
        let degraded = dead.contains(&true);
        Self {
            dead: vec![false; place.members.len()],
            writer: first,
            leader: first,
            length: 0,
            unproven: VecDeque::new(),
            put: None,
            full: false,
            degraded,
            short_circuit: ShortCircuit::new(&place),
            env,
            place,
        }
    }

    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Bytes that were sent to it.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether nothing was ever sent to it.
    pub(super) fn is_untouched(&self) -> bool {
        self.length == 0
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        !self.full && self.length + bytes as u64 <= self.env.config.longest_block
    }

    /// Takes no more chunks.
    pub(super) fn fill(&mut self) {
        self.full = true;
    }

    /// Whether it is used up and nothing of it is outstanding.
    pub(super) fn is_finished(&self) -> bool {
        self.full && self.unproven.is_empty() && self.put.is_none()
    }

    /// Whether members are missing, asked once for each time that it happens.
    pub(super) fn take_degraded(&mut self) -> bool {
        std::mem::take(&mut self.degraded)
    }

    /// Whether a chunk has to wait for a commit with which the datanode closes the file: it is to be asked for anew,
    /// and knows of what is in place after that.
    pub(super) fn is_ending(&self) -> bool {
        let closing = self.put.as_ref().is_some_and(|put| put.eof);
        let placed = || self.unproven.iter().any(|sent| sent.in_place);
        closing && (self.short_circuit.is_due(self.length) || placed())
    }

    /// To be called before the next chunk is sent. May be dropped and called again.
    pub(super) async fn prepare(&mut self) {
        self.short_circuit
            .prepare(&self.env, &self.place, self.length)
            .await;
    }

    /// Sends the next chunk.
    pub(super) fn send(&mut self, chunk: Chunk) {
        let offset = self.length;
        self.length += chunk.data.len() as u64;
        let file = self.short_circuit.file();
        let in_place = file.is_some();
        let state = match file {
            Some(file) => State::Placing(file.place(chunk.data.clone(), offset)),
            None => State::Sending(self.start_chunk(&chunk, offset)),
        };
        self.unproven.push_back(Sent {
            chunk,
            offset,
            state,
            in_place,
        });
    }

    /// Whether something was sent that is not proven.
    pub(super) fn owes_proof(&self) -> bool {
        !self.unproven.is_empty()
    }

    /// Whether anything is awaited.
    pub(super) fn is_waiting(&self) -> bool {
        self.put.is_some()
            || self
                .unproven
                .iter()
                .any(|s| !matches!(s.state, State::Stored))
    }

    /// Waits for the next answer and takes it in. May be dropped and called again.
    pub(super) async fn progress(&mut self) -> Progress {
        match self.reply().await {
            Reply::Chunk(index, Ok(answer)) => self.chunk_stored(index, &answer),
            Reply::Chunk(_, Err(error)) => self.chunk_failed(error),
            Reply::Placed(index, Ok(())) => {
                self.unproven[index].state = State::Stored;
                Progress::Stored
            }
            Reply::Placed(_, Err(error)) => {
                tracing::warn!(block = self.place.name(), %error, "a chunk was not put in its place");
                self.send_placed();
                Progress::Stored
            }
            Reply::Put(Ok(answer)) => self.put_answered(&answer),
            Reply::Put(Err(error)) => self.put_failed(error),
            Reply::Retry => self.put_again(),
        }
    }

    /// What was not proven, to be written elsewhere.
    pub(super) fn into_unproven(self) -> impl Iterator<Item = Chunk> {
        self.unproven.into_iter().map(|sent| sent.chunk)
    }

    async fn reply(&mut self) -> Reply {
        if let Some(put) = &mut self.put {
            return match &mut put.state {
                PutState::Asking(pending) => {
                    let answer = pending.next().await;
                    Reply::Put(answer.and_then(|answer| match answer.result() {
                        Code::PipelineNotLeader => Ok(answer),
                        _ => pending.good(answer),
                    }))
                }
                PutState::Again(at) => {
                    tokio::time::sleep_until(*at).await;
                    Reply::Retry
                }
            };
        }
        for (index, sent) in self.unproven.iter_mut().enumerate() {
            match &mut sent.state {
                State::Placing(placing) => {
                    let patience = self.env.config.write_timeout;
                    return Reply::Placed(index, placed(placing, patience).await);
                }
                State::Sending(pending) => {
                    return Reply::Chunk(index, pending.next_good().await);
                }
                State::Stored => {}
            }
        }
        std::future::pending().await
    }

    fn chunk_stored(&mut self, index: usize, answer: &Response) -> Progress {
        let Some(Answer::WriteChunk(answer)) = &answer.body else {
            return Progress::Lost(self.protocol("no answer to WriteChunk"));
        };
        let members = &self.place.members;
        let stored = |uuid: &str| answer.stored.iter().any(|stored| stored == uuid);
        let missing: Vec<&str> = match members.len() {
            1 => Vec::new(),
            _ => members
                .iter()
                .map(|m| m.uuid.as_str())
                .filter(|uuid| !stored(uuid))
                .collect(),
        };
        let enough = members.len() - missing.len() >= self.place.majority();
        let reason = format!("chunk not stored on {}", missing.join(", "));
        for index in missing.iter().filter_map(|uuid| self.place.index(uuid)) {
            self.env.avoid.datanode(&members[index].uuid);
            self.degraded |= !self.dead[index];
            self.dead[index] = true;
        }
        if !enough {
            return Progress::Lost(ClientError::unavailable(self.what(), reason));
        }
        self.unproven[index].state = State::Stored;
        Progress::Stored
    }

    fn chunk_failed(&mut self, error: ClientError) -> Progress {
        if !self.replace(self.writer, &error) {
            return Progress::Lost(error);
        }
        // What was on its way through the failed member goes through another one.
        for index in 0..self.unproven.len() {
            let sent = &self.unproven[index];
            if matches!(sent.state, State::Sending(_)) {
                let pending = self.start_chunk(&sent.chunk, sent.offset);
                self.unproven[index].state = State::Sending(pending);
            }
        }
        Progress::Stored
    }

    /// Sends the datanode everything from the first chunk on that is in place, as if nothing was. Whether there
    /// was one.
    fn send_placed(&mut self) -> bool {
        self.short_circuit = ShortCircuit::Never;
        let Some(first) = self.unproven.iter().position(|sent| sent.in_place) else {
            return false;
        };
        self.put = None;
        for index in first..self.unproven.len() {
            let sent = &self.unproven[index];
            let pending = self.start_chunk(&sent.chunk, sent.offset);
            let sent = &mut self.unproven[index];
            (sent.state, sent.in_place) = (State::Sending(pending), false);
        }
        true
    }

    /// After a failure of one member: whether the block can go on through others.
    fn replace(&mut self, member: usize, error: &ClientError) -> bool {
        let failed = &self.place.members[member];
        if let ClientError::Datanode { result, .. } = error {
            match result {
                Code::PipelineNotFound => self.env.avoid.pipeline(&self.place.pipeline),
                // Another block comes with another token.
                Code::BlockTokenVerificationFailed => {}
                Code::DiskOutOfSpace | Code::IoException => self.env.avoid.datanode(&failed.uuid),
                _ => self.env.avoid.container(self.place.container),
            }
            return false;
        }
        tracing::warn!(block = self.place.name(), node = %failed.address, %error, "datanode failed");
        self.env.avoid.datanode(&failed.uuid);
        self.dead[member] = true;
        self.degraded = true;
        let live = self.dead.iter().filter(|dead| !**dead).count();
        if live < self.place.majority() {
            return false;
        }
        if self.dead[self.writer] {
            self.writer = self.next_live(self.writer);
        }
        if self.dead[self.leader] {
            self.leader = self.next_live(self.leader);
        }
        true
    }

    fn next_live(&self, after: usize) -> usize {
        let count = self.dead.len();
        let mut others = (1..=count).map(|step| (after + step) % count);
        others.find(|index| !self.dead[*index]).unwrap_or(after)
    }

    fn what(&self) -> String {
        format!(
            "pipeline {} of block {}",
            self.place.pipeline,
            self.place.name()
        )
    }

    fn protocol(&self, what: &str) -> ClientError {
        ClientError::protocol(self.what(), what)
    }
}

/// Waits until a chunk is in its place. May be dropped and called again.
async fn placed(placing: &mut Placing, patience: Duration) -> Result<()> {
    let failed = |reason: String| ClientError::unavailable("the disk of this machine", reason);
    match tokio::time::timeout(patience, placing).await {
        Ok(Ok(done)) => done.map_err(|error| failed(error.to_string())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {patience:?}"))),
    }
}
