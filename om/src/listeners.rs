//! Where an OM listens: for clients, for the other OMs, and for whoever watches it.

use std::net::SocketAddr;
use std::sync::Arc;

use ozone_common::config::{HostPort, om_nodes};
use ozone_common::http::{Health, HttpServer, health_check};
use ozone_raft::{Group, LogPosition, RaftHost};
use ozone_rpc::server::{Listener, ServerHandle};
use ozone_security::guard::Guard;
use ozone_security::settings::tls_wanted;
use ozone_security::tls::Transport;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;

use crate::error::{OmError, Result};
use crate::server::{OmOptions, blocking};

fn start(error: impl std::fmt::Display) -> OmError {
    OmError::Start(error.to_string())
}

/// The address that `key` sets. The resolver blocks.
async fn resolve(key: &'static str, address: HostPort) -> Result<SocketAddr> {
    blocking(move || {
        let resolved = address.resolve();
        resolved.map_err(|error| OmError::Start(format!("{key}: {address}: {error}")))
    })
    .await
}

/// Binds an address; it does not answer yet.
pub(crate) async fn listen(
    (options, transport): (&OmOptions, &Transport),
    key: &'static str,
    address: HostPort,
) -> Result<Listener> {
    let identity = transport.listener.clone();
    let address = resolve(key, address).await?;
    let bound = Listener::bind(&*options.net, address, identity).await;
    bound.map_err(|error| OmError::Start(error.hint(key)))
}

/// Answers the other OMs.
pub(crate) async fn serve_raft(
    place: (&OmOptions, &Transport),
    host: &Arc<RaftHost>,
    guard: Guard,
) -> Result<ServerHandle> {
    let nodes = om_nodes(&place.0.config).map_err(start)?;
    let own = nodes.into_iter().next();
    let own = own.ok_or_else(|| OmError::Start("no OM is configured".into()))?;
    let listener = listen(place, "ozone.om.ratis.port", own.ratis).await?;
    let service = InterceptedService::new(host.service(), guard);
    Ok(listener.serve(Routes::new(service)))
}

/// Shows metrics and health.
pub(crate) async fn serve_http(options: &OmOptions, group: &Arc<Group>) -> Result<HttpServer> {
    let key = "ozone.om.http-address";
    let address = options.config.get_address(key).map_err(start)?;
    let secure = tls_wanted(&options.config).map_err(start)?;
    let address = (resolve(key, address).await?, secure);
    let group = group.clone();
    let health = health_check(move || {
        let health = health(&group);
        async move { health }
    });
    let started = HttpServer::start(&*options.net, address, health, Default::default()).await;
    started.map_err(|error| OmError::Start(error.hint(key)))
}

fn health(group: &Group) -> Health {
    let (leader, status) = (group.leader(), group.status());
    let index = |position: Option<LogPosition>| position.map(|position| position.index);
    Health {
        healthy: leader.is_some(),
        details: serde_json::json!({
            "role": if group.is_leader() { "LEADER" } else { "FOLLOWER" },
            "leader": leader.map(|peer| peer.address),
            "fault": group.fault(),
            "term": group.term(),
            "lastLog": status.last_log,
            "committed": index(status.committed),
            "applied": index(status.applied),
            "flushed": index(status.flushed),
        }),
    }
}
