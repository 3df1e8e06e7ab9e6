//! Which containers are to be looked at.

use std::collections::BTreeSet;

use ozone_common::ids::ContainerId;
use parking_lot::Mutex;

/// Containers whose replicas changed since the last look; or all, when a datanode came or went.
#[derive(Debug, Default)]
pub(crate) struct Due(Mutex<Look>);

/// What to look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// All containers, whatever is named.
    pub(crate) all: bool,
    /// These containers.
    pub(crate) named: BTreeSet<ContainerId>,
    /// Those of them whose order could not be carried out.
    pub(crate) failed: BTreeSet<ContainerId>,
}

impl Due {
    /// These are to be looked at.
    pub(crate) fn mark(&self, containers: &[ContainerId]) {
        self.0.lock().named.extend(containers);
    }

    /// An order for the container could not be carried out.
    pub(crate) fn fail(&self, container: ContainerId) {
        let mut look = self.0.lock();
        look.named.insert(container);
        look.failed.insert(container);
    }

    /// All are to be looked at.
    pub(crate) fn mark_all(&self) {
        self.0.lock().all = true;
    }

    /// Takes what is to be looked at.
    pub(crate) fn take(&self) -> Look {
        std::mem::take(&mut *self.0.lock())
    }
}
