//! An OM beside the SCM of another cluster: it does not run, and nothing but that is asked of SCM.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::clock::SystemClock;
use ozone_common::config::Config;
use ozone_common::disk::RealDisk;
use ozone_common::net::TcpNet;
use ozone_common::rng::OsRng;
use ozone_om::layout::{ClusterIdentity, Layout};
use ozone_om::{OmOptions, OmServer};
use ozone_proto::hdds::block::scm_block_location_protocol_service_server::{
    ScmBlockLocationProtocolService, ScmBlockLocationProtocolServiceServer,
};
use ozone_proto::hdds::block::scm_block_location_response::Body;
use ozone_proto::hdds::block::{
    GetScmInfoResponseProto, ScmBlockLocationRequest, ScmBlockLocationResponse, Type,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Longest that anything may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// An SCM that says which cluster it is of, and notes what it is asked.
#[derive(Clone)]
struct Scm {
    cluster_id: &'static str,
    asked: Arc<Mutex<Vec<Type>>>,
}

#[tonic::async_trait]
impl ScmBlockLocationProtocolService for Scm {
    async fn send(
        &self,
        call: Request<ScmBlockLocationRequest>,
    ) -> Result<Response<ScmBlockLocationResponse>, Status> {
        let kind = call.into_inner().cmd_type();
        self.asked.lock().push(kind);
        let info = GetScmInfoResponseProto {
            cluster_id: self.cluster_id.to_owned(),
            scm_id: "scm".to_owned(),
            ..Default::default()
        };
        Ok(Response::new(ScmBlockLocationResponse {
            cmd_type: kind.into(),
            status: ozone_proto::hdds::block::Status::Ok.into(),
            body: Some(Body::GetScmInfoResponse(info)),
            ..Default::default()
        }))
    }
}

impl Scm {
    async fn serve(cluster_id: &'static str, at: SocketAddr) -> (Self, SocketAddr) {
        let scm = Self {
            cluster_id,
            asked: Arc::default(),
        };
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = ScmBlockLocationProtocolServiceServer::new(scm.clone());
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (scm, address)
    }
}

/// An OM of the cluster `CID-own`, initialised.
fn om(dir: &Path, scm: SocketAddr) -> OmOptions {
    let any = || "127.0.0.1:0".to_owned();
    let config = Config::from_pairs([
        ("ozone.metadata.dirs", dir.display().to_string()),
        ("ozone.om.address", any()),
        ("ozone.om.http-address", any()),
        ("ozone.om.ratis.port", "0".to_owned()),
        ("ozone.scm.block.client.address", scm.to_string()),
        (
            "ozone.scm.security.service.address",
            "127.0.0.1:1".to_owned(),
        ),
    ])
    .unwrap();
    let cluster = ClusterIdentity {
        cluster_id: "CID-own".to_owned(),
        scm_id: "scm".to_owned(),
    };
    let layout = Layout::from_config(&config).unwrap();
    let uuid = uuid::Uuid::from_u128(7);
    layout.init(&RealDisk, &cluster, 0, uuid).unwrap();
    OmOptions {
        config,
        clock: Arc::new(SystemClock::new()),
        rng: Arc::new(OsRng),
        net: TcpNet::shared(),
        disk: Arc::new(RealDisk),
    }
}

fn assert_names_both(text: &str) {
    for words in ["VERSION", "CID-own", "CID-other"] {
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_om_does_not_start_beside_the_scm_of_another_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let (scm, address) = Scm::serve("CID-other", any).await;
    let refused = OmServer::start(om(dir.path(), address)).await;
    assert_names_both(&refused.err().unwrap().to_string());
    assert_eq!(*scm.asked.lock(), [Type::GetScmInfo]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_om_starts_without_scm_and_ends_when_that_turns_out_to_be_of_another_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let om = OmServer::start(om(dir.path(), address)).await.unwrap();
    let (scm, _) = Scm::serve("CID-other", address).await;
    let foreign = tokio::time::timeout(PATIENCE, om.doomed()).await.unwrap();
    assert_names_both(&foreign.to_string());
    om.shutdown().await;
    let asked = scm.asked.lock();
    assert!(
        asked.iter().all(|kind| *kind == Type::GetScmInfo),
        "{asked:?}"
    );
}
