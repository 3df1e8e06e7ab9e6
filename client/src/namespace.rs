//! The namespace by id: one method for each message of `namespace.proto`, nothing added.
//!
//! Places are (directory, name, object id): the OM finds an inode by its place and proves by the id
//! that it is still the same, else it answers `STALE`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ozone_common::caller::Caller;
use ozone_proto::namespace::{
    AllocateBlocksRequest, BatchOutcome, BatchPart, BatchRequest, BlockLocation, BlockSource,
    CommitRequest, CreateRequest, CreateResponse, DirRef, GetAttrRequest, GetExtentsRequest,
    GetExtentsResponse, Inode, InodeRef, LinkRequest, LinkResponse, LookupRequest, OpenRequest,
    ReadDirRequest, ReleaseBlocksRequest, ReleaseRequest, RenameRequest, RenameResponse,
    ReserveIdsRequest, SetAttrRequest, StatFsRequest, StatFsResponse, UnlinkRequest,
    UnlinkResponse,
};
use ozone_proto::om::Status;
use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Response;

use crate::om::OmClient;
use crate::{ClientError, Result};

/// The directory of all volumes.
pub const ROOT: DirRef = DirRef {
    volume_id: 0,
    bucket_id: 0,
    parent_id: 0,
    snapshot: 0,
};

/// The namespace as one caller sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Namespace {
    om: OmClient,
}

/// What is under a name.
#[derive(Debug, Clone)]
pub enum Found {
    /// An inode.
    Inode(Box<Inode>),
    /// Nothing.
    Nothing {
        /// Whether the session may believe it.
        leased: bool,
    },
}

/// Sends a request and takes the answer out of the envelope of the same name.
macro_rules! ask {
    ($om:expr, $variant:ident, $request:expr) => {
        match $om.call(Request::$variant($request)).await? {
            Some(Response::$variant(answer)) => Ok(answer),
            _ => Err(ClientError::protocol(
                "OM",
                concat!("no answer to ", stringify!($variant)),
            )),
        }
    };
}

impl Namespace {
    pub(crate) fn new(om: OmClient) -> Self {
        Self { om }
    }

    /// The same namespace for another caller.
    pub fn for_caller(&self, caller: &Caller) -> Self {
        Self::new(self.om.for_caller(caller))
    }

    /// The same namespace, asked in the name of the session whose number is in `session` at the time of
    /// each call: it may believe answers that are marked as leased while it renews its leases.
    pub fn for_session(&self, session: Arc<AtomicU64>) -> Self {
        Self::new(self.om.for_session(session))
    }

    pub(crate) fn om(&self) -> &OmClient {
        &self.om
    }

    /// What has this name.
    pub async fn lookup(&self, dir: DirRef, name: &[u8]) -> Result<Inode> {
        let request = LookupRequest {
            dir: Some(dir),
            name: name.to_vec().into(),
            ..Default::default()
        };
        whole(ask!(self.om, Lookup, request)?.inode)
    }

    /// As [`lookup`](Self::lookup), but a bucket link is answered as the bucket that it leads to, at its place.
    pub async fn lookup_bucket(&self, dir: DirRef, name: &[u8]) -> Result<Inode> {
        let request = LookupRequest {
            dir: Some(dir),
            name: name.to_vec().into(),
            follow: true,
            ..Default::default()
        };
        whole(ask!(self.om, Lookup, request)?.inode)
    }

    /// As [`lookup`](Self::lookup), but that nothing has the name is an answer, which may be leased.
    pub async fn find(&self, dir: DirRef, name: &[u8]) -> Result<Found> {
        let request = LookupRequest {
            dir: Some(dir),
            name: name.to_vec().into(),
            absent_ok: true,
            follow: false,
        };
        let answer = ask!(self.om, Lookup, request)?;
        match answer.inode {
            None => Ok(Found::Nothing {
                leased: answer.absence_leased,
            }),
            inode => Ok(Found::Inode(Box::new(whole(inode)?))),
        }
    }

    /// The attributes of an inode.
    pub async fn get_attr(&self, inode: InodeRef) -> Result<Inode> {
        let request = GetAttrRequest { r#ref: Some(inode) };
        whole(ask!(self.om, GetAttr, request)?.inode)
    }

    /// Up to `limit` entries after the name `after`, in order of names, and whether there are more.
    pub async fn read_dir(
        &self,
        dir: DirRef,
        after: &[u8],
        limit: u32,
    ) -> Result<(Vec<Inode>, bool)> {
        let request = ReadDirRequest {
            dir: Some(dir),
            after: after.to_vec().into(),
            limit,
        };
        let answer = ask!(self.om, ReadDir, request)?;
        Ok((answer.entries, answer.more))
    }

    /// Up to `limit` extents that cover the file from `offset` for `length` bytes (0: to its end),
    /// with the places of their blocks.
    pub async fn get_extents(
        &self,
        inode: InodeRef,
        offset: u64,
        length: u64,
        limit: u32,
    ) -> Result<GetExtentsResponse> {
        let request = GetExtentsRequest {
            r#ref: Some(inode),
            offset,
            length,
            limit,
            fresh_locations: false,
        };
        self.extents(request).await
    }

    /// A piece of a file's map.
    pub(crate) async fn extents(&self, request: GetExtentsRequest) -> Result<GetExtentsResponse> {
        ask!(self.om, GetExtents, request)
    }

    /// Tells that the session has the inode open; its attributes as of now.
    pub async fn open(&self, inode: InodeRef, session: u64, write: bool) -> Result<Inode> {
        let request = OpenRequest {
            r#ref: Some(inode),
            session,
            write,
        };
        whole(ask!(self.om, Open, request)?.inode)
    }

    /// Tells that the session has closed these inodes.
    pub async fn release(&self, session: u64, object_ids: Vec<u64>) -> Result<()> {
        let request = ReleaseRequest {
            session,
            object_ids,
        };
        ask!(self.om, Release, request).map(drop)
    }

    /// Sizes of the filesystem that `dir` is in.
    pub async fn stat_fs(&self, dir: DirRef) -> Result<StatFsResponse> {
        ask!(self.om, StatFs, StatFsRequest { dir: Some(dir) })
    }

    /// Makes a file, directory, symlink or special file.
    pub async fn create(&self, request: CreateRequest) -> Result<CreateResponse> {
        ask!(self.om, Create, request)
    }

    /// Gives a file another name.
    pub async fn link(&self, request: LinkRequest) -> Result<LinkResponse> {
        ask!(self.om, Link, request)
    }

    /// Removes a name.
    pub async fn unlink(&self, request: UnlinkRequest) -> Result<UnlinkResponse> {
        ask!(self.om, Unlink, request)
    }

    /// Moves a name.
    pub async fn rename(&self, request: RenameRequest) -> Result<RenameResponse> {
        ask!(self.om, Rename, request)
    }

    /// Changes attributes; the inode as it is then.
    pub async fn set_attr(&self, request: SetAttrRequest) -> Result<Inode> {
        whole(ask!(self.om, SetAttr, request)?.inode)
    }

    /// Makes written bytes part of a file; the inode as it is then.
    pub async fn commit(&self, request: CommitRequest) -> Result<Inode> {
        whole(ask!(self.om, Commit, request)?.inode)
    }

    /// Makes several changes as one command, in order. Each is made or refused on its own: how it went is
    /// in the answer, in the same order.
    pub async fn batch(&self, parts: Vec<BatchPart>) -> Result<Vec<Result<Inode>>> {
        let count = parts.len();
        let outcomes = ask!(self.om, Batch, BatchRequest { parts })?.outcomes;
        if outcomes.len() != count {
            return Err(ClientError::protocol("OM", "a batch was answered in part"));
        }
        Ok(outcomes.into_iter().map(outcome).collect())
    }

    /// Gets object ids for the session to give to what it creates, instead of those that it had.
    pub async fn reserve_ids(&self, count: u64) -> Result<Range<u64>> {
        let answer = ask!(self.om, ReserveIds, ReserveIdsRequest { count })?;
        Ok(answer.first..answer.first + answer.count)
    }

    /// Gets blocks to write to. Up to `count`, at least one.
    pub async fn allocate_blocks(
        &self,
        request: AllocateBlocksRequest,
    ) -> Result<Vec<BlockLocation>> {
        let blocks = ask!(self.om, AllocateBlocks, request)?.blocks;
        if blocks.is_empty() {
            return Err(ClientError::protocol("OM", "no block was allocated"));
        }
        Ok(blocks)
    }

    /// Tells that the session writes no more to these blocks.
    pub async fn release_blocks(&self, session: u64, blocks: Vec<BlockSource>) -> Result<()> {
        let request = ReleaseBlocksRequest { session, blocks };
        ask!(self.om, ReleaseBlocks, request).map(drop)
    }
}

/// The directory `.snapshot` of a bucket, whose names are its snapshots.
pub fn snapshots_of(bucket: DirRef) -> DirRef {
    DirRef {
        snapshot: u64::MAX,
        ..bucket
    }
}

/// The directory that an inode is, to look in.
pub fn dir_of(inode: &Inode) -> Result<DirRef> {
    let place = place_of(inode)?;
    let within = place.dir.unwrap_or(ROOT);
    let id = place.object_id;
    let (volume_id, bucket_id) = match (within.volume_id, within.bucket_id) {
        (0, _) => (id, 0),
        (volume_id, 0) => (volume_id, id),
        inside => inside,
    };
    let snapshot = match inode.snapshot {
        0 => within.snapshot,
        root_of => root_of,
    };
    Ok(DirRef {
        volume_id,
        bucket_id,
        parent_id: id,
        snapshot,
    })
}

/// Where an inode is.
pub fn place_of(inode: &Inode) -> Result<&InodeRef> {
    let missing = || ClientError::protocol("OM", "an inode without its place");
    inode.r#ref.as_ref().ok_or_else(missing)
}

/// How one part of a batch went.
fn outcome(outcome: BatchOutcome) -> Result<Inode> {
    let status = i32::try_from(outcome.status).unwrap_or_default();
    match Status::try_from(status) {
        Ok(Status::Ok) => whole(outcome.inode),
        Ok(Status::SessionExpired) => Err(ClientError::SessionExpired),
        Ok(status) => Err(ClientError::om(status, outcome.message)),
        Err(_) => Err(ClientError::protocol("OM", outcome.message)),
    }
}

fn whole(inode: Option<Inode>) -> Result<Inode> {
    match inode {
        Some(inode) if inode.r#ref.is_some() && inode.row.is_some() => Ok(inode),
        _ => Err(ClientError::protocol(
            "OM",
            "an inode without place or attributes",
        )),
    }
}
