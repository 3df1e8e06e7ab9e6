//! Whether the kernel reads an inode by itself, and under which number it is to know it.

use std::sync::Arc;

use super::{Inode, Node};
use crate::lent::Lent;
use crate::number;

impl Node {
    /// Whether the inode is to be used under its second number: the kernel reads it by itself under the first, or
    /// programs have it open under the second.
    fn needs_second(&self) -> bool {
        let closed = self.lent.as_ref().is_some_and(|lent| lent.is_closed());
        closed || (self.lookups.by_second() && self.handles > 0)
    }

    /// Counts one lookup by the kernel. Returns the number that it is to use.
    pub(super) fn look(&mut self, id: u64) -> u64 {
        let second = self.needs_second();
        if !second && self.lookups.by_second() {
            // The pages that it has under the second number are of no use under the first.
            self.cached = None;
        }
        self.lookups.add(second);
        match second {
            true => number::second(id),
            false => id,
        }
    }
}

impl Inode {
    /// A descriptor of one more handle was closed.
    pub(crate) fn begin_closing(&self) {
        self.node.lock().closing += 1;
    }

    /// That handle is released.
    pub(crate) fn end_closing(&self) {
        let mut node = self.node.lock();
        node.closing = node.closing.saturating_sub(1);
    }

    /// Handles of which a descriptor was closed stay open by another one: they are not waited for again.
    pub(crate) fn forget_closing(&self) {
        self.node.lock().closing = 0;
    }

    /// Whether the file is open only by handles that are being closed.
    pub(crate) fn only_closing(&self) -> bool {
        let node = self.node.lock();
        node.handles > 0 && node.closing == node.handles
    }

    /// What the kernel reads by itself of this inode.
    pub(crate) fn lent(&self) -> Option<Arc<Lent>> {
        self.node.lock().lent.clone()
    }

    /// The kernel reads this by itself, through a first handle.
    pub(crate) fn begin_passing(&self, lent: Arc<Lent>) {
        let mut node = self.node.lock();
        (node.lent, node.passed) = (Some(lent), 1);
    }

    /// One more handle through which the kernel reads by itself, if it does so already.
    pub(crate) fn join_passing(&self) -> Option<Arc<Lent>> {
        let mut node = self.node.lock();
        node.passed += u32::from(node.lent.is_some());
        node.lent.clone()
    }

    /// One handle less. With the last, the kernel does not read by itself any more: returns what it has read.
    pub(crate) fn leave_passing(&self) -> Option<Arc<Lent>> {
        let mut node = self.node.lock();
        node.passed = node.passed.saturating_sub(1);
        match node.passed {
            0 => node.lent.take(),
            _ => None,
        }
    }

    /// Whether it is to be opened under its second number.
    pub(crate) fn needs_second(&self) -> bool {
        self.node.lock().needs_second()
    }

    /// Whether the kernel knows the inode by its second number.
    pub(crate) fn has_second(&self) -> bool {
        self.node.lock().lookups.by_second()
    }
}
