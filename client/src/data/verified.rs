//! What this client has verified of blocks, replica by replica: a datanode lends the file of a block to whoever has
//! read and verified all of it.

use std::collections::HashMap;

use ozone_common::coverage::Coverage;
use parking_lot::Mutex;

use super::extent_map::BlockRange;
use super::place::Place;

/// Replicas that are remembered; with more, all are forgotten.
const MOST: usize = 256;

/// Datanode, container and number of a block.
type Replica = (String, u64, u64);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<Replica, Coverage>>);

impl Verified {
    /// These bytes of the replica on the datanode `uuid` were read and are what was written.
    pub(super) fn note(&self, uuid: &str, range: &BlockRange) {
        let (mut known, replica) = (self.0.lock(), replica(uuid, &range.place));
        if known.len() >= MOST && !known.contains_key(&replica) {
            known.clear();
        }
        let bytes = range.offset..range.offset + range.length;
        known.entry(replica).or_default().add(bytes);
    }

    /// The replica has other bytes now.
    pub(super) fn doubt(&self, uuid: &str, range: &BlockRange) {
        self.0.lock().remove(&replica(uuid, &range.place));
    }

    /// Whether all of a block was verified on that datanode.
    pub(super) fn has_all(&self, uuid: &str, block: &BlockRange) -> bool {
        let known = self.0.lock();
        let coverage = known.get(&replica(uuid, &block.place));
        coverage.is_some_and(|coverage| coverage.covers(block.length))
    }
}

fn replica(uuid: &str, place: &Place) -> Replica {
    (uuid.to_owned(), place.container, place.local)
}
