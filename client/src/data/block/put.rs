//! Making chunks of a block durable: `PutBlock` at the leader of its pipeline, one at a time.

use ozone_proto::hdds::datanode::container_command_response_proto::Body as Answer;
use ozone_proto::hdds::datanode::{ContainerCommandResponseProto as Response, Result as Code};
use std::time::Duration;
use tokio::time::Instant;

use super::{OpenBlock, Progress, State, requests};
use crate::ClientError;
use crate::data::node::Pending;

/// Bytes stored but not proven after which a `PutBlock` is sent without being asked for.
const PUT_EVERY: usize = 16 << 20;
/// Pause before a pipeline without a known leader is asked again.
const ELECTION_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Put {
    pub(super) state: PutState,
    /// Chunks that it makes durable: the first ones of `unproven`.
    pub(super) chunks: usize,
    /// When the first attempt began.
    pub(super) since: Instant,
    /// Leaders followed without a pause.
    pub(super) hops: usize,
    /// Nothing more is expected for now: the datanodes may close their files.
    pub(super) eof: bool,
}

#[derive(Debug)]
pub(super) enum PutState {
    Asking(Pending),
    /// Ask again then.
    Again(Instant),
}

impl OpenBlock {
    /// Sends a `PutBlock` when enough is stored; with `all`, when everything is.
    pub(in crate::data) fn put_if_due(&mut self, all: bool) {
        if self.put.is_some() {
            return;
        }
        let stored = self
            .unproven
            .iter()
            .take_while(|sent| matches!(sent.state, State::Stored));
        let (chunks, bytes) =
            stored.fold((0, 0), |(n, b), sent| (n + 1, b + sent.chunk.data.len()));
        let complete = chunks == self.unproven.len() && (all || self.full);
        if chunks == 0 || !(complete || bytes >= PUT_EVERY.min(self.env.config.write_window / 2)) {
            return;
        }
        if complete {
            self.short_circuit.end();
        }
        self.put = Some(Put {
            state: PutState::Asking(self.start_put(chunks, complete)),
            chunks,
            since: Instant::now(),
            hops: 0,
            eof: complete,
        });
    }

    pub(super) fn put_answered(&mut self, answer: &Response) -> Progress {
        if answer.result() == Code::PipelineNotLeader {
            return self.follow(answer.leader_uuid.as_deref());
        }
        let Some(Answer::PutBlock(answer)) = &answer.body else {
            return Progress::Lost(self.protocol("no answer to PutBlock"));
        };
        let Some(put) = self.put.take() else {
            return Progress::Stored;
        };
        let bcsid = answer
            .committed_block_length
            .block_id
            .block_commit_sequence_id();
        let member = &self.place.members[self.leader];
        self.env.avoid.datanode_works(&member.uuid);
        let place = self.place.clone();
        let proven = self.unproven.drain(..put.chunks);
        Progress::Proven(
            proven
                .flat_map(|sent| requests::extents(&place, &sent, bcsid))
                .collect(),
        )
    }

    pub(super) fn put_failed(&mut self, error: ClientError) -> Progress {
        // The datanode may just have opened the file anew.
        if let ClientError::Datanode { result, .. } = &error
            && *result == Code::ChunkFileInconsistency
            && self.send_placed()
        {
            tracing::debug!(block = self.place.name(), %error, "chunks in place were refused");
            return Progress::Stored;
        }
        if !self.replace(self.leader, &error) {
            return Progress::Lost(error);
        }
        self.put_again()
    }

    /// Asks the leader that was named, or another member after a pause.
    fn follow(&mut self, leader: Option<&str>) -> Progress {
        let named = leader.and_then(|uuid| self.place.index(uuid));
        let other = self.next_live(self.leader);
        let Some(put) = &mut self.put else {
            return Progress::Stored;
        };
        if put.since.elapsed() > self.env.config.write_timeout {
            self.env.avoid.pipeline(&self.place.pipeline);
            let reason = "the pipeline found no leader";
            return Progress::Lost(ClientError::unavailable(self.what(), reason));
        }
        let known = named.filter(|index| *index != self.leader && put.hops < self.dead.len());
        match known {
            Some(index) => {
                put.hops += 1;
                self.leader = index;
                self.put_again()
            }
            None => {
                put.hops = 0;
                self.leader = other;
                put.state = PutState::Again(Instant::now() + ELECTION_PAUSE);
                Progress::Stored
            }
        }
    }

    pub(super) fn put_again(&mut self) -> Progress {
        let Some((chunks, eof)) = self.put.as_ref().map(|put| (put.chunks, put.eof)) else {
            return Progress::Stored;
        };
        let pending = self.start_put(chunks, eof);
        if let Some(put) = &mut self.put {
            put.state = PutState::Asking(pending);
        }
        Progress::Stored
    }
}
