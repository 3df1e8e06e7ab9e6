//! The entries of a directory, page by page.

use ozone_proto::namespace::DirRef;

use super::Ofs;
use super::error::Result;
use super::status::{Describe, FileStatus, Kind};
use crate::Namespace;
use crate::namespace::place_of;

/// Entries asked for at once.
const PAGE: u32 = 1000;

/// The entries of a directory, in the order of their names.
#[derive(Debug)]
pub struct Listing {
    namespace: Namespace,
    describe: Describe,
    dir: DirRef,
    after: Vec<u8>,
    more: bool,
}

impl Listing {
    pub(super) fn new(ofs: &Ofs, dir: DirRef) -> Self {
        Self {
            namespace: ofs.client.namespace().clone(),
            describe: ofs.describe.clone(),
            dir,
            after: Vec::new(),
            more: true,
        }
    }

    /// The next entries; none at the end.
    pub async fn next_page(&mut self) -> Result<Vec<FileStatus>> {
        if !self.more {
            return Ok(Vec::new());
        }
        let read = self.namespace.read_dir(self.dir, &self.after, PAGE);
        let (entries, more) = read.await?;
        self.more = more && !entries.is_empty();
        if let Some(last) = entries.last() {
            self.after = place_of(last)?.name.to_vec();
        }
        let in_volume = self.dir.volume_id != 0 && self.dir.bucket_id == 0;
        let mut page = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut status = self.describe.inode(entry).await?;
            if in_volume && status.kind == Kind::Symlink {
                // A bucket link is walked through.
                (status.kind, status.length) = (Kind::Directory, 0);
            }
            page.push(status);
        }
        Ok(page)
    }
}
