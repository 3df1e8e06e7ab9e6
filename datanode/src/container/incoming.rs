//! A container that is copied here from another datanode.
//!
//! It is put together in the volume's `tmp` and verified on the way; only when it is whole and
//! durable it takes its place, in one rename. A crash before that leaves nothing.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ozone_common::disk::{DiskFile, OpenMode, create_dir_durably};
use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::{ImportBlock, ImportHeader};

use super::{Container, Descriptor, FILE_PER_BLOCK, State};
use crate::chunk::Chunk;
use crate::error::{OpError, OpResult};
use crate::layout::{chunks_dir, descriptor_path};
use crate::rows::{BlockRow, Change, Counters};
use crate::volume::Volume;

/// A container on its way in. All calls block.
#[derive(Debug)]
pub struct Incoming {
    volume: Arc<Volume>,
    dir: PathBuf,
    descriptor: Descriptor,
    expected_blocks: u64,
    counters: Counters,
    current: Option<CurrentBlock>,
}

#[derive(Debug)]
struct CurrentBlock {
    local: i64,
    row: BlockRow,
    file: Arc<dyn DiskFile>,
    chunks: Vec<Chunk>,
    next: usize,
    buffer: BytesMut,
}

impl Incoming {
    /// Begins a copy on this volume.
    pub fn begin(volume: Arc<Volume>, header: &ImportHeader) -> OpResult<Self> {
        let id = header.container_id;
        if id <= 0 {
            return Err(OpError::malformed(format!("container {id} is none")));
        }
        let state = State::from_name(&header.state);
        let state = state.filter(|s| matches!(s, State::Closed | State::QuasiClosed));
        let Some(state) = state else {
            let text = format!(
                "container {id} is {}, only closed ones are copied",
                header.state
            );
            return Err(OpError::new(Code::UnclosedContainerIo, text));
        };
        let dir = volume.layout().incoming(id);
        let disk = volume.disk();
        let made = disk
            .remove_dir_all(&dir)
            .and_then(|()| create_dir_durably(&**disk, &chunks_dir(&dir)))
            .and_then(|()| create_dir_durably(&**disk, &dir.join("metadata")));
        made.map_err(|error| OpError::io("create", &dir, &error))?;
        let mut change = Change::new(id);
        change.delete_all();
        volume.db().write(change, false)?;
        let descriptor = Descriptor {
            id,
            layout: FILE_PER_BLOCK,
            state,
            max_size: header.max_size,
            pipeline_id: header.pipeline_id.clone(),
            origin_node_id: header.origin_node_id.clone(),
            data_scan_ms: None,
        };
        let counters = Counters {
            bcsid: header.bcsid,
            delete_tx: header.delete_transaction_id,
            ..Counters::default()
        };
        let expected_blocks = header.block_count;
        Ok(Self {
            volume,
            dir,
            descriptor,
            expected_blocks,
            counters,
            current: None,
        })
    }

    /// Begins the next block; its data follows.
    pub fn block(&mut self, block: &ImportBlock) -> OpResult<()> {
        self.end_block()?;
        if block.local_id < 0 {
            return Err(self.broken(format!("block {} is none", block.local_id)));
        }
        let chunks: Vec<Chunk> = block
            .chunks
            .iter()
            .map(Chunk::from_stored)
            .collect::<OpResult<_>>()?;
        let mut end = 0;
        for chunk in &chunks {
            if chunk.offset != end {
                return Err(self.broken(format!("block {} has a gap at {end}", block.local_id)));
            }
            end = chunk.end();
        }
        if end != block.size {
            let text = format!(
                "block {} has {} bytes, its chunks {end}",
                block.local_id, block.size
            );
            return Err(self.broken(text));
        }
        self.volume.check_room(block.size)?;
        let path = chunks_dir(&self.dir).join(format!("{}.block", block.local_id));
        let file = self.volume.disk().open(&path, OpenMode::CreateNew);
        let file = file.map_err(|error| OpError::io("create", &path, &error))?;
        self.current = Some(CurrentBlock {
            local: block.local_id,
            row: BlockRow {
                size: block.size,
                bcsid: block.bcsid,
                flags: block.flags,
            },
            file,
            chunks,
            next: 0,
            buffer: BytesMut::new(),
        });
        Ok(())
    }

    /// The next bytes of the block.
    pub fn data(&mut self, data: &Bytes) -> OpResult<()> {
        let dir = self.dir.clone();
        let Some(block) = &mut self.current else {
            return Err(self.broken("data without a block".to_owned()));
        };
        block.buffer.extend_from_slice(data);
        while let Some(chunk) = block.chunks.get(block.next) {
            let len = chunk.len as usize;
            if block.buffer.len() < len {
                return Ok(());
            }
            let bytes = block.buffer.split_to(len);
            chunk.verify(&bytes)?;
            let written = block.file.write_at(&bytes, chunk.offset);
            written.map_err(|error| OpError::io("write in", &dir, &error))?;
            block.next += 1;
        }
        match block.buffer.is_empty() {
            true => Ok(()),
            false => Err(self.broken("more data than its blocks have".to_owned())),
        }
    }

    fn end_block(&mut self) -> OpResult<()> {
        let Some(block) = self.current.take() else {
            return Ok(());
        };
        if block.next < block.chunks.len() {
            return Err(self.broken(format!("block {} ends too early", block.local)));
        }
        block
            .file
            .sync_data()
            .map_err(|error| self.sync_failed(&error))?;
        let mut change = Change::new(self.descriptor.id);
        change.put_block(block.local, &block.row);
        block
            .chunks
            .iter()
            .for_each(|chunk| change.put_chunk(block.local, chunk));
        self.volume.db().write(change, false)?;
        self.counters.blocks += 1;
        self.counters.bytes = self.counters.bytes.saturating_add(block.row.size);
        Ok(())
    }

    /// Everything came: puts the container into its place.
    pub fn finish(mut self) -> OpResult<Container> {
        self.end_block()?;
        if self.counters.blocks != self.expected_blocks {
            let text = format!(
                "{} blocks came of {}",
                self.counters.blocks, self.expected_blocks
            );
            return Err(self.broken(text));
        }
        let id = self.descriptor.id;
        let disk = self.volume.disk();
        let path = descriptor_path(&self.dir, id);
        let written = self.descriptor.write(&**disk, &path);
        written.map_err(|error| OpError::io("write", &path, &error))?;
        let mut change = Change::new(id);
        change.counters(&self.counters);
        self.volume.db().write(change, true)?;
        let place = self.volume.layout().container(id);
        let parent = place.parent().unwrap_or(&place).to_path_buf();
        let moved = [chunks_dir(&self.dir), self.dir.clone()]
            .iter()
            .try_for_each(|dir| disk.sync_dir(dir))
            .and_then(|()| create_dir_durably(&**disk, &parent))
            .and_then(|()| disk.rename(&self.dir, &place));
        moved.map_err(|error| OpError::io("move into place", &place, &error))?;
        disk.sync_dir(&parent)
            .map_err(|error| self.sync_failed(&error))?;
        Ok(Container::assemble(
            &self.volume,
            self.descriptor,
            self.counters,
        ))
    }

    /// Removes what came so far.
    pub fn abandon(volume: &Volume, id: i64) {
        let mut change = Change::new(id);
        change.delete_all();
        let rows = volume.db().write(change, false);
        let files = volume.disk().remove_dir_all(&volume.layout().incoming(id));
        if rows.is_err() || files.is_err() {
            tracing::warn!(
                container = id,
                "remains of a copy are left until the next start"
            );
        }
    }

    fn broken(&self, why: String) -> OpError {
        let text = format!("copy of container {}: {why}", self.descriptor.id);
        OpError::new(Code::MalformedRequest, text)
    }

    fn sync_failed(&self, cause: &std::io::Error) -> OpError {
        self.volume
            .fail(&format!("fsync in {}: {cause}", self.dir.display()));
        OpError::io("fsync in", &self.dir, cause)
    }
}
