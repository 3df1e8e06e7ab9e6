//! Whether an inode is open here, and whether the namespace takes it to be: what loses its last name lives on
//! for as long as it does.

use super::Inode;

impl Inode {
    /// This inode is made in memory; the namespace hears of it later.
    pub(crate) fn begin(&self) {
        let mut node = self.node.lock();
        node.waiting += 1;
        node.unborn = true;
    }

    /// What makes this inode is sent now. Returns whether the namespace is to take it for open; if not,
    /// nothing of it has to be released. What is sent again may have arrived the first time.
    pub(crate) fn born(&self) -> bool {
        let mut node = self.node.lock();
        if std::mem::take(&mut node.unborn) {
            node.held = node.handles > 0;
        }
        node.held
    }

    /// Whether the namespace has not been sent what makes this inode.
    pub(crate) fn unborn(&self) -> bool {
        self.node.lock().unborn
    }

    /// One more handle, of which the namespace knows; through one that is not `direct`, the kernel brings in pages.
    pub(crate) fn add_handle(&self, direct: bool) {
        let mut node = self.node.lock();
        node.handles += 1;
        node.paged |= !direct;
        node.held = true;
    }

    /// One handle less. Returns how many are left.
    pub(crate) fn drop_handle(&self) -> u32 {
        let mut node = self.node.lock();
        node.handles = node.handles.saturating_sub(1);
        node.paged &= node.handles > 0;
        node.handles
    }

    /// Whether one handle of the file is open, and no more.
    pub(crate) fn is_open_once(&self) -> bool {
        self.node.lock().handles == 1
    }

    /// Whether the kernel may have brought in pages since the file was opened.
    pub(crate) fn is_paged(&self) -> bool {
        self.node.lock().paged
    }

    /// Whether a program has the file open.
    pub(crate) fn is_open(&self) -> bool {
        self.node.lock().handles > 0
    }

    /// Whether the namespace takes the file for open by this mount.
    pub(crate) fn held(&self) -> bool {
        self.node.lock().held
    }

    /// The namespace keeps the file for this mount, as if it were open.
    pub(crate) fn hold(&self) {
        self.node.lock().held = true;
    }

    /// Whether the namespace has to be told that the last handle is gone.
    pub(crate) fn to_release(&self) -> bool {
        let node = self.node.lock();
        node.held && node.handles == 0
    }

    /// The namespace was told.
    pub(crate) fn released(&self) {
        self.node.lock().held = false;
    }
}
