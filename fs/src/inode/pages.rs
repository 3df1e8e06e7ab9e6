//! Which version of a file the pages are of that the kernel has cached: they stay as long as nobody else has
//! changed the file since.

use super::Inode;
use crate::leases::Asked;

/// What pages are of that the kernel has cached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cached {
    /// Version of the extents.
    pub(super) version: u64,
    /// Generation of leases since which this mount would have heard of another's change.
    generation: u64,
}

impl Inode {
    /// Whether the kernel's pages are those of `version`; from now on they are.
    pub(crate) fn cache(&self, version: u64) -> bool {
        let cached = self.cached_now(version);
        let before = self.node.lock().cached.replace(cached);
        before.is_some_and(|before| before.version == version)
    }

    /// The version that the kernel's pages are of.
    pub(crate) fn cached(&self) -> Option<u64> {
        Some(self.node.lock().cached?.version)
    }

    /// A change of this mount, `asked` for then, has made them pages of `version`, if there are any. That is
    /// so only if no leases have ended since they came: else the change may follow somebody else's.
    pub(crate) fn keep_cached(&self, asked: Asked, version: Option<u64>) {
        let lasting = self.leases.hold(asked.generation);
        let mut node = self.node.lock();
        let kept = node
            .cached
            .filter(|cached| lasting && cached.generation == asked.generation);
        node.cached = kept
            .zip(version)
            .map(|(cached, version)| Cached { version, ..cached });
    }

    /// Says which version the kernel's pages are of; `None`: of no single one.
    pub(crate) fn set_cached(&self, version: Option<u64>) {
        let cached = version.map(|version| self.cached_now(version));
        self.node.lock().cached = cached;
    }

    fn cached_now(&self, version: u64) -> Cached {
        Cached {
            version,
            generation: self.leases.asked().generation,
        }
    }
}
