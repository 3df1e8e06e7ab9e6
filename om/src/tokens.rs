//! Block tokens: what the OM gives to clients so that datanodes answer them. They are signed with
//! the key that SCM replicates and hands to OMs and datanodes alike.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::clock::Clock;
use ozone_common::ids::{BlockId, ContainerId, LocalId};
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::scm::scm_security_service_client::ScmSecurityServiceClient;
use ozone_proto::scm::{GetSecretKeysRequest, GetSecretKeysResponse};
use ozone_rpc::channel::Channels;
use ozone_security::secret_keys::{KeyStore, SecretKey, SecretKeys};
use ozone_security::token::{AccessMode, BlockTokenSecret};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::{OmError, Result};

/// How long a token is good where nobody says otherwise.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Between looks for new keys. A key is used for a day, so that a look may fail many times.
const REFRESH: Duration = Duration::from_secs(600);
/// The same while there is none yet.
const FIRST_REFRESH: Duration = Duration::from_millis(100);
/// Longest block that a read token speaks of: readers do not write.
const ANY_LENGTH: u64 = u64::MAX;

/// Signs tokens.
pub struct Tokens {
    keys: KeyStore,
    clock: Arc<dyn Clock>,
    lifetime: Duration,
}

impl Tokens {
    /// No keys yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            keys: KeyStore::new(SecretKeys::new([])),
            clock,
            lifetime: LIFETIME,
        }
    }

    /// Tokens that are good for `lifetime`.
    pub fn lasting(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Whether tokens can be made.
    pub fn ready(&self) -> bool {
        self.keys.keys().current(self.clock.wall_ms()).is_some()
    }

    /// A token to read the block.
    pub fn read(&self, container: u64, local: u64) -> Result<String> {
        self.sign(container, local, vec![AccessMode::Read], ANY_LENGTH)
    }

    /// A token to write the block, `length` bytes at most, and to read it.
    pub fn write(&self, container: u64, local: u64, length: u64) -> Result<String> {
        self.sign(
            container,
            local,
            vec![AccessMode::Read, AccessMode::Write],
            length,
        )
    }

    fn sign(
        &self,
        container: u64,
        local: u64,
        modes: Vec<AccessMode>,
        max_length: u64,
    ) -> Result<String> {
        let now = self.clock.wall_ms();
        let keys = self.keys.keys();
        let key = keys.current(now).ok_or_else(|| {
            OmError::Scm("no key to sign block tokens with has come from SCM yet".into())
        })?;
        let lifetime = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
        let secret = BlockTokenSecret {
            owner: "om".to_owned(),
            block: BlockId {
                container: ContainerId(container),
                local: LocalId(local),
            },
            expires_ms: now.saturating_add(lifetime),
            modes,
            max_length,
        };
        Ok(secret.sign(key).encode_text())
    }
}

/// Fetches the keys from SCM, again and again.
pub struct KeyRefresh {
    /// Connections.
    pub channels: Arc<Channels>,
    /// `host:port` of SCM's security service, each of them; any knows the keys.
    pub scm: Vec<String>,
    /// Where the keys go.
    pub tokens: Arc<Tokens>,
}

impl KeyRefresh {
    /// The keys of the first SCM that answers; the last failure when none does.
    async fn fetch(&self) -> Result<GetSecretKeysResponse, WorkError> {
        let mut failure = "no SCM is configured".into();
        for scm in &self.scm {
            let mut client = ScmSecurityServiceClient::new(self.channels.get(scm)?);
            match client.get_secret_keys(GetSecretKeysRequest {}).await {
                Ok(found) => return Ok(found.into_inner()),
                Err(status) => failure = status.into(),
            }
        }
        Err(failure)
    }
}

#[async_trait]
impl Worker for KeyRefresh {
    fn name(&self) -> String {
        "secret-keys".to_owned()
    }

    async fn work(&mut self, _gate: &CancellationToken) -> Result<Next, WorkError> {
        let found = self.fetch().await?;
        let keys = found.keys.into_iter().filter_map(|k| {
            Some(SecretKey {
                id: Uuid::from_slice(&k.id).ok()?,
                created_ms: u64::try_from(k.created_ms).ok()?,
                expires_ms: u64::try_from(k.expires_ms).ok()?,
                bytes: k.key.to_vec(),
            })
        });
        self.tokens.keys.replace(SecretKeys::new(keys));
        Ok(Next::After(if self.tokens.ready() {
            REFRESH
        } else {
            FIRST_REFRESH
        }))
    }
}
