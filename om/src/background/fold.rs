//! Folds inline extents into blocks: what waits in [`crate::fold_queue`] is written to a block of its
//! replication, many files in one, and a command of the log puts the block in the place of the
//! inline bytes.
//!
//! The block belongs to a session of its own until that command, so a fold that fails or is cut off
//! leaves nothing behind: the session ends or expires, and the block is freed with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::namespace::{
    AllocateBlocksRequest, BlockLocation, CloseSessionRequest, Extent, FoldFile, FoldPiece,
    FoldRequest, FoldRow, InodeRow, OpenSessionRequest, Replication, extent::Source,
};
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::{OmResponse, Type};

use crate::block_writer::BlockWriter;
use crate::error::{OmError, Result};
use crate::rows::Rows;
use crate::runner::{Runner, own_request};
use crate::{extents, file_map, fold_queue, namespace, ops};

/// Files looked at in one round.
const FILES: usize = 1024;
/// Bytes of one block: what is kept at most for the sake of one byte that is still referred to.
const BLOCK_BYTES: usize = 4 << 20;
/// Pieces in one command.
const PIECES: usize = 4096;
/// Extents read at a time.
const PAGE: usize = 1024;
/// Between looks for files that are due.
const ROUND: Duration = Duration::from_secs(1);

/// Folds inline extents into blocks.
pub struct Fold {
    /// Puts commands into the log.
    pub runner: Arc<Runner>,
    /// Writes the blocks.
    pub writer: BlockWriter,
}

/// What goes into one block.
#[derive(Default)]
struct Group {
    data: BytesMut,
    files: Vec<FoldFile>,
    pieces: usize,
}

/// What one round found.
#[derive(Default)]
struct Batch {
    /// By type and factor of the replication.
    groups: BTreeMap<(i32, i32), Group>,
    /// Files without inline bytes.
    gone: Vec<FoldFile>,
}

#[async_trait]
impl Worker for Fold {
    fn name(&self) -> String {
        "fold".to_owned()
    }

    async fn work(
        &mut self,
        _gate: &tokio_util::sync::CancellationToken,
    ) -> Result<Next, WorkError> {
        if !self.runner.leader.group.is_leader() {
            return Ok(Next::After(ROUND));
        }
        Ok(match self.round().await? {
            true => Next::Now,
            false => Next::After(ROUND),
        })
    }
}

impl Fold {
    /// Folds some of what is due; false when nothing is.
    async fn round(&self) -> Result<bool> {
        let leader = &self.runner.leader;
        let now = i64::try_from(leader.clock.wall_ms()).unwrap_or(i64::MAX);
        let default = leader.default_replication;
        let batch = leader
            .read(move |store| gather(&store.view(), now, default))
            .await?;
        if batch.groups.is_empty() && batch.gone.is_empty() {
            return Ok(false);
        }
        if !batch.gone.is_empty() {
            self.send(FoldRequest {
                files: batch.gone,
                ..Default::default()
            })
            .await?;
        }
        // One kind of replication that cannot be had now does not hold up the others.
        let mut outcome = Ok(true);
        for ((r#type, factor), group) in batch.groups {
            let replication = Replication { r#type, factor };
            if let Err(error) = self.fold(replication, group).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    async fn fold(&self, replication: Replication, group: Group) -> Result<()> {
        let session = self.open_session().await?;
        let folded = self.fold_in(session, replication, group).await;
        if folded.is_err() {
            let request = CloseSessionRequest {
                session,
                expired: false,
            };
            let close = own_request(Type::CloseSession, Body::CloseSession(request));
            self.ask(close).await?;
        }
        folded
    }

    async fn fold_in(&self, session: u64, replication: Replication, group: Group) -> Result<()> {
        let data: Bytes = group.data.freeze();
        let (bytes, files) = (data.len(), group.files.len());
        let location = self.block(session, replication, bytes).await?;
        let block = self.writer.write(&location, data).await?;
        let extents = self
            .send(FoldRequest {
                session,
                block: Some(block),
                files: group.files,
            })
            .await?;
        metrics::counter!("om_folded_extents_total").increment(extents.into());
        metrics::counter!("om_folded_bytes_total").increment(bytes as u64);
        tracing::debug!(files, bytes, extents, "inline extents folded into a block");
        Ok(())
    }

    async fn open_session(&self) -> Result<u64> {
        let request = OpenSessionRequest {
            description: "om: fold".to_owned(),
        };
        let open = own_request(Type::OpenSession, Body::OpenSession(request));
        match self.ask(open).await?.body {
            Some(Reply::OpenSession(opened)) => Ok(opened.session),
            _ => Err(unexpected()),
        }
    }

    async fn block(
        &self,
        session: u64,
        replication: Replication,
        bytes: usize,
    ) -> Result<BlockLocation> {
        let mut request = AllocateBlocksRequest {
            session,
            count: 1,
            size: bytes as u64,
            replication: Some(replication),
            ..Default::default()
        };
        ops::allocate_blocks::prepare(&mut request, &self.runner.leader).await?;
        let allocate = own_request(Type::AllocateBlocks, Body::AllocateBlocks(request));
        match self.ask(allocate).await?.body {
            Some(Reply::AllocateBlocks(mut answer)) => answer.blocks.pop().ok_or_else(unexpected),
            _ => Err(unexpected()),
        }
    }

    async fn send(&self, request: FoldRequest) -> Result<u32> {
        let fold = own_request(Type::Fold, Body::Fold(request));
        match self.ask(fold).await?.body {
            Some(Reply::Fold(answer)) => Ok(answer.extents),
            _ => Err(unexpected()),
        }
    }

    /// Puts a request of the OM's own into the log; a refusal is an error.
    async fn ask(&self, request: ozone_proto::om::OmRequest) -> Result<OmResponse> {
        let answer = self.runner.leader.propose(request).await?;
        match answer.success() {
            true => Ok(answer),
            false => Err(OmError::refused(
                answer.status(),
                answer.message.unwrap_or_default(),
            )),
        }
    }
}

fn unexpected() -> OmError {
    OmError::Storage("the answer is not of the kind that was asked for".into())
}

/// What is due, as far as it fits into a block of each replication.
fn gather(rows: &impl Rows, now_ms: i64, default: Replication) -> Result<Batch> {
    let mut batch = Batch::default();
    for object in fold_queue::due(rows, now_ms, FILES)? {
        let Some(queued) = fold_queue::find(rows, object)? else {
            continue;
        };
        let gone = FoldFile {
            object_id: object,
            ..Default::default()
        };
        let place = queued.place.clone().unwrap_or_default();
        let row = match namespace::find(rows, &place) {
            Ok(found) => found.row,
            Err(fault @ OmError::Storage(_)) => return Err(fault),
            Err(_) => {
                batch.gone.push(gone);
                continue;
            }
        };
        let kept = row.replication.unwrap_or(default);
        let group = batch.groups.entry((kept.r#type, kept.factor)).or_default();
        if !group.is_full() {
            match group.take(rows, &row, &queued)? {
                file if file.pieces.is_empty() => batch.gone.push(gone),
                file => group.files.push(file),
            }
        }
    }
    batch.groups.retain(|_, group| !group.files.is_empty());
    Ok(batch)
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
