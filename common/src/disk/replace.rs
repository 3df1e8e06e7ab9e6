//! Replacing a small file so that a crash leaves the old or the new content, whole.

use std::io;
use std::path::Path;

use super::{Disk, OpenMode};

/// Ending of the names of files that are being written. What a crash leaves of them may be removed.
pub const TMP_SUFFIX: &str = ".tmp";

/// Makes `content` the content of `path`, durably: written beside it, fsynced, renamed over it, and
/// the directory fsynced. One writer at a time per path.
pub fn replace_file(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not the path of a file",
        ));
    };
    let mut tmp_name = name.to_os_string();
    tmp_name.push(TMP_SUFFIX);
    let tmp = dir.join(tmp_name);
    let file = disk.open(&tmp, OpenMode::Truncate)?;
    file.write_at(content, 0)?;
    file.sync_data()?;
    disk.rename(&tmp, path)?;
    disk.sync_dir(dir)
}

/// Creates `dir` and what is missing above it, durably.
pub fn create_dir_durably(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if disk.exists(dir)? {
        return Ok(());
    }
    let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return disk.create_dir_all(dir);
    };
    create_dir_durably(disk, parent)?;
    disk.create_dir_all(dir)?;
    disk.sync_dir(parent)
}
