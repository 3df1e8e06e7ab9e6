//! The process: which cluster it is of, what it shows.

use ozone_datanode::{DatanodeOptions, DatanodeServer};

use crate::bed::{BLOCK, Bed};
use crate::common;
use crate::common::{FakeScm, data};

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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bed = Bed::new().await;
    bed.client().await.store(BLOCK, &data(1_000, 1)).await;
    for (path, expected) in [
        ("/health", "\"registered\":true"),
        ("/prom", "datanode_write_bytes_total"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(bed.datanode.addresses().http)
            .await
            .unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200") && text.contains(expected),
            "{text}"
        );
    }
}
