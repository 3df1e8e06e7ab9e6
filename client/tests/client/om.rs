//! An OM with one file, blocks to give out and sessions; it loses replies on demand.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use ozone_proto::hdds::ExcludeListProto;
use ozone_proto::namespace::extent::Source;
use ozone_proto::namespace::{
    AllocateBlocksRequest, AllocateBlocksResponse, BlockLocation, CloseSessionResponse,
    CommitRequest, CommitResponse, DirRef, Extent, GetAttrResponse, GetExtentsRequest,
    GetExtentsResponse, Inode, InodeKind, InodeRef, InodeRow, KeepAliveRequest, KeepAliveResponse,
    OpenSessionResponse, ReleaseBlocksResponse,
};
use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Answer;
use ozone_proto::om::ozone_manager_service_server::{
    OzoneManagerService, OzoneManagerServiceServer,
};
use ozone_proto::om::{
    CommitKeyResponse, CreateKeyResponse, GetKeyInfoResponse, InfoBucketResponse, KeyInfo,
    OmRequest, OmResponse, ServiceListResponse, Status,
};
use ozone_rpc::server::ServerHandle;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::cluster::serve;
use crate::node::FakeNode;

pub(crate) const DIR: DirRef = DirRef {
    volume_id: 2,
    bucket_id: 3,
    parent_id: 3,
    snapshot: 0,
};
const FILE: u64 = 10;

/// What was asked, in order.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) command: i32,
    pub(crate) call: u64,
    pub(crate) lowest: u64,
    pub(crate) uid: u32,
}

pub(crate) struct FakeOm {
    pub(crate) address: String,
    pub(crate) pipelines: Mutex<Vec<Vec<Arc<FakeNode>>>>,
    pub(crate) file: Mutex<File>,
    pub(crate) seen: watch::Sender<Vec<Seen>>,
    pub(crate) excluded: Mutex<Vec<ExcludeListProto>>,
    pub(crate) announced: watch::Sender<Vec<u64>>,
    next_local: AtomicU64,
    /// The container of each block, and the pipeline that it is on.
    places: Mutex<HashMap<u64, (u64, usize)>>,
    replies: Mutex<HashMap<u64, OmResponse>>,
    server: Mutex<Option<ServerHandle>>,

    /// Replies to lose after their command took effect.
    pub(crate) lose_replies: AtomicU64,
    /// Not the leader; the leader is there, if known.
    pub(crate) follower_of: Mutex<Option<Option<String>>>,
    pub(crate) expired: Mutex<bool>,
    pub(crate) reannounce: Mutex<bool>,
    pub(crate) lease_ms: AtomicU64,
    /// The pipeline that all blocks are said to be on, to those who do not ask for fresh locations.
    pub(crate) remembered: Mutex<Option<usize>>,
    /// Blocks that are not to be found any more.
    pub(crate) lost_blocks: Mutex<Vec<u64>>,
    /// Blocks that were given back.
    pub(crate) released: watch::Sender<Vec<u64>>,
}

/// The one file.
#[derive(Default)]
pub(crate) struct File {
    pub(crate) size: u64,
    pub(crate) version: u64,
    pub(crate) extents: Vec<Extent>,
    pub(crate) commits: u64,
}

impl FakeOm {
    pub(crate) async fn start() -> Arc<Self> {
        let (seen, announced) = (watch::Sender::default(), watch::Sender::default());
        // The address is known only when it is bound: services find their OM through this.
        let om = Arc::new(Mutex::new(None::<Arc<Self>>));
        let service = OzoneManagerServiceServer::new(Service(om.clone()));
        let service = service.max_decoding_message_size(64 << 20);
        let server = serve(tonic::service::Routes::new(service)).await;
        let this = Arc::new(Self {
            address: server.address().to_string(),
            pipelines: Mutex::default(),
            file: Mutex::default(),
            seen,
            excluded: Mutex::default(),
            announced,
            next_local: AtomicU64::new(0),
            places: Mutex::default(),
            replies: Mutex::default(),
            server: Mutex::new(Some(server)),
            lose_replies: AtomicU64::new(0),
            follower_of: Mutex::default(),
            expired: Mutex::default(),
            reannounce: Mutex::default(),
            lease_ms: AtomicU64::new(60_000),
            remembered: Mutex::default(),
            lost_blocks: Mutex::default(),
            released: watch::Sender::default(),
        });
        *om.lock() = Some(this.clone());
        this
    }

    /// Stops answering.
    pub(crate) fn die(&self) {
        self.server.lock().take();
    }

    pub(crate) fn inode(&self) -> Inode {
        let file = self.file.lock();
        Inode {
            r#ref: Some(InodeRef {
                dir: Some(DIR),
                name: Bytes::from_static(b"file"),
                object_id: FILE,
            }),
            row: Some(InodeRow {
                object_id: FILE,
                kind: InodeKind::File.into(),
                size: file.size,
                data_version: file.version,
                ..Default::default()
            }),
            leased: false,
            snapshot: 0,
        }
    }

    /// Moves every block to another pipeline, where the data has to be already.
    pub(crate) fn move_blocks_to(&self, pipeline: usize) {
        self.places
            .lock()
            .values_mut()
            .for_each(|(_, on)| *on = pipeline);
    }

    pub(crate) fn count(&self, command: ozone_proto::om::Type) -> usize {
        let command = i32::from(command);
        self.seen
            .borrow()
            .iter()
            .filter(|seen| seen.command == command)
            .count()
    }

    fn answer(&self, request: OmRequest) -> Option<OmResponse> {
        let context = request.context.clone().unwrap();
        let seen = Seen {
            command: request.cmd_type,
            call: context.call_id(),
            lowest: context.lowest_pending_call(),
            uid: context.uid(),
        };
        self.seen.send_modify(|all| all.push(seen));
        let mut answer = OmResponse {
            cmd_type: request.cmd_type,
            status: Status::Ok.into(),
            ..Default::default()
        };
        if let Some(leader) = self.follower_of.lock().clone() {
            answer.status = Status::NotLeader.into();
            answer.leader_om_node_id = leader;
            return Some(answer);
        }
        if let Some(reply) = self.replies.lock().get(&context.call_id()) {
            return Some(reply.clone());
        }
        match self.run(request.body.unwrap()) {
            Ok(body) => answer.body = Some(body),
            Err(status) => answer.status = status.into(),
        }
        self.replies
            .lock()
            .insert(context.call_id(), answer.clone());
        let lost = |n: u64| n.checked_sub(1);
        match self.lose_replies.fetch_update(SeqCst, SeqCst, lost) {
            Ok(_) => None,
            Err(_) => Some(answer),
        }
    }

    fn run(&self, body: Request) -> Result<Answer, Status> {
        Ok(match body {
            Request::ServiceListRequest(_) => {
                Answer::ServiceListResponse(ServiceListResponse::default())
            }
            Request::OpenSession(_) => Answer::OpenSession(OpenSessionResponse {
                session: 77,
                lease_ms: self.lease_ms.load(SeqCst),
            }),
            Request::KeepAlive(request) => Answer::KeepAlive(self.keep_alive(&request)?),
            Request::CloseSession(_) => Answer::CloseSession(CloseSessionResponse {}),
            Request::AllocateBlocks(request) => Answer::AllocateBlocks(self.allocate(&request)),
            Request::ReleaseBlocks(request) => {
                let blocks = request.blocks.iter().map(|block| block.local);
                self.released.send_modify(|all| all.extend(blocks));
                Answer::ReleaseBlocks(ReleaseBlocksResponse {})
            }
            Request::Commit(request) => {
                self.commit(&request);
                let inode = Some(self.inode());
                Answer::Commit(CommitResponse { inode })
            }
            Request::GetAttr(_) => Answer::GetAttr(GetAttrResponse {
                inode: Some(self.inode()),
            }),
            Request::GetExtents(request) => Answer::GetExtents(self.extents(&request)),
            Request::InfoBucketRequest(_) => Answer::InfoBucketResponse(InfoBucketResponse {
                root: Some(DIR),
                ..Default::default()
            }),
            Request::CreateKeyRequest(_) => Answer::CreateKeyResponse(CreateKeyResponse {
                id: Some(5),
                ..Default::default()
            }),
            Request::CommitKeyRequest(request) => {
                assert_eq!(request.client_id, 5);
                let args = request.key_args;
                self.commit(&CommitRequest {
                    extents: args.extents,
                    size: args.data_size.unwrap(),
                    session: args.session.unwrap_or(0),
                    ..Default::default()
                });
                Answer::CommitKeyResponse(CommitKeyResponse {})
            }
            Request::GetKeyInfoRequest(_) => Answer::GetKeyInfoResponse(self.key_info()),
            _ => return Err(Status::NotSupportedOperation),
        })
    }

    fn key_info(&self) -> GetKeyInfoResponse {
        let inode = self.inode();
        GetKeyInfoResponse {
            key_info: Some(KeyInfo {
                data_size: inode.row.as_ref().unwrap().size,
                inode: Some(inode),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn keep_alive(&self, request: &KeepAliveRequest) -> Result<KeepAliveResponse, Status> {
        if *self.expired.lock() {
            return Err(Status::SessionExpired);
        }
        if request.announcing {
            *self.reannounce.lock() = false;
            self.announced.send_replace(request.opens.clone());
        }
        Ok(KeepAliveResponse {
            reannounce: *self.reannounce.lock(),
        })
    }

    fn allocate(&self, request: &AllocateBlocksRequest) -> AllocateBlocksResponse {
        let exclude = request.exclude.clone().unwrap_or_default();
        let pipelines = self.pipelines.lock();
        let good = |(index, nodes): (usize, &Vec<Arc<FakeNode>>)| {
            let closed = exclude.container_ids.contains(&(index as i64 + 1));
            !closed
                && !nodes
                    .iter()
                    .any(|node| exclude.datanodes.contains(&node.uuid))
        };
        let clean = pipelines.iter().enumerate().position(good);
        let pipeline = clean.unwrap_or(0);
        drop(pipelines);
        self.excluded.lock().push(exclude);
        let blocks = (0..request.count).map(|_| {
            let local = self.next_local.fetch_add(1, SeqCst) + 1;
            self.places
                .lock()
                .insert(local, (pipeline as u64 + 1, pipeline));
            self.location(local)
        });
        AllocateBlocksResponse {
            blocks: blocks.collect(),
        }
    }

    /// Blocks that were allocated on a pipeline are all in one container.
    fn location(&self, local: u64) -> BlockLocation {
        let (container, pipeline) = self.places.lock()[&local];
        self.location_at(local, container, pipeline)
    }

    fn location_at(&self, local: u64, container: u64, pipeline: usize) -> BlockLocation {
        let nodes = self.pipelines.lock()[pipeline].clone();
        let id = ozone_proto::hdds::PipelineId {
            id: Some(format!("pipeline-{pipeline}")),
            uuid128: None,
        };
        BlockLocation {
            container,
            local,
            pipeline: (!self.lost_blocks.lock().contains(&local)).then(|| {
                ozone_proto::hdds::Pipeline {
                    members: nodes.iter().map(|node| node.details()).collect(),
                    leader_id: Some(nodes[0].uuid.clone()),
                    id,
                    ..Default::default()
                }
            }),
            token: "token".into(),
        }
    }

    fn commit(&self, request: &CommitRequest) {
        let mut file = self.file.lock();
        file.commits += 1;
        file.version += 1;
        file.size = file.size.max(request.size);
        for new in &request.extents {
            let end = new.file_offset + new.length;
            file.size = file.size.max(end);
            for old in &file.extents {
                let apart =
                    old.file_offset + old.length <= new.file_offset || end <= old.file_offset;
                assert!(apart, "this OM takes no overlapping commits");
            }
            file.extents.push(new.clone());
        }
        file.extents.sort_by_key(|extent| extent.file_offset);
    }

    fn extents(&self, request: &GetExtentsRequest) -> GetExtentsResponse {
        let file = self.file.lock();
        let to = request.offset + request.length;
        let within = |e: &&Extent| e.file_offset + e.length > request.offset && e.file_offset < to;
        let mut extents: Vec<Extent> = file.extents.iter().filter(within).cloned().collect();
        drop(file);
        let more = extents.len() > request.limit as usize;
        extents.truncate(request.limit as usize);
        let local = |extent: &Extent| match &extent.source {
            Some(Source::Block(block)) => Some(block.local),
            _ => None,
        };
        let remembered = self.remembered.lock().filter(|_| !request.fresh_locations);
        let locations = extents.iter().filter_map(local).map(|local| {
            let (container, pipeline) = self.places.lock()[&local];
            self.location_at(local, container, remembered.unwrap_or(pipeline))
        });
        GetExtentsResponse {
            inode: Some(self.inode()),
            locations: locations.collect(),
            more,
            extents,
        }
    }
}

struct Service(Arc<Mutex<Option<Arc<FakeOm>>>>);

#[tonic::async_trait]
impl OzoneManagerService for Service {
    async fn submit_request(
        &self,
        request: tonic::Request<OmRequest>,
    ) -> Result<tonic::Response<OmResponse>, tonic::Status> {
        let om = self.0.lock().clone().unwrap();
        let answer = om.answer(request.into_inner());
        let lost = || tonic::Status::unavailable("the reply was lost");
        Ok(tonic::Response::new(answer.ok_or_else(lost)?))
    }
}
