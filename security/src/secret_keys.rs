//! The keys that sign block tokens.
//!
//! SCM makes a key from time to time and replicates all that are still trusted to OMs and
//! datanodes. The newest signs; the older ones verify what they signed, until they expire. When a
//! key is due or over is decided by pure functions of the time given.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use ozone_common::rng::Rng;
use parking_lot::RwLock;
use sha2::Sha256;
use uuid::Uuid;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// One HMAC-SHA256 key.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey {
    /// Its id, which tokens carry.
    pub id: Uuid,
    /// When it was made; milliseconds since 1970.
    pub created_ms: u64,
    /// When it stops being trusted; milliseconds since 1970.
    pub expires_ms: u64,
    /// The secret.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for SecretKey {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey")
            .field("id", &self.id)
            .field("created_ms", &self.created_ms)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

impl SecretKey {
    /// A new key, trusted for `lifetime` from `now_ms` on.
    pub fn generate(rng: &dyn Rng, now_ms: u64, lifetime: Duration) -> Self {
        let mut bytes = vec![0; KEY_BYTES];
        rng.fill(&mut bytes);
        Self {
            id: rng.uuid(),
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(millis(lifetime)),
            bytes,
        }
    }

    /// Whether it is no longer trusted.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        now_ms >= self.expires_ms
    }

    /// The HMAC-SHA256 of `data`.
    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        self.mac(data).finalize().into_bytes().to_vec()
    }

    /// Whether `mac` is the HMAC-SHA256 of `data`, in time that does not depend on how much of it is.
    pub fn verify(&self, data: &[u8], mac: &[u8]) -> bool {
        self.mac(data).verify_slice(mac).is_ok()
    }

    fn mac(&self, data: &[u8]) -> Hmac<Sha256> {
        // HMAC hashes keys longer than a block itself; every length is fine.
        let mut block = [0; 64];
        let key = match self.bytes.len() <= block.len() {
            true => {
                block[..self.bytes.len()].copy_from_slice(&self.bytes);
                block
            }
            false => {
                let digest = <Sha256 as sha2::Digest>::digest(&self.bytes);
                block[..digest.len()].copy_from_slice(&digest);
                block
            }
        };
        let mut mac = Hmac::<Sha256>::new(&key.into());
        mac.update(data);
        mac
    }
}

/// When keys are replaced and forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPolicy {
    /// Age of the newest key at which the next is made (hdds.secret.key.rotate.duration).
    pub rotate_after: Duration,
    /// Age at which a key is no longer trusted (hdds.secret.key.expiry.duration).
    pub expire_after: Duration,
}

impl Default for RotationPolicy {
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        Self {
            rotate_after: day,
            expire_after: 9 * day,
        }
    }
}

/// All keys that are trusted, and perhaps some that have expired since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretKeys {
    by_id: BTreeMap<Uuid, SecretKey>,
}

impl SecretKeys {
    /// These keys.
    pub fn new(keys: impl IntoIterator<Item = SecretKey>) -> Self {
        Self {
            by_id: keys.into_iter().map(|key| (key.id, key)).collect(),
        }
    }

    /// The key with this id, expired or not.
    pub fn get(&self, id: Uuid) -> Option<&SecretKey> {
        self.by_id.get(&id)
    }

    /// The key that signs at `now_ms`: the newest that is trusted.
    pub fn current(&self, now_ms: u64) -> Option<&SecretKey> {
        self.by_id
            .values()
            .filter(|key| !key.is_expired(now_ms))
            .max_by_key(|key| (key.created_ms, key.id))
    }

    /// All keys, newest first.
    pub fn list(&self) -> Vec<&SecretKey> {
        let mut keys: Vec<_> = self.by_id.values().collect();
        keys.sort_by_key(|key| std::cmp::Reverse((key.created_ms, key.id)));
        keys
    }

    /// Whether a new key has to be made at `now_ms`.
    pub fn is_rotation_due(&self, now_ms: u64, policy: &RotationPolicy) -> bool {
        self.current(now_ms)
            .is_none_or(|key| now_ms >= key.created_ms.saturating_add(millis(policy.rotate_after)))
    }

    /// The keys from `now_ms` on, when `fresh` has been made: with it, without those that expired.
    pub fn rotated(&self, fresh: SecretKey, now_ms: u64) -> Self {
        let trusted = self.by_id.values().filter(|key| !key.is_expired(now_ms));
        Self::new(trusted.cloned().chain([fresh]))
    }
}

/// The keys that this process knows at present. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct KeyStore {
    keys: Arc<RwLock<Arc<SecretKeys>>>,
}

impl KeyStore {
    /// Starts with these keys.
    pub fn new(keys: SecretKeys) -> Self {
        let store = Self::default();
        store.replace(keys);
        store
    }

    /// The keys known now.
    pub fn keys(&self) -> Arc<SecretKeys> {
        self.keys.read().clone()
    }

    /// From now on, these.
    pub fn replace(&self, keys: SecretKeys) {
        *self.keys.write() = Arc::new(keys);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::rng::SeededRng;

    use super::*;

    const DAY: u64 = 86_400_000;

    fn made(now_ms: u64, rng: &SeededRng) -> SecretKey {
        SecretKey::generate(rng, now_ms, RotationPolicy::default().expire_after)
    }

    #[test]
    fn signatures_are_hmac_sha256() {
        // RFC 4231, test case 2.
        let key = SecretKey {
            id: Uuid::nil(),
            created_ms: 0,
            expires_ms: 1,
            bytes: b"Jefe".to_vec(),
        };
        let mac = key.sign(b"what do ya want for nothing?");
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(key.verify(b"what do ya want for nothing?", &mac));
        assert!(!key.verify(b"what do ya want for something?", &mac));
        assert!(!key.verify(b"what do ya want for nothing?", &mac[..31]));
    }

    #[test]
    fn a_key_is_replaced_daily_and_trusted_for_nine_days() {
        let (rng, policy) = (SeededRng::new(1), RotationPolicy::default());
        let mut keys = SecretKeys::default();
        assert!(keys.is_rotation_due(0, &policy));
        let first = made(0, &rng);
        keys = keys.rotated(first.clone(), 0);
        assert!(!keys.is_rotation_due(DAY - 1, &policy));
        assert!(keys.is_rotation_due(DAY, &policy));
        for day in 1..=9 {
            let fresh = made(day * DAY, &rng);
            keys = keys.rotated(fresh.clone(), day * DAY);
            assert_eq!(keys.current(day * DAY), Some(&fresh));
            assert_eq!(keys.get(first.id).is_some(), day < 9, "day {day}");
        }
        assert_eq!(keys.list().len(), 9);
        assert!(keys.current(30 * DAY).is_none());
    }

    #[test]
    fn the_secret_is_never_printed() {
        let key = made(0, &SeededRng::new(1));
        let text = format!("{key:?}");
        assert!(
            text.contains("SecretKey") && !text.contains("bytes"),
            "{text}"
        );
    }
}
