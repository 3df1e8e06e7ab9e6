//! Block tokens: what a client shows a datanode to get at a block.
//!
//! The OM writes who may do what with which block until when, and signs that with the current
//! secret key; a datanode, which knows the same keys, checks it without asking anybody. Messages
//! and text forms are Ozone's.

use std::fmt;

use ozone_common::ids::BlockId;
use ozone_proto::hdds::block_token_secret_proto::AccessModeProto;
use ozone_proto::hdds::{BlockTokenSecretProto, Uuid as UuidProto};
use prost::Message;
use uuid::Uuid;

use crate::secret_keys::{KeyStore, SecretKey};

pub use crate::envelope::Token;

/// The kind of a block token.
pub const KIND: &str = "HDDS_BLOCK_TOKEN";

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessMode {
    /// Read the block.
    Read,
    /// Write, extend and seal the block.
    Write,
    /// Copy the block's container between datanodes.
    Copy,
    /// Delete the block.
    Delete,
}

impl AccessMode {
    fn to_proto(self) -> AccessModeProto {
        match self {
            Self::Read => AccessModeProto::Read,
            Self::Write => AccessModeProto::Write,
            Self::Copy => AccessModeProto::Copy,
            Self::Delete => AccessModeProto::Delete,
        }
    }

    fn from_proto(mode: AccessModeProto) -> Self {
        match mode {
            AccessModeProto::Read => Self::Read,
            AccessModeProto::Write => Self::Write,
            AccessModeProto::Copy => Self::Copy,
            AccessModeProto::Delete => Self::Delete,
        }
    }
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_proto().as_str_name())
    }
}

/// Why a datanode refuses a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// None was shown.
    #[error("a block token is needed for block {block}")]
    Missing {
        /// The block.
        block: BlockId,
    },
    /// It is no block token.
    #[error("malformed block token: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody whom we trust made it.
    #[error("forged block token: {0}")]
    Forged(Forgery),
    /// It was good once.
    #[error("block token of {owner} expired at {expired_ms}, it is {now_ms}")]
    Expired {
        /// Whom it was made for.
        owner: String,
        /// Until when it was good; milliseconds since 1970.
        expired_ms: u64,
        /// Now; milliseconds since 1970.
        now_ms: u64,
    },
    /// It is for another block.
    #[error("block token of {owner} is for {found}, not for block {wanted}")]
    WrongBlock {
        /// Whom it was made for.
        owner: String,
        /// What it is for.
        found: String,
        /// What was asked for.
        wanted: BlockId,
    },
    /// It is for a shorter block.
    #[error("block token of {owner} for block {block} allows {allowed} bytes, not {wanted}")]
    TooLong {
        /// Whom it was made for.
        owner: String,
        /// The block.
        block: BlockId,
        /// Longest block that it allows.
        allowed: u64,
        /// What was to be written, from the start of the block.
        wanted: u64,
    },
    /// It does not allow this.
    #[error("block token of {owner} for block {block} does not allow {mode}")]
    ModeNotAllowed {
        /// Whom it was made for.
        owner: String,
        /// The block.
        block: BlockId,
        /// What was tried.
        mode: AccessMode,
    },
}

/// How a token shows to be none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forgery {
    /// Its key is not, or no longer, trusted.
    #[error("no trusted key {0}")]
    UnknownKey(Uuid),
    /// Its signature is not that of its content.
    #[error("the signature does not fit")]
    BadMac,
}

/// What a block token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTokenSecret {
    /// Short name of the user it was made for.
    pub owner: String,
    /// The block.
    pub block: BlockId,
    /// Until when it is good; milliseconds since 1970.
    pub expires_ms: u64,
    /// What it allows.
    pub modes: Vec<AccessMode>,
    /// Longest block that may be written, in bytes.
    pub max_length: u64,
}

impl BlockTokenSecret {
    /// The token, signed.
    pub fn sign(&self, key: &SecretKey) -> Token {
        let modes = self.modes.iter().map(|mode| mode.to_proto() as i32);
        let service = block_text(self.block);
        let secret = BlockTokenSecretProto {
            owner_id: self.owner.clone(),
            block_id: service.clone(),
            expiry_date: self.expires_ms,
            modes: modes.collect(),
            max_length: self.max_length,
            secret_key_id: Some(uuid_to_proto(key.id)),
        };
        let identifier = secret.encode_to_vec();
        Token {
            password: key.sign(&identifier),
            identifier,
            kind: KIND.to_owned(),
            service,
        }
    }
}

impl BlockTokenSecret {
    /// Whether the block may be written up to `end`.
    pub fn check_length(&self, end: u64) -> Result<(), TokenError> {
        if end <= self.max_length {
            return Ok(());
        }
        Err(TokenError::TooLong {
            owner: self.owner.clone(),
            block: self.block,
            allowed: self.max_length,
            wanted: end,
        })
    }
}

/// Checks tokens against the keys that a datanode knows.
#[derive(Debug, Clone)]
pub struct TokenVerifier {
    keys: KeyStore,
}

impl TokenVerifier {
    /// Trusts the keys in `keys`, whatever they are at the moment.
    pub fn new(keys: KeyStore) -> Self {
        Self { keys }
    }

    /// Whether the token, in its text form, allows `mode` on `block` at `now_ms`. Gives what it says.
    pub fn verify_text(
        &self,
        token: &str,
        block: BlockId,
        mode: AccessMode,
        now_ms: u64,
    ) -> Result<BlockTokenSecret, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing { block });
        }
        self.verify_token(&Token::decode_text(token)?, block, mode, now_ms)
    }

    /// Whether the token, in its byte form, allows `mode` on `block` at `now_ms`. Gives what it says.
    pub fn verify(
        &self,
        token: &[u8],
        block: BlockId,
        mode: AccessMode,
        now_ms: u64,
    ) -> Result<BlockTokenSecret, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing { block });
        }
        self.verify_token(&Token::decode(token)?, block, mode, now_ms)
    }

    /// Whether the token allows `mode` on `block` at `now_ms`. Gives what it says.
    pub fn verify_token(
        &self,
        token: &Token,
        block: BlockId,
        mode: AccessMode,
        now_ms: u64,
    ) -> Result<BlockTokenSecret, TokenError> {
        let proto = self.authentic(token, now_ms)?;
        let owner = proto.owner_id.clone();
        if proto.expiry_date <= now_ms {
            return Err(TokenError::Expired {
                owner,
                expired_ms: proto.expiry_date,
                now_ms,
            });
        }
        if proto.block_id != block_text(block) {
            return Err(TokenError::WrongBlock {
                owner,
                found: proto.block_id,
                wanted: block,
            });
        }
        let modes: Vec<_> = proto.modes().map(AccessMode::from_proto).collect();
        if !modes.contains(&mode) {
            return Err(TokenError::ModeNotAllowed { owner, block, mode });
        }
        Ok(BlockTokenSecret {
            owner,
            block,
            expires_ms: proto.expiry_date,
            modes,
            max_length: proto.max_length,
        })
    }

    /// What the token says, if someone with a trusted key said it.
    fn authentic(&self, token: &Token, now_ms: u64) -> Result<BlockTokenSecretProto, TokenError> {
        if token.kind != KIND {
            return Err(malformed(format!("its kind is {:?}", token.kind)));
        }
        let identifier = token.identifier.as_slice();
        let proto = BlockTokenSecretProto::decode(identifier).map_err(malformed)?;
        let id = proto.secret_key_id.as_ref().map(uuid_from_proto);
        let id = id.ok_or_else(|| malformed("it names no key"))?;
        let keys = self.keys.keys();
        let key = keys.get(id).filter(|key| !key.is_expired(now_ms));
        let key = key.ok_or(TokenError::Forged(Forgery::UnknownKey(id)))?;
        if !key.verify(identifier, &token.password) {
            return Err(TokenError::Forged(Forgery::BadMac));
        }
        Ok(proto)
    }
}

pub(crate) fn malformed(reason: impl ToString) -> TokenError {
    TokenError::Malformed {
        reason: reason.to_string(),
    }
}

/// A block as tokens name it.
fn block_text(block: BlockId) -> String {
    format!("conID: {} locID: {}", block.container, block.local)
}

fn uuid_to_proto(id: Uuid) -> UuidProto {
    let (most, least) = id.as_u64_pair();
    UuidProto {
        most_sig_bits: most.cast_signed(),
        least_sig_bits: least.cast_signed(),
    }
}

fn uuid_from_proto(proto: &UuidProto) -> Uuid {
    let (most, least) = (proto.most_sig_bits, proto.least_sig_bits);
    Uuid::from_u64_pair(most.cast_unsigned(), least.cast_unsigned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::Duration;

    use ozone_common::rng::SeededRng;

    use super::*;
    use crate::secret_keys::SecretKeys;

    const BLOCK: BlockId = BlockId::new(3, 77);
    const NOW: u64 = 1_000_000;

    fn key(seed: u64) -> SecretKey {
        SecretKey::generate(&SeededRng::new(seed), NOW, Duration::from_secs(3600))
    }

    fn secret() -> BlockTokenSecret {
        BlockTokenSecret {
            owner: "alice".to_owned(),
            block: BLOCK,
            expires_ms: NOW + 1000,
            modes: vec![AccessMode::Read, AccessMode::Write],
            max_length: 256 << 20,
        }
    }

    fn verifier() -> TokenVerifier {
        TokenVerifier::new(KeyStore::new(SecretKeys::new([key(1)])))
    }

    fn verify(token: &Token) -> Result<BlockTokenSecret, TokenError> {
        verifier().verify_text(&token.encode_text(), BLOCK, AccessMode::Read, NOW)
    }

    #[test]
    fn a_signed_token_is_good_for_what_it_says_in_both_forms() {
        let token = secret().sign(&key(1));
        assert_eq!(token.service, "conID: 3 locID: 77");
        assert_eq!(verify(&token).unwrap(), secret());
        let bytes = verifier().verify(&token.encode(), BLOCK, AccessMode::Write, NOW);
        assert_eq!(bytes.unwrap(), secret());
    }

    #[test]
    fn no_token_and_no_sense_are_told_apart() {
        let verifier = verifier();
        let missing = verifier.verify_text("", BLOCK, AccessMode::Read, NOW);
        assert_eq!(missing, Err(TokenError::Missing { block: BLOCK }));
        for text in ["!", "AAAA", "AAAAAAA"] {
            let outcome = verifier.verify_text(text, BLOCK, AccessMode::Read, NOW);
            assert!(
                matches!(outcome, Err(TokenError::Malformed { .. })),
                "{text}"
            );
        }
        let mut other = secret().sign(&key(1));
        other.kind = "OzoneToken".to_owned();
        assert!(matches!(verify(&other), Err(TokenError::Malformed { .. })));
    }

    #[test]
    fn what_no_trusted_key_signed_is_forged() {
        let stranger = verify(&secret().sign(&key(2)));
        assert_eq!(
            stranger,
            Err(TokenError::Forged(Forgery::UnknownKey(key(2).id)))
        );
        let mut same_id = key(2);
        same_id.id = key(1).id;
        let forged = verify(&secret().sign(&same_id));
        assert_eq!(forged, Err(TokenError::Forged(Forgery::BadMac)));
        let token = secret().sign(&key(1));
        let late = verifier().verify_token(&token, BLOCK, AccessMode::Read, NOW + 3_600_000);
        assert!(matches!(
            late,
            Err(TokenError::Forged(Forgery::UnknownKey(_)))
        ));
    }

    #[test]
    fn no_changed_bit_goes_unseen() {
        let token = secret().sign(&key(1));
        for at in 0..token.identifier.len() * 8 {
            let mut changed = token.clone();
            changed.identifier[at / 8] ^= 1 << (at % 8);
            assert!(verify(&changed).is_err(), "identifier bit {at}");
        }
        for at in 0..token.password.len() * 8 {
            let mut changed = token.clone();
            changed.password[at / 8] ^= 1 << (at % 8);
            assert_eq!(
                verify(&changed),
                Err(TokenError::Forged(Forgery::BadMac)),
                "password bit {at}"
            );
        }
    }

    #[test]
    fn a_token_is_good_for_its_time_its_block_and_its_modes_alone() {
        let (token, verifier) = (secret().sign(&key(1)), verifier());
        let late = verifier.verify_token(&token, BLOCK, AccessMode::Read, NOW + 1000);
        assert!(matches!(late, Err(TokenError::Expired { .. })));
        let other = BlockId::new(3, 78);
        let elsewhere = verifier.verify_token(&token, other, AccessMode::Read, NOW);
        assert!(matches!(elsewhere, Err(TokenError::WrongBlock { .. })));
        let delete = verifier.verify_token(&token, BLOCK, AccessMode::Delete, NOW);
        let text = delete.unwrap_err().to_string();
        assert!(text.contains("DELETE") && text.contains("3/77"), "{text}");
        let good = secret();
        good.check_length(good.max_length).unwrap();
        let text = good
            .check_length(good.max_length + 1)
            .unwrap_err()
            .to_string();
        assert!(text.contains("268435456 bytes, not 268435457"), "{text}");
    }
}
