//! Multipart uploads that are under way, and their parts: a page at a time.

use ozone_proto::namespace::{MultipartRow, PartRow};
use ozone_proto::om::{
    KeyArgs, ListMultipartUploadsRequest, ListMultipartUploadsResponse, MultipartUploadInfo,
    MultipartUploadListPartsRequest, MultipartUploadListPartsResponse, PartInfo,
};

use crate::error::Result;
use crate::namespace;
use crate::ops::multipart;
use crate::rows::{Rows, decode};
use crate::tables;

/// Entries in one answer at most.
const MAX_PAGE: usize = 1000;

fn page_size(asked: Option<u32>) -> usize {
    asked.map_or(MAX_PAGE, |asked| (asked as usize).clamp(1, MAX_PAGE))
}

/// ListMultiPartUploadParts.
pub fn parts(
    request: &MultipartUploadListPartsRequest,
    rows: &impl Rows,
) -> Result<MultipartUploadListPartsResponse> {
    let bucket = namespace::bucket(rows, &request.volume, &request.bucket)?;
    let args = KeyArgs {
        volume_name: request.volume.clone(),
        bucket_name: request.bucket.clone(),
        key_name: request.key.clone(),
        multipart_upload_id: Some(request.upload_id.clone()),
        ..Default::default()
    };
    let upload = multipart::find(&args, &bucket, rows)?;
    let prefix = tables::parts_prefix(&upload.upload_id);
    let after = tables::part_key(&upload.upload_id, request.part_number_marker());
    let limit = page_size(request.max_parts);
    let mut page = rows.scan(tables::MULTIPART_PARTS, &prefix, Some(&after), limit + 1)?;
    let more = page.len() > limit;
    page.truncate(limit);
    let parts: Vec<PartInfo> = page
        .iter()
        .map(|(_, value)| {
            let part: PartRow = decode(tables::MULTIPART_PARTS, value)?;
            Ok(PartInfo {
                part_number: part.number,
                part_name: String::new(),
                modification_time: u64::try_from(part.modified_ms).unwrap_or_default(),
                size: part.inode.map_or(0, |inode| inode.size),
                e_tag: Some(part.etag),
            })
        })
        .collect::<Result<_>>()?;
    Ok(MultipartUploadListPartsResponse {
        next_part_number_marker: parts.last().map(|part| part.part_number),
        is_truncated: Some(more),
        owner: upload.inode.map(|inode| inode.owner),
        parts_list: parts,
    })
}

/// ListMultipartUploads, in the order of the table: there, uploads of `a/b` lie among those of `a`, and a key
/// alone says no place in it. What it leaves out is left out by name.
pub fn uploads(
    request: &ListMultipartUploadsRequest,
    rows: &impl Rows,
) -> Result<ListMultipartUploadsResponse> {
    let bucket = namespace::bucket(rows, &request.volume, &request.bucket)?;
    let bucket = tables::multipart_prefix(&bucket.volume, &bucket.name);
    let prefix = [bucket.as_slice(), request.prefix.as_bytes()].concat();
    let (mut after, left_out) = match (request.key_marker(), request.upload_id_marker()) {
        ("", _) => (None, ""),
        // Every later name is behind this place.
        (key, "") => (Some([bucket.as_slice(), key.as_bytes()].concat()), key),
        (key, id) => {
            let place = [bucket.as_slice(), key.as_bytes(), b"/", id.as_bytes()].concat();
            (Some(place), "")
        }
    };
    let limit = page_size(request.max_uploads);
    let mut uploads_list = Vec::new();
    loop {
        let page = rows.scan(tables::MULTIPART_INFO, &prefix, after.as_deref(), limit + 1)?;
        let ended = page.len() <= limit;
        for (place, value) in page {
            let row: MultipartRow = decode(tables::MULTIPART_INFO, &value)?;
            if left_out.is_empty() || row.key_name.as_str() > left_out {
                uploads_list.push(info(row));
            }
            after = Some(place);
        }
        if ended || uploads_list.len() > limit {
            break;
        }
    }
    let more = uploads_list.len() > limit;
    uploads_list.truncate(limit);
    Ok(ListMultipartUploadsResponse {
        is_truncated: Some(more),
        uploads_list,
    })
}

fn info(row: MultipartRow) -> MultipartUploadInfo {
    MultipartUploadInfo {
        volume_name: row.volume,
        bucket_name: row.bucket,
        key_name: row.key_name,
        upload_id: row.upload_id,
        creation_time: u64::try_from(row.created_ms).unwrap_or_default(),
        owner: row.inode.map(|inode| inode.owner),
    }
}
