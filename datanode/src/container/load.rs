//! Finding the containers of a volume again at start, whatever state a crash left them in.

use std::sync::Arc;

use super::{Container, Descriptor, FILE_PER_BLOCK, State};
use crate::error::{OpResult, StartError};
use crate::layout::descriptor_path;
use crate::rows::{Change, Counters};
use crate::volume::Volume;

/// Loads every container of a volume. A damaged one is loaded as unhealthy; it never keeps the
/// others from being served. Blocks.
pub fn load_volume(volume: &Arc<Volume>) -> Result<Vec<Container>, StartError> {
    let disk = volume.disk();
    let current = volume.layout().current();
    let mut containers = Vec::new();
    for group in disk
        .list(&current)
        .map_err(StartError::io("list", &current))?
    {
        if !group.info.is_dir {
            continue;
        }
        for entry in disk
            .list(&group.path)
            .map_err(StartError::io("list", &group.path))?
        {
            let Ok(id) = entry.name.parse::<i64>() else {
                continue;
            };
            if entry.path != volume.layout().container(id) {
                tracing::warn!(dir = %entry.path.display(), "container directory is out of place");
                continue;
            }
            containers.extend(load(volume, id));
        }
    }
    Ok(containers)
}

fn load(volume: &Arc<Volume>, id: i64) -> Option<Container> {
    let path = descriptor_path(&volume.layout().container(id), id);
    let descriptor = match Descriptor::read(&**volume.disk(), &path) {
        Ok(descriptor) if descriptor.id == id && descriptor.layout == FILE_PER_BLOCK => descriptor,
        Ok(other) => {
            tracing::error!(
                container = id,
                says = other.id,
                layout = other.layout,
                "descriptor is of another container or layout"
            );
            unhealthy(id)
        }
        Err(error) if is_half_made(volume, id) => {
            tracing::info!(container = id, %error, "removing a container that was never finished");
            let container = Container::assemble(volume, unhealthy(id), Counters::default());
            if let Err(error) = container.erase() {
                tracing::warn!(container = id, %error, "cannot remove half a container");
            }
            return None;
        }
        Err(error) => {
            tracing::error!(container = id, %error, "container descriptor is damaged");
            unhealthy(id)
        }
    };
    let deleted = descriptor.state == State::Deleted;
    let counters = volume.db().counters(id).unwrap_or_else(|error| {
        tracing::error!(container = id, %error, "container counters cannot be read");
        Counters::default()
    });
    let container = Container::assemble(volume, descriptor, counters);
    if deleted {
        if let Err(error) = container.erase() {
            tracing::warn!(container = id, %error, "cannot finish the removal of a container");
        }
        return None;
    }
    if let Err(error) = container.recover() {
        tracing::error!(container = id, %error, "container cannot be recovered");
        container.descriptor.lock().state = State::Unhealthy;
    }
    Some(container)
}

/// Neither a descriptor nor rows nor files: a crash came while it was made.
fn is_half_made(volume: &Arc<Volume>, id: i64) -> bool {
    let container = Container::assemble(volume, unhealthy(id), Counters::default());
    let path = descriptor_path(&container.dir, id);
    let no_descriptor = matches!(volume.disk().exists(&path), Ok(false));
    let no_rows = matches!(volume.db().blocks(id, 0, 1), Ok(rows) if rows.is_empty());
    let no_files = match container.layout.list_blocks() {
        Ok(files) => files.is_empty(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    no_descriptor && no_rows && no_files
}

/// Stands in for a descriptor that cannot be trusted.
fn unhealthy(id: i64) -> Descriptor {
    Descriptor {
        id,
        layout: FILE_PER_BLOCK,
        state: State::Unhealthy,
        max_size: 0,
        pipeline_id: String::new(),
        origin_node_id: String::new(),
        data_scan_ms: None,
    }
}

impl Container {
    /// Finishes deletions and finds committed bytes that the files lack. Only containers that were
    /// still written can lack any beyond what is noted.
    fn recover(&self) -> OpResult<()> {
        self.finish_deletions()?;
        *self.missing.lock() = self.db().missing(self.id)?.into_iter().collect();
        if self.state() == State::Closed || self.state() == State::Unhealthy {
            return Ok(());
        }
        let mut change = Change::new(self.id);
        let mut short = Vec::new();
        self.db().each_block(self.id, |local, row| {
            let stored = self.layout.stored_len(local);
            let stored = stored.map_err(|error| self.io_failed("look at block in", &error))?;
            if stored.unwrap_or(0) < row.size {
                short.push((local, stored.unwrap_or(0)));
            }
            Ok(())
        })?;
        for (local, stored) in short {
            let chunks = self.db().chunks(self.id, local, stored, stored + 1)?;
            let from = chunks.first().map_or(stored, |chunk| chunk.offset);
            tracing::warn!(block = %format!("{}/{local}", self.id), from, "committed bytes are gone");
            let from = *self
                .missing
                .lock()
                .entry(local)
                .and_modify(|f| *f = from.min(*f))
                .or_insert(from);
            change.put_missing(local, from);
        }
        self.db().write(change, false)
    }
}
