//! A datanode that is given up: what it held is copied to a spare one, and nobody misses it.
//!
//! SCM, OM and datanodes run in this process, so that datanodes can be ended one by one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ozone_client::objects::{KeyName, NewBucket, NewKey};
use ozone_client::proto::Replication;
use ozone_client::wire::hdds::{ReplicationFactor, ReplicationType};
use ozone_client::{Client, ClientConfig, ClientError};
use ozone_common::clock::SystemClock;
use ozone_common::config::Config;
use ozone_common::disk::RealDisk;
use ozone_common::net::TcpNet;
use ozone_common::rng::OsRng;
use ozone_datanode::container::State;
use ozone_datanode::{DatanodeOptions, DatanodeServer};
use ozone_om::{OmOptions, OmServer};
use ozone_scm::{ScmOptions, ScmServer};
use ozone_tests::content::bytes;
use ozone_tests::wait::wait_for;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

const KEY: KeyName<'_> = KeyName {
    volume: "vol",
    bucket: "bucket",
    key: "key",
};
const SIZE: usize = 6 << 20;
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);

struct Cluster {
    scm: ScmServer,
    datanodes: Vec<DatanodeServer>,
    om: OmServer,
    client: Client,
}

fn config(dir: &Path, more: &[(&str, String)]) -> Config {
    let dir = dir.to_str().unwrap().to_owned();
    let any = || "127.0.0.1:0".to_owned();
    let own = [
        ("ozone.metadata.dirs", dir),
        ("ozone.scm.client.address", any()),
        ("ozone.scm.block.client.address", any()),
        ("ozone.scm.datanode.address", any()),
        ("ozone.scm.security.service.address", any()),
        ("ozone.scm.http-address", any()),
        ("ozone.scm.ratis.port", "0".to_owned()),
        ("ozone.om.address", any()),
        ("ozone.om.http-address", any()),
        ("ozone.om.ratis.port", "0".to_owned()),
        ("hdds.container.ipc.port", "0".to_owned()),
        ("hdds.container.ratis.server.port", "0".to_owned()),
        ("hdds.datanode.http-address", any()),
        ("hdds.datanode.volume.min.free.space", "1MB".to_owned()),
        ("hdds.heartbeat.interval", "200ms".to_owned()),
        ("ozone.scm.heartbeat.thread.interval", "200ms".to_owned()),
        ("ozone.scm.stale.node.interval", "2s".to_owned()),
        ("ozone.scm.dead.node.interval", "4s".to_owned()),
    ];
    let config = Config::from_pairs(own).unwrap();
    config
        .with(more.iter().map(|(key, value)| (*key, value.as_str())))
        .unwrap()
}

async fn start_scm(dir: &Path) -> ScmServer {
    let config = config(dir, &[]);
    let format = config.clone();
    tokio::task::spawn_blocking(move || ozone_scm::init(&format, None).unwrap())
        .await
        .unwrap();
    let scm = ScmServer::start(ScmOptions::new(config)).await.unwrap();
    scm.wait_ready().await.unwrap();
    scm
}

async fn start_datanode(dir: &Path, scm: &ScmServer) -> DatanodeServer {
    let data = dir.join("data").to_str().unwrap().to_owned();
    let mut options = DatanodeOptions::new(config(dir, &[("hdds.datanode.dir", data)]));
    options.scm = vec![scm.addresses().datanode.to_string()];
    let server = DatanodeServer::start(options).await.unwrap();
    server.wait_registered().await.unwrap();
    server
}

async fn start_om(dir: &Path, scm: &ScmServer) -> OmServer {
    let at = scm.addresses();
    let options = OmOptions {
        config: config(
            dir,
            &[
                ("ozone.scm.block.client.address", at.block.to_string()),
                (
                    "ozone.scm.security.service.address",
                    at.security.to_string(),
                ),
            ],
        ),
        clock: std::sync::Arc::new(SystemClock::new()),
        rng: std::sync::Arc::new(OsRng),
        net: std::sync::Arc::new(TcpNet),
        disk: std::sync::Arc::new(RealDisk),
    };
    ozone_om::server::init(&options).await.unwrap();
    OmServer::start(options).await.unwrap()
}

impl Cluster {
    async fn start(dir: &Path, count: usize) -> Self {
        let scm = start_scm(&dir.join("scm")).await;
        let mut datanodes = Vec::new();
        for n in 0..count {
            datanodes.push(start_datanode(&dir.join(format!("dn{n}")), &scm).await);
        }
        let om = start_om(&dir.join("om"), &scm).await;
        let config = ClientConfig::new(vec![om.addresses().client.to_string()]);
        let client = Client::connect(config).await.unwrap();
        Self {
            scm,
            datanodes,
            om,
            client,
        }
    }

    /// The one without the container, which is taken out of the list.
    fn take_spare(&mut self, container: i64) -> DatanodeServer {
        let lacks = |datanode: &DatanodeServer| datanode.containers().find(container).is_none();
        // A majority has it at once, the third soon.
        let spare = || {
            let lacking: Vec<_> = self.datanodes.iter().map(lacks).collect();
            match lacking.iter().filter(|lacks| **lacks).count() {
                1 => Ok(lacking.iter().position(|lacks| *lacks).unwrap()),
                count => Err(format!("{count} datanodes lack it")),
            }
        };
        let at = block_in_place(|| wait_for(LIMIT, spare));
        self.datanodes.remove(at)
    }

    async fn put(&self, content: &[u8]) {
        let three = Replication {
            r#type: ReplicationType::Ratis.into(),
            factor: ReplicationFactor::Three.into(),
        };
        let objects = self.client.objects();
        objects.create_volume("vol", None).await.unwrap();
        objects
            .create_bucket("vol", "bucket", NewBucket::default())
            .await
            .unwrap();
        let new = NewKey {
            replication: Some(three),
            ..NewKey::default()
        };
        // Until the pipeline of three is open, SCM refuses.
        until(|| async { objects.put_key(KEY, content, new.clone()).await }).await;
    }

    async fn container(&self) -> i64 {
        let info = self.client.objects().key_info(KEY).await.unwrap();
        let location = &info.key_location_list[0].key_locations[0];
        location.block_id.container_block_id.container_id
    }

    /// Reads the key, as soon as SCM has heard of a replica that is there.
    async fn read(&self) -> Bytes {
        let read = || async {
            let (_, reader) = self.client.objects().get_key(KEY).await?;
            reader.read(0, SIZE).await
        };
        until(read).await
    }
}

/// Asks again and again until the cluster gives something.
async fn until<T>(ask: impl AsyncFn() -> Result<T, ClientError>) -> T {
    let runtime = Handle::current();
    let ask = || runtime.block_on(ask()).map_err(|error| error.to_string());
    block_in_place(|| wait_for(LIMIT, ask))
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_dead_datanode_are_copied_to_a_spare_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), 4).await;
    let content = bytes(7, SIZE);
    cluster.put(&content).await;
    let container = cluster.container().await;
    let spare = cluster.take_spare(container);
    assert_eq!(cluster.datanodes.len(), 3);
    drop(cluster.datanodes.pop());
    let has_copy = || match spare.containers().find(container) {
        Some(copy) if copy.state() == State::Closed => Ok(()),
        _ => Err("the spare datanode has no copy".to_owned()),
    };
    block_in_place(|| wait_for(LIMIT, has_copy));
    assert!(cluster.read().await == content, "with three replicas");
    cluster.datanodes.clear();
    assert!(cluster.read().await == content, "from the copy alone");
    spare.shutdown().await;
    cluster.om.shutdown().await;
    cluster.scm.shutdown().await;
}
