//! What a command runs in: the configuration, and the cluster once an address names it.

use std::time::Duration;

use ozone_client::{Client, ClientConfig, ClientError};
use ozone_common::config::Config;
use tokio::sync::OnceCell;

use crate::address::Address;
use crate::error::Result;

/// How long somebody at a terminal waits for an OM that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(10);

/// Refuses OMs of which none has an address, at once: no waiting helps against a mistyped name.
async fn check_hosts(servers: &[String]) -> Result<()> {
    let mut reason = String::new();
    for server in servers {
        match tokio::net::lookup_host(server.as_str()).await {
            Ok(_) => return Ok(()),
            Err(error) => reason = error.to_string(),
        }
    }
    let servers = servers.to_vec();
    Err(ClientError::NoOm { servers, reason }.into())
}

/// A connection to the cluster that the configuration names, given up soon when nobody answers.
pub(crate) async fn connect(config: &Config) -> Result<Client> {
    let mut config = ClientConfig::from_config(config)?;
    config.first_deadline = PATIENCE;
    check_hosts(&config.om).await?;
    Ok(Client::connect(config).await?)
}

/// The surroundings of one command, which works with one cluster.
#[derive(Debug)]
pub(crate) struct Shell<'a> {
    config: &'a Config,
    client: OnceCell<Client>,
}

impl<'a> Shell<'a> {
    pub(crate) fn new(config: &'a Config) -> Self {
        Self {
            config,
            client: OnceCell::new(),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        self.config
    }

    /// The cluster of the command's address; connected when first asked for.
    pub(crate) async fn client(&self, address: &Address) -> Result<&Client> {
        let connect = || async { connect(&address.apply_to(self.config)?).await };
        self.client.get_or_try_init(connect).await
    }

    /// Leaves the cluster.
    pub(crate) async fn close(&self) {
        if let Some(client) = self.client.get() {
            client.close().await;
        }
    }
}
