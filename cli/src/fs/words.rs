//! How sizes, times and permissions are written.

use time::{OffsetDateTime, UtcOffset};

/// A size, with a binary prefix when that is asked for.
pub(super) fn size(bytes: u64, human: bool) -> String {
    const PREFIXES: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
    if !human || bytes < 1024 {
        return bytes.to_string();
    }
    let mut at = (bytes.ilog2() / 10 - 1) as usize;
    let unit = |at: usize| 1_u128 << (10 * (at + 1));
    if u128::from(bytes).is_multiple_of(unit(at)) {
        return format!("{} {}", u128::from(bytes) / unit(at), PREFIXES[at]);
    }
    let tenths = |at| (u128::from(bytes) * 20 + unit(at)) / (2 * unit(at));
    if tenths(at) >= 10240 && at + 1 < PREFIXES.len() {
        at += 1;
    }
    let tenths = tenths(at);
    format!("{}.{} {}", tenths / 10, tenths % 10, PREFIXES[at])
}

/// `rwxr-xr-t`.
pub(super) fn permission(mode: u32) -> String {
    let mut text = String::with_capacity(9);
    for shift in [6, 3, 0] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(if bits & 1 != 0 { 'x' } else { '-' });
    }
    if mode & 0o1000 != 0 {
        text.pop();
        text.push(if mode & 1 != 0 { 't' } else { 'T' });
    }
    text
}

/// `2024-01-31 12:05`, where this machine is.
pub(super) fn local_minute(ms: u64) -> String {
    let at = at(ms);
    let at = at.to_offset(local_offset(at.unix_timestamp()));
    format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute())
}

/// `2024-01-31 12:05:59`, in Greenwich.
pub(super) fn utc_second(ms: u64) -> String {
    let at = at(ms);
    let (hour, minute, second) = at.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02}", at.date())
}

fn at(ms: u64) -> OffsetDateTime {
    let seconds = i64::try_from(ms / 1000).unwrap_or(0);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// How far this machine's clock is ahead of UTC at that moment; nothing when the system does not say.
#[allow(unsafe_code)]
pub(super) fn local_offset(seconds: i64) -> UtcOffset {
    let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call, `tm` is plain data for which zeros are a value, and
    // nothing in this process changes the environment that the call reads.
    let parts = unsafe {
        libc::localtime_r(&raw const seconds, parts.as_mut_ptr());
        parts.assume_init()
    };
    let ahead = i32::try_from(parts.tm_gmtoff).unwrap_or(0);
    UtcOffset::from_whole_seconds(ahead).unwrap_or(UtcOffset::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_digit_and_a_prefix() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1 K"),
            (1280, "1.3 K"),
            (1536, "1.5 K"),
            (1_048_575, "1.0 M"),
            (1 << 20, "1 M"),
            (5 << 30, "5 G"),
            (u64::MAX, "16.0 E"),
        ] {
            assert_eq!(size(bytes, true), text);
        }
        assert_eq!(size(1536, false), "1536");
    }

    #[test]
    fn permissions_are_nine_letters() {
        assert_eq!(permission(0o755), "rwxr-xr-x");
        assert_eq!(permission(0o640), "rw-r-----");
        assert_eq!(permission(0o1777), "rwxrwxrwt");
        assert_eq!(permission(0o1776), "rwxrwxrwT");
    }

    #[test]
    fn times_are_written_for_here_and_for_greenwich() {
        assert_eq!(utc_second(1_700_000_000_123), "2023-11-14 22:13:20");
        assert_eq!(utc_second(0), "1970-01-01 00:00:00");
        assert_eq!(local_minute(1_700_000_000_000).len(), 16);
    }
}
