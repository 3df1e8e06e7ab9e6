//! Writing a file's new bytes, log-structured: they go to blocks in the order in which they are
//! written, wherever in the file they belong, and become durable with `flush`.
//!
//! Nothing that was taken is forgotten before it is proven durable: when a pipeline fails, its
//! unproven bytes are written again to a new block.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use ozone_proto::namespace::{BlockSource, Extent};

use super::DataEnv;
use super::block::{OpenBlock, Progress, Proven};
use super::gather::{Chunk, Gather};
use super::overlay::Overlay;
use super::pool::BlockPool;
use crate::session::Session;
use crate::{ClientError, Result};

/// Gathered bytes that are worth a chunk.
const CHUNK_MIN: usize = 1 << 20;
/// First and longest pause between attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A writer of one file's new bytes. The bytes become part of the file when the extents that
/// `flush` gives are committed to the OM.
#[derive(Debug)]
pub struct FileWriter {
    env: Arc<DataEnv>,
    session: Arc<Session>,
    pool: Arc<BlockPool>,
    gather: Gather,
    /// Chunks to send, oldest first.
    queue: VecDeque<Chunk>,
    /// Blocks with anything outstanding, oldest first; the last one takes chunks.
    blocks: VecDeque<OpenBlock>,
    /// Blocks that were written to and are no more.
    used: Vec<BlockSource>,
    proven: Vec<Proven>,
    /// Bytes in chunks that are not proven.
    unproven: usize,
    last_seq: u64,
    /// Failures since anything was last proven.
    failures: u32,
}

impl FileWriter {
    pub(super) fn new(env: Arc<DataEnv>, session: Arc<Session>, pool: Arc<BlockPool>) -> Self {
        Self {
            env,
            session,
            pool,
            gather: Gather::default(),
            queue: VecDeque::new(),
            blocks: VecDeque::new(),
            used: Vec::new(),
            proven: Vec::new(),
            unproven: 0,
            last_seq: 0,
            failures: 0,
        }
    }

    /// Takes bytes for the file from `file_offset`. Waits while more than the window is on its way.
    /// After an error everything that was taken before is still held; a later `flush` tries again.
    pub async fn write(&mut self, file_offset: u64, mut data: Bytes) -> Result<()> {
        let mut at = file_offset;
        while !data.is_empty() {
            self.session.check()?;
            self.make_room().await?;
            let piece = data.split_to(self.piece(data.len()));
            let length = piece.len();
            self.gather.push(at, piece);
            at += length as u64;
            if self.gather.len() >= self.chunk_min() {
                self.cut();
                self.advance(false).await?;
            }
        }
        Ok(())
    }

    /// Makes everything that was taken durable on a majority of its datanodes. Gives the extents to
    /// commit, none of which was given before; when few bytes were taken since the last flush, they
    /// are inline. After an error the bytes are still held, and the next flush tries again.
    pub async fn flush(&mut self) -> Result<Vec<Extent>> {
        self.session.check()?;
        let sent_before = self.unproven > 0 || !self.proven.is_empty();
        if !sent_before && self.gather.len() <= self.env.config.inline_limit {
            return Ok(self.gather.take_inline());
        }
        self.cut();
        while self.unproven > 0 {
            self.advance(true).await?;
            self.wait().await?;
        }
        self.proven.sort_by_key(|proven| proven.seq);
        let mut overlay = Overlay::default();
        self.proven
            .drain(..)
            .for_each(|proven| overlay.put(proven.extent));
        Ok(overlay.into_extents())
    }

    /// Bytes that were taken and not yet given out as extents by `flush`, at most.
    pub fn pending(&self) -> usize {
        self.gather.len() + self.unproven
    }

    /// Where in its block the next byte will be that is taken, if the block has room. Streams that end with whole pages
    /// there are written past the page cache.
    pub fn placed(&self) -> u64 {
        let queued: usize = self.queue.iter().map(|chunk| chunk.data.len()).sum();
        let block = self.blocks.back().map_or(0, OpenBlock::length);
        block + (queued + self.gather.len()) as u64
    }

    /// Gives back the blocks, as dropping the writer does. To be called when the extents were
    /// committed, or are given up: blocks that no file refers to are freed. Bytes that were not
    /// flushed are forgotten.
    pub async fn close(self) {
        drop(self);
    }

    fn chunk_max(&self) -> usize {
        let block = usize::try_from(self.env.config.longest_block).unwrap_or(usize::MAX);
        self.env.config.chunk_size.min(block).max(1)
    }

    fn chunk_min(&self) -> usize {
        CHUNK_MIN.min(self.chunk_max())
    }

    /// How much of `length` bytes to gather at once: a large write is a chunk as it is.
    fn piece(&self, length: usize) -> usize {
        let room = match self.gather.is_empty() {
            true if length >= self.chunk_min() => self.chunk_max(),
            _ => self.chunk_min() - self.gather.len(),
        };
        length.min(room)
    }

    fn cut(&mut self) {
        if self.gather.is_empty() {
            return;
        }
        self.unproven += self.gather.len();
        self.last_seq += 1;
        let chunk = self
            .gather
            .cut(self.last_seq, self.env.config.bytes_per_checksum);
        self.queue.push_back(chunk);
    }

    async fn make_room(&mut self) -> Result<()> {
        while self.unproven >= self.env.config.write_window {
            self.advance(false).await?;
            self.wait().await?;
        }
        Ok(())
    }

    /// Does all that can be done now: takes in answers, sends chunks, asks for proof.
    async fn advance(&mut self, all: bool) -> Result<()> {
        self.take_ready()?;
        while let Some(length) = self.queue.front().map(|chunk| chunk.data.len()) {
            if self.blocks.back().is_some_and(OpenBlock::is_ending) {
                self.wait().await?;
                continue;
            }
            if self.is_trying() {
                self.put(true);
                self.wait().await?;
                continue;
            }
            self.need_block(length).await?;
            if let Some(block) = self.blocks.back_mut() {
                block.prepare().await;
            }
            if let (Some(block), Some(chunk)) = (self.blocks.back_mut(), self.queue.pop_front()) {
                block.send(chunk);
            }
        }
        self.put(all);
        Ok(())
    }

    /// After a failure a block is tried with one chunk, before it is sent all that waits.
    fn is_trying(&self) -> bool {
        self.failures > 0 && self.blocks.back().is_some_and(OpenBlock::owes_proof)
    }

    fn put(&mut self, all: bool) {
        self.blocks
            .iter_mut()
            .for_each(|block| block.put_if_due(all));
    }

    fn take_ready(&mut self) -> Result<()> {
        let mut index = 0;
        while index < self.blocks.len() {
            match self.blocks[index].progress().now_or_never() {
                Some(progress) => self.take_in(index, progress)?,
                None => index += 1,
            }
        }
        self.retire();
        Ok(())
    }

    /// Waits for an answer from the oldest block that owes one.
    async fn wait(&mut self) -> Result<()> {
        let Some(index) = self.blocks.iter().position(OpenBlock::is_waiting) else {
            // Nothing is on its way: all is stored, or to be sent.
            self.put(true);
            return Ok(());
        };
        let progress = self.blocks[index].progress().await;
        self.take_in(index, progress)?;
        self.retire();
        Ok(())
    }

    fn take_in(&mut self, index: usize, progress: Progress) -> Result<()> {
        match progress {
            Progress::Stored => Ok(()),
            Progress::Proven(proven) => {
                let bytes: u64 = proven.iter().map(|proven| proven.extent.length).sum();
                self.unproven -= bytes as usize;
                self.proven.extend(proven);
                self.failures = 0;
                Ok(())
            }
            Progress::Lost(error) => self.lose(index, error),
        }
    }

    /// Drops blocks that are used up.
    fn retire(&mut self) {
        let used = &mut self.used;
        self.blocks.retain(|block| {
            if block.is_finished() {
                used.push(block.place().source());
            }
            !block.is_finished()
        });
    }

    /// Takes back what a lost block has not proven, to write it elsewhere.
    fn lose(&mut self, index: usize, error: ClientError) -> Result<()> {
        if let Some(block) = self.blocks.remove(index) {
            tracing::warn!(block = block.place().name(), %error, "block lost, writing elsewhere");
            self.used.push(block.place().source());
            self.queue.extend(block.into_unproven());
            self.queue.make_contiguous().sort_by_key(|chunk| chunk.seq);
        }
        self.failed(error)
    }

    fn failed(&mut self, error: ClientError) -> Result<()> {
        self.failures += 1;
        if self.failures > self.env.config.write_attempts {
            self.failures = 0;
            return Err(error);
        }
        Ok(())
    }

    /// Makes sure that the last block takes a chunk of `length` bytes.
    async fn need_block(&mut self, length: usize) -> Result<()> {
        if let Some(block) = self.blocks.back_mut()
            && block.has_room(length)
        {
            if !block.take_degraded() {
                return Ok(());
            }
            // A whole pipeline is better, where there is one.
            let Some(place) = self.pool.take_clean().await else {
                return Ok(());
            };
            self.start_block(place);
            return Ok(());
        }
        loop {
            if self.failures > 0 {
                let pause = PAUSE.0 * 2_u32.pow((self.failures - 1).min(10));
                tokio::time::sleep(pause.min(PAUSE.1)).await;
            }
            match self.pool.take().await {
                Ok(place) => {
                    self.start_block(place);
                    return Ok(());
                }
                Err(error)
                    if self.failures == 0 || matches!(error, ClientError::SessionExpired) =>
                {
                    return Err(error);
                }
                Err(error) => self.failed(error)?,
            }
        }
    }

    fn start_block(&mut self, place: Arc<super::place::Place>) {
        if let Some(block) = self.blocks.back_mut() {
            block.fill();
            self.retire();
        }
        self.blocks
            .push_back(OpenBlock::new(self.env.clone(), place));
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        let mut used = std::mem::take(&mut self.used);
        for block in self.blocks.drain(..) {
            match block.is_untouched() {
                true => self.pool.put_back(block.place().clone()),
                false => used.push(block.place().source()),
            }
        }
        self.pool.finished(used);
    }
}
