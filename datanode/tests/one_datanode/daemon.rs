//! The process: which cluster it is of, what it shows.

use ozone_datanode::{DatanodeOptions, DatanodeServer};

use crate::bed::{BLOCK, Bed};
use crate::common;
use crate::common::{FakeScm, data, http};

#[tokio::test(flavor = "multi_thread")]
async fn an_scm_of_another_cluster_is_not_joined() {
    let Bed { dir, datanode, .. } = Bed::new().await;
    datanode.shutdown().await;
    let other = FakeScm::of_cluster("CID-other").await;
    let mut options = DatanodeOptions::new(common::config(dir.path(), &[]));
    options.scm = vec![other.address()];
    let datanode = common::until("the directory is free", async || {
        DatanodeServer::start(options.clone()).await.ok()
    })
    .await;
    let text = datanode.wait_registered().await.unwrap_err().to_string();
    assert!(
        text.contains("CID-other") && text.contains(common::scm::CLUSTER),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_are_served() {
    let bed = Bed::new().await;
    bed.client().await.store(BLOCK, &data(1_000, 1)).await;
    for (path, expected) in [
        ("/health", "\"registered\":true"),
        ("/prom", "datanode_write_bytes_total"),
    ] {
        let text = http(&bed.datanode, path).await;
        assert!(
            text.starts_with("HTTP/1.1 200") && text.contains(expected),
            "{text}"
        );
    }
}
