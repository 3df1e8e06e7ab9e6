//! The names of the trash: `.Trash/<user>/Current` in a bucket is what a user has thrown away since the last
//! checkpoint, and a checkpoint beside it has the time as its name.

use std::time::Duration;

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use crate::config::{Config, ConfigError};

/// The directory of a bucket that has everybody's trash.
pub const TRASH: &str = ".Trash";
/// What was thrown away since the last checkpoint.
pub const CURRENT: &str = "Current";

const MINUTE: u64 = 60;

/// How long a checkpoint is kept; nothing when the trash is switched off.
pub fn keep(config: &Config) -> Result<Option<Duration>, ConfigError> {
    let keep = minutes(config, ["ozone.fs.trash.interval", "fs.trash.interval"])?;
    Ok(Some(keep).filter(|keep| !keep.is_zero()))
}

/// How often checkpoints are made and removed that are kept for so long.
pub fn checkpoint_interval(config: &Config, keep: Duration) -> Result<Duration, ConfigError> {
    let keys = [
        "ozone.fs.trash.checkpoint.interval",
        "fs.trash.checkpoint.interval",
    ];
    let interval = minutes(config, keys)?;
    Ok(match interval.is_zero() || interval > keep {
        true => keep,
        false => interval,
    })
}

/// Of two keys the first wins, where it is set.
fn minutes(config: &Config, [first, second]: [&str; 2]) -> Result<Duration, ConfigError> {
    let key = match config.is_set(first) {
        true => first,
        false => second,
    };
    let minutes = config.get_int(key)?;
    Ok(Duration::from_secs(minutes.saturating_mul(MINUTE)))
}

/// The name of a checkpoint: year, month, day, hour, minute and second, two digits each.
pub fn stamp(at: OffsetDateTime) -> String {
    format!(
        "{:02}{:02}{:02}{:02}{:02}{:02}",
        at.year() % 100,
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// When the checkpoint of that name was made, if it is the name of one.
pub fn made_at(name: &str) -> Option<OffsetDateTime> {
    let digits = name.split('-').next().unwrap_or(name);
    if digits.len() != 12 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let pair = |at: usize| digits[2 * at..2 * at + 2].parse::<u8>().ok();
    let month = Month::try_from(pair(1)?).ok()?;
    let date = Date::from_calendar_date(2000 + i32::from(pair(0)?), month, pair(2)?).ok()?;
    let time = Time::from_hms(pair(3)?, pair(4)?, pair(5)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_named_by_its_time_and_found_by_it() {
        let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        assert_eq!(stamp(at), "231114221320");
        assert_eq!(made_at(&stamp(at)), Some(at));
        assert_eq!(made_at("231114221320-1"), Some(at));
        for name in ["Current", "231314221320", "2311142213", "23111422132x"] {
            assert_eq!(made_at(name), None, "{name}");
        }
    }

    #[test]
    fn the_interval_of_checkpoints_is_at_most_as_long_as_they_are_kept() {
        let pairs = |pairs: &[(&str, &str)]| {
            let config = Config::from_pairs(pairs.iter().copied()).unwrap();
            let keep = keep(&config).unwrap()?;
            let interval = checkpoint_interval(&config, keep).unwrap();
            Some((keep.as_secs() / 60, interval.as_secs() / 60))
        };
        assert_eq!(pairs(&[]), None);
        let (ours, hadoops) = ("ozone.fs.trash.interval", "fs.trash.interval");
        let interval = "fs.trash.checkpoint.interval";
        assert_eq!(pairs(&[(hadoops, "60")]), Some((60, 60)));
        assert_eq!(pairs(&[(hadoops, "60"), (ours, "0")]), None);
        assert_eq!(pairs(&[(ours, "60"), (interval, "10")]), Some((60, 10)));
        assert_eq!(pairs(&[(ours, "60"), (interval, "70")]), Some((60, 60)));
    }
}
