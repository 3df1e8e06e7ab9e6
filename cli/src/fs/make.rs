//! `-mkdir`, `-touchz`, `-touch`.

use ozone_client::ofs::Times;
use time::{Date, Month, PrimitiveDateTime, Time};

use super::error::{FsError, Result, Trouble};
use super::item::Item;
use super::location::parent_of;
use super::options::{ANY, Format};
use super::run::Run;
use super::words::local_offset;

const MKDIR: Format = Format::new(&["p"], (1, ANY));
const TOUCHZ: Format = Format::new(&[], (1, ANY));
const TOUCH: Format = Format {
    flags: &["a", "m", "c"],
    values: &["t"],
    arguments: (1, ANY),
};

/// Makes directories.
pub(super) async fn mkdir(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = MKDIR.parse(words)?;
    let parents = given.has("p");
    for item in run.expand(&given.arguments).await? {
        if let Err(error) = make(&item, parents).await {
            run.tell(error).await?;
        }
    }
    Ok(())
}

async fn make(item: &Item, parents: bool) -> Result<()> {
    if item.exists() {
        item.check_directory()?;
        return match parents {
            true => Ok(()),
            false => Err(FsError::exists(&item.text)),
        };
    }
    if !parents && let Some(parent) = parent_of(&item.path) {
        let found = item.system.found(parent).await;
        if found.map_err(|trouble| trouble.at(&item.text))?.is_none() {
            let parent = format!("{}{parent}", item.system.uri());
            return Err(FsError::missing(&parent));
        }
    }
    let made = item.system.mkdirs(&item.path).await;
    made.map_err(|trouble| trouble.at(&item.text))
}

/// Makes empty files.
pub(super) async fn touchz(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = TOUCHZ.parse(words)?;
    for item in run.expand(&given.arguments).await? {
        let done = match &item.status {
            Some(_) if item.is_directory() => item.check_no_directory(),
            Some(status) if status.length > 0 => {
                Err(FsError::path(&item.text, "Not a zero-length file"))
            }
            _ => create(&item).await,
        };
        if let Err(error) = done {
            run.tell(error).await?;
        }
    }
    Ok(())
}

/// Makes a file without content, in a directory that is there.
async fn create(item: &Item) -> Result<()> {
    if !item.exists() && !item.parent_exists().await? {
        return Err(item.missing_in_full());
    }
    let nothing = Box::pin(tokio::io::empty());
    let made = item.system.write(&item.path, nothing, true).await;
    made.map_err(|trouble| trouble.at(&item.text))
}

/// Sets the times of files, which are made where they are missing.
pub(super) async fn touch(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = TOUCH.parse(words)?;
    let at = match given.value("t") {
        Some(text) => {
            let wrong = format!("Unable to parse the specified timestamp {text}");
            parse_time(text).ok_or(FsError::Argument(wrong))?
        }
        None => now_ms(),
    };
    let both = given.has("a") == given.has("m");
    let times = Times {
        modified_ms: Some(at).filter(|_| both || given.has("m")),
        accessed_ms: Some(at).filter(|_| both || given.has("a")),
    };
    for item in run.expand(&given.arguments).await? {
        if !item.exists() && given.has("c") {
            continue;
        }
        if let Err(error) = touch_one(&item, times).await {
            run.tell(error).await?;
        }
    }
    Ok(())
}

async fn touch_one(item: &Item, times: Times) -> Result<()> {
    if !item.exists() {
        create(item).await?;
    }
    let set = item.system.set_times(&item.path, times).await;
    set.map_err(|trouble: Trouble| trouble.at(&item.text))
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// `yyyyMMdd:HHmmss`, where this machine is, in milliseconds since the epoch.
fn parse_time(text: &str) -> Option<u64> {
    let (day, clock) = text.split_once(':')?;
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if day.len() != 8 || clock.len() != 6 || !all_digits(day) || !all_digits(clock) {
        return None;
    }
    let two = |text: &str, at: usize| text[at..at + 2].parse::<u8>().ok();
    let month = Month::try_from(two(day, 4)?).ok()?;
    let date = Date::from_calendar_date(day[..4].parse().ok()?, month, two(day, 6)?).ok()?;
    let time = Time::from_hms(two(clock, 0)?, two(clock, 2)?, two(clock, 4)?).ok()?;
    let at = PrimitiveDateTime::new(date, time);
    let ahead = local_offset(at.assume_utc().unix_timestamp());
    u64::try_from(at.assume_offset(ahead).unix_timestamp())
        .ok()?
        .checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::words::local_minute;

    #[test]
    fn a_time_is_what_the_clock_here_shows() {
        let at = parse_time("20240131:120559").unwrap_or_default();
        assert_eq!(local_minute(at), "2024-01-31 12:05");
        for text in ["20240131", "20240132:000000", "2024013:1120559", "x"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
