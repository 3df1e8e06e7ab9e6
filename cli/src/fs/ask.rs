//! `-test`, `-stat`.

use ozone_client::ofs::{FileStatus, Kind};

use super::error::{FsError, Result};
use super::item::Item;
use super::options::{ANY, Format};
use super::run::Run;
use super::words::{permission, utc_second};

const TEST: Format = Format::new(&["d", "e", "f", "s", "z", "w", "r"], (1, 1));
const STAT: Format = Format::new(&[], (1, ANY));

/// Answers a question about a path by the exit code.
pub(super) async fn test(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = TEST.parse(words)?;
    let flag = match given.flags().as_slice() {
        [] => return Err(FsError::Argument("No test flag given".to_owned())),
        [flag] => *flag,
        _ => {
            let text = "Only one test flag is allowed".to_owned();
            return Err(FsError::Argument(text));
        }
    };
    for item in run.expand(&given.arguments).await? {
        let yes = item.status.as_ref().is_some_and(|status| match flag {
            "d" => status.is_directory(),
            "f" => status.kind == Kind::File,
            "s" => status.length > 0,
            "z" => status.length == 0,
            "w" => may(status, 0o2),
            "r" => may(status, 0o4),
            _ => true,
        });
        if !yes {
            run.code = 1;
        }
    }
    Ok(())
}

/// Whether the user of this process may, by the permission bits.
fn may(status: &FileStatus, bit: u32) -> bool {
    let caller = ozone_common::caller::Caller::of_process();
    let shift = match status {
        _ if caller.is_root() => return true,
        status if status.owner == caller.user => 6,
        status if caller.groups.contains(&status.group) => 3,
        _ => 0,
    };
    (status.mode >> shift) & bit != 0
}

/// Prints what is known of files, as a format says.
pub(super) async fn stat(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let mut given = STAT.parse(words)?;
    let mut format = "%y".to_owned();
    if given.arguments[0].contains('%') {
        format = given.arguments.remove(0);
        if given.arguments.is_empty() {
            let text = "Not enough arguments: expected 1 but got 0".to_owned();
            return Err(FsError::Argument(text));
        }
    }
    let work = async |run: &mut Run<'_>, item: Item| {
        let line = fill_in(&format, item.status()?, item.name());
        run.line(&line).await
    };
    run.each(&given.arguments, work).await
}

fn fill_in(format: &str, status: &FileStatus, name: &str) -> String {
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            None => text.push('%'),
            Some('a') => text.push_str(&format!("{:o}", status.mode)),
            Some('A') => text.push_str(&permission(status.mode)),
            Some('b') => text.push_str(&status.length.to_string()),
            Some('F') => text.push_str(match status.kind {
                Kind::Directory => "directory",
                Kind::Symlink => "symlink",
                _ => "regular file",
            }),
            Some('g') => text.push_str(&status.group),
            Some('n') => text.push_str(name),
            Some('o') => text.push_str(&status.block_size.to_string()),
            Some('r') => text.push_str(&status.replication.to_string()),
            Some('u') => text.push_str(&status.owner),
            Some('x') => text.push_str(&utc_second(status.accessed_ms)),
            Some('X') => text.push_str(&status.accessed_ms.to_string()),
            Some('y') => text.push_str(&utc_second(status.modified_ms)),
            Some('Y') => text.push_str(&status.modified_ms.to_string()),
            Some(other) => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_filled_in() {
        let status = FileStatus {
            name: "f".to_owned(),
            kind: Kind::File,
            length: 5,
            replication: 3,
            block_size: 256,
            modified_ms: 1_700_000_000_123,
            accessed_ms: 0,
            mode: 0o640,
            owner: "me".to_owned(),
            group: "us".to_owned(),
            inode: None,
        };
        let format = "%n %b %o %r %a %A %F %u:%g %y %Y %X 100%% %k%";
        assert_eq!(
            fill_in(format, &status, "f"),
            "f 5 256 3 640 rw-r----- regular file me:us 2023-11-14 22:13:20 1700000000123 0 100% k%"
        );
    }
}
