//! DeleteBlocks: frees blocks, also of containers that are still written. A transaction that is
//! done is named in the answer; one for a container that is not here has nothing left to do.

use std::sync::Arc;

use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::DeleteBlocks;

use super::Outcome;
use crate::error::OpResult;
use crate::io::Lane;
use crate::node::{Node, on_container};

pub(super) async fn run(node: &Arc<Node>, command: DeleteBlocks) -> OpResult<Outcome> {
    let mut outcome = Outcome::default();
    for transaction in command.transactions {
        let id = transaction.tx_id;
        let Some(container) = node.containers.find(transaction.container_id) else {
            outcome.deleted_transactions.push(id);
            continue;
        };
        let locals = transaction.local_ids;
        let work = move |c: &crate::container::Container| c.delete_blocks(id, &locals);
        match on_container(&container, Lane::Sync, work).await {
            Ok(freed) => {
                metrics::counter!("datanode_deleted_bytes_total").increment(freed);
                outcome.deleted_transactions.push(id);
                node.containers.note_change(container.id());
            }
            // It was deleted as a whole meanwhile.
            Err(error) if error.code == Code::ContainerNotFound => {
                outcome.deleted_transactions.push(id);
            }
            Err(error) => {
                let container = container.id();
                tracing::warn!(container, transaction = id, %error, "blocks not deleted");
            }
        }
    }
    Ok(outcome)
}
