//! Does one thing many times at once, and keeps the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ozone_common::rng::{OsRng, Rng};
use ozone_common::units::parse_duration;

use super::report::Report;
use crate::error::{CliError, Result};
use crate::sh::complain;

/// Characters of a prefix that nobody chose.
const PREFIX_LENGTH: usize = 10;
const PREFIX_LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Options of every load test.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RunOptions {
    /// How many objects
    #[arg(short, long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    number_of_tests: u64,
    /// How many workers
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Objects are named PREFIX/NUMBER; random when not given
    #[arg(short, long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Go on for this long, whatever the number of objects, such as 30s
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Go on after a failure
    #[arg(short, long)]
    fail_at_end: bool,
}

/// The work that workers share.
struct Queue {
    next: AtomicU64,
    limit: u64,
    deadline: Option<Instant>,
    stopped: AtomicBool,
}

impl Queue {
    fn take(&self) -> Option<u64> {
        let late = self.deadline.is_some_and(|end| Instant::now() >= end);
        if late || self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.limit).then_some(number)
    }
}

/// What a worker did.
#[derive(Default)]
struct Done {
    times: Vec<Duration>,
    failures: u64,
}

impl RunOptions {
    /// What names begin with.
    pub(super) fn prefix(&self) -> String {
        if !self.prefix.is_empty() {
            return self.prefix.clone();
        }
        let letter = |_| {
            let at = OsRng.below(PREFIX_LETTERS.len() as u64);
            char::from(PREFIX_LETTERS[usize::try_from(at).unwrap_or_default()])
        };
        (0..PREFIX_LENGTH).map(letter).collect()
    }

    /// Runs `task` for each number. Fails when the workers cannot be run; failures of the task are
    /// in the report, and on stderr as they come.
    pub(super) async fn run<T, F>(&self, timer: &'static str, task: T) -> Result<Report>
    where
        T: Fn(u64) -> F + Send + Sync + 'static,
        F: Future<Output = Result<u64>> + Send,
    {
        let started = Instant::now();
        let queue = Arc::new(Queue {
            next: AtomicU64::new(0),
            limit: match self.duration {
                Some(_) => u64::MAX,
                None => self.number_of_tests,
            },
            deadline: self.duration.map(|duration| started + duration),
            stopped: AtomicBool::new(false),
        });
        let task = Arc::new(task);
        let bytes = Arc::new(AtomicU64::new(0));
        let mut workers = Vec::new();
        for _ in 0..self.threads {
            let (queue, task, bytes) = (queue.clone(), task.clone(), bytes.clone());
            let go_on = self.fail_at_end;
            workers.push(tokio::spawn(async move {
                let mut done = Done::default();
                while let Some(number) = queue.take() {
                    let start = Instant::now();
                    match task(number).await {
                        Ok(moved) => {
                            done.times.push(start.elapsed());
                            bytes.fetch_add(moved, Ordering::Relaxed);
                        }
                        Err(error) => {
                            complain(&format!("{timer} {number} failed: {}", error.report()));
                            done.failures += 1;
                            queue.stopped.fetch_or(!go_on, Ordering::Relaxed);
                        }
                    }
                }
                done
            }));
        }
        let mut report = Report::new(timer);
        for worker in workers {
            let done = worker.await.map_err(|_| CliError::Panicked)?;
            report.add(done.times, done.failures);
        }
        Ok(report.finish(started.elapsed(), bytes.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use std::sync::Mutex;

    use super::*;

    fn options(number_of_tests: u64, fail_at_end: bool) -> RunOptions {
        RunOptions {
            number_of_tests,
            threads: 3,
            prefix: String::new(),
            duration: None,
            fail_at_end,
        }
    }

    #[tokio::test]
    async fn each_number_is_done_once() {
        let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
        let kept = seen.clone();
        let report = options(100, false)
            .run("work", move |number| {
                let seen = seen.clone();
                async move {
                    seen.lock().unwrap().push(number);
                    Ok(2)
                }
            })
            .await
            .unwrap();
        let seen = kept.lock().unwrap();
        assert_eq!(seen.len(), 100);
        assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>().len(), 100);
        assert!(report.to_string().contains("Successful executions: 100"));
        assert!(report.check().is_ok());
    }

    async fn with_failures(fail_at_end: bool) -> Report {
        let task = |number| async move {
            match number {
                10 => Err(CliError::Argument("no".to_owned())),
                _ => Ok(0),
            }
        };
        options(100_000, fail_at_end)
            .run("work", task)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_failure_ends_the_run_unless_told_otherwise() {
        let stopped = with_failures(false).await;
        assert!(stopped.successes() < 99_999);
        let whole = with_failures(true).await;
        assert_eq!(whole.successes(), 99_999);
        for report in [stopped, whole] {
            assert!(report.to_string().contains("Failures: 1"));
            assert!(report.check().is_err());
        }
    }

    #[test]
    fn a_prefix_that_nobody_chose_is_new_each_time() {
        let options = options(1, false);
        let (one, other) = (options.prefix(), options.prefix());
        assert_eq!(one.len(), PREFIX_LENGTH);
        assert_ne!(one, other);
    }
}
