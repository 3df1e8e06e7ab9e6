//! The summary of a load test, as Ozone prints it.

use std::fmt;
use std::time::Duration;

use crate::error::{CliError, Result};

/// Share of executions, and how Ozone calls the time that they stayed under.
const QUANTILES: [(f64, &str); 6] = [
    (0.5, "median ="),
    (0.75, "75% <="),
    (0.95, "95% <="),
    (0.98, "98% <="),
    (0.99, "99% <="),
    (0.999, "99.9% <="),
];

/// What a load test did.
pub(super) struct Report {
    timer: &'static str,
    /// Of each success, in milliseconds; sorted when finished.
    times: Vec<f64>,
    failures: u64,
    took: Duration,
    bytes: u64,
}

impl Report {
    pub(super) fn new(timer: &'static str) -> Self {
        Self {
            timer,
            times: Vec::new(),
            failures: 0,
            took: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Adds what a worker did.
    pub(super) fn add(&mut self, times: Vec<Duration>, failures: u64) {
        let milliseconds = times.iter().map(|time| time.as_secs_f64() * 1e3);
        self.times.extend(milliseconds);
        self.failures += failures;
    }

    /// Closes the report of a run that took so long and moved so many bytes.
    pub(super) fn finish(mut self, took: Duration, bytes: u64) -> Self {
        self.times.sort_by(f64::total_cmp);
        self.took = took;
        self.bytes = bytes;
        self
    }

    /// How often it went well.
    pub(super) fn successes(&self) -> usize {
        self.times.len()
    }

    /// An error when anything failed.
    pub(super) fn check(&self) -> Result<()> {
        match self.failures {
            0 => Ok(()),
            _ => Err(CliError::LoadTest),
        }
    }

    /// The time under which a share of the executions stayed.
    fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.times.len() as f64).ceil() as usize;
        let at = rank.clamp(1, self.times.len().max(1)) - 1;
        self.times.get(at).copied().unwrap_or_default()
    }

    fn mean(&self) -> f64 {
        self.times.iter().sum::<f64>() / self.times.len().max(1) as f64
    }

    fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.times.iter().map(|time| (time - mean).powi(2)).sum();
        (squares / self.times.len().max(1) as f64).sqrt()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        writeln!(f, "-- Timers {:-<70}\n{}", "", self.timer)?;
        writeln!(f, "{:>20} {}", "count =", self.times.len())?;
        let mut line =
            |name: &str, value: f64, unit: &str| writeln!(f, "{name:>20} {value:.2} {unit}");
        let rate = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let calls = rate(self.times.len() as f64);
        let mebibytes = rate(self.bytes as f64) / f64::from(1 << 20);
        line("mean rate =", calls, "calls/second")?;
        line("throughput =", mebibytes, "MB/second")?;
        line("min =", self.quantile(0.0), "milliseconds")?;
        line("max =", self.quantile(1.0), "milliseconds")?;
        line("mean =", self.mean(), "milliseconds")?;
        line("stddev =", self.deviation(), "milliseconds")?;
        for (share, name) in QUANTILES {
            line(name, self.quantile(share), "milliseconds")?;
        }
        writeln!(f, "\n\nTotal execution time (sec): {seconds:.0}")?;
        writeln!(f, "Failures: {}", self.failures)?;
        write!(f, "Successful executions: {}", self.successes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_ozones_lines() {
        let mut report = Report::new("key-create");
        let times = (1..=100).rev().map(Duration::from_millis);
        report.add(times.collect(), 0);
        let text = report.finish(Duration::from_secs(2), 10 << 20).to_string();
        for line in [
            "-- Timers ----------------------------------------------------------------------",
            "key-create",
            "             count = 100",
            "         mean rate = 50.00 calls/second",
            "        throughput = 5.00 MB/second",
            "               min = 1.00 milliseconds",
            "               max = 100.00 milliseconds",
            "              mean = 50.50 milliseconds",
            "            stddev = 28.87 milliseconds",
            "            median = 50.00 milliseconds",
            "              75% <= 75.00 milliseconds",
            "            99.9% <= 100.00 milliseconds",
            "Total execution time (sec): 2",
            "Failures: 0",
            "Successful executions: 100",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} in\n{text}");
        }
    }

    #[test]
    fn a_run_without_success_has_a_summary_too() {
        let mut report = Report::new("key-create");
        report.add(Vec::new(), 3);
        let report = report.finish(Duration::ZERO, 0);
        let text = report.to_string();
        assert!(
            text.contains("Failures: 3\nSuccessful executions: 0"),
            "{text}"
        );
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(report.check().is_err());
    }
}
