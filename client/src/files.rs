//! Files and directories by path: `/volume/bucket/a/b`, as `ofs` paths have it.

use std::sync::Arc;

use ozone_common::names::validate_key_component;
use ozone_proto::namespace::{
    CreateRequest, DirRef, Inode, InodeKind, InodeRef, RenameRequest, RenameResponse, UnlinkRequest,
};
use ozone_proto::om::Status;

use crate::namespace::{ROOT, dir_of, place_of};
use crate::{Client, ClientError, FileReader, FileWriter, Result, Session};

/// Entries asked for at once when a directory is read.
const PAGE: u32 = 1000;
/// Permission bits of what is made here, before a caller says otherwise.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Files by path, for one caller. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    client: Client,
}

/// A file that was created for writing.
#[derive(Debug)]
pub struct OpenFile {
    /// The file.
    pub inode: Inode,
    /// Takes its bytes; the extents that it flushes are to be committed to `inode`.
    pub writer: FileWriter,
    /// What the writer's blocks belong to.
    pub session: Arc<Session>,
}

/// The entries of a directory, page by page.
#[derive(Debug)]
pub struct Entries {
    client: Client,
    dir: DirRef,
    after: Vec<u8>,
    more: bool,
}

impl Files {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// What is at `path`. The root, `/`, has no inode and is refused.
    pub async fn stat(&self, path: &str) -> Result<Inode> {
        let (parents, name) = split(path)?;
        let dir = self.walk(&parents).await?;
        self.client.namespace().lookup(dir, name).await
    }

    /// The directory at `path`, to look in.
    pub async fn dir(&self, path: &str) -> Result<DirRef> {
        self.walk(&components(path)?).await
    }

    /// The entries of a directory.
    pub async fn read_dir(&self, path: &str) -> Result<Entries> {
        Ok(Entries {
            client: self.client.clone(),
            dir: self.dir(path).await?,
            after: Vec::new(),
            more: true,
        })
    }

    /// Makes a directory and those above it, where they are missing. Volumes and buckets are not
    /// made. Gives the directory.
    pub async fn mkdirs(&self, path: &str) -> Result<Inode> {
        let names = components(path)?;
        let mut dir = ROOT;
        let mut made = None;
        for name in names {
            let inode = self.directory(dir, name).await?;
            dir = dir_of(&inode)?;
            made = Some(inode);
        }
        made.ok_or_else(root_refused)
    }

    /// A reader of the file at `path`.
    pub async fn open_read(&self, path: &str) -> Result<FileReader> {
        let inode = self.stat(path).await?;
        match kind(&inode) {
            InodeKind::Directory => Err(ClientError::om(Status::IsADirectory, path)),
            _ => Ok(self.client.data().reader(inode)),
        }
    }

    /// Creates a file to write to; with `exclusive`, only if nothing has the name.
    pub async fn create_write(&self, path: &str, exclusive: bool) -> Result<OpenFile> {
        let (parents, name) = split(path)?;
        let dir = self.walk(&parents).await?;
        let session = self.client.session().await?;
        let mut request = self.new_inode(dir, name, InodeKind::File);
        request.exclusive = exclusive;
        let inode = self.client.namespace().create(request).await?.inode;
        let missing = || ClientError::protocol("OM", "a new file without its inode");
        Ok(OpenFile {
            inode: inode.ok_or_else(missing)?,
            writer: self.client.data().writer(dir, &session),
            session,
        })
    }

    /// Removes a file, or a directory that is empty.
    pub async fn remove(&self, path: &str) -> Result<()> {
        let inode = self.stat(path).await?;
        self.unlink(&inode).await
    }

    /// Removes a directory and all below it, or a file.
    pub async fn remove_all(&self, path: &str) -> Result<()> {
        let top = self.stat(path).await?;
        let mut stack = vec![(top, false)];
        while let Some((inode, emptied)) = stack.pop() {
            if emptied || kind(&inode) != InodeKind::Directory {
                self.unlink(&inode).await?;
                continue;
            }
            let dir = dir_of(&inode)?;
            stack.push((inode, true));
            let mut after = Vec::new();
            loop {
                let (entries, more) = self.client.namespace().read_dir(dir, &after, PAGE).await?;
                let Some(last) = entries.last() else { break };
                after = place_of(last)?.name.to_vec();
                stack.extend(entries.into_iter().map(|entry| (entry, false)));
                if !more {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Moves a file or directory within its bucket, in place of what has the new name.
    pub async fn rename(&self, from: &str, to: &str) -> Result<RenameResponse> {
        let (from_parents, from_name) = split(from)?;
        let (to_parents, to_name) = split(to)?;
        let request = RenameRequest {
            from_dir: Some(self.walk(&from_parents).await?),
            from_name: from_name.to_vec().into(),
            to_dir: Some(self.walk(&to_parents).await?),
            to_name: to_name.to_vec().into(),
            ..Default::default()
        };
        self.client.namespace().rename(request).await
    }

    async fn walk(&self, names: &[&[u8]]) -> Result<DirRef> {
        let mut dir = ROOT;
        for name in names {
            let inode = self.client.namespace().lookup_bucket(dir, name).await?;
            if kind(&inode) != InodeKind::Directory {
                let name = String::from_utf8_lossy(name);
                return Err(ClientError::om(
                    Status::NotADirectory,
                    format!("{name} is no directory"),
                ));
            }
            dir = dir_of(&inode)?;
        }
        Ok(dir)
    }

    /// The directory of this name, made if it is missing.
    async fn directory(&self, dir: DirRef, name: &[u8]) -> Result<Inode> {
        let namespace = self.client.namespace();
        let found = match namespace.lookup_bucket(dir, name).await {
            Err(error) if error.is_not_found() && dir.bucket_id != 0 => {
                let request = self.new_inode(dir, name, InodeKind::Directory);
                let made = namespace.create(request).await?.inode;
                made.ok_or_else(|| ClientError::protocol("OM", "a directory without its inode"))?
            }
            found => found?,
        };
        match kind(&found) {
            InodeKind::Directory => Ok(found),
            _ => {
                let name = String::from_utf8_lossy(name);
                Err(ClientError::om(
                    Status::NotADirectory,
                    format!("{name} is no directory"),
                ))
            }
        }
    }

    async fn unlink(&self, inode: &Inode) -> Result<()> {
        let InodeRef {
            dir,
            name,
            object_id,
        } = place_of(inode)?.clone();
        let request = UnlinkRequest {
            dir,
            name,
            object_id,
            directory: kind(inode) == InodeKind::Directory,
            keep: None,
        };
        self.client.namespace().unlink(request).await.map(drop)
    }

    fn new_inode(&self, dir: DirRef, name: &[u8], kind: InodeKind) -> CreateRequest {
        let caller = self.client.caller();
        CreateRequest {
            dir: Some(dir),
            name: name.to_vec().into(),
            kind: kind.into(),
            mode: match kind {
                InodeKind::Directory => DIRECTORY_MODE,
                _ => FILE_MODE,
            },
            uid: caller.uid,
            gid: caller.gid,
            ..Default::default()
        }
    }
}

impl OpenFile {
    /// Makes all that was written durable and part of the file, which is at least `size` bytes long
    /// afterwards.
    pub async fn commit(&mut self, client: &Client, size: u64) -> Result<()> {
        let request = ozone_proto::namespace::CommitRequest {
            r#ref: Some(place_of(&self.inode)?.clone()),
            extents: self.writer.flush().await?,
            size,
            session: self.session.id(),
            ..Default::default()
        };
        self.inode = client.namespace().commit(request).await?;
        Ok(())
    }
}

impl Entries {
    /// The next entries in the order of their names; none at the end.
    pub async fn next_page(&mut self) -> Result<Vec<Inode>> {
        if !self.more {
            return Ok(Vec::new());
        }
        let namespace = self.client.namespace();
        let (entries, more) = namespace.read_dir(self.dir, &self.after, PAGE).await?;
        self.more = more && !entries.is_empty();
        if let Some(last) = entries.last() {
            self.after = place_of(last)?.name.to_vec();
        }
        Ok(entries)
    }
}

fn kind(inode: &Inode) -> InodeKind {
    inode
        .row
        .as_ref()
        .map_or(InodeKind::Unknown, |row| row.kind())
}

/// The names in a path. Empty ones count for nothing; `.` and `..` are refused.
fn components(path: &str) -> Result<Vec<&[u8]>> {
    let names = path.split('/').filter(|name| !name.is_empty());
    let checked = names.map(|name| {
        validate_key_component(name)?;
        Ok(name.as_bytes())
    });
    checked.collect()
}

fn split(path: &str) -> Result<(Vec<&[u8]>, &[u8])> {
    let mut names = components(path)?;
    let name = names.pop().ok_or_else(root_refused)?;
    Ok((names, name))
}

fn root_refused() -> ClientError {
    ClientError::om(Status::InvalidPath, "the root is no file of any volume")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_names_between_slashes() {
        let (parents, name) = split("//vol/bucket/a/b/").unwrap();
        assert_eq!(parents, [b"vol".as_slice(), b"bucket", b"a"]);
        assert_eq!(name, b"b");
        assert!(components("/").unwrap().is_empty());
        for path in ["/", "", "/vol/../x", "/vol/./x"] {
            assert!(split(path).is_err(), "{path}");
        }
    }
}
