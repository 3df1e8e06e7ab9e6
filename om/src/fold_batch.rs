//! What the next blocks of folded files are made of: files of [`crate::fold_queue`], in the order in which
//! they wait, as far as they fit into a block of each replication.
//!
//! The queue is gone through from where the last look ended, and files of a replication that cannot be
//! had for now are passed over: however many wait for it, the others are not held up.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use ozone_proto::namespace::{
    Extent, FoldFile, FoldPiece, FoldRow, InodeRow, Replication, extent::Source,
};

use crate::error::Result;
use crate::rows::Rows;
use crate::{extents, file_map, fold_queue, namespace};

/// Bytes of one block: what is kept at most for the sake of one byte that is still referred to.
const BLOCK_BYTES: usize = 4 << 20;
/// Pieces in one command.
const PIECES: usize = 4096;
/// Extents read at a time.
const PAGE: usize = 1024;

/// Type and factor of a replication.
pub type Kind = (i32, i32);

/// A look at the queue.
pub struct Look<'a> {
    /// The key of the last entry that was dealt with; none to begin with the first.
    pub after: Option<Vec<u8>>,
    /// What is due by now, milliseconds since 1970.
    pub now_ms: i64,
    /// Entries to look at, at most.
    pub limit: usize,
    /// How files are kept that do not say.
    pub default: Replication,
    /// What cannot be had for now.
    pub blocked: &'a BTreeSet<Kind>,
}

/// What goes into one block.
#[derive(Default)]
pub struct Group {
    /// The bytes.
    pub data: BytesMut,
    /// Where they are from.
    pub files: Vec<FoldFile>,
    pieces: usize,
}

/// What one look found.
#[derive(Default)]
pub struct Batch {
    /// By replication.
    pub groups: BTreeMap<Kind, Group>,
    /// Files without inline bytes.
    pub gone: Vec<FoldFile>,
    /// Files of replications that cannot be had.
    pub passed_over: usize,
    /// Where to look next; none at the end of what is due.
    pub next: Option<Vec<u8>>,
    /// Whether a block is full, and what did not fit into it is looked at again.
    ended: bool,
}

/// Gathers what is due.
pub fn gather(rows: &impl Rows, look: &Look<'_>) -> Result<Batch> {
    let mut batch = Batch::default();
    let due = fold_queue::due(rows, look.now_ms, (look.after.as_deref(), look.limit))?;
    let whole = due.len() < look.limit;
    for (key, object) in due {
        batch.add(rows, look, object)?;
        if !batch.ended {
            batch.next = Some(key);
        }
    }
    if whole && !batch.ended {
        batch.next = None;
    }
    batch.groups.retain(|_, group| !group.files.is_empty());
    Ok(batch)
}

impl Batch {
    fn add(&mut self, rows: &impl Rows, look: &Look<'_>, object: u64) -> Result<()> {
        let Some(queued) = fold_queue::find(rows, object)? else {
            return Ok(());
        };
        let gone = FoldFile {
            object_id: object,
            ..Default::default()
        };
        let place = queued.place.clone().unwrap_or_default();
        let row = match namespace::find(rows, &place) {
            Ok(found) => found.row,
            Err(fault) if !fault.is_refusal() => return Err(fault),
            Err(_) => {
                self.gone.push(gone);
                return Ok(());
            }
        };
        let kept = row.replication.unwrap_or(look.default);
        let kind = (kept.r#type, kept.factor);
        if look.blocked.contains(&kind) {
            self.passed_over += 1;
            return Ok(());
        }
        let group = self.groups.entry(kind).or_default();
        if group.is_full() {
            self.ended = true;
            return Ok(());
        }
        match group.take(rows, &row, &queued)? {
            file if file.pieces.is_empty() => self.gone.push(gone),
            file => group.files.push(file),
        }
        Ok(())
    }
}

impl Group {
    fn is_full(&self) -> bool {
        self.data.len() >= BLOCK_BYTES || self.pieces >= PIECES
    }

    /// Takes the inline bytes of a file, in the order of the file, while there is room.
    fn take(&mut self, rows: &impl Rows, row: &InodeRow, queued: &FoldRow) -> Result<FoldFile> {
        let mut file = FoldFile {
            object_id: row.object_id,
            ..Default::default()
        };
        let mut from = queued.from;
        loop {
            let (page, more) = file_map::read(rows, row, from, queued.to, PAGE)?;
            for extent in &page {
                if self.is_full() {
                    file.more = true;
                    return Ok(file);
                }
                file.pieces.extend(self.piece(rows, row.object_id, extent)?);
            }
            match page.last() {
                Some(last) if more => from = extents::end(last),
                _ => return Ok(file),
            }
        }
    }

    /// Takes the bytes of one extent, if it is inline.
    fn piece(
        &mut self,
        rows: &impl Rows,
        object: u64,
        extent: &Extent,
    ) -> Result<Option<FoldPiece>> {
        let Some(Source::Inline(inline)) = &extent.source else {
            return Ok(None);
        };
        let piece = FoldPiece {
            id: inline.id,
            offset: inline.offset,
            length: extent.length,
            file_offset: extent.file_offset,
            block_offset: self.data.len() as u64,
        };
        self.data.extend_from_slice(&file_map::inline_bytes(
            rows,
            object,
            inline,
            extent.length as usize,
        )?);
        self.pieces += 1;
        Ok(Some(piece))
    }
}
