//! How much room there is on the disks of datanodes.

use std::collections::HashMap;

use ozone_proto::scm::StorageReport;

/// Bytes of the disks of one or more datanodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Space {
    /// Size.
    pub(crate) capacity: u64,
    /// Taken by containers.
    pub(crate) used: u64,
    /// Left.
    pub(crate) remaining: u64,
}

impl Space {
    /// Sums over disks. Directories on one filesystem share its room, whichever datanodes have them.
    pub(super) fn of<'a>(disks: impl Iterator<Item = &'a StorageReport>) -> Self {
        let mut sum = Self::default();
        let mut seen: HashMap<&str, u64> = HashMap::new();
        for disk in disks.filter(|disk| !disk.failed) {
            sum.used = sum.used.saturating_add(disk.used);
            let shared = disk.filesystem.as_str();
            match seen.get_mut(shared).filter(|_| !shared.is_empty()) {
                // Reports differ by what was written between them.
                Some(remaining) => *remaining = disk.remaining.min(*remaining),
                None => {
                    sum.capacity = sum.capacity.saturating_add(disk.capacity);
                    if shared.is_empty() {
                        sum.remaining = sum.remaining.saturating_add(disk.remaining);
                    } else {
                        seen.insert(shared, disk.remaining);
                    }
                }
            }
        }
        let shared = seen.into_values();
        sum.remaining = shared.fold(sum.remaining, u64::saturating_add);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(filesystem: &str, remaining: u64) -> StorageReport {
        StorageReport {
            capacity: 1000,
            used: 10,
            remaining,
            filesystem: filesystem.to_owned(),
            ..StorageReport::default()
        }
    }

    #[test]
    fn a_disk_that_several_directories_are_on_counts_once() {
        let disks = [
            on("a", 300),
            on("b", 50),
            on("a", 290),
            on("a", 295),
            on("", 1),
            on("", 2),
        ];
        let expected = Space {
            capacity: 4000,
            used: 60,
            remaining: 343,
        };
        assert_eq!(Space::of(disks.iter()), expected);
    }
}
