//! Samples, and what is said of them.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::place::Kind;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What is counted a second.
    pub(crate) unit: &'static str,
    /// Of the raw disk's rate, what the mount is to reach with one copy of the data.
    pub(crate) goal: Option<f64>,
}

/// The rates of a workload, by place, one a round.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    rates: [Vec<f64>; 3],
}

impl Row {
    /// The median rate of a place.
    pub(crate) fn rate(&self, kind: Kind) -> f64 {
        median(&self.rates[kind as usize])
    }

    /// The mount's rate in relation to another's, of each round.
    fn ratios(&self, to: Kind) -> Vec<f64> {
        let mount = &self.rates[Kind::Mount as usize];
        let others = &self.rates[to as usize];
        mount.iter().zip(others).map(|(m, o)| m / o).collect()
    }

    /// The median over the rounds of the mount's rate in relation to another's.
    pub(crate) fn ratio(&self, to: Kind) -> f64 {
        median(&self.ratios(to))
    }

    /// Least and most of these ratios.
    pub(crate) fn range(&self, to: Kind) -> (f64, f64) {
        let ratios = self.ratios(to);
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        (least, ratios.iter().copied().fold(0.0, f64::max))
    }
}

/// Everything that was measured, in the order of the first round.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) rows: Vec<Row>,
}

impl Results {
    /// Notes that `amount` took `time`.
    pub(crate) fn record(
        &mut self,
        workload: Workload,
        kind: Kind,
        (amount, time): (f64, Duration),
    ) {
        let rate = amount / time.as_secs_f64();
        let unit = workload.unit;
        eprintln!(
            "  {:<28} {:>5}  {rate:>10.1} {unit}",
            workload.name,
            kind.name()
        );
        let known = self.rows.iter().position(|row| row.workload == workload);
        let at = known.unwrap_or_else(|| {
            self.rows.push(Row {
                workload,
                rates: Default::default(),
            });
            self.rows.len() - 1
        });
        self.rows[at].rates[kind as usize].push(rate);
    }
}

/// How long `work` takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed()))
}

/// The middle of the samples, or between the two in the middle.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 9.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), 3.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_compares_what_ran_in_the_same_round() {
        let workload = Workload {
            name: "w",
            unit: "files/s",
            goal: None,
        };
        let mut results = Results::default();
        let second = Duration::from_secs(1);
        // The disk becomes twice as slow in the third round, for both.
        for (raw, mount) in [(100.0, 50.0), (100.0, 40.0), (50.0, 25.0)] {
            results.record(workload, Kind::Raw, (raw, second));
            results.record(workload, Kind::Mount, (mount, second));
        }
        let row = &results.rows[0];
        assert_eq!(row.rate(Kind::Raw), 100.0);
        assert_eq!(row.ratio(Kind::Raw), 0.5);
        assert_eq!(row.range(Kind::Raw), (0.4, 0.5));
    }
}
