//! The names of a directory that this mount may believe.

use std::collections::HashMap;

use bytes::Bytes;

use crate::leases::{Asked, Leases};

/// Names that are kept of one directory.
const MOST: usize = 100_000;

/// What is believed about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belief {
    /// The inode with that number has it.
    Inode(u64),
    /// Nothing has it.
    Nothing,
    /// The namespace has to be asked.
    Unknown,
}

/// Names of one directory; see the module.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// By name the inode, 0 for none.
    known: HashMap<Bytes, u64>,
    /// Whether there are no others.
    complete: bool,
    /// Of the leases that the names are believed by.
    generation: u64,
    /// Epoch of the last removal or foreign change: older answers are not believed.
    doubted: u64,
}

impl Names {
    /// What is believed about `name`.
    pub(crate) fn find(&self, name: &[u8], leases: &Leases) -> Belief {
        if !leases.hold(self.generation) {
            return Belief::Unknown;
        }
        match self.known.get(name) {
            Some(0) => Belief::Nothing,
            Some(id) => Belief::Inode(*id),
            None if self.complete => Belief::Nothing,
            None => Belief::Unknown,
        }
    }

    /// The directory was made just now, by this mount: it is empty.
    pub(crate) fn begin(&mut self, asked: Asked) {
        if self.doubted <= asked.epoch {
            self.start(asked.generation);
            self.complete = true;
        }
    }

    /// Takes a leased answer: the inode `id` has the name. False when it is not to be believed.
    pub(crate) fn learn(&mut self, name: &[u8], id: u64, asked: Asked) -> bool {
        if self.doubted > asked.epoch || self.generation > asked.generation {
            self.complete = false;
            return false;
        }
        if self.generation < asked.generation || self.known.len() >= MOST {
            self.start(asked.generation);
        }
        self.known.insert(Bytes::copy_from_slice(name), id);
        true
    }

    /// As [`learn`](Self::learn): nothing has the name.
    pub(crate) fn learn_absence(&mut self, name: &[u8], asked: Asked) -> bool {
        self.learn(name, 0, asked)
    }

    fn start(&mut self, generation: u64) {
        self.known.clear();
        self.complete = false;
        self.generation = generation;
    }

    /// This mount took the name away, or gave it to another inode, in the change `epoch`.
    pub(crate) fn remove(&mut self, name: &[u8], epoch: u64) {
        self.known.remove(name);
        self.doubted = epoch;
    }

    /// Somebody else changed the name: heard of in `epoch`.
    pub(crate) fn doubt(&mut self, name: &[u8], epoch: u64) {
        self.remove(name, epoch);
        self.complete = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ozone_common::clock::ManualClock;

    use super::*;

    fn leases() -> (Arc<ManualClock>, Leases) {
        let clock = Arc::new(ManualClock::new(0));
        let leases = Leases::new(clock.clone());
        leases.renewed(Duration::from_secs(3600));
        (clock, leases)
    }

    #[test]
    fn a_directory_of_ones_own_is_known_whole() {
        let (_, leases) = leases();
        let mut names = Names::default();
        assert_eq!(names.find(b"a", &leases), Belief::Unknown);
        names.begin(leases.asked());
        assert_eq!(names.find(b"a", &leases), Belief::Nothing);
        assert!(names.learn(b"a", 7, leases.asked()));
        assert_eq!(names.find(b"a", &leases), Belief::Inode(7));
        names.remove(b"a", leases.next_epoch());
        assert_eq!(names.find(b"a", &leases), Belief::Nothing);
    }

    #[test]
    fn a_foreign_change_ends_belief_in_the_name_and_in_absence() {
        let (_, leases) = leases();
        let mut names = Names::default();
        names.begin(leases.asked());
        names.learn(b"a", 7, leases.asked());
        names.learn(b"b", 8, leases.asked());
        names.doubt(b"a", leases.next_epoch());
        assert_eq!(names.find(b"a", &leases), Belief::Unknown);
        assert_eq!(names.find(b"c", &leases), Belief::Unknown);
        assert_eq!(names.find(b"b", &leases), Belief::Inode(8));
    }

    #[test]
    fn an_answer_older_than_a_change_is_not_believed() {
        let (_, leases) = leases();
        let mut names = Names::default();
        names.begin(leases.asked());
        let asked = leases.asked();
        names.doubt(b"a", leases.next_epoch());
        assert!(!names.learn(b"a", 7, asked));
        assert!(!names.learn_absence(b"b", asked));
        assert_eq!(names.find(b"a", &leases), Belief::Unknown);
    }

    #[test]
    fn nothing_is_believed_once_leases_end_or_start_anew() {
        let (clock, leases) = leases();
        let mut names = Names::default();
        names.begin(leases.asked());
        names.learn(b"a", 7, leases.asked());
        let asked = leases.asked();
        leases.forget_everything();
        assert_eq!(names.find(b"a", &leases), Belief::Unknown);
        assert!(names.learn(b"b", 8, leases.asked()));
        assert_eq!(names.find(b"b", &leases), Belief::Inode(8));
        assert!(!names.learn(b"a", 7, asked));
        clock.advance(Duration::from_secs(3600));
        assert_eq!(names.find(b"b", &leases), Belief::Unknown);
    }
}
