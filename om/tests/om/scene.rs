//! A namespace with something of everything in it, for requests to be about.

use ozone_om::apply::Given;
use ozone_om::ops;
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::*;

use crate::objects::args;
use crate::support::{Om, extent, id, inline, unlink};

pub(crate) const MIB: u64 = 1 << 20;

/// Something of everything, for requests to be about.
pub(crate) struct Scene {
    pub(crate) om: Om,
    pub(crate) dir: DirRef,
    pub(crate) session: u64,
    /// Object ids that the session may give.
    pub(crate) ids: u64,
    pub(crate) file: Inode,
    /// With its map in the table.
    pub(crate) many: Inode,
    /// With an inline extent.
    pub(crate) small: Inode,
    pub(crate) inside: DirRef,
    /// Has the block 30.
    pub(crate) folder: u64,
    pub(crate) opened: u64,
    pub(crate) upload: String,
}

pub(crate) fn scene(at: &std::path::Path) -> Scene {
    let mut om = Om::open(at);
    let (dir, session) = om.bucket();
    let ids = om.reserve(session, 100);
    (1..=20).for_each(|local| om.block(session, local));
    let file = om.create(dir, "file", InodeKind::File);
    om.commit(&file, session, vec![extent(0, 100, 1, 0)]);
    let many = om.create(dir, "many", InodeKind::File);
    let pieces = (1..=20).map(|n| extent(n * 200, 100, n, 0)).collect();
    om.commit(&many, session, pieces);
    let small = om.create(dir, "small", InodeKind::File);
    om.commit(&small, session, vec![inline(0, b"inline bytes")]);
    let inside = om.create(dir, "dir", InodeKind::Directory);
    let inside = DirRef {
        parent_id: id(&inside),
        ..dir
    };
    let gone = id(&om.create(dir, "gone", InodeKind::File));
    let keep = Keep {
        object_id: gone,
        sessions: vec![session],
    };
    om.ask(unlink(dir, "gone", false, Some(keep)));
    let folder = match om.ask(Body::OpenSession(Default::default())).body {
        Some(Reply::OpenSession(opened)) => opened.session,
        other => panic!("{other:?}"),
    };
    om.block(folder, 30);
    let create = CreateKeyRequest {
        key_args: args("a/opened"),
        ..Default::default()
    };
    let opened = match om.ask(Body::CreateKeyRequest(create)).body {
        Some(Reply::CreateKeyResponse(opened)) => opened.id(),
        other => panic!("{other:?}"),
    };
    let key_args = KeyArgs {
        multipart_upload_id: Some("upload".into()),
        ..args("parts")
    };
    let begin = Body::InitiateMultiPartUploadRequest(MultipartInfoInitiateRequest { key_args });
    let upload = match om.ask(begin).body {
        Some(Reply::InitiateMultiPartUploadResponse(begun)) => begun.multipart_upload_id,
        other => panic!("{other:?}"),
    };
    for number in 1..=2 {
        let part = part(&upload, number);
        assert_eq!(om.ask(part).status(), Status::Ok);
    }
    let secret = SetS3SecretRequest {
        access_id: "user".into(),
        secret_key: "12345678".into(),
    };
    om.ask(Body::SetS3SecretRequest(secret));
    assert_eq!(om.ask(snapshot("first")).status(), Status::Ok);
    Scene {
        om,
        dir,
        session,
        ids,
        file,
        many,
        small,
        inside,
        folder,
        opened,
        upload,
    }
}

pub(crate) fn part(upload: &str, number: u32) -> Body {
    let key_args = KeyArgs {
        multipart_upload_id: Some(upload.to_owned()),
        multipart_number: Some(number),
        data_size: Some(6 * MIB),
        extents: vec![extent(0, 6 * MIB, u64::from(number), 0)],
        ..args("parts")
    };
    Body::CommitMultiPartUploadRequest(MultipartCommitUploadPartRequest {
        key_args,
        client_id: 1,
    })
}

pub(crate) fn snapshot(name: &str) -> Body {
    Body::CreateSnapshotRequest(CreateSnapshotRequest {
        volume_name: Some("vol".into()),
        bucket_name: Some("bucket".into()),
        snapshot_name: Some(name.into()),
        snapshot_id: Some(ozone_proto::hdds::Uuid {
            most_sig_bits: 1,
            least_sig_bits: 2,
        }),
        ..Default::default()
    })
}

impl Scene {
    /// As a request in the name of the session.
    pub(crate) fn request(&self, body: Body) -> OmRequest {
        let context = CallContext {
            session: Some(self.session),
            ..Default::default()
        };
        OmRequest {
            client_id: "test".into(),
            context: Some(context),
            decided: Some(Decided {
                time_ns: Some(1_000_000_000_000),
                replication: None,
            }),
            body: Some(body),
            ..Default::default()
        }
    }

    /// Applies a change to the scene as it is, and leaves it so.
    pub(crate) fn try_change(&self, request: &OmRequest) -> ozone_om::Result<()> {
        let store = self.om.state.store()?;
        let mut rows = store.overlay();
        let given = Given {
            index: self.om.log.len() as u64 + 1,
            time_ns: request.decided.unwrap_or_default().time_ns(),
            session: request.context.as_ref().map_or(0, |c| c.session()),
            ..Default::default()
        };
        match &request.body {
            Some(Body::Batch(batch)) => ops::batch::apply(batch, &given, &mut rows).map(drop),
            _ => given
                .apply(&mut rows, |apply| ops::apply(request, apply))
                .map(drop),
        }
    }
}
