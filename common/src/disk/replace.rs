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

/// Creates `dir` and what is missing above it, durably. A directory that is there already may be the
/// work of a process that was killed before it fsynced the name, so that is made up for.
pub fn create_dir_durably(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let exists = disk.exists(dir)?;
    let Some(parent) = parent else {
        return if exists {
            Ok(())
        } else {
            disk.create_dir_all(dir)
        };
    };
    if !exists {
        create_dir_durably(disk, parent)?;
        disk.create_dir_all(dir)?;
        return disk.sync_dir(parent);
    }
    match disk.sync_dir(parent) {
        // Then no process like this one can have made the directory.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}
