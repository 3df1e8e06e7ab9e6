//! A datanode registers for the first time, or with other details than before.

use ozone_proto::hdds::DatanodeDetailsProto;

use super::{Answer, Op, Refusal};
use crate::model::{Change, QueueError, View};
use crate::rows::{Datanode, datanode_id};

/// The command.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AddDatanode {
    #[prost(message, optional, tag = "1")]
    pub(crate) details: Option<DatanodeDetailsProto>,
    #[prost(uint32, tag = "2")]
    pub(crate) layout_version: u32,
    #[prost(uint64, tag = "3")]
    pub(crate) at_ms: u64,
}

impl AddDatanode {
    fn datanode(&self) -> Option<Datanode> {
        let details = self.details.clone()?;
        Some(Datanode {
            id: datanode_id(&details)?,
            details,
            layout_version: self.layout_version,
            registered_ms: self.at_ms,
        })
    }
}

impl Op for AddDatanode {
    fn name(&self) -> &'static str {
        "AddDatanode"
    }

    fn validate(&self, _: View<'_>) -> Result<(), Refusal> {
        self.datanode()
            .map(|_| ())
            .ok_or(Refusal::Malformed("a datanode needs details with a uuid"))
    }

    fn apply(&self, _: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        out.extend(self.datanode().map(Change::Datanode));
        Ok(Answer::Done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::testing::{World, add_datanode, node_id};
    use super::*;

    #[test]
    fn the_latest_details_are_kept() {
        let mut world = World::with_datanodes(1);
        let mut op = add_datanode(1);
        op.details.as_mut().unwrap().host_name = "moved".to_owned();
        world.run(&op).unwrap();
        let kept = world.model.datanode(node_id(1)).unwrap();
        assert_eq!(kept.details.host_name, "moved");
        assert_eq!(world.model.datanodes().count(), 1);
    }

    #[test]
    fn a_datanode_without_an_id_is_refused() {
        let mut op = add_datanode(1);
        op.details.as_mut().unwrap().uuid = None;
        assert!(matches!(
            World::default().run(&op),
            Err(Refusal::Malformed(_))
        ));
    }
}
