//! The SCMs of the cluster, and which of them this one is.
//!
//! A single SCM has a random id. With a service id, the ids of all SCMs follow from the cluster id
//! and their node ids, so that each knows the members of the Raft group before they ever met.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ozone_common::config::{Config, HostPort, ServiceNode, scm_nodes};
use ozone_raft::Peer;
use uuid::Uuid;

use crate::error::StartError;

/// The SCMs that the configuration names.
#[derive(Debug, Clone)]
pub(crate) struct Members {
    all: Vec<ServiceNode>,
    own: usize,
}

impl Members {
    /// Finds this SCM among those configured: the only one, the one that `ozone.scm.node.id` names,
    /// or the one with an address of this machine. Blocks: host names are resolved.
    pub(crate) fn find(config: &Config) -> Result<Self, StartError> {
        let all = scm_nodes(config)?;
        if all.len() == 1 {
            return Ok(Self { all, own: 0 });
        }
        let named = config.get_str("ozone.scm.node.id")?;
        let own = match named.is_empty() {
            false => all.iter().position(|node| node.id == named),
            true => only_local(&all),
        };
        let ids: Vec<_> = all.iter().map(|node| node.id.as_str()).collect();
        let own = own.ok_or_else(|| {
            let ids = ids.join(", ");
            StartError::Members(format!(
                "cannot tell which of the SCMs {ids} this is: set ozone.scm.node.id"
            ))
        })?;
        Ok(Self { all, own })
    }

    /// The name that a key has for this SCM.
    pub(crate) fn key(&self, config: &Config, key: &str) -> String {
        self.all[self.own].key(config, key)
    }

    /// Where this SCM replicates with the others.
    pub(crate) fn ratis(&self) -> &HostPort {
        &self.all[self.own].ratis
    }

    /// Whether there are others.
    pub(crate) fn is_replicated(&self) -> bool {
        self.all.len() > 1
    }

    /// The id that this SCM is formatted with, if it follows from the configuration.
    pub(crate) fn own_id(&self, group: Uuid) -> Option<Uuid> {
        self.is_replicated()
            .then(|| member_id(group, &self.all[self.own]))
    }

    /// The members of the Raft group; `own` is this SCM, which listens on `own_address`.
    pub(crate) fn peers(&self, group: Uuid, own: Uuid, own_address: String) -> Vec<Peer> {
        let peer = |(index, node): (usize, &ServiceNode)| match index == self.own {
            true => Peer {
                id: own,
                address: own_address.clone(),
            },
            false => Peer {
                id: member_id(group, node),
                address: node.ratis.to_string(),
            },
        };
        self.all.iter().enumerate().map(peer).collect()
    }

    /// Where OMs ask the SCM whose Raft listener has this address.
    pub(crate) fn block_address(&self, config: &Config, ratis: &str) -> Option<String> {
        let node = self
            .all
            .iter()
            .find(|node| node.ratis.to_string() == ratis)?;
        let key = node.key(config, "ozone.scm.block.client.address");
        let address = config.get_address(&key).ok()?;
        let host = match config.is_set(&key) {
            true => address.host.clone(),
            false => node.address.host.clone(),
        };
        Some(HostPort::new(host, address.port).to_string())
    }
}

fn member_id(group: Uuid, node: &ServiceNode) -> Uuid {
    Uuid::new_v5(&group, node.id.as_bytes())
}

/// The one node with an address of this machine; none if there are several or none.
fn only_local(all: &[ServiceNode]) -> Option<usize> {
    let is_local = |node: &ServiceNode| {
        let resolved = node.ratis.resolve();
        resolved.is_ok_and(|address| source_of_route(address).is_ok_and(|ip| ip == address.ip()))
    };
    let mut local = all.iter().enumerate().filter(|(_, node)| is_local(node));
    match (local.next(), local.next()) {
        (Some((index, _)), None) => Some(index),
        _ => None,
    }
}

/// The own address from which this machine would send to another; nothing is sent.
fn source_of_route(to: SocketAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = match to.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn three(own: &str) -> Config {
        Config::from_pairs([
            ("ozone.scm.service.ids", "s"),
            ("ozone.scm.nodes.s", "a,b,c"),
            ("ozone.scm.address.s.a", "127.0.0.1"),
            ("ozone.scm.address.s.b", "198.51.100.2"),
            ("ozone.scm.address.s.c", "198.51.100.3"),
            ("ozone.scm.ratis.port.s.b", "1234"),
            ("ozone.scm.node.id", own),
        ])
        .unwrap()
    }

    #[test]
    fn a_single_scm_is_itself() {
        let members = Members::find(&Config::default()).unwrap();
        assert!(!members.is_replicated());
        assert_eq!(members.own_id(Uuid::nil()), None);
        let peers = members.peers(Uuid::nil(), Uuid::from_u128(1), "h:1".to_owned());
        assert_eq!(
            peers,
            [Peer {
                id: Uuid::from_u128(1),
                address: "h:1".to_owned()
            }]
        );
    }

    #[test]
    fn each_of_three_knows_the_ids_of_all() {
        let group = Uuid::from_u128(7);
        let a = Members::find(&three("a")).unwrap();
        let b = Members::find(&three("b")).unwrap();
        let peers_of = |m: &Members| {
            let own = m.own_id(group).unwrap();
            let peers = m.peers(group, own, m.ratis().to_string());
            peers.iter().map(|p| p.id).collect::<Vec<_>>()
        };
        assert_eq!(peers_of(&a), peers_of(&b));
        assert_ne!(a.own_id(group), b.own_id(group));
        assert_eq!(b.ratis().to_string(), "198.51.100.2:1234");
    }

    #[test]
    fn the_address_or_the_node_id_tells_which_one_this_is() {
        let found = Members::find(&three("")).unwrap();
        assert_eq!(found.all[found.own].id, "a");
        let text = Members::find(&three("x")).unwrap_err().to_string();
        assert!(text.contains("ozone.scm.node.id"), "{text}");
    }

    #[test]
    fn the_leader_is_named_by_the_address_that_oms_use() {
        let config = three("a");
        let members = Members::find(&config).unwrap();
        let hint = members.block_address(&config, "198.51.100.2:1234");
        assert_eq!(hint.as_deref(), Some("198.51.100.2:9863"));
        assert_eq!(members.block_address(&config, "198.51.100.9:1"), None);
    }
}
