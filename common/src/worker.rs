//! Background work: loops with a name, a status that an operator can see, and one way to stop.
//!
//! A [`Worker`] does one round at a time and says when it wants the next. A round that fails is
//! counted, logged and tried again after a growing pause. Shutdown waits for the round under way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// First pause after a failed round; doubles with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause after a failed round.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a round failed. Shown to the operator as text.
pub type WorkError = Box<dyn std::error::Error + Send + Sync>;

/// When the next round is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once: there is more to do.
    Now,
    /// After a pause, or when woken.
    After(Duration),
    /// Only when woken.
    WhenWoken,
    /// Never: the work is done.
    Done,
}

/// A background loop.
#[async_trait]
pub trait Worker: Send + 'static {
    /// Its name, unique in the process.
    fn name(&self) -> String;

    /// One round. Long rounds watch `gate` and end early when it closes.
    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError>;
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// In a round.
    Busy,
    /// Waiting for its next round.
    Idle,
    /// Waiting after a failed round.
    Failing,
    /// Over.
    Stopped,
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Failing => "failing",
            Self::Stopped => "stopped",
        })
    }
}

/// What an operator sees of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: WorkerState,
    /// Rounds finished, failed ones included.
    pub rounds: u64,
    /// Rounds failed.
    pub failures: u64,
    /// Text of the last failure.
    pub last_error: Option<String>,
    /// When the last round ended; milliseconds since 1970.
    pub last_round_ms: Option<u64>,
}

struct Slot {
    status: Mutex<WorkerStatus>,
    wake: Notify,
}

/// All workers of a daemon.
pub struct Workers {
    clock: Arc<dyn Clock>,
    gate: CancellationToken,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl Workers {
    /// No workers yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            gate: CancellationToken::new(),
            slots: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    /// Starts a worker. One of the same name that still runs is replaced in the list, not stopped.
    pub fn spawn(&self, worker: impl Worker) {
        let name = worker.name();
        let status = WorkerStatus {
            name: name.clone(),
            state: WorkerState::Idle,
            rounds: 0,
            failures: 0,
            last_error: None,
            last_round_ms: None,
        };
        let slot = Arc::new(Slot {
            status: Mutex::new(status),
            wake: Notify::new(),
        });
        self.slots.lock().insert(name, slot.clone());
        let loop_ = Loop {
            clock: self.clock.clone(),
            gate: self.gate.clone(),
            slot,
            pause: FIRST_PAUSE,
        };
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(loop_.run(worker)));
    }

    /// Makes a waiting worker do its next round at once. False if there is none of that name.
    pub fn wake(&self, name: &str) -> bool {
        let slot = self.slots.lock().get(name).cloned();
        if let Some(slot) = &slot {
            slot.wake.notify_one();
        }
        slot.is_some()
    }

    /// What every worker is doing, by name.
    pub fn list(&self) -> Vec<WorkerStatus> {
        let slots = self.slots.lock();
        slots.values().map(|s| s.status.lock().clone()).collect()
    }

    /// The gate that closes at shutdown, for loops that are no [`Worker`].
    pub fn gate(&self) -> &CancellationToken {
        &self.gate
    }

    /// Closes the gate and waits until every worker has ended its round.
    pub async fn shutdown(&self) {
        self.gate.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "worker ended badly");
            }
        }
    }
}

struct Loop {
    clock: Arc<dyn Clock>,
    gate: CancellationToken,
    slot: Arc<Slot>,
    pause: Duration,
}

impl Loop {
    async fn run(mut self, mut worker: impl Worker) {
        while !self.gate.is_cancelled() {
            self.slot.status.lock().state = WorkerState::Busy;
            let outcome = worker.work(&self.gate).await;
            let next = self.record(outcome);
            let pause = match next {
                Next::Done => break,
                Next::Now => continue,
                Next::After(pause) => Some(pause),
                Next::WhenWoken => None,
            };
            self.wait(pause).await;
        }
        self.slot.status.lock().state = WorkerState::Stopped;
    }

    fn record(&mut self, outcome: Result<Next, WorkError>) -> Next {
        let mut status = self.slot.status.lock();
        status.rounds += 1;
        status.last_round_ms = Some(self.clock.wall_ms());
        match outcome {
            Ok(next) => {
                status.state = WorkerState::Idle;
                self.pause = FIRST_PAUSE;
                next
            }
            Err(error) => {
                tracing::warn!(worker = status.name, %error, "background work failed");
                status.state = WorkerState::Failing;
                status.failures += 1;
                status.last_error = Some(error.to_string());
                let pause = self.pause;
                self.pause = (pause * 2).min(LONGEST_PAUSE);
                Next::After(pause)
            }
        }
    }

    async fn wait(&self, pause: Option<Duration>) {
        let pause = async {
            match pause {
                Some(pause) => self.clock.sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.gate.cancelled() => {}
            () = self.slot.wake.notified() => {}
            () = pause => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::clock::ManualClock;

    /// Reports each round and takes its outcome from a list.
    struct Scripted {
        rounds: mpsc::UnboundedSender<usize>,
        script: Vec<Result<Next, String>>,
        done: usize,
    }

    #[async_trait]
    impl Worker for Scripted {
        fn name(&self) -> String {
            "scripted".to_owned()
        }

        async fn work(&mut self, _: &CancellationToken) -> Result<Next, WorkError> {
            let outcome = self.script.get(self.done).cloned();
            self.done += 1;
            self.rounds.send(self.done).unwrap();
            outcome.unwrap_or(Ok(Next::WhenWoken)).map_err(Into::into)
        }
    }

    fn start(
        script: Vec<Result<Next, String>>,
    ) -> (Workers, Arc<ManualClock>, mpsc::UnboundedReceiver<usize>) {
        let clock = Arc::new(ManualClock::new(1_000));
        let workers = Workers::new(clock.clone());
        let (rounds, seen) = mpsc::unbounded_channel();
        workers.spawn(Scripted {
            rounds,
            script,
            done: 0,
        });
        (workers, clock, seen)
    }

    async fn idle(workers: &Workers) -> WorkerStatus {
        loop {
            let status = workers.list().remove(0);
            if status.state != WorkerState::Busy && status.rounds > 0 {
                return status;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_round_follows_its_pause_or_a_wake() {
        let hour = Duration::from_secs(3600);
        let script = vec![Ok(Next::Now), Ok(Next::After(hour)), Ok(Next::After(hour))];
        let (workers, clock, mut seen) = start(script);
        assert_eq!(seen.recv().await, Some(1));
        assert_eq!(seen.recv().await, Some(2));
        idle(&workers).await;
        tokio::task::yield_now().await;
        clock.advance(hour);
        assert_eq!(seen.recv().await, Some(3));
        assert!(workers.wake("scripted"));
        assert_eq!(seen.recv().await, Some(4));
        assert!(!workers.wake("nobody"));
        workers.shutdown().await;
    }

    #[tokio::test]
    async fn failures_are_seen_and_retried() {
        let (workers, _, mut seen) = start(vec![Err("disk on fire".to_owned())]);
        assert_eq!(seen.recv().await, Some(1));
        let status = idle(&workers).await;
        assert_eq!(status.state, WorkerState::Failing);
        assert_eq!(status.failures, 1);
        assert_eq!(status.last_error.as_deref(), Some("disk on fire"));
        assert_eq!(status.last_round_ms, Some(1_000));
        workers.wake("scripted");
        assert_eq!(seen.recv().await, Some(2));
        workers.shutdown().await;
    }

    #[tokio::test]
    async fn shutdown_ends_every_loop() {
        let (workers, _, mut seen) = start(vec![]);
        assert_eq!(seen.recv().await, Some(1));
        workers.shutdown().await;
        assert_eq!(workers.list()[0].state, WorkerState::Stopped);
        assert_eq!(seen.recv().await, None);
    }
}
