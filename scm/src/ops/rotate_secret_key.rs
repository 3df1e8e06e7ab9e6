//! A new key signs block tokens from now on; keys that nobody trusts any more are forgotten.

use ozone_security::secret_keys::SecretKey;
use uuid::Uuid;

use super::{Answer, Op, Refusal};
use crate::model::{Change, QueueError, View};
use crate::rows::uuid_from;

/// The command. `previous` is the newest key that the proposer knew (empty if none): of two
/// leaders in a row that both find it old, one wins.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RotateSecretKey {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) created_ms: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) expires_ms: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) previous: Vec<u8>,
}

impl Op for RotateSecretKey {
    fn name(&self) -> &'static str {
        "RotateSecretKey"
    }

    fn validate(&self, view: View<'_>) -> Result<(), Refusal> {
        if uuid_from::<Uuid>(&self.id).is_none() || self.key.is_empty() {
            return Err(Refusal::Malformed("a key needs an id and a secret"));
        }
        let newest = view.model.keys().last().map(|key| key.id);
        match newest == uuid_from(&self.previous) {
            true => Ok(()),
            false => {
                let newest = newest.map(|id| id.to_string()).unwrap_or_default();
                Err(Refusal::bad_state("signing key", newest, "newer"))
            }
        }
    }

    fn apply(&self, view: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        let keys = view.model.keys().iter();
        let expired = keys.filter(|key| key.is_expired(self.created_ms));
        out.extend(expired.map(|key| Change::SigningKeyGone(key.id)));
        if let Some(id) = uuid_from(&self.id) {
            // The newest key is the last in order of time, even if a clock went back.
            let newest = view.model.keys().last().map_or(0, |key| key.created_ms + 1);
            out.push(Change::SigningKey(SecretKey {
                id,
                created_ms: self.created_ms.max(newest),
                expires_ms: self.expires_ms,
                bytes: self.key.clone(),
            }));
        }
        Ok(Answer::Done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::testing::World;
    use super::*;
    use crate::rows::uuid_bytes;

    fn rotate(id: u128, at_ms: u64, previous: Option<u128>) -> RotateSecretKey {
        RotateSecretKey {
            id: uuid_bytes(Uuid::from_u128(id)),
            created_ms: at_ms,
            expires_ms: at_ms + 100,
            key: vec![7; 32],
            previous: previous
                .map(|id| uuid_bytes(Uuid::from_u128(id)))
                .unwrap_or_default(),
        }
    }

    #[test]
    fn the_new_key_is_last_and_expired_ones_are_gone() {
        let mut world = World::default();
        world.run(&rotate(1, 10, None)).unwrap();
        world.run(&rotate(2, 60, Some(1))).unwrap();
        let first = world.model.keys_version();
        world.run(&rotate(3, 120, Some(2))).unwrap();
        let ids: Vec<_> = world.model.keys().iter().map(|k| k.id.as_u128()).collect();
        assert_eq!(ids, [2, 3]);
        assert_ne!(world.model.keys_version(), first);
    }

    #[test]
    fn of_two_rotations_at_once_one_wins() {
        let mut world = World::default();
        world.run(&rotate(1, 10, None)).unwrap();
        world.run(&rotate(2, 20, Some(1))).unwrap();
        let late = world.run(&rotate(3, 21, Some(1)));
        assert!(matches!(late, Err(Refusal::BadState { .. })));
    }

    #[test]
    fn a_clock_that_went_back_cannot_hide_the_new_key() {
        let mut world = World::default();
        world.run(&rotate(1, 1_000, None)).unwrap();
        world.run(&rotate(2, 10, Some(1))).unwrap();
        assert_eq!(world.model.keys().last().unwrap().id.as_u128(), 2);
    }
}
