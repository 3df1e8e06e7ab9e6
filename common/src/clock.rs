//! The time seam: wall time for timestamps, monotonic time for timeouts and leases, and sleeping.
//!
//! Code takes a `&dyn Clock` instead of asking the machine, so that tests and the simulator decide
//! what time it is.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// A future that ends when a sleep is over.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where time comes from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Wall time: nanoseconds since 1970. May jump.
    fn wall_ns(&self) -> u64;

    /// Wall time: milliseconds since 1970. May jump.
    fn wall_ms(&self) -> u64 {
        self.wall_ns() / 1_000_000
    }

    /// Time since some fixed moment of this process; never goes back.
    fn monotonic(&self) -> Duration;

    /// Ends once `duration` of monotonic time has passed.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Monotonic time counts from here.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall_ns(&self) -> u64 {
        // A wall clock before 1970 or past 2554 reads as the nearest end.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[derive(Debug, Clone, Copy)]
struct Now {
    wall_ns: u64,
    monotonic: Duration,
}

/// A clock that stands still until it is told to move. Sleepers wake when it passes their time.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Now>,
}

impl ManualClock {
    /// Starts at `wall_ms` milliseconds since 1970, with monotonic time zero.
    pub fn new(wall_ms: u64) -> Self {
        let now = Now {
            wall_ns: wall_ms * 1_000_000,
            monotonic: Duration::ZERO,
        };
        Self {
            now: watch::Sender::new(now),
        }
    }

    /// Moves both times on.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| {
            now.monotonic += by;
            now.wall_ns += u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        });
    }

    /// Sets wall time alone, as an operator or NTP does; monotonic time is untouched.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.now
            .send_modify(|now| now.wall_ns = wall_ms * 1_000_000);
    }
}

impl Clock for ManualClock {
    fn wall_ns(&self) -> u64 {
        self.now.borrow().wall_ns
    }

    fn monotonic(&self) -> Duration {
        self.now.borrow().monotonic
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut watcher = self.now.subscribe();
        let until = self.monotonic() + duration;
        Box::pin(async move {
            // An error means that the clock is gone: nobody can end this sleep any more.
            if watcher
                .wait_for(|now| now.monotonic >= until)
                .await
                .is_err()
            {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn system_time_is_sane() {
        let clock = SystemClock::new();
        assert!(clock.wall_ms() > 1_600_000_000_000);
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }

    #[test]
    fn wall_jumps_leave_monotonic_time_alone() {
        let clock = ManualClock::new(1_000);
        clock.advance(Duration::from_secs(2));
        clock.set_wall_ms(5);
        assert_eq!(clock.wall_ms(), 5);
        assert_eq!(clock.monotonic(), Duration::from_secs(2));
    }

    #[tokio::test]
    async fn sleepers_wake_exactly_when_time_passes() {
        let clock = ManualClock::new(0);
        let mut sleep = clock.sleep(Duration::from_secs(10));
        clock.advance(Duration::from_millis(9_999));
        assert!(futures_poll(&mut sleep).await.is_none());
        clock.advance(Duration::from_millis(1));
        assert!(futures_poll(&mut sleep).await.is_some());
    }

    async fn futures_poll(sleep: &mut Sleep) -> Option<()> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match sleep.as_mut().poll(cx) {
                std::task::Poll::Ready(()) => Some(()),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
