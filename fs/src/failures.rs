//! Changes that a program took for made and that were lost: fsync and close tell of them, once to each
//! handle that was open then, and to the next that is opened if nobody has been told yet.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::errno::{FsError, Result};

/// Failures of one inode; see the module.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    count: u64,
    /// How many of them somebody has been told of.
    told: u64,
    last: Option<FsError>,
}

impl Failures {
    /// One more.
    pub(crate) fn add(&mut self, error: FsError) {
        self.count += 1;
        self.last = Some(error);
    }

    /// How many of them a handle that is opened now need not tell of.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    /// The last failure, if a handle that has told of `seen` has not told of it.
    pub(crate) fn untold(&self, seen: &AtomicU64) -> Option<FsError> {
        let untold = seen.load(Ordering::Acquire) < self.count;
        untold.then(|| self.last.clone()).flatten()
    }

    /// The last failure, if a handle that has told of `seen` has not told of it; from now on it has.
    pub(crate) fn tell(&mut self, seen: &AtomicU64) -> Result<()> {
        if seen.swap(self.count, Ordering::AcqRel) >= self.count {
            return Ok(());
        }
        self.told = self.count;
        self.last.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_failure_is_told_once_to_each_handle() {
        let mut failures = Failures::default();
        let handles = [failures.told(), failures.told()].map(AtomicU64::new);
        failures.add(Errno::EIO.into());
        failures.add(Errno::EEXIST.into());
        for seen in &handles {
            assert!(failures.tell(seen).unwrap_err().is(Errno::EEXIST));
            assert!(failures.tell(seen).is_ok());
        }
        failures.add(Errno::EIO.into());
        assert!(failures.tell(&handles[0]).unwrap_err().is(Errno::EIO));
    }

    #[test]
    fn whoever_opens_later_is_told_of_what_nobody_was() {
        let mut failures = Failures::default();
        failures.add(Errno::EIO.into());
        let later = AtomicU64::new(failures.told());
        // Looking tells nobody.
        assert!(failures.untold(&later).is_some_and(|e| e.is(Errno::EIO)));
        assert!(failures.tell(&later).unwrap_err().is(Errno::EIO));
        assert!(failures.untold(&later).is_none());
        let latest = AtomicU64::new(failures.told());
        assert!(failures.tell(&latest).is_ok());
    }
}
