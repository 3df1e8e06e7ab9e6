//! Bucket links: names that stand for other buckets.

use ozone_om::{OmError, namespace, reads, tables};
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::*;
use ozone_raft::StateMachine;

use crate::object_store::object_store;
use crate::objects::{args, list, put};
use crate::support::{Om, extent, unlink};

fn link(om: &mut Om, name: &str, source: &str) -> Status {
    let bucket_info = BucketInfo {
        volume_name: "vol".into(),
        bucket_name: name.into(),
        source_volume: Some("vol".into()),
        source_bucket: Some(source.into()),
        ..Default::default()
    };
    let request = CreateBucketRequest { bucket_info };
    om.ask(Body::CreateBucketRequest(request)).status()
}

fn remove(om: &mut Om, name: &str) -> Status {
    let request = DeleteBucketRequest {
        volume_name: "vol".into(),
        bucket_name: name.into(),
    };
    om.ask(Body::DeleteBucketRequest(request)).status()
}

fn by(link: &str, key: &str) -> KeyArgs {
    KeyArgs {
        bucket_name: link.into(),
        ..args(key)
    }
}

fn put_by(om: &mut Om, link: &str, key: &str) -> Status {
    let key_args = by(link, key);
    om.ask(Body::PutKey(PutKeyRequest { key_args })).status()
}

fn info(om: &Om, name: &str) -> BucketInfo {
    let store = om.state.store().unwrap();
    let request = InfoBucketRequest {
        volume_name: "vol".into(),
        bucket_name: name.into(),
    };
    let answer = reads::listing::info_bucket(&request, &*store).unwrap();
    answer.bucket_info.unwrap()
}

#[test]
fn what_is_asked_of_a_link_is_asked_of_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    object_store(&mut om);
    assert_eq!(link(&mut om, "link", "bucket"), Status::Ok);
    assert_eq!(link(&mut om, "further", "link"), Status::Ok);
    assert_eq!(put_by(&mut om, "further", "a//b"), Status::Ok);
    assert_eq!(list(&om, "", "", "", 10), ["a//b"]);
    let copy = CopyKeyRequest {
        source: by("link", "a//b"),
        key_args: by("further", "copy"),
        ..Default::default()
    };
    assert_eq!(om.ask(Body::CopyKey(copy)).status(), Status::Ok);
    let delete = DeleteKeyRequest {
        key_args: by("link", "a//b"),
        ..Default::default()
    };
    assert_eq!(om.ask(Body::DeleteKeyRequest(delete)).status(), Status::Ok);
    assert_eq!(list(&om, "", "", "", 10), ["copy"]);
}

#[test]
fn a_link_is_not_told_as_dangling_because_its_source_is_not_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    object_store(&mut om);
    om.state.flush().unwrap();
    drop(om);
    let mut om = Om::open(dir.path());
    assert_eq!(link(&mut om, "link", "bucket"), Status::Ok);
    let store = om.state.store().unwrap();
    let cold = namespace::bucket(&store.view_in_memory(), "vol", "bucket");
    assert!(matches!(cold, Err(OmError::NotInMemory)), "{cold:?}");
    let request = InfoBucketRequest {
        volume_name: "vol".into(),
        bucket_name: "link".into(),
    };
    let cold = reads::listing::info_bucket(&request, &store.view_in_memory());
    assert!(matches!(cold, Err(OmError::NotInMemory)), "{cold:?}");
    let told = reads::listing::info_bucket(&request, &*store).unwrap();
    assert!(told.root.is_some());
}

#[test]
fn a_key_that_was_begun_by_a_link_is_finished_by_any_name_of_its_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    object_store(&mut om);
    link(&mut om, "link", "bucket");
    let open = CreateKeyRequest {
        key_args: by("link", "key"),
        ..Default::default()
    };
    let Some(Reply::CreateKeyResponse(opened)) = om.ask(Body::CreateKeyRequest(open)).body else {
        panic!("not opened")
    };
    let commit = CommitKeyRequest {
        key_args: args("key"),
        client_id: opened.id(),
        ..Default::default()
    };
    assert_eq!(om.ask(Body::CommitKeyRequest(commit)).status(), Status::Ok);
    let begin = MultipartInfoInitiateRequest {
        key_args: KeyArgs {
            multipart_upload_id: Some("by-the-leader".into()),
            ..by("link", "parts")
        },
    };
    let begun = om.ask(Body::InitiateMultiPartUploadRequest(begin)).body;
    let Some(Reply::InitiateMultiPartUploadResponse(begun)) = begun else {
        panic!("not begun")
    };
    let abort = MultipartUploadAbortRequest {
        key_args: KeyArgs {
            multipart_upload_id: Some(begun.multipart_upload_id),
            ..args("parts")
        },
    };
    let aborted = om.ask(Body::AbortMultiPartUploadRequest(abort));
    assert_eq!(aborted.status(), Status::Ok);
    assert_eq!(om.rows(tables::MULTIPART_INFO), 0);
}

#[test]
fn a_link_may_lead_nowhere_and_one_in_a_circle_is_refused_where_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    object_store(&mut om);
    assert_eq!(link(&mut om, "early", "late"), Status::Ok);
    assert_eq!(put_by(&mut om, "early", "key"), Status::BucketNotFound);
    assert_eq!(info(&om, "early").source_bucket(), "late");
    for (name, source) in [("one", "two"), ("two", "three"), ("three", "one")] {
        assert_eq!(link(&mut om, name, source), Status::Ok);
    }
    let circle = Status::DetectedLoopInBucketLinks;
    assert_eq!(put_by(&mut om, "two", "key"), circle);
    assert_eq!(info(&om, "two").source_bucket(), "three");
    assert_eq!(remove(&mut om, "two"), Status::Ok);
    assert_eq!(put_by(&mut om, "one", "key"), Status::BucketNotFound);
    assert_eq!(
        link(&mut om, "early", "bucket"),
        Status::BucketAlreadyExists
    );
    assert_eq!(
        link(&mut om, "bucket", "early"),
        Status::BucketAlreadyExists
    );
    assert_eq!(
        link(&mut om, "Bad_Name", "early"),
        Status::InvalidBucketName
    );
    assert_eq!(link(&mut om, "good", "Bad_Name"), Status::InvalidBucketName);
}

#[test]
fn a_link_goes_without_its_source_and_keeps_its_volume_from_going() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let root = object_store(&mut om);
    let volume = namespace::inside_volume(root.volume_id);
    let names = |om: &Om| {
        let store = om.state.store().unwrap();
        let volume = namespace::volume(&*store, "vol").unwrap();
        (volume.used_namespace, volume.inode.unwrap().nlink)
    };
    assert_eq!(names(&om), (1, 3));
    assert_eq!(put(&mut om, "key"), Status::Ok);
    link(&mut om, "link", "bucket");
    assert_eq!(names(&om), (2, 3), "a link is no directory");
    assert_eq!(remove(&mut om, "bucket"), Status::BucketNotEmpty);
    assert_eq!(remove(&mut om, "link"), Status::Ok);
    assert_eq!(list(&om, "", "", "", 10), ["key"]);
    assert_eq!(names(&om), (1, 3));
    link(&mut om, "link", "bucket");
    // As a mount removes it.
    let rmdir = om.ask(unlink(volume, "link", true, None));
    assert_eq!(rmdir.status(), Status::NotADirectory);
    let gone = om.ask(unlink(volume, "link", false, None));
    assert_eq!(gone.status(), Status::Ok);
    assert_eq!(names(&om), (1, 3));
    assert_eq!(om.rows(tables::BUCKET), 1);
    assert_eq!(om.rows(tables::BUCKET_ID), 1);
}

#[test]
fn a_mount_sees_a_symbolic_link_and_is_told_the_bucket_behind_it_if_it_asks() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let root = object_store(&mut om);
    link(&mut om, "link", "bucket");
    let store = om.state.store().unwrap();
    let lookup = |follow| {
        let request = LookupRequest {
            dir: Some(namespace::inside_volume(root.volume_id)),
            name: "link".into(),
            follow,
            ..Default::default()
        };
        reads::inode::lookup(&request, &*store)
            .unwrap()
            .inode
            .unwrap()
    };
    let seen = lookup(false).row.unwrap();
    assert_eq!(seen.kind(), InodeKind::Symlink);
    assert_eq!(seen.symlink_target, "../vol/bucket");
    let behind = lookup(true);
    assert_eq!(behind.r#ref.unwrap().name, "bucket");
    assert_eq!(behind.row.unwrap().object_id, root.bucket_id);
}

#[test]
fn a_snapshot_by_a_link_is_its_sources() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let root = object_store(&mut om);
    link(&mut om, "link", "bucket");
    let answer = om.ask(Body::OpenSession(OpenSessionRequest::default()));
    let Some(Reply::OpenSession(opened)) = answer.body else {
        panic!("no session")
    };
    om.block(opened.session, 1);
    let key_args = KeyArgs {
        data_size: Some(10),
        extents: vec![extent(0, 10, 1, 0)],
        session: Some(opened.session),
        ..by("link", "key")
    };
    om.ask(Body::PutKey(PutKeyRequest { key_args }));
    let request = CreateSnapshotRequest {
        volume_name: Some("vol".into()),
        bucket_name: Some("link".into()),
        snapshot_name: Some("snap1".into()),
        snapshot_id: Some(ozone_proto::hdds::Uuid {
            most_sig_bits: 7,
            least_sig_bits: 1,
        }),
        ..Default::default()
    };
    let answer = om.send(OmRequest {
        cmd_type: Type::CreateSnapshot.into(),
        body: Some(Body::CreateSnapshotRequest(request)),
        ..Default::default()
    });
    assert_eq!(answer.status(), Status::Ok, "{:?}", answer.message);
    let store = om.state.store().unwrap();
    for bucket in ["bucket", "link"] {
        let row = ozone_om::snapshots::find(&*store, "vol", bucket, "snap1").unwrap();
        assert_eq!((row.bucket_id, &*row.bucket), (root.bucket_id, "bucket"));
    }
    drop(store);
    let request = DeleteSnapshotRequest {
        volume_name: Some("vol".into()),
        bucket_name: Some("link".into()),
        snapshot_name: Some("snap1".into()),
        ..Default::default()
    };
    let answer = om.send(OmRequest {
        cmd_type: Type::DeleteSnapshot.into(),
        body: Some(Body::DeleteSnapshotRequest(request)),
        ..Default::default()
    });
    assert_eq!(answer.status(), Status::Ok);
    assert_eq!(om.rows(tables::SNAPSHOT_INFO), 0);
}
