//! read: committed bytes, with what was written and is not committed laid over them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use nix::errno::Errno;

use crate::data::Reader;
use crate::errno::Result;
use crate::inode::Inode;
use crate::objects;
use crate::past;
use crate::vfs::Vfs;
use crate::vfs::dirty::Piece;

/// How often a read starts over because the file was changed under it.
const ATTEMPTS: usize = 16;

impl Vfs {
    /// Up to `len` bytes from `offset`; fewer only at the end of the file.
    pub async fn read(&self, handle: u64, offset: u64, len: usize) -> Result<Bytes> {
        if past::is_handle(handle) {
            return self.past_read(handle, offset, len).await;
        }
        if objects::is_handle(handle) {
            return self.object_read(handle, offset, len).await;
        }
        let file = self.handles.file(handle)?;
        let data = self.read_inode(&file.inode, offset, len).await?;
        self.leave_behind(&file, offset..offset + data.len() as u64);
        Ok(data)
    }

    /// The same of a file that need not be open.
    pub(crate) async fn read_inode(&self, inode: &Inode, offset: u64, len: usize) -> Result<Bytes> {
        for _ in 0..ATTEMPTS {
            if let Some(data) = self.read_once(inode, offset, len).await? {
                return Ok(data);
            }
        }
        Err(Errno::EIO.into())
    }

    /// One attempt; `None` when the committed data ended before the size said so, because another
    /// change came in between.
    async fn read_once(&self, inode: &Inode, offset: u64, len: usize) -> Result<Option<Bytes>> {
        if self.leases.alive() {
            self.ensure_believed(inode).await?;
        }
        // Before the committed data: what is committed in between is then in both.
        let (pieces, pending_end) = match inode.data_if_any() {
            Some(data) => {
                let pending = data.pending.lock();
                (
                    pending.overlay(offset, offset.saturating_add(len as u64)),
                    pending.end(),
                )
            }
            None => (Vec::new(), 0),
        };
        let (committed, version) = inode.with_row(|row| (row.size, row.data_version));
        let size = committed.max(pending_end);
        let len = len.min(distance(offset, size));
        if len == 0 {
            return Ok(Some(Bytes::new()));
        }
        if let Some(data) = covering(&pieces, offset, len) {
            return Ok(Some(data));
        }
        let wanted = len.min(distance(offset, committed));
        let base = match wanted {
            0 => Bytes::new(),
            _ => self.reader(inode).read(offset, wanted).await?,
        };
        if base.len() < wanted {
            self.refresh(inode).await?;
            let same = inode.with_row(|row| row.data_version == version);
            return if same {
                Err(Errno::EIO.into())
            } else {
                Ok(None)
            };
        }
        if pieces.is_empty() && base.len() == len {
            return Ok(Some(base));
        }
        Ok(Some(merge(&base, &pieces, offset, len)))
    }

    /// The reader of a file, told of the newest map.
    pub(crate) fn reader(&self, inode: &Inode) -> Arc<ozone_client::FileReader> {
        let mut slot = inode.data().reader.lock();
        let (found, version) = inode.found();
        match &mut *slot {
            Some(known) if known.version == version => known.reader.clone(),
            Some(known) => {
                known.reader.set_inode(found);
                known.version = version;
                known.reader.clone()
            }
            None => {
                let reader = Arc::new(self.client.data().reader(found));
                *slot = Some(Reader {
                    reader: reader.clone(),
                    version,
                });
                reader
            }
        }
    }
}

fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

/// The bytes, if the last piece alone has them all.
fn covering(pieces: &[Piece], offset: u64, len: usize) -> Option<Bytes> {
    let (start, data) = pieces.last()?;
    (*start == offset && data.len() >= len).then(|| data.slice(..len))
}

/// `base` from `offset` on, zeros behind it, and the pieces over both.
fn merge(base: &Bytes, pieces: &[Piece], offset: u64, len: usize) -> Bytes {
    let mut out = BytesMut::zeroed(len);
    out[..base.len()].copy_from_slice(base);
    for (start, data) in pieces {
        let at = distance(offset, *start);
        let count = data.len().min(len.saturating_sub(at));
        if count > 0 {
            out[at..at + count].copy_from_slice(&data[..count]);
        }
    }
    out.freeze()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn piece(offset: u64, text: &'static str) -> Piece {
        (offset, Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn later_pieces_win_over_earlier_ones_and_the_base() {
        let base = Bytes::from_static(b"abcdef");
        let merged = merge(&base, &[piece(11, "XX"), piece(12, "Y")], 10, 8);
        assert_eq!(merged, &b"aXYdef\0\0"[..]);
    }

    #[test]
    fn pieces_past_what_is_wanted_are_cut() {
        let merged = merge(&Bytes::new(), &[piece(3, "abcdef"), piece(20, "x")], 3, 4);
        assert_eq!(merged, &b"abcd"[..]);
    }

    #[test]
    fn one_piece_that_has_everything_is_not_copied() {
        let pieces = [piece(5, "hello")];
        assert_eq!(
            covering(&pieces, 5, 5).unwrap().as_ptr(),
            pieces[0].1.as_ptr()
        );
        assert!(covering(&pieces, 4, 5).is_none());
        assert!(covering(&pieces, 5, 6).is_none());
        assert!(covering(&[], 5, 1).is_none());
    }
}
