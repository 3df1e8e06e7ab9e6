//! Where clients find the OMs.

use std::collections::BTreeMap;

use ozone_common::config::HostPort;
use ozone_proto::hdds::NodeType;
use ozone_proto::om::{OmRoleInfo, ServiceInfo, ServiceListResponse, ServicePort, service_port};
use ozone_raft::Peer;
use uuid::Uuid;

/// The client listeners of all OMs.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// By Raft member: node id and client listener.
    pub nodes: BTreeMap<Uuid, (String, HostPort)>,
}

impl Services {
    /// `host:port` of a member's client listener.
    pub fn address_of(&self, member: Option<Peer>) -> Option<String> {
        self.nodes
            .get(&member?.id)
            .map(|(_, address)| address.to_string())
    }

    /// ServiceList: the OMs, with the role of each.
    pub fn list(&self, leader: Option<Peer>) -> ServiceListResponse {
        let leader = leader.map(|l| l.id);
        let info = |(id, (node, address)): (&Uuid, &(String, HostPort))| ServiceInfo {
            node_type: NodeType::Om.into(),
            hostname: address.host.clone(),
            service_ports: vec![ServicePort {
                r#type: service_port::Type::Rpc.into(),
                value: address.port.into(),
            }],
            om_role: Some(OmRoleInfo {
                node_id: node.clone(),
                server_role: if leader == Some(*id) {
                    "LEADER"
                } else {
                    "FOLLOWER"
                }
                .to_owned(),
            }),
            om_version: Some(0),
        };
        ServiceListResponse {
            service_info: self.nodes.iter().map(info).collect(),
            ..Default::default()
        }
    }
}
