//! The directory that is mounted on: what must be true of it, and what the kernel says of the mount.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;

use crate::mount::MountError;

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// `major:minor` of the filesystem.
    pub(crate) device: String,
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    /// Type, as `fuse.ozone` or `ext4`.
    pub(crate) kind: String,
}

/// The mount on top at `path`, if there is one.
pub(crate) fn mounted_at(path: &Path) -> io::Result<Option<Mounted>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table
        .split(|b| *b == b'\n')
        .filter_map(parse)
        .rfind(|mount| mount.path == path))
}

fn parse(line: &[u8]) -> Option<Mounted> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |at: usize| {
        fields
            .get(at)
            .map(|field| String::from_utf8_lossy(field).into_owned())
    };
    Some(Mounted {
        device: text(2)?,
        path: unescape(fields.get(4)?),
        kind: text(dash + 1)?,
    })
}

/// Undoes `\040` and its like.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if let (b'\\', [a, b, c, after @ ..]) = (first, tail) {
            let digit = |d: &u8| u32::from(d.wrapping_sub(b'0'));
            out.push(u8::try_from(digit(a) * 64 + digit(b) * 8 + digit(c)).unwrap_or(b'?'));
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// The absolute path of a mount point, if it can be mounted on.
pub(crate) fn check(path: &Path, nonempty: bool) -> Result<PathBuf, MountError> {
    let at = |reason: fn(PathBuf) -> MountError| reason(path.to_owned());
    let absolute = path
        .canonicalize()
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => at(MountError::Missing),
            Some(libc::ENOTCONN | libc::ECONNABORTED) => at(MountError::Dead),
            Some(libc::ENOTDIR) => at(MountError::NotADirectory),
            _ => MountError::Unreadable {
                path: path.to_owned(),
                error,
            },
        })?;
    let unreadable = |error| MountError::Unreadable {
        path: path.to_owned(),
        error,
    };
    if let Some(mount) = mounted_at(&absolute).map_err(unreadable)? {
        if !is_dead(&absolute, &mount) {
            return Err(MountError::Mounted {
                path: absolute,
                kind: mount.kind,
            });
        }
        // Nobody is behind it: what a killed mount left goes away, as if it had been unmounted.
        umount2(&absolute, MntFlags::MNT_DETACH).map_err(|_| at(MountError::Dead))?;
        return check(&absolute, nonempty);
    }
    if !absolute.is_dir() {
        return Err(at(MountError::NotADirectory));
    }
    let mut entries = fs::read_dir(&absolute).map_err(unreadable)?;
    // What mkfs leaves in an empty filesystem is nothing to lose.
    let found = entries.find_map(|entry| {
        entry
            .ok()
            .map(|e| e.file_name())
            .filter(|n| n != OsStr::new("lost+found"))
    });
    if let (Some(name), false) = (found, nonempty) {
        return Err(MountError::NotEmpty {
            path: absolute,
            name: String::from_utf8_lossy(name.as_bytes()).into_owned(),
        });
    }
    Ok(absolute)
}

/// Whether the process behind a mount of this filesystem has died.
fn is_dead(path: &Path, mount: &Mounted) -> bool {
    // Attributes may come from the kernel's cache; this question never does.
    let died = |errno| matches!(errno, Errno::ENOTCONN | Errno::ECONNABORTED);
    mount.kind == "fuse.ozone" && statvfs(path).is_err_and(died)
}

/// Tells the kernel how far to read ahead on a mount.
pub(crate) fn set_read_ahead(path: &Path, bytes: usize) -> io::Result<()> {
    let mount = mounted_at(path)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    fs::write(
        format!("/sys/class/bdi/{}/read_ahead_kb", mount.device),
        (bytes >> 10).to_string(),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo_are_understood() {
        let line = br"36 35 98:0 /mnt1 /mnt/my\040files\134x rw,noatime shared:1 master:2 - ext3 /dev/root rw";
        let mount = parse(line).unwrap();
        assert_eq!(mount.path, Path::new("/mnt/my files\\x"));
        assert_eq!(
            (mount.device.as_str(), mount.kind.as_str()),
            ("98:0", "ext3")
        );
        assert_eq!(parse(b"nonsense"), None);
    }

    #[test]
    fn each_reason_not_to_mount_has_its_own_words() {
        let dir = std::env::temp_dir().join(format!("ozone-mountpoint-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert!(matches!(
            check(&dir.join("no"), false),
            Err(MountError::Missing(_))
        ));
        assert_eq!(check(&dir, false).unwrap(), dir.canonicalize().unwrap());
        let file = dir.join("file");
        fs::write(&file, b"x").unwrap();
        assert!(matches!(
            check(&file, false),
            Err(MountError::NotADirectory(_))
        ));
        assert!(
            matches!(check(&dir, false), Err(MountError::NotEmpty { name, .. }) if name == "file")
        );
        assert!(check(&dir, true).is_ok());
        assert!(
            matches!(check(Path::new("/proc"), true), Err(MountError::Mounted { kind, .. }) if kind == "proc")
        );
        fs::remove_dir_all(&dir).unwrap();
    }
}
