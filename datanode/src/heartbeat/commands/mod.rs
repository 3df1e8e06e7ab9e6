//! Commands of SCM: one file each. They run beside the heartbeats; how they ended goes into the
//! next one. All of them may come again and do no harm then.

mod close_container;
mod close_pipeline;
mod create_pipeline;
mod delete_blocks;
mod delete_container;
mod replicate_container;

use std::collections::HashSet;
use std::sync::Arc;

use ozone_proto::scm::command::Body;
use ozone_proto::scm::{Command, CommandStatus};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use crate::error::OpResult;
use crate::node::Node;

/// Deletions that run at the same time.
const DELETIONS: usize = 4;

/// The commands of one SCM.
pub(super) struct Commands {
    shared: Arc<Shared>,
    ordered: mpsc::UnboundedSender<Command>,
}

struct Shared {
    node: Arc<Node>,
    running: Mutex<HashSet<i64>>,
    done: Mutex<Vec<CommandStatus>>,
    copies: Semaphore,
    deletions: Semaphore,
}

/// What a command came to, beside going well.
#[derive(Debug, Default)]
struct Outcome {
    deleted_transactions: Vec<i64>,
}

impl Commands {
    pub(super) fn new(node: Arc<Node>, copies: usize) -> Self {
        let shared = Arc::new(Shared {
            node,
            running: Mutex::default(),
            done: Mutex::default(),
            copies: Semaphore::new(copies.max(1)),
            deletions: Semaphore::new(DELETIONS),
        });
        let (ordered, queue) = mpsc::unbounded_channel();
        tokio::spawn(in_order(shared.clone(), queue));
        Self { shared, ordered }
    }

    /// Starts commands, except those that still run.
    pub(super) fn start(&self, commands: Vec<Command>) {
        for command in commands {
            if !self.shared.running.lock().insert(command.id) {
                continue;
            }
            match &command.body {
                // A pipeline is closed after the containers that its log still closes.
                Some(Body::CloseContainer(_) | Body::ClosePipeline(_)) => {
                    // The queue ends only with the process.
                    let _ = self.ordered.send(command);
                }
                _ => {
                    tokio::spawn(self.shared.clone().run(command));
                }
            }
        }
    }

    /// How commands ended since the last call.
    pub(super) fn take_statuses(&self) -> Vec<CommandStatus> {
        std::mem::take(&mut *self.shared.done.lock())
    }

    /// SCM did not get these: they are for the next heartbeat.
    pub(super) fn put_back(&self, statuses: Vec<CommandStatus>) {
        let mut done = self.shared.done.lock();
        let newer = std::mem::replace(&mut *done, statuses);
        done.extend(newer);
    }
}

async fn in_order(shared: Arc<Shared>, mut queue: mpsc::UnboundedReceiver<Command>) {
    let gate = shared.node.gate.clone();
    loop {
        let next = tokio::select! {
            () = gate.cancelled() => return,
            next = queue.recv() => next,
        };
        let Some(command) = next else { return };
        shared.clone().run(command).await;
    }
}

impl Shared {
    async fn run(self: Arc<Self>, command: Command) {
        let id = command.id;
        let outcome = self.execute(command).await;
        if let Err(error) = &outcome {
            tracing::warn!(command = id, %error, "command of SCM failed");
        }
        let success = outcome.is_ok();
        let message = outcome
            .as_ref()
            .err()
            .map_or_else(String::new, ToString::to_string);
        let deleted_transactions = outcome.unwrap_or_default().deleted_transactions;
        let status = CommandStatus {
            id,
            success,
            message,
            deleted_transactions,
        };
        self.done.lock().push(status);
        self.running.lock().remove(&id);
        self.node.tell_scm();
    }

    async fn execute(&self, command: Command) -> OpResult<Outcome> {
        let node = &self.node;
        match command.body {
            Some(Body::CreatePipeline(command)) => create_pipeline::run(node, command).await?,
            Some(Body::ClosePipeline(command)) => close_pipeline::run(node, command).await?,
            Some(Body::CloseContainer(command)) => close_container::run(node, command).await?,
            Some(Body::DeleteContainer(command)) => delete_container::run(node, command).await?,
            Some(Body::DeleteBlocks(command)) => {
                let _permit = self.deletions.acquire().await;
                return delete_blocks::run(node, command).await;
            }
            Some(Body::ReplicateContainer(command)) => {
                let _permit = self.copies.acquire().await;
                replicate_container::run(node, command).await?;
            }
            None => {
                return Err(crate::error::OpError::malformed(
                    "a command that is unknown here",
                ));
            }
        }
        Ok(Outcome::default())
    }
}
