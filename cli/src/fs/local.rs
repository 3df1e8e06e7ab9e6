//! This machine's own files, as `file:` paths and as the local end of copies.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ozone_client::ofs::{FileStatus, Kind, OfsError, Times};
use ozone_common::caller::{group_id, group_name, user_id, user_name};
use tokio::fs;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::error::Trouble;
use super::system::Source;

/// As Hadoop's local filesystem says.
const BLOCK_SIZE: u64 = 32 << 20;

/// Where paths that are not absolute start.
pub(super) fn home() -> String {
    let dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    dir.to_string_lossy().into_owned()
}

/// What is at `path`.
pub(super) async fn status(path: &str) -> io::Result<FileStatus> {
    let path = PathBuf::from(path);
    blocking(move || {
        let meta = std::fs::metadata(&path)?;
        Ok(describe(String::new(), &meta))
    })
    .await
}

/// The entries of a directory, in the order of their names.
pub(super) async fn list(path: &str) -> io::Result<Vec<FileStatus>> {
    let path = PathBuf::from(path);
    blocking(move || {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A link that leads nowhere is shown as itself.
            let meta = std::fs::metadata(entry.path()).or_else(|_| entry.metadata())?;
            entries.push(describe(name, &meta));
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    })
    .await
}

/// The bytes of a file from `offset`.
pub(super) async fn read(path: &str, offset: u64) -> io::Result<fs::File> {
    let mut file = fs::File::open(path).await?;
    if file.metadata().await?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if offset > 0 {
        file.seek(io::SeekFrom::Start(offset)).await?;
    }
    Ok(file)
}

/// Makes a file of everything that `source` gives. Until it is whole it has another name; a device or a pipe takes
/// the bytes as they come.
pub(super) async fn write(path: &Path, mut source: Source, overwrite: bool) -> io::Result<()> {
    let found = match fs::metadata(path).await {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match &found {
        Some(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Some(_) if !overwrite => return Err(io::ErrorKind::AlreadyExists.into()),
        Some(found) if !found.is_file() => {
            let mut file = fs::OpenOptions::new().write(true).open(path).await?;
            tokio::io::copy(&mut source, &mut file).await?;
            return file.flush().await;
        }
        _ => {}
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!("{name}._COPYING_"));
    let written = fill(&part, source).await;
    let done = match written {
        Ok(()) => fs::rename(&part, path).await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        // What went wrong first is what the user has to know.
        let _ = fs::remove_file(&part).await;
    }
    done
}

async fn fill(part: &Path, mut source: Source) -> io::Result<()> {
    let mut file = fs::File::create(part).await?;
    tokio::io::copy(&mut source, &mut file).await?;
    file.flush().await
}

/// Removes a file or an empty directory; with `recursive`, whatever is in a directory too.
pub(super) async fn delete(path: &str, recursive: bool) -> io::Result<()> {
    let found = fs::symlink_metadata(path).await?;
    match found.is_dir() {
        true if recursive => fs::remove_dir_all(path).await,
        true => fs::remove_dir(path).await,
        false => fs::remove_file(path).await,
    }
}

/// Sets permission bits.
pub(super) async fn set_permission(path: &str, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o7777)).await
}

/// Sets the owner and the group.
pub(super) async fn set_owner(
    path: &str,
    owner: Option<String>,
    group: Option<String>,
) -> Result<(), Trouble> {
    let path = PathBuf::from(path);
    let change = move || {
        let uid = known("user", owner, user_id)?;
        let gid = known("group", group, group_id)?;
        Ok(std::os::unix::fs::chown(&path, uid, gid)?)
    };
    let joined = tokio::task::spawn_blocking(change).await;
    joined.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

fn known(
    kind: &'static str,
    name: Option<String>,
    look_up: fn(&str) -> Option<u32>,
) -> Result<Option<u32>, Trouble> {
    let Some(name) = name else { return Ok(None) };
    match look_up(&name) {
        Some(id) => Ok(Some(id)),
        None => Err(OfsError::Unknown { kind, name }.into()),
    }
}

/// Sets times.
pub(super) async fn set_times(path: &str, times: Times) -> io::Result<()> {
    let path = PathBuf::from(path);
    blocking(move || {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let mut set = std::fs::FileTimes::new();
        if let Some(ms) = times.modified_ms {
            set = set.set_modified(at(ms));
        }
        if let Some(ms) = times.accessed_ms {
            set = set.set_accessed(at(ms));
        }
        std::fs::File::open(&path)?.set_times(set)
    })
    .await
}

fn describe(name: String, meta: &std::fs::Metadata) -> FileStatus {
    let kind = match meta.file_type() {
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_file() => Kind::File,
        kind if kind.is_symlink() => Kind::Symlink,
        _ => Kind::Special,
    };
    let directory = kind == Kind::Directory;
    let ms = |seconds: i64, ns: i64| {
        let ms = seconds.saturating_mul(1000).saturating_add(ns / 1_000_000);
        u64::try_from(ms).unwrap_or(0)
    };
    FileStatus {
        name,
        kind,
        length: if directory { 0 } else { meta.len() },
        replication: u32::from(!directory),
        block_size: if directory { 0 } else { BLOCK_SIZE },
        modified_ms: ms(meta.mtime(), meta.mtime_nsec()),
        accessed_ms: ms(meta.atime(), meta.atime_nsec()),
        mode: meta.mode() & 0o7777,
        owner: user_name(meta.uid()),
        group: group_name(meta.gid()),
        inode: None,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| Err(io::Error::other(error)))
}
