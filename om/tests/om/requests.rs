//! One request of each kind, about what is in a scene.

use bytes::Bytes;
use ozone_om::rows::Rows;
use ozone_om::{namespace, tables};
use ozone_proto::hdds::{BlockId, ContainerBlockId, KeyValue};
use ozone_proto::namespace::batch_part::Change as Part;
use ozone_proto::namespace::extent::Source;
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::{self, *};

use crate::objects::args;
use crate::scene::{MIB, Scene, part, snapshot};
use crate::support::{extent, id, inline, unlink};

impl Scene {
    /// A request of each kind that changes something; those that leave least behind come last.
    pub(crate) fn changes(&self) -> Vec<Body> {
        let mut all = self.of_files();
        all.extend(self.of_keys());
        all.extend(self.of_blocks());
        all.extend(self.that_end_something());
        all
    }

    pub(crate) fn commit(&self, file: &Inode) -> CommitRequest {
        CommitRequest {
            r#ref: file.r#ref.clone(),
            extents: vec![extent(50, 100, 3, 7), inline(4 * MIB - 3, b"bytes")],
            size: 6 * MIB,
            session: self.session,
            mtime_ns: 1,
            holes: vec![Hole {
                offset: 4,
                length: 300,
            }],
            expected_data_version: None,
        }
    }

    pub(crate) fn set_attr(&self, file: &Inode) -> SetAttrRequest {
        SetAttrRequest {
            r#ref: file.r#ref.clone(),
            size: Some(70),
            ..Default::default()
        }
    }

    pub(crate) fn create(&self, name: &'static str) -> CreateRequest {
        CreateRequest {
            dir: Some(self.dir),
            name: Bytes::from_static(name.as_bytes()),
            kind: InodeKind::File.into(),
            session: self.session,
            ..Default::default()
        }
    }

    pub(crate) fn of_files(&self) -> Vec<Body> {
        let part = |change| BatchPart {
            time_ns: 1,
            change: Some(change),
        };
        let numbered = CreateRequest {
            object_id: self.ids,
            ..self.create("numbered")
        };
        let parts = vec![
            part(Part::Create(numbered)),
            part(Part::SetAttr(self.set_attr(&self.many))),
            part(Part::Commit(self.commit(&self.file))),
        ];
        let link = LinkRequest {
            source: self.small.r#ref.clone(),
            dir: Some(self.inside),
            name: Bytes::from_static(b"linked"),
        };
        vec![
            Body::Create(self.create("created")),
            Body::Commit(self.commit(&self.file)),
            Body::Commit(self.commit(&self.many)),
            Body::SetAttr(self.set_attr(&self.file)),
            Body::SetAttr(self.set_attr(&self.many)),
            Body::Batch(BatchRequest { parts }),
            Body::Link(link),
            Body::ReserveIds(ReserveIdsRequest { count: 1 }),
            Body::OpenSession(OpenSessionRequest::default()),
            snapshot("second"),
        ]
    }

    pub(crate) fn of_keys(&self) -> Vec<Body> {
        let location = |local_id| KeyLocation {
            block_id: BlockId {
                container_block_id: ContainerBlockId {
                    container_id: 1,
                    local_id,
                },
                block_commit_sequence_id: Some(1),
            },
            offset: 1,
            length: 10,
            ..Default::default()
        };
        let put = |key: &str, extents| KeyArgs {
            data_size: Some(7 * MIB),
            extents,
            session: Some(self.session),
            ..args(key)
        };
        let in_locations = KeyArgs {
            key_locations: vec![location(4), location(5)],
            ..put("a/opened", Vec::new())
        };
        let commit = CommitKeyRequest {
            key_args: in_locations,
            client_id: self.opened,
            ..Default::default()
        };
        let copy = |key_args| CopyKeyRequest {
            source: args("many"),
            key_args,
            offset: Some(1),
            length: Some(500),
            ..Default::default()
        };
        let into_part = KeyArgs {
            multipart_upload_id: Some(self.upload.clone()),
            multipart_number: Some(3),
            ..args("parts")
        };
        let complete = MultipartUploadCompleteRequest {
            key_args: KeyArgs {
                multipart_upload_id: Some(self.upload.clone()),
                ..args("parts")
            },
            parts_list: [1, 2]
                .map(|part_number| om::Part {
                    part_number,
                    ..Default::default()
                })
                .to_vec(),
        };
        let tagged = KeyArgs {
            tags: vec![KeyValue::default()],
            ..args("file")
        };
        vec![
            Body::CreateKeyRequest(CreateKeyRequest {
                key_args: put("b/created", Vec::new()),
                ..Default::default()
            }),
            Body::CommitKeyRequest(commit),
            Body::PutKey(PutKeyRequest {
                key_args: put("b/put", vec![extent(0, 10, 6, 0), inline(10, b"bytes")]),
            }),
            Body::PutKey(PutKeyRequest {
                key_args: args("directory/"),
            }),
            Body::CopyKey(copy(args("b/copy"))),
            Body::CopyKey(copy(into_part)),
            Body::PutObjectTaggingRequest(PutObjectTaggingRequest { key_args: tagged }),
            Body::InitiateMultiPartUploadRequest(MultipartInfoInitiateRequest {
                key_args: args("other"),
            }),
            part(&self.upload, 1),
            Body::CompleteMultiPartUploadRequest(complete),
        ]
    }

    pub(crate) fn of_blocks(&self) -> Vec<Body> {
        let store = self.om.state.store().unwrap();
        let found = namespace::find(&*store, self.small.r#ref.as_ref().unwrap()).unwrap();
        let Some(Source::Inline(value)) = &found.row.extents[0].source else {
            panic!("not inline")
        };
        let piece = FoldPiece {
            id: value.id,
            offset: 0,
            length: 12,
            file_offset: 0,
            block_offset: 1,
        };
        let fold = FoldRequest {
            session: self.folder,
            block: Some(BlockSource {
                container: 1,
                local: 30,
                ..Default::default()
            }),
            files: vec![FoldFile {
                object_id: id(&self.small),
                pieces: vec![piece],
                more: false,
            }],
        };
        let allocate = AllocateBlocksRequest {
            bucket: Some(self.dir),
            session: self.session,
            allocated: vec![BlockLocation {
                container: 1,
                local: 40,
                ..Default::default()
            }],
            ..Default::default()
        };
        let release = ReleaseBlocksRequest {
            session: self.session,
            blocks: vec![BlockSource {
                container: 1,
                local: 20,
                ..Default::default()
            }],
        };
        vec![
            Body::Fold(fold),
            Body::AllocateBlocks(allocate),
            Body::ReleaseBlocks(release),
        ]
    }

    pub(crate) fn that_end_something(&self) -> Vec<Body> {
        let names = ("vol".to_owned(), "bucket".to_owned());
        let rename = crate::support::rename(self.dir, "many", self.inside, "moved");
        let keys = |table| {
            let store = self.om.state.store().unwrap();
            let rows = store.scan(table, &[], None, usize::MAX).unwrap();
            rows.into_iter().map(|(key, _)| Bytes::from(key)).collect()
        };
        let purge = PurgeRequest {
            deleted_rows: keys(tables::DELETED),
            deleted_dirs: keys(tables::DELETED_DIRECTORY),
            uploads: keys(tables::MULTIPART_INFO),
            open_keys: keys(tables::OPEN_KEY),
            limit: 10,
            ..Default::default()
        };
        vec![
            Body::Rename(rename),
            Body::RenameKeyRequest(RenameKeyRequest {
                key_args: args("file"),
                to_key_name: "renamed".into(),
                ..Default::default()
            }),
            Body::RenameSnapshotRequest(RenameSnapshotRequest {
                volume_name: Some(names.0.clone()),
                bucket_name: Some(names.1.clone()),
                snapshot_old_name: Some("second".into()),
                snapshot_new_name: Some("third".into()),
                ..Default::default()
            }),
            unlink(self.dir, "small", false, None),
            Body::DeleteKeyRequest(DeleteKeyRequest {
                key_args: args("dir"),
                ..Default::default()
            }),
            Body::DropOrphans(DropOrphansRequest {
                session: self.session,
                object_ids: vec![1],
            }),
            Body::AbortMultiPartUploadRequest(MultipartUploadAbortRequest {
                key_args: KeyArgs {
                    multipart_upload_id: Some(self.upload.clone()),
                    ..args("parts")
                },
            }),
            Body::DeleteSnapshotRequest(DeleteSnapshotRequest {
                volume_name: Some(names.0.clone()),
                bucket_name: Some(names.1.clone()),
                snapshot_name: Some("first".into()),
                ..Default::default()
            }),
            Body::ReclaimSnapshot(ReclaimSnapshotRequest {
                bucket_id: self.dir.bucket_id,
                index: 1,
                limit: 1,
            }),
            Body::Purge(purge),
            Body::CreateVolumeRequest(CreateVolumeRequest {
                volume_info: VolumeInfo {
                    volume: "other".into(),
                    ..Default::default()
                },
            }),
            Body::CreateBucketRequest(CreateBucketRequest {
                bucket_info: BucketInfo {
                    volume_name: names.0.clone(),
                    bucket_name: "other".into(),
                    default_replication_config: Some(Default::default()),
                    ..Default::default()
                },
            }),
            Body::GetS3SecretRequest(GetS3SecretRequest {
                kerberos_id: "user".into(),
                ..Default::default()
            }),
            Body::RevokeS3SecretRequest(RevokeS3SecretRequest {
                kerberos_id: "user".into(),
            }),
            Body::CloseSession(CloseSessionRequest {
                session: self.session,
                expired: false,
            }),
            Body::DeleteBucketRequest(DeleteBucketRequest {
                volume_name: names.0.clone(),
                bucket_name: "other".into(),
            }),
            Body::DeleteVolumeRequest(DeleteVolumeRequest {
                volume_name: "other".into(),
            }),
        ]
    }

    pub(crate) fn looks(&self) -> Vec<Body> {
        let place = || self.many.r#ref.clone();
        let (volume, bucket) = ("vol".to_owned(), "bucket".to_owned());
        vec![
            Body::GetAttr(GetAttrRequest { r#ref: place() }),
            Body::GetExtents(GetExtentsRequest {
                r#ref: place(),
                ..Default::default()
            }),
            Body::Lookup(LookupRequest {
                dir: Some(self.dir),
                name: Bytes::from_static(b"file"),
                ..Default::default()
            }),
            Body::ReadDir(ReadDirRequest {
                dir: Some(self.dir),
                ..Default::default()
            }),
            Body::GetKeyInfoRequest(GetKeyInfoRequest {
                key_args: args("many"),
                ..Default::default()
            }),
            Body::ReadKey(ReadKeyRequest {
                key_args: args("many"),
            }),
            Body::ListKeysRequest(ListKeysRequest {
                volume_name: volume.clone(),
                bucket_name: bucket.clone(),
                ..Default::default()
            }),
            Body::ListObjects(ListObjectsRequest {
                volume_name: volume.clone(),
                bucket_name: bucket.clone(),
                ..Default::default()
            }),
            Body::ListVolumeRequest(ListVolumeRequest {
                scope: om::list_volume_request::Scope::VolumesByCluster.into(),
                ..Default::default()
            }),
            Body::ListBucketsRequest(ListBucketsRequest {
                volume_name: volume.clone(),
                ..Default::default()
            }),
            Body::ListSnapshotRequest(ListSnapshotRequest {
                volume_name: Some(volume.clone()),
                bucket_name: Some(bucket.clone()),
                ..Default::default()
            }),
            Body::ListMultiPartUploadPartsRequest(MultipartUploadListPartsRequest {
                volume: volume.clone(),
                bucket: bucket.clone(),
                key: "parts".into(),
                upload_id: self.upload.clone(),
                ..Default::default()
            }),
            Body::ListMultipartUploadsRequest(ListMultipartUploadsRequest {
                volume,
                bucket,
                ..Default::default()
            }),
        ]
    }
}
