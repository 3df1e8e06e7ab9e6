//! What is told of a file or directory, with the names of its owner and group.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use ozone_common::caller::{group_name, user_name};
use ozone_proto::hdds::ReplicationFactor;
use ozone_proto::namespace::{Inode, InodeKind, InodeRow};
use parking_lot::Mutex;

use super::error::Result;
use crate::ClientError;
use crate::namespace::place_of;

/// What kind of thing has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory, a bucket, a volume or the root.
    Directory,
    /// A file.
    File,
    /// A symbolic link. Links are shown and not followed.
    Symlink,
    /// A pipe, a socket or a device.
    Special,
}

/// A file or directory.
#[derive(Debug, Clone)]
pub struct FileStatus {
    /// Its name in its directory; empty for the root.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes of content; 0 for directories.
    pub length: u64,
    /// Copies of each byte; 0 for what has no content.
    pub replication: u32,
    /// Bytes of a full block.
    pub block_size: u64,
    /// When the content changed, in milliseconds since the epoch.
    pub modified_ms: u64,
    /// When it was read, in milliseconds since the epoch.
    pub accessed_ms: u64,
    /// Permission bits.
    pub mode: u32,
    /// Name of its owner.
    pub owner: String,
    /// Name of its group.
    pub group: String,
    /// The inode; none for the root.
    pub inode: Option<Inode>,
}

impl FileStatus {
    /// Whether names can be in it.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

/// Names of users and groups by id, each looked up once, off the async threads.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    users: Arc<Mutex<HashMap<u32, String>>>,
    groups: Arc<Mutex<HashMap<u32, String>>>,
}

impl Names {
    async fn user(&self, uid: u32) -> String {
        known_or(&self.users, uid, user_name).await
    }

    async fn group(&self, gid: u32) -> String {
        known_or(&self.groups, gid, group_name).await
    }
}

async fn known_or<K: Copy + Eq + Hash + Send + 'static + ToString>(
    known: &Mutex<HashMap<K, String>>,
    id: K,
    look_up: fn(K) -> String,
) -> String {
    if let Some(name) = known.lock().get(&id) {
        return name.clone();
    }
    let looked_up = tokio::task::spawn_blocking(move || look_up(id)).await;
    let name = looked_up.unwrap_or_else(|_| id.to_string());
    known.lock().insert(id, name.clone());
    name
}

/// What every status is made with.
#[derive(Debug, Clone)]
pub(super) struct Describe {
    pub(super) names: Names,
    pub(super) block_size: u64,
}

impl Describe {
    /// Describes an inode.
    pub(super) async fn inode(&self, inode: Inode) -> Result<FileStatus> {
        let name = String::from_utf8_lossy(&place_of(&inode)?.name).into_owned();
        let Some(row) = inode.row.as_ref() else {
            return Err(ClientError::protocol("OM", "an inode without attributes").into());
        };
        let mut status = self.row(row).await;
        status.name = name;
        status.inode = Some(inode);
        Ok(status)
    }

    /// Describes what has these attributes.
    pub(super) async fn row(&self, row: &InodeRow) -> FileStatus {
        let kind = match row.kind() {
            InodeKind::Directory => Kind::Directory,
            InodeKind::File => Kind::File,
            InodeKind::Symlink => Kind::Symlink,
            _ => Kind::Special,
        };
        let directory = kind == Kind::Directory;
        FileStatus {
            name: String::new(),
            kind,
            length: if directory { 0 } else { row.size },
            replication: if directory { 0 } else { copies(row) },
            block_size: if directory { 0 } else { self.block_size },
            modified_ms: row.mtime_ns / 1_000_000,
            accessed_ms: row.atime_ns / 1_000_000,
            mode: row.mode & 0o7777,
            owner: self.names.user(row.uid).await,
            group: self.names.group(row.gid).await,
            inode: None,
        }
    }
}

fn copies(row: &InodeRow) -> u32 {
    match row.replication.map(|replication| replication.factor()) {
        Some(ReplicationFactor::Three) => 3,
        _ => 1,
    }
}
