//! What the parts of one datanode share.

use std::sync::{Arc, OnceLock};

use ozone_common::clock::Clock;
use ozone_common::rng::Rng;
use ozone_proto::hdds::datanode::Result as Code;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::container::{Container, ContainerSet, NewContainer};
use crate::error::{OpError, OpResult};
use crate::io::Lane;
use crate::peer::Peers;
use crate::pipeline::Pipelines;
use crate::tokens::Tokens;
use crate::volume::VolumeSet;

/// One datanode.
pub(crate) struct Node {
    pub(crate) uuid: Uuid,
    pub(crate) containers: Arc<ContainerSet>,
    /// Set once the cluster is known and the volumes are formatted and open.
    pub(crate) volumes: OnceLock<VolumeSet>,
    pub(crate) pipelines: Pipelines,
    pub(crate) peers: Peers,
    pub(crate) tokens: Arc<Tokens>,
    /// Bytes at which a container should be closed.
    pub(crate) container_size: u64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    /// Counted up whenever SCM should hear something at once.
    pub(crate) news: watch::Sender<u64>,
    /// Counted up whenever committed bytes turn out to lack here.
    pub(crate) lacking: watch::Sender<u64>,
    /// Closes at shutdown.
    pub(crate) gate: CancellationToken,
}

impl Node {
    /// The volumes, once there are any.
    pub(crate) fn volumes(&self) -> OpResult<&VolumeSet> {
        self.volumes.get().ok_or_else(|| {
            let text = "this datanode has not joined its cluster yet";
            OpError::new(Code::ContainerInternalError, text)
        })
    }

    /// The container `id`, made for `pipeline` when it is not here. Blocks.
    pub(crate) fn container_for(&self, id: i64, pipeline: &str) -> OpResult<Arc<Container>> {
        if let Some(container) = self.containers.find(id) {
            return Ok(container);
        }
        let new = self.new_container(id, pipeline, 0);
        self.containers.get_or_create(self.volumes()?, &new)
    }

    /// A container `id` of this datanode, on a volume with room for `margin` bytes.
    pub(crate) fn new_container(&self, id: i64, pipeline: &str, margin: u64) -> NewContainer {
        NewContainer {
            id,
            pipeline_id: pipeline.to_owned(),
            node_id: self.uuid.to_string(),
            max_size: self.container_size,
            margin,
        }
    }

    /// SCM should hear from this datanode now.
    pub(crate) fn tell_scm(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// Committed bytes lack here: they should be fetched.
    pub(crate) fn note_lacking(&self) {
        self.lacking.send_modify(|count| *count += 1);
    }
}

/// Runs blocking work on a container, on the threads of its volume.
pub(crate) async fn on_container<T: Send + 'static>(
    container: &Arc<Container>,
    lane: Lane,
    work: impl FnOnce(&Container) -> OpResult<T> + Send + 'static,
) -> OpResult<T> {
    let shared = container.clone();
    container
        .volume()
        .io()
        .run(lane, move || work(&shared))
        .await
}

/// Runs blocking work that belongs to no volume yet.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> OpResult<T> + Send + 'static,
) -> OpResult<T> {
    match ozone_kv::blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(OpError::internal(error.to_string())),
    }
}
