//! Sizes and durations as people write them in configuration and on the command line.
//!
//! Sizes count in 1024s (`KB`, `MB`, `GB`, `TB`, `PB`), durations take `ns us ms s m h d`. Whole
//! numbers only: `1.5GB` is refused, as it is for quotas.

use std::time::Duration;

/// Text that is no size or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: expected {expected}")]
pub struct UnitError {
    /// `size` or `duration`.
    pub what: &'static str,
    /// What was given.
    pub text: String,
    /// The form that would be right.
    pub expected: &'static str,
}

const SIZE_UNITS: [(&str, u32); 6] = [
    ("PB", 50),
    ("TB", 40),
    ("GB", 30),
    ("MB", 20),
    ("KB", 10),
    ("B", 0),
];

const NANOS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Parses `5GB`, `256 mb`, `16K` or a bare number of bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let bad = || UnitError {
        what: "size",
        text: text.to_owned(),
        expected: "a whole number with B, KB, MB, GB, TB or PB, such as 256MB",
    };
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let unit = unit.to_ascii_uppercase();
    if unit.is_empty() {
        return Ok(number);
    }
    let shift = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == unit || (name.len() == 2 && name[..1] == unit))
        .map(|(_, shift)| *shift)
        .ok_or_else(bad)?;
    number.checked_mul(1u64 << shift).ok_or_else(bad)
}

/// Parses `30s`, `500ms`, `7d`; a bare number counts milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let bad = || UnitError {
        what: "duration",
        text: text.to_owned(),
        expected: "a whole number with ns, us, ms, s, m, h or d, such as 30s",
    };
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let unit = if unit.is_empty() { "ms" } else { unit };
    let nanos = NANOS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, nanos)| *nanos)
        .ok_or_else(bad)?;
    let total = number.checked_mul(nanos).ok_or_else(bad)?;
    Ok(Duration::from_nanos(total))
}

/// Prints a size in the largest unit that keeps it whole: `256MB`, `1000B`.
pub fn format_size(bytes: u64) -> String {
    let unit = SIZE_UNITS
        .iter()
        .find(|(_, shift)| bytes != 0 && bytes.is_multiple_of(1u64 << shift));
    match unit {
        Some((name, shift)) => format!("{}{name}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// Prints a duration in the largest unit that keeps it whole: `30s`, `1500ms`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let unit = NANOS
        .iter()
        .rev()
        .find(|(_, unit)| nanos != 0 && nanos.is_multiple_of(u128::from(*unit)));
    match unit {
        Some((name, unit)) => format!("{}{name}", nanos / u128::from(*unit)),
        None => "0s".to_owned(),
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_in_1024s() {
        assert_eq!(parse_size("5GB").unwrap(), 5 << 30);
        assert_eq!(parse_size("16 kb").unwrap(), 16 << 10);
        assert_eq!(parse_size("4M").unwrap(), 4 << 20);
        assert_eq!(parse_size("100TB").unwrap(), 100 << 40);
        assert_eq!(parse_size("77").unwrap(), 77);
        assert_eq!(parse_size("7B").unwrap(), 7);
    }

    #[test]
    fn fractions_negatives_and_overflow_are_refused() {
        for text in ["1.5GB", "-1", "", "GB", "5XB", "99999999999PB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for text in ["1.5s", "-1", "", "5 weeks", "99999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_default_to_milliseconds() {
        assert_eq!(parse_duration("250").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_duration("5m").unwrap(), Duration::from_secs(300));
        assert_eq!(parse_duration("7d").unwrap(), Duration::from_secs(604_800));
    }

    #[test]
    fn printed_values_parse_back() {
        for bytes in [0, 1, 1000, 1 << 20, 5 << 30, 3 << 50] {
            assert_eq!(parse_size(&format_size(bytes)).unwrap(), bytes);
        }
        for ms in [0, 1, 1500, 30_000, 86_400_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(
                parse_duration(&format_duration(duration)).unwrap(),
                duration
            );
        }
    }
}
