//! Which server to ask, and when to ask again.
//!
//! A replicated service has several addresses and one leader. A [`Failover`] starts at the server
//! that answered last, follows the hints of those that are not the leader, goes round when one is
//! out of reach, pauses (longer each round, with jitter) when all were tried, and gives up at a
//! deadline. Calls must be safe to repeat: they carry ids that let the server answer a retry with
//! its first answer.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::clock::Clock;
use ozone_common::rng::Rng;
use parking_lot::Mutex;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::trust::{describe, is_refused};

/// Metadata of a status from a server that is not the leader: the leader's `host:port`, or empty.
const LEADER_KEY: &str = "ozone-leader";

/// What a failed attempt means for the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Try again, elsewhere first.
    Retry,
    /// Ask the leader, which may be known.
    NotLeader(Option<String>),
    /// This server does not talk to us; another one may.
    Unwelcome,
    /// The answer is no, wherever it is asked.
    Fatal,
}

/// An error that knows what it means for the next attempt.
pub trait Classify {
    /// The verdict.
    fn verdict(&self) -> Verdict;
}

impl Classify for Status {
    fn verdict(&self) -> Verdict {
        if let Some(leader) = self.metadata().get(LEADER_KEY) {
            let leader = leader.to_str().unwrap_or_default();
            let known = Some(leader.to_owned()).filter(|leader| !leader.is_empty());
            return Verdict::NotLeader(known);
        }
        if is_refused(self) {
            return Verdict::Unwelcome;
        }
        let transient = matches!(
            self.code(),
            Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled
        );
        // A status with a source comes from our end: the connection broke.
        match transient || self.source().is_some() {
            true => Verdict::Retry,
            false => Verdict::Fatal,
        }
    }
}

/// A status that says all that is known of the failure.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.0))]
pub struct Failed(pub Status);

impl Classify for Failed {
    fn verdict(&self) -> Verdict {
        self.0.verdict()
    }
}

/// The status of a server that is not the leader, with the leader's `host:port` if it knows it.
pub fn not_leader(leader: Option<&str>) -> Status {
    let mut status = Status::unavailable("this server is not the leader");
    let value = MetadataValue::try_from(leader.unwrap_or_default());
    let value = value.unwrap_or_else(|_| MetadataValue::from_static(""));
    status.metadata_mut().insert(LEADER_KEY, value);
    status
}

/// How long and how often to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailoverPolicy {
    /// From the first attempt to giving up.
    pub deadline: Duration,
    /// Longest wait for one attempt; the server may be alive and stuck.
    pub attempt: Duration,
    /// Pause after the first round through all servers; doubles with each.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Default for FailoverPolicy {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            attempt: Duration::from_secs(30),
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_secs(2),
        }
    }
}

/// Why a call got no answer.
#[derive(Debug)]
pub enum FailoverError<E> {
    /// A server said no.
    Refused(E),
    /// Nobody answered in time.
    GaveUp {
        /// Attempts made.
        attempts: u32,
        /// Time spent.
        waited: Duration,
        /// Servers known.
        servers: Vec<String>,
        /// The last failure; none if the last attempt got no answer at all.
        last: Option<E>,
    },
}

impl<E: fmt::Display> fmt::Display for FailoverError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::GaveUp {
                attempts,
                waited,
                servers,
                last,
            } => {
                let servers = servers.join(", ");
                write!(
                    f,
                    "no answer from {servers} in {waited:.1?} and {attempts} attempts: "
                )?;
                match last {
                    Some(last) => last.fmt(f),
                    None => f.write_str("the last attempt timed out"),
                }
            }
        }
    }
}

impl<E: Error + 'static> Error for FailoverError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(error)
            | Self::GaveUp {
                last: Some(error), ..
            } => Some(error),
            Self::GaveUp { last: None, .. } => None,
        }
    }
}

impl<E> FailoverError<E> {
    /// The server's error, whether it was final or only the last.
    pub fn into_last(self) -> Option<E> {
        match self {
            Self::Refused(error) => Some(error),
            Self::GaveUp { last, .. } => last,
        }
    }
}

/// The servers of one service.
#[derive(Debug)]
pub struct Failover {
    servers: Vec<String>,
    /// The server to start with.
    leader: Mutex<String>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    policy: FailoverPolicy,
}

impl Failover {
    /// A service at these `host:port` addresses; there must be at least one.
    pub fn new(
        servers: Vec<String>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        policy: FailoverPolicy,
    ) -> Self {
        let first = servers.first().cloned().unwrap_or_default();
        Self {
            servers,
            leader: Mutex::new(first),
            clock,
            rng,
            policy,
        }
    }

    /// The addresses.
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// The server that the next call starts with.
    pub fn leader(&self) -> String {
        self.leader.lock().clone()
    }

    /// Calls `attempt` with one address after the other until it succeeds, is refused, or the
    /// deadline passes.
    pub async fn call<T, E, F, R>(&self, mut attempt: F) -> Result<T, FailoverError<E>>
    where
        E: Classify,
        F: FnMut(String) -> R,
        R: Future<Output = Result<T, E>>,
    {
        let mut round = Round::new(self);
        loop {
            let server = round.server.clone();
            let limit = self.policy.attempt.min(round.left());
            let outcome = tokio::select! {
                outcome = attempt(server.clone()) => Some(outcome),
                () = self.clock.sleep(limit) => None,
            };
            let (verdict, error) = match outcome {
                Some(Ok(answer)) => {
                    *self.leader.lock() = server;
                    return Ok(answer);
                }
                Some(Err(error)) => (error.verdict(), Some(error)),
                None => (Verdict::Retry, None),
            };
            match (verdict, error) {
                (Verdict::Fatal, Some(error)) => return Err(FailoverError::Refused(error)),
                (verdict, error) => {
                    round.last = error.or(round.last);
                    round.next(verdict).await?;
                }
            }
        }
    }
}

/// The state of one call.
struct Round<'a, E> {
    failover: &'a Failover,
    /// What the last attempt that had an answer ended with.
    last: Option<E>,
    start: Duration,
    server: String,
    attempts: u32,
    /// Attempts since the last pause.
    tried: usize,
    /// Servers that do not talk to us.
    unwelcome: BTreeSet<String>,
    pause: Duration,
}

impl<'a, E> Round<'a, E> {
    fn new(failover: &'a Failover) -> Self {
        Self {
            failover,
            last: None,
            start: failover.clock.monotonic(),
            server: failover.leader(),
            attempts: 0,
            tried: 0,
            unwelcome: BTreeSet::new(),
            pause: failover.policy.first_pause,
        }
    }

    fn waited(&self) -> Duration {
        self.failover.clock.monotonic().saturating_sub(self.start)
    }

    fn left(&self) -> Duration {
        self.failover.policy.deadline.saturating_sub(self.waited())
    }

    /// Chooses the next server, after a pause if all were tried.
    async fn next(&mut self, verdict: Verdict) -> Result<(), FailoverError<E>> {
        self.attempts += 1;
        self.tried += 1;
        if verdict == Verdict::Unwelcome {
            self.unwelcome.insert(self.server.clone());
        }
        let servers = &self.failover.servers;
        if servers.iter().all(|s| self.unwelcome.contains(s))
            && let Some(error) = self.last.take()
        {
            return Err(FailoverError::Refused(error));
        }
        let hint = match verdict {
            Verdict::NotLeader(Some(hint)) if hint != self.server => Some(hint),
            _ => None,
        };
        self.server = hint.unwrap_or_else(|| self.after_current());
        // One attempt more than there are servers: the first may have pointed at any of them.
        let pause = match self.tried > self.failover.servers.len() {
            true => self.take_pause(),
            false => Duration::ZERO,
        };
        if self.left() <= pause {
            return Err(FailoverError::GaveUp {
                attempts: self.attempts,
                waited: self.waited(),
                servers: self.failover.servers.clone(),
                last: self.last.take(),
            });
        }
        if !pause.is_zero() {
            self.failover.clock.sleep(pause).await;
        }
        Ok(())
    }

    fn after_current(&self) -> String {
        let servers = &self.failover.servers;
        let at = servers.iter().position(|server| *server == self.server);
        let next = at.map_or(0, |at| (at + 1) % servers.len());
        servers.get(next).cloned().unwrap_or_default()
    }

    /// Between half and all of the pause that is due.
    fn take_pause(&mut self) -> Duration {
        self.tried = 0;
        let half = self.pause / 2;
        let jitter = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let pause = half + Duration::from_nanos(self.failover.rng.below(jitter));
        self.pause = (self.pause * 2).min(self.failover.policy.longest_pause);
        pause
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::clock::{ManualClock, SystemClock};
    use ozone_common::rng::SeededRng;

    use super::*;

    fn failover(clock: Arc<dyn Clock>) -> Failover {
        let servers = ["a:1", "b:1", "c:1"].map(str::to_owned).to_vec();
        let policy = FailoverPolicy {
            deadline: Duration::from_secs(5),
            attempt: Duration::from_secs(1),
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(4),
        };
        Failover::new(servers, clock, Arc::new(SeededRng::new(1)), policy)
    }

    #[tokio::test]
    async fn hints_lead_straight_to_the_leader_and_are_remembered() {
        let failover = failover(Arc::new(SystemClock::new()));
        let asked = Mutex::new(Vec::new());
        let attempt = |server: String| {
            asked.lock().push(server.clone());
            async move {
                match server.as_str() {
                    "c:1" => Ok(7),
                    _ => Err(not_leader(Some("c:1"))),
                }
            }
        };
        assert_eq!(failover.call(attempt).await.unwrap(), 7);
        assert_eq!(failover.call(attempt).await.unwrap(), 7);
        assert_eq!(*asked.lock(), ["a:1", "c:1", "c:1"]);
    }

    #[tokio::test]
    async fn servers_out_of_reach_are_passed_over_until_one_answers() {
        let failover = failover(Arc::new(SystemClock::new()));
        let asked = Mutex::new(Vec::new());
        let answer = failover.call(|server: String| {
            let mut asked = asked.lock();
            asked.push(server);
            let tries = asked.len();
            async move {
                match tries {
                    1..=9 => Err(Status::unavailable("down")),
                    _ => Ok(tries),
                }
            }
        });
        assert_eq!(answer.await.unwrap(), 10);
        assert_eq!(asked.lock()[..4], ["a:1", "b:1", "c:1", "a:1"]);
    }

    #[tokio::test]
    async fn refusals_are_final() {
        let failover = failover(Arc::new(SystemClock::new()));
        let calls = Mutex::new(0);
        let answer: Result<(), _> = failover
            .call(|_| {
                *calls.lock() += 1;
                async { Err(Status::permission_denied("no")) }
            })
            .await;
        assert!(matches!(answer, Err(FailoverError::Refused(_))));
        assert_eq!(*calls.lock(), 1);
    }

    #[derive(Debug)]
    struct Unwelcome;

    impl Classify for Unwelcome {
        fn verdict(&self) -> Verdict {
            Verdict::Unwelcome
        }
    }

    #[tokio::test]
    async fn servers_that_do_not_trust_us_are_asked_once_each() {
        let failover = failover(Arc::new(SystemClock::new()));
        let asked = Mutex::new(Vec::new());
        let answer: Result<(), _> = failover
            .call(|server| {
                asked.lock().push(server);
                async { Err(Unwelcome) }
            })
            .await;
        assert!(matches!(answer, Err(FailoverError::Refused(Unwelcome))));
        assert_eq!(*asked.lock(), ["a:1", "b:1", "c:1"]);
    }

    #[tokio::test]
    async fn a_stuck_server_is_left_and_the_deadline_holds() {
        let clock = Arc::new(ManualClock::new(0));
        let failover = Arc::new(failover(clock.clone()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, caller) = (asked.clone(), failover.clone());
        let call = tokio::spawn(async move {
            caller
                .call(|server: String| {
                    seen.lock().push(server);
                    std::future::pending::<Result<(), Status>>()
                })
                .await
        });
        while !call.is_finished() {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(100));
        }
        let error = call.await.unwrap().unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, FailoverError::GaveUp { last: None, .. }));
        assert!(text.contains("a:1, b:1, c:1"), "{text}");
        assert!(asked.lock().len() >= 4);
    }

    #[test]
    fn statuses_are_classified() {
        assert_eq!(Status::aborted("x").verdict(), Verdict::Retry);
        assert_eq!(Status::not_found("x").verdict(), Verdict::Fatal);
        assert_eq!(not_leader(None).verdict(), Verdict::NotLeader(None));
        let broken = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(broken.verdict(), Verdict::Retry);
    }
}
