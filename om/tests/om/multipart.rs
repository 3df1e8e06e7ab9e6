//! Keys that come in parts, and copies: the same blocks, counted for as long as anything refers to them.

use ozone_om::rows::{Rows, decode};
use ozone_om::{file_map, namespace, reads, tables};
use ozone_proto::hdds::KeyValue;
use ozone_proto::namespace::extent::Source;
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::*;

use crate::support::{Om, extent, inline};

const MIB: u64 = 1 << 20;

fn args(key: &str) -> KeyArgs {
    KeyArgs {
        volume_name: "vol".into(),
        bucket_name: "bucket".into(),
        key_name: key.into(),
        ..Default::default()
    }
}

fn with_etag(args: KeyArgs, etag: &str) -> KeyArgs {
    KeyArgs {
        metadata: vec![KeyValue {
            key: "ETag".into(),
            value: Some(etag.into()),
        }],
        ..args
    }
}

fn initiate(om: &mut Om, key: &str) -> String {
    let key_args = KeyArgs {
        multipart_upload_id: Some("by-the-leader".into()),
        ..args(key)
    };
    let answer = om.ask(Body::InitiateMultiPartUploadRequest(
        MultipartInfoInitiateRequest { key_args },
    ));
    match answer.body {
        Some(Reply::InitiateMultiPartUploadResponse(begun)) => begun.multipart_upload_id,
        _ => panic!("{:?} {:?}", answer.status(), answer.message),
    }
}

fn part(om: &mut Om, (key, id, number): (&str, &str, u32), extents: Vec<Extent>) -> Status {
    let size = extents.iter().map(|e| e.file_offset + e.length).max();
    let key_args = KeyArgs {
        multipart_upload_id: Some(id.into()),
        multipart_number: Some(number),
        data_size: size,
        extents,
        ..with_etag(args(key), &format!("tag{number}"))
    };
    let request = MultipartCommitUploadPartRequest {
        key_args,
        client_id: 0,
    };
    om.ask(Body::CommitMultiPartUploadRequest(request)).status()
}

fn complete(om: &mut Om, key: &str, id: &str, parts: &[u32]) -> Status {
    let key_args = KeyArgs {
        multipart_upload_id: Some(id.into()),
        ..with_etag(args(key), "whole-2")
    };
    let parts_list = parts.iter().map(|number| Part {
        part_number: *number,
        part_name: String::new(),
        e_tag: Some(format!("tag{number}")),
    });
    let request = MultipartUploadCompleteRequest {
        key_args,
        parts_list: parts_list.collect(),
    };
    om.ask(Body::CompleteMultiPartUploadRequest(request))
        .status()
}

fn copy(om: &mut Om, from: &str, request: CopyKeyRequest) -> OmResponse {
    om.ask(Body::CopyKey(CopyKeyRequest {
        source: args(from),
        ..request
    }))
}

fn row(om: &Om, bucket: &DirRef, key: &str) -> InodeRow {
    let store = om.state.store().unwrap();
    namespace::child(&*store, bucket, key.as_bytes())
        .unwrap()
        .unwrap()
        .row
}

/// (where in the file, how much, which block, where in the block); a block of 0 is inline.
fn map(om: &Om, row: &InodeRow) -> Vec<(u64, u64, u64, u64)> {
    let store = om.state.store().unwrap();
    let (extents, _) = file_map::read(&*store, row, 0, u64::MAX, 1000).unwrap();
    let place = |extent: &Extent| match &extent.source {
        Some(Source::Block(block)) => (block.local, block.offset),
        _ => (0, 0),
    };
    let told = extents
        .iter()
        .map(|e| (e.file_offset, e.length, place(e).0, place(e).1));
    told.collect()
}

fn used_bytes(om: &Om) -> u64 {
    let store = om.state.store().unwrap();
    namespace::bucket(&*store, "vol", "bucket")
        .unwrap()
        .used_bytes
}

/// Everything that refers to no key any more is reclaimed.
fn freed(om: &mut Om, session: u64, blocks: &[u64]) -> usize {
    blocks.iter().for_each(|block| om.release(session, *block));
    om.purge();
    om.rows(tables::FREED_BLOCK)
}

#[test]
fn a_completed_upload_refers_to_the_blocks_of_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (bucket, session) = om.bucket();
    (1..=3).for_each(|block| om.block(session, block));
    let id = initiate(&mut om, "dir/key");
    let at = |number| ("dir/key", id.as_str(), number);
    // In any order, one of them twice, the last one small.
    assert_eq!(part(&mut om, at(7), vec![inline(0, b"tail")]), Status::Ok);
    assert_eq!(
        part(&mut om, at(2), vec![extent(0, 6 * MIB, 1, 0)]),
        Status::Ok
    );
    assert_eq!(
        part(&mut om, at(2), vec![extent(0, 5 * MIB, 2, 0)]),
        Status::Ok
    );
    assert_eq!(part(&mut om, at(9), vec![extent(0, MIB, 3, 0)]), Status::Ok);
    assert_eq!(used_bytes(&om), 6 * MIB + 4);

    assert_eq!(
        complete(&mut om, "dir/key", &id, &[7, 2]),
        Status::InvalidPartOrder
    );
    assert_eq!(
        complete(&mut om, "dir/key", &id, &[2, 3]),
        Status::InvalidPart
    );
    assert_eq!(
        complete(&mut om, "dir/key", &id, &[2, 7, 9]),
        Status::EntityTooSmall
    );
    assert_eq!(
        complete(&mut om, "dir/key", "other", &[2, 7]),
        Status::NoSuchMultipartUploadError
    );
    assert_eq!(complete(&mut om, "dir/key", &id, &[2, 7]), Status::Ok);

    let inside = DirRef {
        parent_id: row(&om, &bucket, "dir").object_id,
        ..bucket
    };
    let key = row(&om, &inside, "key");
    assert_eq!(key.size, 5 * MIB + 4);
    assert_eq!(map(&om, &key), [(0, 5 * MIB, 2, 0), (5 * MIB, 4, 0, 0)]);
    assert_eq!(ozone_om::etag::of(&key), "whole-2");
    assert_eq!(used_bytes(&om), 5 * MIB + 4);
    assert_eq!(
        om.rows(tables::MULTIPART_INFO) + om.rows(tables::MULTIPART_PARTS),
        0
    );
    // The part that was replaced and the one that was left out; not the one that the key has.
    assert_eq!(freed(&mut om, session, &[1, 2, 3]), 2);
    assert_eq!(om.rows(tables::INLINE), 1);
}

#[test]
fn nothing_stays_of_an_upload_that_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (_, session) = om.bucket();
    om.block(session, 1);
    om.block(session, 2);
    let (first, second) = (initiate(&mut om, "key"), initiate(&mut om, "key"));
    assert_ne!(first, second);
    part(&mut om, ("key", &first, 1), vec![extent(0, 100, 1, 0)]);
    part(&mut om, ("key", &second, 1), vec![extent(0, 100, 2, 0)]);
    let delete = Body::DeleteBucketRequest(DeleteBucketRequest {
        volume_name: "vol".into(),
        bucket_name: "bucket".into(),
    });
    assert_eq!(om.ask(delete).status(), Status::BucketNotEmpty);
    let key_args = KeyArgs {
        multipart_upload_id: Some(first),
        ..args("key")
    };
    let abort = Body::AbortMultiPartUploadRequest(MultipartUploadAbortRequest { key_args });
    assert_eq!(om.ask(abort.clone()).status(), Status::Ok);
    assert_eq!(om.ask(abort).status(), Status::NoSuchMultipartUploadError);
    let left = om.dump().remove(tables::MULTIPART_INFO.0).unwrap();
    let uploads = left.into_iter().map(|(key, _)| key.into()).collect();
    om.ask(Body::Purge(PurgeRequest {
        uploads,
        ..Default::default()
    }));
    assert_eq!(
        om.rows(tables::MULTIPART_INFO) + om.rows(tables::MULTIPART_PARTS),
        0
    );
    assert_eq!(used_bytes(&om), 0);
    assert_eq!(freed(&mut om, session, &[1, 2]), 2);
}

#[test]
fn a_copy_shares_blocks_and_has_inline_bytes_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (bucket, session) = om.bucket();
    om.block(session, 1);
    let put = PutKeyRequest {
        key_args: KeyArgs {
            data_size: Some(104),
            extents: vec![extent(0, 100, 1, 7), inline(100, b"tail")],
            session: Some(session),
            ..with_etag(args("source"), "digest")
        },
    };
    assert_eq!(om.ask(Body::PutKey(put)).status(), Status::Ok);
    let to = |key: &str| CopyKeyRequest {
        key_args: args(key),
        ..Default::default()
    };
    assert_eq!(copy(&mut om, "source", to("copy")).status(), Status::Ok);
    assert_eq!(
        copy(&mut om, "nothing", to("copy")).status(),
        Status::KeyNotFound
    );
    let (source, copied) = (row(&om, &bucket, "source"), row(&om, &bucket, "copy"));
    assert_ne!(source.object_id, copied.object_id);
    assert_eq!(map(&om, &copied), [(0, 100, 1, 7), (100, 4, 0, 0)]);
    assert_eq!(ozone_om::etag::of(&copied), "digest");
    assert_eq!(om.rows(tables::INLINE), 2);

    let delete = |om: &mut Om, key: &str| {
        let object_id = row(om, &bucket, key).object_id;
        let keep = Some(Keep {
            object_id,
            sessions: Vec::new(),
        });
        om.ask(Body::DeleteKeyRequest(DeleteKeyRequest {
            key_args: args(key),
            keep,
            as_object: Some(true),
        }));
    };
    delete(&mut om, "source");
    assert_eq!(freed(&mut om, session, &[1]), 0);
    let store = om.state.store().unwrap();
    for (key, _) in store.scan(tables::INLINE, &[], None, 10).unwrap() {
        let [object, _] = tables::parse_number_key::<2>(&key).unwrap();
        assert_eq!(object, copied.object_id);
    }
    drop(store);
    delete(&mut om, "copy");
    assert_eq!(freed(&mut om, session, &[]), 1);
    assert_eq!(om.rows(tables::INLINE), 0);
}

#[test]
fn a_part_is_copied_from_a_range() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (bucket, session) = om.bucket();
    om.block(session, 1);
    let put = PutKeyRequest {
        key_args: KeyArgs {
            data_size: Some(20 * MIB),
            extents: vec![extent(0, 20 * MIB, 1, 0)],
            ..args("source")
        },
    };
    om.ask(Body::PutKey(put));
    let id = initiate(&mut om, "key");
    let range = |number: u32, offset, length| CopyKeyRequest {
        key_args: KeyArgs {
            multipart_upload_id: Some(id.clone()),
            multipart_number: Some(number),
            ..with_etag(args("key"), &format!("tag{number}"))
        },
        offset: Some(offset),
        length: Some(length),
        ..Default::default()
    };
    assert_eq!(
        copy(&mut om, "source", range(1, 10 * MIB, 6 * MIB)).status(),
        Status::Ok
    );
    assert_eq!(
        copy(&mut om, "source", range(2, MIB, 5)).status(),
        Status::Ok
    );
    let beyond = copy(&mut om, "source", range(3, 20 * MIB, 1));
    assert_eq!(beyond.status(), Status::InvalidRequest);
    assert_eq!(complete(&mut om, "key", &id, &[1, 2]), Status::Ok);
    let key = row(&om, &bucket, "key");
    assert_eq!(
        map(&om, &key),
        [(0, 6 * MIB, 1, 10 * MIB), (6 * MIB, 5, 1, MIB)]
    );
}

#[test]
fn uploads_and_their_parts_are_listed_by_pages() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    om.bucket();
    let ids: Vec<_> = (0..5)
        .map(|n| initiate(&mut om, &format!("k/{}", n / 2)))
        .collect();
    (1..=5).for_each(|n| {
        assert_eq!(
            part(&mut om, ("k/0", &ids[0], n), vec![inline(0, b"x")]),
            Status::Ok
        )
    });
    let ask = |body: &Body| {
        let store = om.state.store().unwrap();
        match reads::answer(body, &*store).unwrap() {
            reads::Answer::Done(reply) => *reply,
            _ => panic!("no list"),
        }
    };
    let mut numbers = Vec::new();
    loop {
        let request = MultipartUploadListPartsRequest {
            volume: "vol".into(),
            bucket: "bucket".into(),
            key: "k/0".into(),
            upload_id: ids[0].clone(),
            part_number_marker: numbers.last().copied(),
            max_parts: Some(2),
        };
        let Reply::ListMultiPartUploadPartsResponse(page) =
            ask(&Body::ListMultiPartUploadPartsRequest(request))
        else {
            panic!("no parts")
        };
        numbers.extend(page.parts_list.iter().map(|part| part.part_number));
        if !page.is_truncated() {
            break;
        }
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let (mut found, mut marker) = (Vec::new(), (String::new(), String::new()));
    loop {
        let request = ListMultipartUploadsRequest {
            volume: "vol".into(),
            bucket: "bucket".into(),
            prefix: "k/".into(),
            key_marker: Some(marker.0.clone()),
            upload_id_marker: Some(marker.1.clone()),
            max_uploads: Some(2),
        };
        let Reply::ListMultipartUploadsResponse(page) =
            ask(&Body::ListMultipartUploadsRequest(request))
        else {
            panic!("no uploads")
        };
        let more = page.is_truncated();
        found.extend(
            page.uploads_list
                .into_iter()
                .map(|upload| (upload.key_name, upload.upload_id)),
        );
        marker = found.last().cloned().unwrap();
        if !more {
            break;
        }
    }
    assert_eq!(found.len(), 5);
    found.dedup();
    assert!(found.iter().all(|(_, id)| ids.contains(id)));
    let rows = om.dump().remove(tables::MULTIPART_PARTS.0).unwrap();
    let first: PartRow = decode(tables::MULTIPART_PARTS, &rows[0].1).unwrap();
    assert_eq!(first.number, 1);
}

#[test]
fn behind_a_key_are_the_uploads_of_every_later_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    om.bucket();
    let keys = ["a", "a", "a-b", "a/b", "a/b/c", "b"];
    keys.iter().for_each(|key| drop(initiate(&mut om, key)));
    let behind = |marker: &str| {
        let request = ListMultipartUploadsRequest {
            volume: "vol".into(),
            bucket: "bucket".into(),
            key_marker: Some(marker.into()),
            max_uploads: Some(10),
            ..Default::default()
        };
        let store = om.state.store().unwrap();
        let body = Body::ListMultipartUploadsRequest(request);
        let reads::Answer::Done(reply) = reads::answer(&body, &*store).unwrap() else {
            panic!("no list")
        };
        let Reply::ListMultipartUploadsResponse(page) = *reply else {
            panic!("no uploads")
        };
        let mut names: Vec<String> = page.uploads_list.into_iter().map(|u| u.key_name).collect();
        names.sort();
        names
    };
    assert_eq!(behind(""), keys);
    assert_eq!(behind("a"), ["a-b", "a/b", "a/b/c", "b"]);
    assert_eq!(behind("a-b"), ["a/b", "a/b/c", "b"]);
    assert_eq!(behind("a/b"), ["a/b/c", "b"]);
    assert_eq!(behind("b"), [""; 0]);
}
