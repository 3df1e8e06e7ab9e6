//! ReclaimSnapshot: the background's work on a deleted snapshot, a bounded piece at a time: blocks that
//! nothing else sees are freed, then what the change log holds for it alone is forgotten, then the
//! snapshot itself; the state machine removes its checkpoint.
//!
//! A block that only snapshots see is filed under the newest of them. If that one is deleted, it
//! belongs to the next older one that was there when the block was referred to, and stays filed as it
//! is: so what is freed is found by the labels between this snapshot and the next newer one.

use ozone_proto::namespace::{ReclaimSnapshotRequest, ReclaimSnapshotResponse};

use crate::apply::Apply;
use crate::error::Result;
use crate::rows::Rows;
use crate::snapshots::{self, change_log};
use crate::{block_refs, tables};

/// Applies the request.
pub fn apply(
    request: &ReclaimSnapshotRequest,
    apply: &mut Apply<'_>,
) -> Result<ReclaimSnapshotResponse> {
    let (bucket, index) = (request.bucket_id, request.index);
    let row = tables::number_key(&[bucket, index]);
    if apply.get_raw(tables::SNAPSHOT_DELETED, &row)?.is_none() {
        return Ok(ReclaimSnapshotResponse { done: true });
    }
    let limit = request.limit.max(1) as usize;
    let span = Span::around(apply, bucket, index)?;
    let freed = block_refs::free_seen_by_none(apply, &span, limit)?;
    if freed == limit {
        return Ok(ReclaimSnapshotResponse { done: false });
    }
    // Differences are asked for between snapshots that are there.
    if span.older == 0 {
        let before = span.newer.unwrap_or(u64::MAX);
        if change_log::forget_before(apply, bucket, before, limit)? == limit {
            return Ok(ReclaimSnapshotResponse { done: false });
        }
    }
    apply.delete(tables::SNAPSHOT_DELETED, &row);
    Ok(ReclaimSnapshotResponse { done: true })
}

/// Where a deleted snapshot stood among those that are there.
pub struct Span {
    /// The bucket.
    pub bucket: u64,
    /// Index of the deleted one.
    pub index: u64,
    /// Index of the next older one, 0 for none.
    pub older: u64,
    /// Index of the next newer one.
    pub newer: Option<u64>,
}

impl Span {
    /// Of a snapshot that is deleted, or there.
    pub fn around(rows: &impl Rows, bucket: u64, index: u64) -> Result<Self> {
        let older = snapshots::newest_before(rows, bucket, index)?.unwrap_or(0);
        let newer = snapshots::oldest_after(rows, bucket, index)?;
        Ok(Self {
            bucket,
            index,
            older,
            newer,
        })
    }
}
