//! Who may do what: block tokens, checked against the keys that SCM hands out. Datanodes sign tokens for one another
//! with the same keys.

use std::sync::Arc;

use ozone_common::clock::Clock;
use ozone_common::ids::BlockId;
use ozone_proto::hdds::datanode::Result as Code;
use ozone_security::secret_keys::{KeyStore, SecretKey, SecretKeys};
use ozone_security::token::{AccessMode, BlockTokenSecret, TokenVerifier};
use uuid::Uuid;

use crate::error::{OpError, OpResult};

/// How long a token of a datanode for another one is good: as long as their clocks may differ, ms.
const PEER_TOKEN_MS: u64 = 10 * 60_000;

/// A block as tokens name it. Local id 0, which no block has, stands for the container as a whole.
pub(crate) fn block_of(container: i64, local: i64) -> BlockId {
    let id = |id: i64| u64::try_from(id).unwrap_or(u64::MAX);
    BlockId::new(id(container), id(local))
}

/// What a command does to a block or container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Up to this offset of the block.
    Write(u64),
    Delete,
    /// What datanodes ask one another; no client's token allows it.
    Copy,
}

impl Access {
    fn mode(self) -> AccessMode {
        match self {
            Self::Read => AccessMode::Read,
            Self::Write(_) => AccessMode::Write,
            Self::Delete => AccessMode::Delete,
            Self::Copy => AccessMode::Copy,
        }
    }
}

/// The check that every command passes first.
pub(crate) struct Tokens {
    keys: KeyStore,
    verifier: TokenVerifier,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    /// Knows no keys yet, and so lets nobody in.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let keys = KeyStore::default();
        let verifier = TokenVerifier::new(keys.clone());
        Self {
            keys,
            verifier,
            clock,
        }
    }

    /// Trusts these keys from now on. None at all means that nothing changed.
    pub(crate) fn learn(&self, keys: &[ozone_proto::scm::SecretKey]) {
        if keys.is_empty() {
            return;
        }
        let known = keys.iter().filter_map(|key| {
            Some(SecretKey {
                id: Uuid::from_slice(&key.id).ok()?,
                created_ms: u64::try_from(key.created_ms).ok()?,
                expires_ms: u64::try_from(key.expires_ms).ok()?,
                bytes: key.key.to_vec(),
            })
        });
        self.keys.replace(SecretKeys::new(known));
    }

    /// What this datanode, called `own`, shows another one that it asks about a block. None
    /// before SCM has given any key.
    pub(crate) fn for_peer(&self, own: &str, block: BlockId) -> Option<String> {
        let now_ms = self.clock.wall_ms();
        let keys = self.keys.keys();
        let key = keys.current(now_ms)?;
        let secret = BlockTokenSecret {
            owner: own.to_owned(),
            block,
            expires_ms: now_ms.saturating_add(PEER_TOKEN_MS),
            modes: vec![AccessMode::Copy],
            max_length: 0,
        };
        Some(secret.sign(key).encode_text())
    }

    /// Refuses unless the token allows this access to the block.
    pub(crate) fn check_block(
        &self,
        token: Option<&str>,
        container: i64,
        local: i64,
        access: Access,
    ) -> OpResult<()> {
        let block = block_of(container, local);
        let token = token.unwrap_or_default();
        let now_ms = self.clock.wall_ms();
        let verified = self
            .verifier
            .verify_text(token, block, access.mode(), now_ms)
            .and_then(|secret| match access {
                Access::Write(end) => secret.check_length(end),
                Access::Read | Access::Delete | Access::Copy => Ok(()),
            });
        verified.map_err(|error| {
            metrics::counter!("datanode_token_refusals_total").increment(1);
            OpError::new(Code::BlockTokenVerificationFailed, error.to_string())
        })
    }

    /// Refuses unless the token allows this access to the container as a whole. Such a token is for
    /// local id 0, which no block has.
    pub(crate) fn check_container(
        &self,
        token: Option<&str>,
        container: i64,
        access: Access,
    ) -> OpResult<()> {
        self.check_block(token, container, 0, access)
    }
}
