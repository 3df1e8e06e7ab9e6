//! The listeners of SCM: one address per audience, as Ozone has them. Audiences that are given the
//! same address share a listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ozone_common::config::{Config, HostPort};
use ozone_common::net::Net;
use ozone_kv::blocking;
use ozone_proto::hdds::block::scm_block_location_protocol_service_server::ScmBlockLocationProtocolServiceServer;
use ozone_proto::scm::scm_admin_service_server::ScmAdminServiceServer;
use ozone_proto::scm::scm_datanode_service_server::ScmDatanodeServiceServer;
use ozone_proto::scm::scm_security_service_server::ScmSecurityServiceServer;
use ozone_rpc::MAX_MESSAGE;
use ozone_rpc::server::{Listener, ServerHandle};
use ozone_security::tls::Transport;
use tonic::service::Routes;

use crate::error::StartError;
use crate::members::Members;
use crate::scm::Scm;
use crate::server::{Addresses, resolve};
use crate::service::admin::AdminService;
use crate::service::block::BlockService;
use crate::service::datanode::DatanodeService;
use crate::service::security::SecurityService;

/// Who an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Audience {
    Block,
    Datanode,
    Client,
    Security,
}

const ALL: [Audience; 4] = [
    Audience::Block,
    Audience::Datanode,
    Audience::Client,
    Audience::Security,
];

impl Audience {
    fn key(self) -> &'static str {
        match self {
            Self::Block => "ozone.scm.block.client.address",
            Self::Datanode => "ozone.scm.datanode.address",
            Self::Client => "ozone.scm.client.address",
            Self::Security => "ozone.scm.security.service.address",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Block => "the listener for OMs",
            Self::Datanode => "the listener for datanodes",
            Self::Client => "the listener for administrators",
            Self::Security => "the listener for keys and certificates",
        }
    }
}

/// Everything that SCM answers. Each listener answers all of it: who may ask what is a matter of
/// who they are, not of the port that they found.
fn routes(scm: &Arc<Scm>) -> Routes {
    let block = ScmBlockLocationProtocolServiceServer::new(BlockService(scm.clone()));
    let datanode = ScmDatanodeServiceServer::new(DatanodeService(scm.clone()));
    Routes::new(block.max_decoding_message_size(MAX_MESSAGE))
        .add_service(datanode.max_decoding_message_size(MAX_MESSAGE))
        .add_service(ScmAdminServiceServer::new(AdminService(scm.clone())))
        .add_service(ScmSecurityServiceServer::new(SecurityService(scm.clone())))
}

/// What listeners are bound on, and how they show who they are.
pub(crate) struct Place {
    pub(crate) net: Arc<dyn Net>,
    pub(crate) transport: Transport,
}

/// Binds one address.
pub(crate) async fn bind(
    place: &Place,
    (what, key): (&'static str, &str),
    address: SocketAddr,
) -> Result<Listener, StartError> {
    let identity = place.transport.listener.clone();
    let bound = Listener::bind(place.net.as_ref(), address, identity).await;
    bound.map_err(|error| StartError::Bind {
        what,
        reason: error.hint(key),
    })
}

/// Bound addresses that do not answer yet.
pub(crate) struct Listeners {
    bound: Vec<(Listener, Vec<Audience>)>,
}

impl Listeners {
    pub(crate) async fn bind(
        place: &Place,
        config: &Config,
        members: &Members,
    ) -> Result<Self, StartError> {
        let (config, members) = (config.clone(), members.clone());
        let asked = blocking(move || addresses(&config, &members)).await;
        let asked = asked.map_err(|e| StartError::Members(e.to_string()))??;
        let mut bound = Vec::new();
        for (address, audiences) in share(asked) {
            let whose = audiences.first().copied().unwrap_or(Audience::Client);
            let name = (whose.what(), whose.key());
            bound.push((bind(place, name, address).await?, audiences));
        }
        Ok(Self { bound })
    }

    fn of(&self, audience: Audience, or: SocketAddr) -> SocketAddr {
        let found = self
            .bound
            .iter()
            .find(|(_, audiences)| audiences.contains(&audience));
        found.map_or(or, |(listener, _)| listener.address())
    }

    /// Where everybody is answered.
    pub(crate) fn addresses(&self, ratis: SocketAddr, http: SocketAddr) -> Addresses {
        Addresses {
            block: self.of(Audience::Block, ratis),
            datanode: self.of(Audience::Datanode, ratis),
            client: self.of(Audience::Client, ratis),
            security: self.of(Audience::Security, ratis),
            ratis,
            http,
        }
    }

    /// Starts to answer.
    pub(crate) fn serve(self, scm: &Arc<Scm>) -> Vec<ServerHandle> {
        let routes = routes(scm);
        let bound = self.bound.into_iter();
        bound
            .map(|(listener, _)| listener.serve(routes.clone()))
            .collect()
    }
}

/// The addresses that are configured.
pub(crate) fn configured(config: &Config, members: &Members) -> Result<Vec<HostPort>, StartError> {
    let address =
        |audience: Audience| Ok(config.get_address(&members.key(config, audience.key()))?);
    ALL.into_iter().map(address).collect()
}

fn addresses(
    config: &Config,
    members: &Members,
) -> Result<Vec<(SocketAddr, Audience)>, StartError> {
    let configured = configured(config, members)?;
    let resolved = ALL.into_iter().zip(&configured);
    resolved
        .map(|(audience, asked)| Ok((resolve(audience.what(), asked)?, audience)))
        .collect()
}

/// Audiences by address; each that lets the system pick a port has a listener of its own.
fn share(asked: Vec<(SocketAddr, Audience)>) -> Vec<(SocketAddr, Vec<Audience>)> {
    let mut shared: BTreeMap<SocketAddr, Vec<Audience>> = BTreeMap::new();
    let mut own = Vec::new();
    for (address, audience) in asked {
        match address.port() {
            0 => own.push((address, vec![audience])),
            _ => shared.entry(address).or_default().push(audience),
        }
    }
    own.extend(shared);
    own
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn equal_addresses_share_a_listener_and_free_ports_do_not() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let shared = share(vec![
            (at("127.0.0.1:5"), Audience::Block),
            (at("127.0.0.1:0"), Audience::Datanode),
            (at("127.0.0.1:5"), Audience::Client),
            (at("127.0.0.1:0"), Audience::Security),
        ]);
        assert_eq!(shared.len(), 3);
        let both = vec![Audience::Block, Audience::Client];
        assert!(shared.contains(&(at("127.0.0.1:5"), both)));
    }
}
