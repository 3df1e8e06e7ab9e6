//! What a datanode is told with its next heartbeat.
//!
//! Commands are hints: the decisions behind them are made again from the next report, so a lost
//! command costs time and nothing else. The queue keeps one command per purpose, and does not
//! repeat one before the datanode had time to act on it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ozone_common::ids::{ContainerId, DatanodeId, PipelineId};
use ozone_proto::scm::{Command, command::Body};

/// What a command is for: two commands with the same key do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CommandKey {
    /// Make a pipeline.
    CreatePipeline(PipelineId),
    /// Know where the members of a pipeline are; each list of places is its own purpose.
    PipelineMoved(PipelineId, u64),
    /// Take part in a pipeline no more.
    ClosePipeline(PipelineId),
    /// Close a container; by force, at the length that it has.
    CloseContainer(ContainerId, bool),
    /// Delete a container.
    DeleteContainer(ContainerId),
    /// Copy a container to another datanode.
    Replicate(ContainerId, DatanodeId),
    /// Delete blocks; each batch is its own purpose.
    DeleteBlocks(u64),
}

/// A command for a datanode.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeCommand {
    /// What it is for.
    pub(crate) key: CommandKey,
    /// What it says.
    pub(crate) body: Body,
    /// How long the datanode has to act before it is told again.
    pub(crate) patience: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    id: i64,
    again: Duration,
}

/// Commands for one datanode.
#[derive(Debug, Default)]
pub(crate) struct CommandQueue {
    waiting: VecDeque<NodeCommand>,
    sent: HashMap<CommandKey, Sent>,
}

impl CommandQueue {
    /// Queues a command, unless one of the same purpose waits or was sent a short time ago. True
    /// if it was queued.
    pub(crate) fn push(&mut self, command: NodeCommand, now: Duration) -> bool {
        if self
            .sent
            .get(&command.key)
            .is_some_and(|sent| sent.again > now)
        {
            return false;
        }
        if self
            .waiting
            .iter()
            .any(|waiting| waiting.key == command.key)
        {
            return false;
        }
        self.waiting.push_back(command);
        true
    }

    /// Takes up to `limit` waiting commands; `next_id` numbers them.
    pub(crate) fn take(
        &mut self,
        limit: usize,
        now: Duration,
        mut next_id: impl FnMut() -> i64,
    ) -> Vec<Command> {
        self.sent.retain(|_, sent| sent.again > now);
        let count = limit.min(self.waiting.len());
        let mut commands = Vec::with_capacity(count);
        for command in self.waiting.drain(..count) {
            let id = next_id();
            let sent = Sent {
                id,
                again: now + command.patience,
            };
            self.sent.insert(command.key, sent);
            commands.push(Command {
                id,
                body: Some(command.body),
            });
        }
        commands
    }

    /// What a command that was sent was for.
    pub(crate) fn purpose(&self, id: i64) -> Option<CommandKey> {
        let found = self.sent.iter().find(|(_, sent)| sent.id == id);
        found.map(|(key, _)| *key)
    }

    /// The datanode started anew: what it was told is forgotten, what waits may be outdated.
    pub(crate) fn reset(&mut self) {
        self.waiting.clear();
        self.sent.clear();
    }

    /// Commands that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_proto::scm::ClosePipeline;
    use uuid::Uuid;

    use super::*;

    fn close(n: u128) -> NodeCommand {
        let id = PipelineId(Uuid::from_u128(n));
        NodeCommand {
            key: CommandKey::ClosePipeline(id),
            body: Body::ClosePipeline(ClosePipeline {
                pipeline_id: id.to_string(),
            }),
            patience: Duration::from_secs(10),
        }
    }

    fn numbers() -> impl FnMut() -> i64 {
        let mut next = 0;
        move || {
            next += 1;
            next
        }
    }

    #[test]
    fn one_command_per_purpose_until_patience_ends() {
        let mut queue = CommandQueue::default();
        let at = Duration::from_secs;
        assert!(queue.push(close(1), at(0)));
        assert!(!queue.push(close(1), at(0)));
        assert!(queue.push(close(2), at(0)));
        assert_eq!(queue.take(10, at(1), numbers()).len(), 2);
        assert!(!queue.push(close(1), at(10)));
        assert!(queue.push(close(1), at(11)));
    }

    #[test]
    fn answers_are_matched_and_a_restart_forgets() {
        let mut queue = CommandQueue::default();
        queue.push(close(1), Duration::ZERO);
        let sent = queue.take(10, Duration::ZERO, numbers());
        assert_eq!(queue.purpose(sent[0].id), Some(close(1).key));
        queue.reset();
        assert_eq!(queue.purpose(sent[0].id), None);
        assert!(queue.push(close(1), Duration::ZERO));
    }

    #[test]
    fn a_long_queue_is_taken_in_parts() {
        let mut queue = CommandQueue::default();
        for n in 0..5 {
            queue.push(close(n), Duration::ZERO);
        }
        assert_eq!(queue.take(3, Duration::ZERO, numbers()).len(), 3);
        assert_eq!(queue.len(), 2);
    }
}
