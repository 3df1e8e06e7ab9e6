//! Who holds a database that cannot be opened for its lock.

use std::fs::File;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::error::KvError;

/// RocksDB has no code for a lock that is taken, only these words.
const TAKEN: &str = "lock file";
/// And these when it was this process that took it.
const OURS: &str = "lock hold by current process";

/// The refusal that names the holder, where `error` says that the lock is taken.
pub(crate) fn holder(path: &Path, error: &rocksdb::Error) -> Option<KvError> {
    let text = error.as_ref();
    // To open and close the file would give up this process's own lock.
    let holder = match (text.contains(OURS), text.contains(TAKEN)) {
        (true, _) => None,
        (false, true) => Some(owner(&path.join("LOCK"))?),
        (false, false) => return None,
    };
    Some(KvError::InUse {
        path: path.to_owned(),
        holder,
    })
}

/// The process that has a file locked against writers.
fn owner(file: &Path) -> Option<i32> {
    let file = File::options().write(true).open(file).ok()?;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    let taken = lock.l_type != libc::F_UNLCK as libc::c_short;
    taken.then_some(lock.l_pid)
}
