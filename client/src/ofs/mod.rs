//! The cluster as a filesystem of paths, as Hadoop's `ofs` has it, for the command line and for gateways.
//!
//! `/` lists volumes, a volume lists buckets, a bucket is a tree. Directories can be made everywhere: at
//! the first level they are volumes, at the second buckets. Files are written whole and appear at once; a
//! rename stays within its bucket; what is under `.snapshot` can be read and not changed. Whatever is
//! refused is refused before anything has happened.

mod attributes;
mod error;
mod listing;
mod path;
mod status;
mod summary;
mod trash;
mod write;

use std::collections::HashSet;
use std::sync::Arc;

use md5::{Digest, Md5};
use ozone_proto::namespace::{
    CreateRequest, DirRef, Inode, InodeKind, InodeRef, InodeRow, RenameRequest, UnlinkRequest,
};
use ozone_proto::om::BucketLayoutProto;
use parking_lot::Mutex;

use crate::namespace::{ROOT, dir_of, place_of, snapshots_of};
use crate::objects::{BucketName, KeyName, NewSnapshot};
use crate::{Client, ClientError, FileReader};

pub use attributes::Times;
pub use error::{OfsError, Result};
pub use listing::Listing;
pub use path::{Level, OfsPath, SNAPSHOTS};
pub use status::{FileStatus, Kind};
pub use summary::{Checksum, ContentSummary};
pub use trash::{Moved, Trash};
pub use write::{Appender, NewFile};

use status::Describe;

/// Permission bits of new directories.
const DIRECTORY_MODE: u32 = 0o755;
/// Where the volumes are: nobody's, and everybody may look.
const ROOT_MODE: u32 = 0o755;

/// The filesystem, for one caller. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ofs {
    client: Client,
    describe: Describe,
    tmp_bucket: String,
    /// Buckets that are known to be trees.
    trees: Arc<Mutex<HashSet<OfsPath>>>,
}

impl Ofs {
    /// The filesystem of a cluster. With `shared_tmp`, everybody's `/tmp` is the same bucket.
    pub fn new(client: Client, shared_tmp: bool) -> Self {
        let tmp_bucket = match shared_tmp {
            true => "tmp".to_owned(),
            false => tmp_bucket_of(&client.caller().user),
        };
        let describe = Describe {
            names: status::Names::default(),
            block_size: client.config().block_size,
        };
        Self {
            client,
            describe,
            tmp_bucket,
            trees: Arc::default(),
        }
    }

    /// Takes a path apart.
    pub fn path(&self, text: &str) -> Result<OfsPath> {
        OfsPath::parse(text, &self.tmp_bucket)
    }

    /// The client that it speaks through.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What is at `path`.
    pub async fn status(&self, path: &OfsPath) -> Result<FileStatus> {
        if path.level() == Level::Root {
            let row = InodeRow {
                kind: InodeKind::Directory.into(),
                mode: ROOT_MODE,
                ..Default::default()
            };
            return Ok(self.describe.row(&row).await);
        }
        let mut status = self.describe.inode(self.inode(path).await?).await?;
        path.name().clone_into(&mut status.name);
        Ok(status)
    }

    /// The entries of a directory.
    pub async fn list(&self, path: &OfsPath) -> Result<Listing> {
        let dir = self.dir(path).await?;
        Ok(Listing::new(self, dir))
    }

    /// A reader of a file, and its length.
    pub async fn open(&self, path: &OfsPath) -> Result<(FileReader, u64)> {
        let status = self.status(path).await?;
        match (status.kind, status.inode) {
            (Kind::File, Some(inode)) => Ok((self.client.data().reader(inode), status.length)),
            (Kind::Directory, _) => Err(OfsError::IsADirectory),
            _ => Err(OfsError::NotRegular),
        }
    }

    /// Makes a directory and those above it, where they are missing: a volume at the first level, a bucket
    /// at the second.
    pub async fn mkdirs(&self, path: &OfsPath) -> Result<()> {
        match self.status(path).await {
            Ok(found) if found.is_directory() => return Ok(()),
            Ok(_) => return Err(OfsError::Exists),
            Err(OfsError::NotFound) if path.is_past() => return Err(OfsError::ReadOnly),
            Err(OfsError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let mut dir = ROOT;
        for above in path.lineage() {
            let inode = self.directory(dir, above.name()).await?;
            dir = dir_of(&inode)?;
        }
        Ok(())
    }

    /// Moves a file or directory to a name that nothing has; with an existing directory as the target,
    /// into it.
    pub async fn rename(&self, from: &OfsPath, to: &OfsPath) -> Result<()> {
        if !from.same_bucket(to) {
            return Err(OfsError::OtherBucket);
        }
        if from.is_past() || to.is_past() {
            return Err(OfsError::ReadOnly);
        }
        let to = match self.status(to).await {
            Ok(found) if found.is_directory() => to.child(from.name()),
            Ok(_) => return Err(OfsError::Exists),
            Err(OfsError::NotFound) => to.clone(),
            Err(error) => return Err(error),
        };
        if to.is_within(from) {
            return Err(OfsError::Refused("is a subdirectory of itself"));
        }
        let request = RenameRequest {
            from_dir: Some(self.dir(&from.parent()).await?),
            from_name: from.name().as_bytes().to_vec().into(),
            to_dir: Some(self.dir(&to.parent()).await?),
            to_name: to.name().as_bytes().to_vec().into(),
            no_replace: true,
            ..Default::default()
        };
        self.client.namespace().rename(request).await?;
        Ok(())
    }

    /// Removes a file or an empty directory; with `recursive`, whatever is in a directory or a bucket too.
    pub async fn delete(&self, path: &OfsPath, recursive: bool) -> Result<()> {
        if path.is_past() {
            return Err(OfsError::ReadOnly);
        }
        let link = match path.level() {
            Level::Bucket => self.link(path).await?,
            _ => None,
        };
        match path.level() {
            Level::Root => return Err(OfsError::Refused("Cannot delete root directory.")),
            Level::Volume if recursive => {
                return Err(OfsError::Refused(
                    "Recursive volume delete using ofs is not supported. \
                     Delete the buckets of the volume, and then the volume with -rmdir.",
                ));
            }
            Level::Bucket if recursive && link.is_none() => self.empty(path).await?,
            Level::Key if recursive => {
                let key = path.key();
                let objects = self.client.objects();
                return Ok(objects.delete_tree(key_name(path, &key)).await?);
            }
            _ => {}
        }
        let inode = match link {
            Some(link) => link,
            None => self.inode(path).await?,
        };
        let InodeRef {
            dir,
            name,
            object_id,
        } = place_of(&inode)?.clone();
        let request = UnlinkRequest {
            dir,
            name,
            object_id,
            directory: is_directory(&inode),
            keep: None,
        };
        self.client.namespace().unlink(request).await?;
        Ok(())
    }

    /// Makes a snapshot of a bucket; without a name, the server gives it one. Gives its path.
    pub async fn create_snapshot(&self, path: &OfsPath, name: &str) -> Result<OfsPath> {
        let objects = self.client.objects();
        let new = NewSnapshot {
            name,
            no_flush: false,
        };
        let made = objects.create_snapshot(snapshots_in(path)?, new).await?;
        Ok(path.child(SNAPSHOTS).child(made.name()))
    }

    /// Removes a snapshot of a bucket.
    pub async fn delete_snapshot(&self, path: &OfsPath, name: &str) -> Result<()> {
        let objects = self.client.objects();
        Ok(objects.delete_snapshot(snapshots_in(path)?, name).await?)
    }

    /// Gives a snapshot of a bucket another name.
    pub async fn rename_snapshot(&self, path: &OfsPath, from: &str, to: &str) -> Result<()> {
        let objects = self.client.objects();
        Ok(objects
            .rename_snapshot(snapshots_in(path)?, from, to)
            .await?)
    }

    /// Removes everything in a bucket, which has to have no snapshots.
    async fn empty(&self, bucket: &OfsPath) -> Result<()> {
        let objects = self.client.objects();
        objects.check_no_snapshots(snapshots_in(bucket)?).await?;
        let mut entries = self.list(bucket).await?;
        loop {
            let page = entries.next_page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for entry in page {
                let key = entry.name;
                objects.delete_tree(key_name(bucket, &key)).await?;
            }
        }
    }

    /// The directory at `path`, to look in.
    async fn dir(&self, path: &OfsPath) -> Result<DirRef> {
        if path.level() == Level::Root {
            return Ok(ROOT);
        }
        let inode = self.inode(path).await?;
        if !is_directory(&inode) {
            return Err(OfsError::NotADirectory);
        }
        match path.is_snapshots() {
            // Its inode has no place of its own: it is told by where it is.
            true => Ok(place_of(&inode)?.dir.unwrap_or(ROOT)),
            false => Ok(dir_of(&inode)?),
        }
    }

    /// The inode of anything but the root.
    async fn inode(&self, path: &OfsPath) -> Result<Inode> {
        let namespace = self.client.namespace();
        if path.level() != Level::Volume {
            self.check_layout(&path.bucket_path()).await?;
        }
        if path.level() == Level::Key && !path.is_snapshots() {
            let key = path.key();
            let objects = self.client.objects();
            let found = objects.key_info(key_name(path, &key)).await?.inode;
            let missing = || ClientError::protocol("OM", "a key without its inode");
            return Ok(found.ok_or_else(missing)?);
        }
        let volume = namespace.lookup(ROOT, path.volume().as_bytes()).await?;
        if path.level() == Level::Volume {
            return Ok(volume);
        }
        let bucket = path.bucket().as_bytes();
        let bucket = namespace.lookup_bucket(dir_of(&volume)?, bucket).await?;
        if path.level() == Level::Bucket {
            return Ok(bucket);
        }
        let list = InodeRef {
            dir: Some(snapshots_of(dir_of(&bucket)?)),
            ..Default::default()
        };
        Ok(namespace.get_attr(list).await?)
    }

    /// The link that a bucket is, if it is one.
    async fn link(&self, path: &OfsPath) -> Result<Option<Inode>> {
        let namespace = self.client.namespace();
        let volume = namespace.lookup(ROOT, path.volume().as_bytes()).await?;
        let bucket = path.bucket().as_bytes();
        let found = namespace.lookup(dir_of(&volume)?, bucket).await?;
        Ok(Some(found).filter(|found| !is_directory(found)))
    }

    /// Refuses buckets that are not trees. What a bucket is, it stays.
    async fn check_layout(&self, bucket: &OfsPath) -> Result<()> {
        if self.trees.lock().contains(bucket) {
            return Ok(());
        }
        let objects = self.client.objects();
        let info = objects.info_bucket(bucket.volume(), bucket.bucket());
        if info.await?.bucket_layout() == BucketLayoutProto::ObjectStore {
            return Err(OfsError::Layout {
                bucket: bucket.bucket().to_owned(),
                layout: BucketLayoutProto::ObjectStore.as_str_name(),
            });
        }
        self.trees.lock().insert(bucket.clone());
        Ok(())
    }

    /// The directory of this name, made if it is missing.
    async fn directory(&self, dir: DirRef, name: &str) -> Result<Inode> {
        let namespace = self.client.namespace();
        let found = match namespace.lookup_bucket(dir, name.as_bytes()).await {
            Err(error) if error.is_not_found() => self.new_directory(dir, name).await?,
            found => found?,
        };
        match is_directory(&found) {
            true => Ok(found),
            false => Err(OfsError::NotADirectory),
        }
    }

    async fn new_directory(&self, dir: DirRef, name: &str) -> Result<Inode> {
        let caller = self.client.caller();
        let request = CreateRequest {
            dir: Some(dir),
            name: name.as_bytes().to_vec().into(),
            kind: InodeKind::Directory.into(),
            mode: DIRECTORY_MODE,
            uid: caller.uid,
            gid: caller.gid,
            ..Default::default()
        };
        let made = self.client.namespace().create(request).await?.inode;
        let missing = || ClientError::protocol("OM", "a directory without its inode");
        Ok(made.ok_or_else(missing)?)
    }
}

fn is_directory(inode: &Inode) -> bool {
    let kind = inode.row.as_ref().map(|row| row.kind());
    kind == Some(InodeKind::Directory)
}

/// The key of that name in the bucket of `path`.
fn key_name<'a>(path: &'a OfsPath, key: &'a str) -> KeyName<'a> {
    KeyName {
        volume: path.volume(),
        bucket: path.bucket(),
        key,
    }
}

fn snapshots_in(path: &OfsPath) -> Result<BucketName<'_>> {
    match path.level() {
        Level::Bucket => Ok(BucketName {
            volume: path.volume(),
            bucket: path.bucket(),
        }),
        _ => Err(OfsError::Refused("Snapshots are taken of buckets")),
    }
}

/// The bucket of a user's `/tmp`: 32 hexadecimal digits, whatever the name is made of.
fn tmp_bucket_of(user: &str) -> String {
    let digest = Md5::digest(user.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_of_tmp_is_the_digest_of_the_user() {
        assert_eq!(tmp_bucket_of("root"), "63a9f0ea7bb98050796b649e85481845");
    }
}
