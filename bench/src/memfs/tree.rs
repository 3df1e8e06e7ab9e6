//! Names, inodes and bytes in memory.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{Errno, FileAttr, FileType, INodeNo};
use parking_lot::RwLock;

/// What programs are told to read and write at a time, bytes.
const IO_SIZE: u32 = 128 << 10;

pub(super) type Result<T> = std::result::Result<T, Errno>;
pub(super) type SharedContent = Arc<RwLock<Content>>;

/// The bytes of a file, with a lock of their own: readers and writers of files do not meet in the
/// tree's.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    modified: SystemTime,
}

impl Content {
    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if offset == self.bytes.len() {
            self.bytes.extend_from_slice(data);
        } else {
            self.bytes.resize(self.bytes.len().max(end), 0);
            self.bytes[offset..end].copy_from_slice(data);
        }
        self.modified = SystemTime::now();
    }

    /// The bytes of a read, fewer at the end.
    pub(super) fn slice(&self, offset: usize, size: usize) -> &[u8] {
        let start = offset.min(self.bytes.len());
        let end = offset.saturating_add(size).min(self.bytes.len());
        &self.bytes[start..end]
    }
}

/// A directory: names in the order of their making, so that a listing goes on where it was
/// whatever was removed meanwhile.
#[derive(Default)]
struct Directory {
    cookies: HashMap<OsString, u64>,
    entries: BTreeMap<u64, (OsString, u64)>,
    last_cookie: u64,
}

impl Directory {
    fn get(&self, name: &OsStr) -> Option<u64> {
        let cookie = self.cookies.get(name)?;
        self.entries.get(cookie).map(|(_, ino)| *ino)
    }

    fn insert(&mut self, name: &OsStr, ino: u64) {
        self.last_cookie += 1;
        self.cookies.insert(name.to_owned(), self.last_cookie);
        self.entries
            .insert(self.last_cookie, (name.to_owned(), ino));
    }

    fn remove(&mut self, name: &OsStr) -> Option<u64> {
        let cookie = self.cookies.remove(name)?;
        self.entries.remove(&cookie).map(|(_, ino)| ino)
    }
}

enum Body {
    File(SharedContent),
    Directory(Directory),
    Symlink(OsString),
}

struct Node {
    attr: FileAttr,
    /// How often the kernel was told of it and has not forgotten.
    lookups: u64,
    body: Body,
}

impl Node {
    fn attr(&self) -> FileAttr {
        let mut attr = self.attr;
        if let Body::File(content) = &self.body {
            let content = content.read();
            attr.size = content.bytes.len() as u64;
            attr.mtime = content.modified;
        }
        attr.blocks = attr.size.div_ceil(512);
        attr
    }
}

/// Whose a new node is, and what.
pub(super) struct NewNode {
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) target: OsString,
}

/// What setattr changes.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) size: Option<usize>,
    pub(super) atime: Option<SystemTime>,
    pub(super) mtime: Option<SystemTime>,
}

/// One name of a listing.
pub(super) struct Listed {
    pub(super) cookie: u64,
    pub(super) name: OsString,
    pub(super) attr: FileAttr,
}

/// All nodes. The kernel checks modes and owners, and the kinds of what it asks for.
pub(super) struct Tree {
    nodes: HashMap<u64, Node>,
    last: u64,
}

impl Tree {
    /// An empty tree, whose root belongs to the user.
    pub(super) fn new(uid: u32, gid: u32) -> Self {
        let mut tree = Self {
            nodes: HashMap::new(),
            last: 0,
        };
        let root = NewNode {
            kind: FileType::Directory,
            mode: 0o755,
            uid,
            gid,
            target: OsString::new(),
        };
        tree.add(root);
        tree
    }

    fn add(&mut self, new: NewNode) -> FileAttr {
        self.last += 1;
        let now = SystemTime::now();
        let directory = new.kind == FileType::Directory;
        let body = match new.kind {
            FileType::Directory => Body::Directory(Directory::default()),
            FileType::Symlink => Body::Symlink(new.target),
            _ => Body::File(Arc::new(RwLock::new(Content {
                bytes: Vec::new(),
                modified: now,
            }))),
        };
        let attr = FileAttr {
            ino: INodeNo(self.last),
            size: match &body {
                Body::Symlink(target) => target.len() as u64,
                _ => 0,
            },
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind: new.kind,
            perm: u16::try_from(new.mode & 0o7777).unwrap_or_default(),
            nlink: if directory { 2 } else { 1 },
            uid: new.uid,
            gid: new.gid,
            rdev: 0,
            blksize: IO_SIZE,
            flags: 0,
        };
        let node = Node {
            attr,
            lookups: 1,
            body,
        };
        self.nodes.insert(self.last, node);
        attr
    }

    fn node(&self, ino: u64) -> Result<&Node> {
        self.nodes.get(&ino).ok_or(Errno::ENOENT)
    }

    fn node_mut(&mut self, ino: u64) -> Result<&mut Node> {
        self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    fn directory(&mut self, ino: u64) -> Result<&mut Directory> {
        match &mut self.node_mut(ino)?.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn child(&self, parent: u64, name: &OsStr) -> Result<u64> {
        match &self.node(parent)?.body {
            Body::Directory(directory) => directory.get(name).ok_or(Errno::ENOENT),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The directory's own times, after its names changed.
    fn touch(&mut self, ino: u64) -> Result<()> {
        let node = self.node_mut(ino)?;
        node.attr.mtime = SystemTime::now();
        node.attr.ctime = node.attr.mtime;
        Ok(())
    }

    /// Attributes for the kernel, which remembers the node from now on.
    fn told(&mut self, ino: u64) -> Result<FileAttr> {
        let node = self.node_mut(ino)?;
        node.lookups += 1;
        Ok(node.attr())
    }

    pub(super) fn lookup(&mut self, parent: u64, name: &OsStr) -> Result<FileAttr> {
        let ino = self.child(parent, name)?;
        self.told(ino)
    }

    pub(super) fn attr(&self, ino: u64) -> Result<FileAttr> {
        self.node(ino).map(Node::attr)
    }

    pub(super) fn content(&self, ino: u64) -> Result<SharedContent> {
        match &self.node(ino)?.body {
            Body::File(content) => Ok(content.clone()),
            _ => Err(Errno::EISDIR),
        }
    }

    pub(super) fn target(&self, ino: u64) -> Result<&OsStr> {
        match &self.node(ino)?.body {
            Body::Symlink(target) => Ok(target),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn make(&mut self, parent: u64, name: &OsStr, new: NewNode) -> Result<FileAttr> {
        if self.child(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let directory = new.kind == FileType::Directory;
        let attr = self.add(new);
        self.directory(parent)?.insert(name, attr.ino.0);
        if directory {
            self.node_mut(parent)?.attr.nlink += 1;
        }
        self.touch(parent)?;
        Ok(attr)
    }

    pub(super) fn link(&mut self, ino: u64, parent: u64, name: &OsStr) -> Result<FileAttr> {
        if self.child(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.node_mut(ino)?.attr.nlink += 1;
        self.directory(parent)?.insert(name, ino);
        self.touch(parent)?;
        self.told(ino)
    }

    /// Removes a name; of a directory only when nothing is in it.
    pub(super) fn remove(&mut self, parent: u64, name: &OsStr) -> Result<()> {
        let ino = self.child(parent, name)?;
        let node = self.node_mut(ino)?;
        let directory = match &node.body {
            Body::Directory(directory) if !directory.entries.is_empty() => {
                return Err(Errno::ENOTEMPTY);
            }
            body => matches!(body, Body::Directory(_)),
        };
        node.attr.nlink -= if directory { 2 } else { 1 };
        node.attr.ctime = SystemTime::now();
        self.directory(parent)?.remove(name);
        if directory {
            self.node_mut(parent)?.attr.nlink -= 1;
        }
        self.touch(parent)?;
        self.drop_unused(ino);
        Ok(())
    }

    /// Moves a name, in place of what is there unless `keep`.
    pub(super) fn rename(
        &mut self,
        (parent, name): (u64, &OsStr),
        (to, to_name): (u64, &OsStr),
        keep: bool,
    ) -> Result<()> {
        let ino = self.child(parent, name)?;
        match self.child(to, to_name) {
            Ok(_) if keep => return Err(Errno::EEXIST),
            Ok(there) if there == ino => return Ok(()),
            Ok(_) => self.remove(to, to_name)?,
            Err(_) => {}
        }
        self.directory(parent)?.remove(name);
        self.directory(to)?.insert(to_name, ino);
        if self.node(ino)?.attr.kind == FileType::Directory {
            self.node_mut(parent)?.attr.nlink -= 1;
            self.node_mut(to)?.attr.nlink += 1;
        }
        self.touch(parent)?;
        self.touch(to)
    }

    pub(super) fn change(&mut self, ino: u64, changes: Changes) -> Result<FileAttr> {
        let node = self.node_mut(ino)?;
        let attr = &mut node.attr;
        if let Some(mode) = changes.mode {
            attr.perm = u16::try_from(mode & 0o7777).unwrap_or_default();
        }
        attr.uid = changes.uid.unwrap_or(attr.uid);
        attr.gid = changes.gid.unwrap_or(attr.gid);
        attr.atime = changes.atime.unwrap_or(attr.atime);
        attr.mtime = changes.mtime.unwrap_or(attr.mtime);
        attr.ctime = SystemTime::now();
        if let Body::File(content) = &node.body {
            let mut content = content.write();
            if let Some(size) = changes.size {
                content.bytes.resize(size, 0);
                content.modified = SystemTime::now();
            }
            content.modified = changes.mtime.unwrap_or(content.modified);
        }
        Ok(node.attr())
    }

    /// Names after `cookie`, as many as `take` has room for. With `told` the kernel remembers
    /// them.
    pub(super) fn list(
        &mut self,
        ino: u64,
        cookie: u64,
        told: bool,
        mut full: impl FnMut(&Listed) -> bool,
    ) -> Result<()> {
        let mut at = cookie;
        loop {
            let next = self.directory(ino)?.entries.range(at + 1..).next();
            let Some((cookie, (name, child))) = next.map(|(c, e)| (*c, e.clone())) else {
                return Ok(());
            };
            let attr = self.attr(child)?;
            if full(&Listed { cookie, name, attr }) {
                return Ok(());
            }
            if told {
                self.told(child)?;
            }
            at = cookie;
        }
    }

    pub(super) fn forget(&mut self, ino: u64, count: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(count);
        }
        self.drop_unused(ino);
    }

    /// A file that has no name lives as long as the kernel knows it: programs may have it open.
    fn drop_unused(&mut self, ino: u64) {
        let unused = |node: &Node| node.attr.nlink == 0 && node.lookups == 0;
        if self.nodes.get(&ino).is_some_and(unused) {
            self.nodes.remove(&ino);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ROOT: u64 = 1;

    fn make(tree: &mut Tree, parent: u64, name: &str, kind: FileType) -> u64 {
        let new = NewNode {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            target: OsString::new(),
        };
        tree.make(parent, OsStr::new(name), new).unwrap().ino.0
    }

    fn names(tree: &mut Tree, ino: u64, after: u64) -> Vec<String> {
        let mut names = Vec::new();
        let collect = |listed: &Listed| {
            names.push(listed.name.to_string_lossy().into_owned());
            false
        };
        tree.list(ino, after, false, collect).unwrap();
        names
    }

    #[test]
    fn an_unlinked_file_lives_until_the_kernel_forgets_it() {
        let mut tree = Tree::new(0, 0);
        let ino = make(&mut tree, ROOT, "f", FileType::RegularFile);
        tree.content(ino).unwrap().write().write(0, b"bytes");
        tree.remove(ROOT, OsStr::new("f")).unwrap();
        assert!(tree.lookup(ROOT, OsStr::new("f")).is_err());
        assert_eq!(tree.attr(ino).unwrap().size, 5);
        tree.forget(ino, 1);
        assert!(tree.attr(ino).is_err());
    }

    #[test]
    fn a_listing_goes_on_after_removals() {
        let mut tree = Tree::new(0, 0);
        for name in ["a", "b", "c", "d"] {
            make(&mut tree, ROOT, name, FileType::RegularFile);
        }
        tree.remove(ROOT, OsStr::new("b")).unwrap();
        assert_eq!(names(&mut tree, ROOT, 2), ["c", "d"]);
        assert_eq!(names(&mut tree, ROOT, 0), ["a", "c", "d"]);
    }

    #[test]
    fn rename_replaces_and_directories_with_names_stay() {
        let mut tree = Tree::new(0, 0);
        let [dir, other] =
            ["dir", "other"].map(|name| make(&mut tree, ROOT, name, FileType::Directory));
        let file = make(&mut tree, dir, "f", FileType::RegularFile);
        make(&mut tree, other, "g", FileType::RegularFile);
        let to = (other, OsStr::new("g"));
        let from = (dir, OsStr::new("f"));
        assert!(tree.rename(from, to, true).is_err());
        tree.rename(from, to, false).unwrap();
        assert_eq!(tree.lookup(other, OsStr::new("g")).unwrap().ino.0, file);
        assert!(tree.remove(ROOT, OsStr::new("other")).is_err());
        tree.remove(ROOT, OsStr::new("dir")).unwrap();
        assert_eq!(tree.attr(ROOT).unwrap().nlink, 3);
    }

    #[test]
    fn bytes_are_written_anywhere() {
        let mut tree = Tree::new(0, 0);
        let ino = make(&mut tree, ROOT, "f", FileType::RegularFile);
        let content = tree.content(ino).unwrap();
        content.write().write(2, b"xy");
        content.write().write(1, b"ab");
        assert_eq!(content.read().slice(0, 9), b"\0aby");
        let cut = Changes {
            size: Some(2),
            ..Changes::default()
        };
        assert_eq!(tree.change(ino, cut).unwrap().size, 2);
        assert_eq!(content.read().slice(5, 9), b"");
    }
}
