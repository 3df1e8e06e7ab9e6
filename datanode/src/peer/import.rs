//! Taking in a container that another datanode sends.

use std::sync::Arc;

use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::import_container_part::Part;
use ozone_proto::scm::{ImportContainerPart, ImportContainerResponse};
use tonic::Streaming;

use crate::container::Incoming;
use crate::error::{OpError, OpResult};
use crate::io::Lane;
use crate::node::{Node, off_thread};
use crate::tokens::Access;
use crate::volume::Volume;

/// Receives a whole container, which the token allows, and adopts it; nothing of it stays when that fails.
pub(super) async fn import_container(
    node: &Arc<Node>,
    token: Option<String>,
    mut parts: Streaming<ImportContainerPart>,
) -> OpResult<ImportContainerResponse> {
    let Some(Part::Header(header)) = next(&mut parts).await? else {
        return Err(OpError::malformed("a copy begins with its header"));
    };
    let id = header.container_id;
    node.tokens
        .check_container(token.as_deref(), id, Access::Copy)?;
    let importing = node.containers.begin_import(id)?;
    let volume = node.volumes()?.choose(1)?;
    let begun = volume.clone();
    let received = async {
        let incoming = off_thread(move || Incoming::begin(begun, &header)).await?;
        receive(&volume, incoming, parts).await
    };
    let container = match received.await {
        Ok(container) => container,
        Err(error) => {
            off_thread(move || {
                Incoming::abandon(&volume, id);
                Ok(())
            })
            .await?;
            return Err(error);
        }
    };
    let counters = container.counters();
    node.containers.adopt(container);
    drop(importing);
    tracing::info!(
        container = id,
        blocks = counters.blocks,
        "container copied here"
    );
    Ok(ImportContainerResponse {
        blocks: counters.blocks,
        bytes: counters.bytes,
    })
}

async fn next(parts: &mut Streaming<ImportContainerPart>) -> OpResult<Option<Part>> {
    let broken = |status: tonic::Status| OpError::new(Code::IoException, status.to_string());
    Ok(parts
        .message()
        .await
        .map_err(broken)?
        .and_then(|part| part.part))
}

async fn receive(
    volume: &Arc<Volume>,
    mut incoming: Incoming,
    mut parts: Streaming<ImportContainerPart>,
) -> OpResult<crate::container::Container> {
    while let Some(part) = next(&mut parts).await? {
        let work = move || {
            match part {
                Part::Header(_) => return Err(OpError::malformed("a second header")),
                Part::Block(block) => incoming.block(&block)?,
                Part::Data(data) => incoming.data(&data)?,
            }
            Ok(incoming)
        };
        incoming = volume.io().run(Lane::Write, work).await?;
    }
    volume.io().run(Lane::Sync, move || incoming.finish()).await
}
