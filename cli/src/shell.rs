//! What a command runs in: the configuration, and the cluster once an address names it.

use ozone_client::{Client, ClientConfig};
use ozone_common::config::Config;
use tokio::sync::OnceCell;

use crate::address::Address;
use crate::error::Result;

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
        let connect = || async {
            let config = ClientConfig::from_config(&address.apply_to(self.config)?)?;
            Ok(Client::connect(config).await?)
        };
        self.client.get_or_try_init(connect).await
    }

    /// Leaves the cluster.
    pub(crate) async fn close(&self) {
        if let Some(client) = self.client.get() {
            client.close().await;
        }
    }
}
