//! Changes that are made in memory and sent later: new files, directories and links, attributes, and the
//! content of small files. Only in buckets that are this mount's alone (docs/adr/0002).
//!
//! What is made so is like anything else for this mount: it has its inode, its name is known, and every
//! question to the namespace is asked after what waits has been sent.

use std::sync::Arc;

use ozone_client::Session;
use tokio::sync::oneshot;

use crate::attr::Known;
use crate::backlog::{Entry, Part};
use crate::data::Commit;
use crate::errno::Result;
use crate::inode::Inode;
use crate::names::Belief;
use crate::vfs::open::Opened;
use crate::vfs::{Vfs, Who};
use crate::wire::batch_part::Change;
use crate::wire::extent::Source;
use crate::wire::{
    self, BatchPart, CommitRequest, CreateRequest, InodeKind, InodeRow, SetAttrRequest,
};

/// Content of a closed file that may wait, bytes: what is sent inline.
const SMALL: usize = 16 << 10;
/// What a part takes beside content and names, and what an extent of it takes.
const OVERHEAD: usize = 256;
const EXTENT: usize = 48;

/// How something new is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) session: &'a Session,
    pub(crate) flags: i32,
}

impl Vfs {
    /// Makes something in memory; `None` when it cannot wait, and is to be made at once.
    pub(crate) fn make_later(
        &self,
        who: &Who,
        parent: &Arc<Inode>,
        request: &CreateRequest,
        opening: Option<Opening<'_>>,
    ) -> Option<Result<(Known, Option<Opened>)>> {
        let bucket = parent.children().bucket_id;
        let made = self.backlog.defer(bucket, |entry| {
            if !parent.believed() || parent.nameless() {
                return None;
            }
            let belief = parent.names().lock().find(&request.name, &self.leases);
            if belief != Belief::Nothing {
                return None;
            }
            let object_id = entry.next_id()?;
            let request = CreateRequest {
                object_id,
                exclusive: true,
                ..request.clone()
            };
            Some(self.make_in_memory(entry, (who, parent), request, opening))
        });
        if made.is_none() {
            self.backlog.want(bucket);
        }
        made
    }

    fn make_in_memory(
        &self,
        entry: &mut Entry<'_>,
        (who, parent): (&Who, &Arc<Inode>),
        request: CreateRequest,
        opening: Option<Opening<'_>>,
    ) -> Result<(Known, Option<Opened>)> {
        let (time_ns, asked) = (self.clock.wall_ns(), parent.asked());
        let found = wire::Inode {
            r#ref: Some(wire::InodeRef {
                dir: request.dir,
                name: request.name.clone(),
                object_id: request.object_id,
            }),
            row: Some(new_row(&request, time_ns)),
            leased: true,
            snapshot: 0,
        };
        let directory = request.kind() == InodeKind::Directory;
        let known = self.looked(parent, &request.name, found, asked)?;
        let inode = self.inodes.get(request.object_id)?;
        if directory {
            inode.names().lock().begin(asked);
        }
        inode.begin();
        parent.change_first(|row| {
            (row.mtime_ns, row.ctime_ns) = (time_ns, time_ns);
            row.nlink += u32::from(directory);
        });
        let opened = opening.map(|how| self.opened_new(how.session, &inode, how.flags));
        entry.push(Part {
            who: Some(*who),
            bytes: OVERHEAD + request.name.len() + request.symlink_target.len(),
            change: BatchPart {
                time_ns,
                change: Some(Change::Create(request)),
            },
            inode,
            parent: Some(parent.clone()),
            answer: None,
        });
        Ok((known, opened))
    }

    /// Changes attributes in memory, but not the size; false when the change cannot wait.
    pub(crate) fn set_attr_later(
        &self,
        who: &Who,
        inode: &Arc<Inode>,
        request: &SetAttrRequest,
    ) -> bool {
        let simple = request.size.is_none()
            && request.set_xattrs.is_empty()
            && request.remove_xattrs.is_empty();
        if !simple {
            return false;
        }
        let made = self.backlog.defer(inode.parent().bucket_id, |entry| {
            // A rename of it may be on its way: its place is not sure then.
            let _in_place = self.renaming.try_write().ok()?;
            if !inode.believed() || inode.nameless() {
                return None;
            }
            let time_ns = self.clock.wall_ns();
            let request = with_times(request, inode, time_ns);
            if let (Some(mtime_ns), Some(data)) = (request.mtime_ns, inode.data_if_any()) {
                data.pending.lock().set_mtime(mtime_ns);
            }
            inode.change_first(|row| change(row, &request, time_ns));
            entry.push(Part {
                who: Some(*who),
                bytes: OVERHEAD,
                change: BatchPart {
                    time_ns,
                    change: Some(Change::SetAttr(request)),
                },
                inode: inode.clone(),
                parent: None,
                answer: None,
            });
            Some(())
        });
        made.is_some()
    }

    /// Sends content together with what waits; `None` when it has to be committed by a call of its own.
    pub(crate) fn commit_with_others(
        &self,
        inode: &Inode,
        commit: &CommitRequest,
    ) -> Option<oneshot::Receiver<Result<wire::Inode>>> {
        let inode = self.inodes.peek(inode.id)?;
        let bucket = inode.parent().bucket_id;
        self.backlog.defer_content(bucket, |entry| {
            let _in_place = self.renaming.try_write().ok()?;
            if inode.nameless() {
                return None;
            }
            let (commit, time_ns) = as_it_is(commit, &inode, self.clock.wall_ns());
            let (told, answer) = oneshot::channel();
            inode.change_first(|_| ());
            entry.push(Part {
                who: None,
                bytes: OVERHEAD + extent_bytes(&commit),
                change: BatchPart {
                    time_ns,
                    change: Some(Change::Commit(commit)),
                },
                inode: inode.clone(),
                parent: None,
                answer: Some(told),
            });
            entry.send();
            Some(answer)
        })
    }

    /// Leaves what is pending of a file that is being closed to the background; false when it is to be
    /// committed now.
    pub(crate) fn leave_to_background(&self, inode: &Inode) -> bool {
        let Some(data) = inode.data_if_any() else {
            return true;
        };
        let bucket = inode.parent().bucket_id;
        let left = self.backlog.defer(bucket, |_| {
            let small = data.pending.lock().leave(SMALL);
            small.then_some(())
        });
        left.is_some()
    }

    /// Gives buckets back: what waits there is sent, and content that was left to the background.
    pub(crate) async fn surrender(&self, buckets: Vec<u64>) {
        if buckets.is_empty() {
            return;
        }
        self.backlog.leave(&buckets);
        let left = |inode: &Inode| {
            buckets.contains(&inode.parent().bucket_id) && inode.data().pending.lock().is_left()
        };
        self.flush_dirty(Commit::All, left).await;
        if let Err(error) = self.backlog.settle().await {
            tracing::error!(%error, "buckets are given back, but not all changes could be sent");
        }
        self.backlog.left(&buckets);
    }

    /// Waits until what was made or changed of an inode is durable.
    pub(crate) async fn settle_inode(&self, inode: &Inode) -> Result<()> {
        if !inode.waits() {
            return Ok(());
        }
        self.backlog.settle().await
    }
}

/// The row of something that `request` makes, as the namespace will write it.
fn new_row(request: &CreateRequest, time_ns: u64) -> InodeRow {
    let directory = request.kind() == InodeKind::Directory;
    InodeRow {
        object_id: request.object_id,
        kind: request.kind,
        mode: request.mode & 0o7777,
        uid: request.uid,
        gid: request.gid,
        rdev: request.rdev,
        nlink: if directory { 2 } else { 1 },
        size: request.symlink_target.len() as u64,
        symlink_target: request.symlink_target.clone(),
        atime_ns: time_ns,
        mtime_ns: time_ns,
        ctime_ns: time_ns,
        btime_ns: time_ns,
        ..Default::default()
    }
}

/// The request with its place, and with `now` as a time of its own.
fn with_times(request: &SetAttrRequest, inode: &Inode, now: u64) -> SetAttrRequest {
    SetAttrRequest {
        r#ref: Some(inode.reference()),
        atime_ns: request.atime_ns.or(request.atime_now.then_some(now)),
        mtime_ns: request.mtime_ns.or(request.mtime_now.then_some(now)),
        atime_now: false,
        mtime_now: false,
        ..request.clone()
    }
}

/// The commit with its place, and the time of the change. Both are taken when it takes its turn: a change of
/// the file's times that waits before it is not undone.
fn as_it_is(commit: &CommitRequest, inode: &Inode, now: u64) -> (CommitRequest, u64) {
    let pending = inode
        .data_if_any()
        .and_then(|data| data.pending.lock().times());
    let times = pending.filter(|_| commit.mtime_ns != 0);
    let commit = CommitRequest {
        r#ref: Some(inode.reference()),
        expected_data_version: None,
        mtime_ns: times.map_or(commit.mtime_ns, |times| times.mtime_ns),
        ..commit.clone()
    };
    let time_ns = times.map_or(now, |_| inode.attr().ctime_ns.cast_unsigned());
    (commit, time_ns)
}

/// Makes the change in a row, as the namespace will.
fn change(row: &mut InodeRow, request: &SetAttrRequest, time_ns: u64) {
    row.mode = request.mode.map_or(row.mode, |mode| mode & 0o7777);
    row.uid = request.uid.unwrap_or(row.uid);
    row.gid = request.gid.unwrap_or(row.gid);
    row.atime_ns = request.atime_ns.unwrap_or(row.atime_ns);
    row.mtime_ns = request.mtime_ns.unwrap_or(row.mtime_ns);
    row.ctime_ns = time_ns;
}

fn extent_bytes(commit: &CommitRequest) -> usize {
    let bytes = |extent: &wire::Extent| match &extent.source {
        Some(Source::Inline(inline)) => EXTENT + inline.data.len(),
        _ => EXTENT,
    };
    commit.extents.iter().map(bytes).sum()
}

#[cfg(test)]
#[path = "write_back_test.rs"]
mod tests;
