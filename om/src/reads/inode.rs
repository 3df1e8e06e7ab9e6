//! Reads by inode: Lookup, GetAttr, Open, GetExtents.

use ozone_common::checksum::crc32c;
use ozone_proto::namespace::{
    Extent, GetAttrRequest, GetAttrResponse, GetExtentsRequest, GetExtentsResponse, Inode,
    InodeRef, InodeRow, LookupRequest, LookupResponse, OpenRequest, OpenResponse, extent::Source,
};

use super::snapshots;
use crate::error::{Result, refuse};
use crate::file_map;
use crate::namespace::{self, Slot};
use crate::rows::Rows;

/// Extents in one answer at most.
const MAX_EXTENTS: u32 = 10_000;
/// Inline bytes in one answer before it is cut short.
const MAX_INLINE_BYTES: usize = 4 << 20;

/// Lookup: a name in a directory.
pub fn lookup(request: &LookupRequest, rows: &impl Rows) -> Result<LookupResponse> {
    let dir = namespace::dir_of(request.dir.as_ref())?;
    if request.name.len() > 255 && !dir.is_object_store() {
        namespace::check_name(&request.name)?;
    }
    let found = namespace::child(rows, dir, &request.name)?;
    if let (true, Some(Slot::Bucket { volume, bucket })) =
        (request.follow, found.as_ref().map(|found| &found.slot))
    {
        return lookup_followed(volume, bucket, rows);
    }
    let Some(found) = found else {
        // A directory that is gone answers otherwise than a name that is not there.
        namespace::directory(rows, dir)?;
        if request.absent_ok {
            return Ok(LookupResponse::default());
        }
        return Err(refuse::not_found(&request.name));
    };
    Ok(LookupResponse {
        inode: Some(namespace::inode(dir, &request.name, without_map(found.row))),
        absence_leased: false,
    })
}

/// A bucket, or the one that it is a link to, at its own place.
fn lookup_followed(volume: &str, bucket: &str, rows: &impl Rows) -> Result<LookupResponse> {
    let row = namespace::bucket(rows, volume, bucket)?;
    let dir = namespace::inside_volume(row.volume_id);
    let inode = row.inode.unwrap_or_default();
    Ok(LookupResponse {
        inode: Some(namespace::inode(&dir, row.name.as_bytes(), inode)),
        absence_leased: false,
    })
}

/// Lookup in the directory of snapshots.
pub fn lookup_snapshot(request: &LookupRequest, rows: &impl Rows) -> Result<LookupResponse> {
    let dir = namespace::dir_of(request.dir.as_ref())?;
    let inode = snapshots::child(dir, &request.name, rows)?;
    if inode.is_none() && !request.absent_ok {
        return Err(refuse::not_found(&request.name));
    }
    Ok(LookupResponse {
        inode,
        absence_leased: false,
    })
}

/// GetAttr of a snapshot's root, or (without a name) of the directory of snapshots.
pub fn snapshots_attr(request: &GetAttrRequest, rows: &impl Rows) -> Result<GetAttrResponse> {
    let (place, dir) = namespace::ref_of(request.r#ref.as_ref())?;
    let inode = match place.name.is_empty() {
        true => namespace::inode(dir, &place.name, snapshots::directory(dir, rows)?),
        false => snapshots::child(dir, &place.name, rows)?
            .ok_or_else(|| refuse::stale(place.object_id))?,
    };
    Ok(GetAttrResponse { inode: Some(inode) })
}

/// Attributes travel without the extent map, which readers ask for.
pub fn without_map(mut row: InodeRow) -> InodeRow {
    row.extents_in_table |= !row.extents.is_empty();
    row.extents.clear();
    row
}

/// GetAttr: an inode by place and id.
pub fn get_attr(request: &GetAttrRequest, rows: &impl Rows) -> Result<GetAttrResponse> {
    let inode = Some(attributes(request.r#ref.as_ref(), rows)?);
    Ok(GetAttrResponse { inode })
}

fn attributes(place: Option<&InodeRef>, rows: &impl Rows) -> Result<Inode> {
    let (place, dir) = namespace::ref_of(place)?;
    let row = without_map(namespace::find(rows, place)?.row);
    Ok(namespace::inode(dir, &place.name, row))
}

/// Open: the attributes as of now; the leader notes who has it open.
pub fn open(request: &OpenRequest, rows: &impl Rows) -> Result<OpenResponse> {
    let inode = Some(attributes(request.r#ref.as_ref(), rows)?);
    Ok(OpenResponse { inode })
}

/// GetExtents: a piece of a file's map, with the bytes of inline extents.
pub fn get_extents(request: &GetExtentsRequest, rows: &impl Rows) -> Result<GetExtentsResponse> {
    let (place, dir) = namespace::ref_of(request.r#ref.as_ref())?;
    let row = namespace::find(rows, place)?.row;
    let to = match request.length {
        0 => u64::MAX,
        length => request.offset.saturating_add(length),
    };
    let limit = match request.limit {
        0 => MAX_EXTENTS,
        limit => limit.min(MAX_EXTENTS),
    };
    let (mut extents, mut more) = file_map::read(rows, &row, request.offset, to, limit as usize)?;
    if let Some(cut) = fill_inline(&mut extents, row.object_id, rows)? {
        extents.truncate(cut);
        more = true;
    }
    Ok(GetExtentsResponse {
        inode: Some(namespace::inode(dir, &place.name, without_map(row))),
        extents,
        more,
        locations: Vec::new(),
    })
}

/// Puts the bytes into inline extents. `Some(n)`: only the first `n` extents fit into an answer.
fn fill_inline(extents: &mut [Extent], object: u64, rows: &impl Rows) -> Result<Option<usize>> {
    let mut bytes = 0;
    for (n, extent) in extents.iter_mut().enumerate() {
        let length = extent.length as usize;
        let Some(Source::Inline(inline)) = &mut extent.source else {
            continue;
        };
        if n > 0 && bytes + length > MAX_INLINE_BYTES {
            return Ok(Some(n));
        }
        inline.data = file_map::inline_bytes(rows, object, inline, length)?;
        inline.crc32c = Some(crc32c(&inline.data));
        bytes += length;
    }
    Ok(None)
}
