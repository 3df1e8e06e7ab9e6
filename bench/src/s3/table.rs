//! The table of ratios of S3.

use std::fmt;

use crate::measure::median;

/// The place whose rates are compared with those of all others.
const OURS: &str = "ozone";

struct Row {
    name: &'static str,
    /// Rates by place, one a round.
    rates: Vec<Vec<f64>>,
}

/// Rates of places, by row.
pub(crate) struct Table {
    places: Vec<&'static str>,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(places: Vec<&'static str>) -> Self {
        Self {
            places,
            rows: Vec::new(),
        }
    }

    /// Notes a rate of a place, which is named by its position.
    pub(crate) fn record(&mut self, name: &'static str, place: usize, rate: f64) {
        eprintln!("  {name}  {:>5}  {rate:>10.1}", self.places[place]);
        let known = self.rows.iter().position(|row| row.name == name);
        let at = known.unwrap_or_else(|| {
            self.rows.push(Row {
                name,
                rates: vec![Vec::new(); self.places.len()],
            });
            self.rows.len() - 1
        });
        self.rows[at].rates[place].push(rate);
    }

    fn ours(&self) -> Option<usize> {
        self.places.iter().position(|name| *name == OURS)
    }
}

impl Row {
    /// Ratios of `ours` to `other`, round by round: the median, the least and the most.
    fn ratio(&self, ours: usize, other: usize) -> (f64, f64, f64) {
        let pairs = self.rates[ours].iter().zip(&self.rates[other]);
        let ratios: Vec<f64> = pairs.map(|(ours, other)| ours / other).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        (median(&ratios), least, most)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(ours) = self.ours() else {
            return Ok(());
        };
        let others: Vec<usize> = (0..self.places.len()).filter(|at| *at != ours).collect();
        write!(f, "{:<28}", "S3")?;
        for place in &self.places {
            write!(f, " {place:>10}")?;
        }
        for other in &others {
            let title = format!("{OURS}/{}", self.places[*other]);
            write!(f, " {title:>12} {:>13}", "least-most")?;
        }
        for row in &self.rows {
            write!(f, "\n{:<28}", row.name)?;
            for rates in &row.rates {
                write!(f, " {:>10.1}", median(rates))?;
            }
            for other in &others {
                let (middle, least, most) = row.ratio(ours, *other);
                write!(f, " {middle:>12.3} {:>13}", format!("{least:.2}-{most:.2}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_place_is_compared_round_by_round() {
        let mut table = Table::new(vec!["raw", "ozone", "minio"]);
        for (raw, ours, minio) in [(100.0, 50.0, 25.0), (200.0, 80.0, 80.0)] {
            for (place, rate) in [raw, ours, minio].into_iter().enumerate() {
                table.record("PUT", place, rate);
            }
        }
        let text = table.to_string();
        let line = text.lines().nth(1).unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let wanted = [
            "PUT",
            "150.0",
            "65.0",
            "52.5",
            "0.450",
            "0.40-0.50",
            "1.500",
            "1.00-2.00",
        ];
        assert_eq!(words, wanted);
    }
}
