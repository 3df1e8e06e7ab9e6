//! Files that are being written: an upload that takes bytes from the first to the last, and becomes the object when
//! the file is closed, all of it at once. Until then others see what was there before. Of several descriptors the first
//! one that is closed does that: nobody can tell whether the others will be written to, and what a program has
//! closed others see.
//!
//! A file that was opened without being cut is appended to: what it has is read and written again before what is new.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use md5::{Digest, Md5};
use nix::errno::Errno;
use nix::libc;
use ozone_client::objects::{S3Key, Upload};
use parking_lot::Mutex;

use crate::errno::{FsError, Result};
use crate::objects::{Handle, Kind, Node, Place};
use crate::vfs::open::Opened;
use crate::vfs::write::Write;
use crate::vfs::{Vfs, Who};
use crate::wire::{self, InodeKind, InodeRow, SetAttrRequest};

/// Bytes of an object that are read at a time.
const PIECE: usize = 1 << 20;
/// The MD5 of nothing.
pub(crate) const EMPTY_DIGEST: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// How far it is.
enum State {
    /// Nothing was written: what is there stays.
    Untouched(Box<wire::Inode>),
    /// Bytes are on their way.
    Uploading(Box<Upload>, Md5),
    /// All that was written is the object.
    Published,
    /// It failed, which every later call is told.
    Lost(FsError),
}

/// A file that is being written; see the module.
pub(crate) struct Writing {
    /// Its inode number.
    pub(crate) ino: u64,
    /// Where it is to be.
    pub(crate) place: Place,
    who: Who,
    state: tokio::sync::Mutex<State>,
    row: Mutex<InodeRow>,
    /// Attributes to set when it is an object.
    changes: Mutex<SetAttrRequest>,
    /// Nothing may have its name.
    exclusive: AtomicBool,
    /// Its name was removed.
    unlinked: AtomicBool,
}

impl Writing {
    /// A new file.
    pub(crate) fn new(
        who: &Who,
        place: Place,
        ino: u64,
        mode: u32,
        upload: Upload,
        exclusive: bool,
    ) -> Self {
        let row = InodeRow {
            kind: InodeKind::File.into(),
            mode,
            uid: who.uid,
            gid: who.gid,
            nlink: 1,
            ..Default::default()
        };
        let state = State::Uploading(Box::new(upload), Md5::new());
        let new = Self::with(who, place, ino, (row, state));
        new.exclusive.store(exclusive, Ordering::Relaxed);
        new
    }

    fn with(who: &Who, place: Place, ino: u64, (row, state): (InodeRow, State)) -> Self {
        Self {
            ino,
            place,
            who: *who,
            state: tokio::sync::Mutex::new(state),
            row: Mutex::new(row),
            changes: Mutex::default(),
            exclusive: AtomicBool::new(false),
            unlinked: AtomicBool::new(false),
        }
    }

    /// What is told of it: the bytes so far.
    pub(crate) fn row(&self) -> InodeRow {
        self.row.lock().clone()
    }

    /// So many bytes were written, at the time `now_ns`.
    pub(super) fn grown(&self, size: u64, now_ns: u64) {
        let mut row = self.row.lock();
        row.size = size;
        row.allocated = size;
        (row.mtime_ns, row.ctime_ns) = (now_ns, now_ns);
        if row.btime_ns == 0 {
            (row.btime_ns, row.atime_ns) = (now_ns, now_ns);
        }
    }

    /// The name is gone, and nothing is to take it.
    pub(crate) fn unlink(&self) {
        self.unlinked.store(true, Ordering::Relaxed);
    }

    /// Takes attributes that are set when it is an object; false when it is one.
    pub(crate) fn change_later(&self, request: &SetAttrRequest) -> bool {
        let Ok(state) = self.state.try_lock() else {
            return false;
        };
        if !matches!(*state, State::Uploading(..)) {
            return false;
        }
        let mut changes = self.changes.lock();
        let mut row = self.row.lock();
        if request.mode.is_some() {
            changes.mode = request.mode;
            row.mode = request.mode.unwrap_or(row.mode);
        }
        if request.uid.is_some() {
            changes.uid = request.uid;
            changes.owner_name.clone_from(&request.owner_name);
            row.uid = request.uid.unwrap_or(row.uid);
        }
        if request.gid.is_some() {
            changes.gid = request.gid;
            row.gid = request.gid.unwrap_or(row.gid);
        }
        if request.mtime_ns.is_some() || request.mtime_now {
            (changes.mtime_ns, changes.mtime_now) = (request.mtime_ns, request.mtime_now);
            row.mtime_ns = request.mtime_ns.unwrap_or(row.mtime_ns);
        }
        if request.atime_ns.is_some() || request.atime_now {
            (changes.atime_ns, changes.atime_now) = (request.atime_ns, request.atime_now);
            row.atime_ns = request.atime_ns.unwrap_or(row.atime_ns);
        }
        true
    }

    /// What was there, if nothing was written.
    pub(crate) async fn untouched(&self) -> Option<wire::Inode> {
        match &*self.state.lock().await {
            State::Untouched(found) => Some((**found).clone()),
            _ => None,
        }
    }
}

impl Vfs {
    /// Opens a file to write it.
    pub(crate) async fn open_to_write(
        self: &Arc<Self>,
        who: &Who,
        node: &Node,
        flags: i32,
    ) -> Result<Opened> {
        let (place, ino) = (node.place.clone(), node.ino);
        let found = match &node.kind {
            Kind::File(found) => found.clone(),
            // By another handle, which may have made it an object meanwhile.
            _ => match self.object_behind(who, &place).await?.map(|node| node.kind) {
                Some(Kind::File(found)) => found,
                _ => return Err(Errno::EBUSY.into()),
            },
        };
        let row = found.row.clone().unwrap_or_default();
        let state = State::Untouched(found);
        let writing = Arc::new(Writing::with(who, place, ino, (row, state)));
        if flags & libc::O_TRUNC != 0 {
            self.begin_anew(&writing).await;
        }
        Ok(self.opened_to_write(writing))
    }

    pub(super) fn opened_to_write(&self, writing: Arc<Writing>) -> Opened {
        self.object_opened(Handle::Writing(writing), false)
    }

    /// The file is cut to nothing.
    async fn begin_anew(&self, writing: &Arc<Writing>) {
        let upload = self.upload_of(writing).await;
        *writing.state.lock().await = State::Uploading(Box::new(upload), Md5::new());
        writing.grown(0, self.clock.wall_ns());
        self.objects.begin(writing);
    }

    async fn upload_of(&self, writing: &Writing) -> Upload {
        let objects = self.callers.objects(&writing.who).await;
        let mut upload = objects.upload(writing.place.key(), None);
        upload.set_mode(writing.row().mode);
        upload
    }

    /// An upload that begins with what the object has.
    async fn upload_behind(&self, writing: &Writing, found: wire::Inode) -> Result<(Upload, Md5)> {
        let size = found.row.as_ref().map_or(0, |row| row.size);
        let (mut upload, mut digest) = (self.upload_of(writing).await, Md5::new());
        let reader = self.client.data().reader(found);
        while upload.size() < size {
            let data = super::read(&reader, size, upload.size(), PIECE).await?;
            digest.update(&data);
            upload.write(data).await?;
        }
        Ok((upload, digest))
    }

    pub(crate) async fn object_write(self: &Arc<Self>, write: Write, data: Bytes) -> Result<()> {
        let handle = self.objects.handle(write.handle)?;
        let Handle::Writing(writing) = &*handle else {
            return Err(Errno::EBADF.into());
        };
        let mut state = writing.state.lock().await;
        let behind = match &*state {
            State::Uploading(..) => None,
            State::Untouched(found) => Some(Some((**found).clone())),
            State::Published => Some(None),
            State::Lost(error) => return Err(error.clone()),
        };
        if let Some(found) = behind {
            *state = self.begin_behind(writing, found, write.offset).await?;
            self.objects.begin(writing);
        }
        let State::Uploading(upload, digest) = &mut *state else {
            return Err(Errno::EIO.into());
        };
        if upload.size() != write.offset {
            return Err(Errno::EOPNOTSUPP.into());
        }
        digest.update(&data);
        if let Err(error) = upload.write(data).await {
            let error = FsError::from(error);
            *state = State::Lost(error.clone());
            self.objects.end(writing);
            return Err(error);
        }
        writing.grown(upload.size(), self.clock.wall_ns());
        Ok(())
    }

    /// The upload for a write at the end of what is there: `found`, or what was written before.
    async fn begin_behind(
        &self,
        writing: &Writing,
        found: Option<wire::Inode>,
        offset: u64,
    ) -> Result<State> {
        let found = match found {
            Some(found) => found,
            None => {
                let behind = self.object_behind(&writing.who, &writing.place).await?;
                match behind.map(|node| node.kind) {
                    Some(Kind::File(found)) => *found,
                    _ => return Err(Errno::ESTALE.into()),
                }
            }
        };
        if found.row.as_ref().map_or(0, |row| row.size) != offset {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let (upload, digest) = self.upload_behind(writing, found).await?;
        Ok(State::Uploading(Box::new(upload), digest))
    }

    /// Makes what was written the object, if it is not.
    pub(crate) async fn publish(&self, writing: &Arc<Writing>) -> Result<()> {
        let mut state = writing.state.lock().await;
        match &*state {
            State::Uploading(..) => {}
            State::Lost(error) => return Err(error.clone()),
            State::Untouched(_) | State::Published => return Ok(()),
        }
        let State::Uploading(upload, digest) = std::mem::replace(&mut *state, State::Published)
        else {
            return Ok(());
        };
        if writing.unlinked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let digest = digest.finalize();
        let key = S3Key {
            etag: Some(digest.iter().map(|byte| format!("{byte:02x}")).collect()),
            if_absent: writing.exclusive.swap(false, Ordering::Relaxed),
            ..Default::default()
        };
        let put = upload.put(key).await.map_err(FsError::from);
        self.objects.end(writing);
        if let Err(error) = put {
            *state = State::Lost(error.clone());
            return Err(error);
        }
        self.set_later(writing).await
    }

    /// Sets the attributes that were to be set when the file is an object.
    async fn set_later(&self, writing: &Writing) -> Result<()> {
        let changes = std::mem::take(&mut *writing.changes.lock());
        if changes == SetAttrRequest::default() {
            return Ok(());
        }
        let behind = self.object_behind(&writing.who, &writing.place).await?;
        let place = behind.as_ref().and_then(Node::object);
        let request = SetAttrRequest {
            r#ref: place.and_then(|found| found.r#ref.clone()),
            ..changes
        };
        self.act(&writing.who, |ns| {
            let request = request.clone();
            async move { ns.set_attr(request).await }
        })
        .await
        .map(drop)
    }

    /// truncate(2): to nothing, or to what it is.
    pub(crate) async fn object_resize(&self, who: &Who, node: &Node, size: u64) -> Result<()> {
        if node.is_directory() {
            return Err(Errno::EISDIR.into());
        }
        if size == node.row().size && size > 0 {
            return Ok(());
        }
        if size > 0 {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let writers = self.objects.writers(node.ino);
        for writing in &writers {
            self.begin_anew(writing).await;
        }
        if writers.is_empty() && node.row().size > 0 {
            let objects = self.callers.objects(who).await;
            let empty = S3Key {
                etag: Some(EMPTY_DIGEST.to_owned()),
                ..Default::default()
            };
            objects.upload(node.place.key(), None).put(empty).await?;
        }
        node.heard(InodeRow {
            size: 0,
            allocated: 0,
            ..node.row()
        });
        Ok(())
    }
}
