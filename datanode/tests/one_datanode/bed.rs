//! One datanode with a pipeline of one.

use std::sync::Arc;

use ozone_common::disk::{Disk, RealDisk};
use ozone_datanode::DatanodeServer;
use tempfile::TempDir;

use crate::common::{Client, FakeScm, start_on};

pub(crate) const BLOCK: (i64, i64) = (1, 101);

pub(crate) struct Bed {
    pub(crate) dir: TempDir,
    pub(crate) scm: FakeScm,
    pub(crate) datanode: DatanodeServer,
    pub(crate) pipeline: String,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::on(Arc::new(RealDisk)).await
    }

    pub(crate) async fn on(disk: Arc<dyn Disk>) -> Self {
        let (dir, scm) = (tempfile::tempdir().unwrap(), FakeScm::start().await);
        let datanode = start_on(&scm, dir.path(), disk).await;
        let (pipeline, leader) = scm.pipeline(&[datanode.uuid()]).await;
        assert_eq!(leader, datanode.uuid());
        Self {
            dir,
            scm,
            datanode,
            pipeline,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        let address = self.datanode.addresses().client;
        Client::connect(address, self.scm.key(), &self.pipeline).await
    }
}
