//! An OM, datanodes and a client, together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ozone_client::{Client, ClientConfig, FileReader, FileWriter, Session};
use ozone_common::net::TcpNet;
use ozone_proto::namespace::{CommitRequest, Extent};
use ozone_rpc::server::{Listener, ListenerIdentity, ServerHandle};
use tokio::sync::watch;
use tonic::service::Routes;

use crate::node::FakeNode;
use crate::om::{DIR, FakeOm};

/// How long anything is waited for.
const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const MIB: u64 = 1 << 20;

/// Serves on a free port of the loopback address.
pub(crate) async fn serve(routes: Routes) -> ServerHandle {
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&TcpNet, address, ListenerIdentity::Plaintext);
    listener.await.unwrap().serve(routes)
}

pub(crate) struct Cluster {
    pub(crate) om: Arc<FakeOm>,
    pub(crate) nodes: Vec<Arc<FakeNode>>,
    pub(crate) client: Client,
}

impl Cluster {
    /// `shape`: how many datanodes each pipeline has.
    pub(crate) async fn start(shape: &[usize]) -> Self {
        Self::with(shape, |_| {}).await
    }

    pub(crate) async fn with(shape: &[usize], tune: impl Fn(&mut ClientConfig)) -> Self {
        let om = FakeOm::start().await;
        let mut nodes = Vec::new();
        for count in shape {
            let mut pipeline = Vec::new();
            for _ in 0..*count {
                pipeline
                    .push(FakeNode::start(&format!("node-{}", nodes.len() + pipeline.len())).await);
            }
            pipeline
                .iter()
                .for_each(|node| *node.peers.lock() = pipeline.clone());
            nodes.extend(pipeline.clone());
            om.pipelines.lock().push(pipeline);
        }
        let mut config = ClientConfig::new(vec![om.address.clone()]);
        config.block_size = 64 * MIB;
        config.write_attempts = 3;
        config.om_deadline = Duration::from_secs(10);
        tune(&mut config);
        let client = Client::connect(config).await.unwrap();
        Self { om, nodes, client }
    }

    pub(crate) async fn session(&self) -> Arc<Session> {
        Session::open(&self.client, "test").await.unwrap()
    }

    pub(crate) async fn writer(&self) -> FileWriter {
        self.client.data().writer(DIR, &self.session().await)
    }

    pub(crate) async fn commit(&self, extents: Vec<Extent>) {
        let request = CommitRequest {
            r#ref: self.om.inode().r#ref,
            extents,
            ..Default::default()
        };
        self.client.namespace().commit(request).await.unwrap();
    }

    pub(crate) fn reader(&self) -> FileReader {
        self.client.data().reader(self.om.inode())
    }

    /// Writes, flushes and commits.
    pub(crate) async fn store(&self, data: &Bytes) {
        let mut writer = self.writer().await;
        writer.write(0, data.clone()).await.unwrap();
        self.commit(writer.flush().await.unwrap()).await;
        writer.close().await;
    }

    /// The whole file.
    pub(crate) async fn read_all(&self) -> Bytes {
        let reader = self.reader();
        reader.read(0, reader.size() as usize).await.unwrap()
    }
}

/// Bytes that differ from place to place.
pub(crate) fn data(length: u64) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length as usize).collect::<Vec<u8>>().into()
}

/// Bytes are compared without printing them.
pub(crate) fn assert_same(got: &[u8], want: &[u8]) {
    assert_eq!(got.len(), want.len(), "length");
    let differs = got.iter().zip(want).position(|(a, b)| a != b);
    assert_eq!(differs, None, "first byte that differs");
}

/// Waits until what is watched is as wanted.
pub(crate) async fn until<T>(watch: &watch::Sender<T>, wanted: impl FnMut(&T) -> bool) {
    let mut receiver = watch.subscribe();
    let waiting = receiver.wait_for(wanted);
    let found = tokio::time::timeout(LIMIT, waiting).await;
    assert!(found.is_ok(), "waited in vain");
}

/// Waits until something is so that nobody tells of.
pub(crate) async fn eventually(wanted: impl Fn() -> bool) {
    let looked = async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LIMIT, looked).await.expect("in time");
}
