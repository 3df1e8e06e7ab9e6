//! Who has what open: soft state of the leader, rebuilt from what sessions announce.
//!
//! Until a session has announced itself to a new leader it counts as having everything open, so an
//! inode that loses its last name in that time is kept for it, and dropped when it announces.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use ozone_proto::namespace::{DirRef, InodeRef};

/// What the leader knows of one session.
struct SessionState {
    /// The client that opened it.
    client: Bytes,
    last_seen: Duration,
    announced: bool,
}

/// Open inodes and the sessions that hold them.
#[derive(Default)]
pub struct Opens {
    holders: DashMap<u64, BTreeSet<u64>>,
    sessions: DashMap<u64, SessionState>,
    /// Where open inodes went when another client renamed them.
    places: DashMap<u64, (DirRef, Vec<u8>)>,
}

impl Opens {
    /// Forgets everything and takes `sessions` as known and not announced: a new leader's start.
    pub fn reset(&self, sessions: impl IntoIterator<Item = (u64, Bytes)>, now: Duration) {
        self.holders.clear();
        self.places.clear();
        self.sessions.clear();
        for (id, client) in sessions {
            self.sessions.insert(
                id,
                SessionState {
                    client,
                    last_seen: now,
                    announced: false,
                },
            );
        }
    }

    /// `client` has opened a session.
    pub fn session_opened(&self, session: u64, client: Bytes, now: Duration) {
        self.sessions.insert(
            session,
            SessionState {
                client,
                last_seen: now,
                announced: true,
            },
        );
    }

    /// Whether the session is another client's.
    pub fn is_foreign(&self, session: u64, client: &[u8]) -> bool {
        self.sessions
            .get(&session)
            .is_some_and(|state| state.client != client)
    }

    /// A session ended.
    pub fn session_closed(&self, session: u64) {
        self.sessions.remove(&session);
        self.holders.retain(|_, held| {
            held.remove(&session);
            !held.is_empty()
        });
        self.forget_places();
    }

    /// Where nobody has an inode open, its place is not followed any more. Who has not announced itself may have any.
    fn forget_places(&self) {
        if !self.waits_for_announcements() {
            self.places
                .retain(|object, _| self.holders.contains_key(object));
        }
    }

    fn forget_place(&self, object: u64) {
        if !self.may_be_open(object) {
            self.places.remove(&object);
        }
    }

    /// Whether somebody has the inode open, or may have.
    fn may_be_open(&self, object: u64) -> bool {
        self.holders.contains_key(&object) || self.waits_for_announcements()
    }

    fn waits_for_announcements(&self) -> bool {
        self.sessions.iter().any(|session| !session.announced)
    }

    /// A sign of life. `None`: the session is not known; else whether it must announce itself.
    pub fn seen(&self, session: u64, now: Duration) -> Option<bool> {
        let mut state = self.sessions.get_mut(&session)?;
        state.last_seen = now;
        Some(!state.announced)
    }

    /// The session says everything that it has open.
    pub fn announced(&self, session: u64, opens: &[u64]) {
        for object in opens {
            self.opened(session, *object);
        }
        if let Some(mut state) = self.sessions.get_mut(&session) {
            state.announced = true;
        }
        self.forget_places();
    }

    /// Sessions silent for longer than `lease`.
    pub fn silent(&self, now: Duration, lease: Duration) -> Vec<u64> {
        let gone = |s: &SessionState| now.saturating_sub(s.last_seen) > lease;
        self.sessions
            .iter()
            .filter(|s| gone(s.value()))
            .map(|s| *s.key())
            .collect()
    }

    /// `session` has opened the inode.
    pub fn opened(&self, session: u64, object: u64) {
        if session != 0 {
            self.holders.entry(object).or_default().insert(session);
        }
    }

    /// `session` has closed the inode for the last time.
    pub fn released(&self, session: u64, object: u64) {
        let last = self.holders.get_mut(&object).is_some_and(|mut held| {
            held.remove(&session);
            held.is_empty()
        });
        if last {
            self.holders.remove_if(&object, |_, held| held.is_empty());
            self.forget_place(object);
        }
    }

    /// The sessions for which the inode must outlive its last name.
    pub fn holders(&self, object: u64) -> Vec<u64> {
        let mut held: BTreeSet<u64> = self
            .holders
            .get(&object)
            .map(|h| h.clone())
            .unwrap_or_default();
        held.extend(
            self.sessions
                .iter()
                .filter(|s| !s.announced)
                .map(|s| *s.key()),
        );
        held.into_iter().collect()
    }

    /// Whether the session has the inode open, or may have, as it has not announced itself.
    pub fn may_have(&self, session: u64, object: u64) -> bool {
        let announced = self.sessions.get(&session).is_none_or(|s| s.announced);
        let held = self.holders.get(&object);
        !announced || held.is_some_and(|held| held.contains(&session))
    }

    /// The sessions that certainly do not have the inode open.
    pub fn strangers(&self, object: u64) -> Vec<u64> {
        let ids: Vec<u64> = self.sessions.iter().map(|s| *s.key()).collect();
        let strangers = ids.into_iter().filter(|id| !self.may_have(*id, object));
        strangers.collect()
    }

    /// An inode has a new place; remembered while somebody has it open, or may have.
    pub fn moved(&self, object: u64, dir: DirRef, name: &[u8]) {
        if self.may_be_open(object) {
            self.places.insert(object, (dir, name.to_vec()));
            // The last may have closed it meanwhile.
            self.forget_place(object);
        }
    }

    /// Puts the place that the leader knows into a reference that may be older.
    pub fn correct(&self, inode: Option<&mut InodeRef>) {
        let Some(inode) = inode else { return };
        if let Some(place) = self.places.get(&inode.object_id) {
            inode.dir = Some(place.0);
            inode.name = place.1.clone().into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const CLIENT: &[u8] = b"client";

    #[test]
    fn a_session_is_its_clients_alone() {
        let opens = Opens::default();
        opens.reset([(7, Bytes::from_static(CLIENT))], NOW);
        opens.session_opened(8, Bytes::from_static(b"other"), NOW);
        assert!(!opens.is_foreign(7, CLIENT) && opens.is_foreign(8, CLIENT));
        assert!(!opens.is_foreign(9, CLIENT), "nobody's is told as unknown");
    }

    #[test]
    fn a_session_that_has_not_announced_itself_holds_everything() {
        let opens = Opens::default();
        opens.reset([(7, Bytes::from_static(CLIENT))], NOW);
        assert_eq!(opens.holders(42), vec![7]);
        assert_eq!(opens.seen(7, NOW), Some(true));
        opens.announced(7, &[42]);
        assert_eq!(opens.seen(7, NOW), Some(false));
        assert_eq!(opens.holders(42), vec![7]);
        assert!(opens.holders(43).is_empty());
    }

    #[test]
    fn places_are_followed_for_those_who_have_not_announced_what_they_have_open() {
        let opens = Opens::default();
        opens.reset([7, 8, 9].map(|id| (id, Bytes::from_static(CLIENT))), NOW);
        let place = || {
            let mut inode = InodeRef {
                object_id: 42,
                ..Default::default()
            };
            opens.correct(Some(&mut inode));
            inode.name
        };
        opens.announced(9, &[]);
        opens.moved(42, DirRef::default(), b"moved");
        opens.session_closed(9);
        assert_eq!(place(), b"moved"[..]);
        opens.session_opened(10, Bytes::from_static(CLIENT), NOW);
        opens.opened(10, 42);
        opens.released(10, 42);
        assert_eq!(place(), b"moved"[..], "others may have it open");
        opens.announced(7, &[42]);
        opens.announced(8, &[]);
        assert_eq!(place(), b"moved"[..]);
        opens.session_closed(7);
        assert_eq!(place(), b""[..]);
    }

    #[test]
    fn a_stranger_to_an_inode_has_announced_itself_without_it() {
        let opens = Opens::default();
        opens.reset([(7, Bytes::from_static(CLIENT))], NOW);
        opens.session_opened(8, Bytes::from_static(CLIENT), NOW);
        opens.session_opened(9, Bytes::from_static(CLIENT), NOW);
        opens.opened(8, 42);
        assert_eq!(opens.strangers(42), [9]);
        opens.announced(7, &[43]);
        assert!(opens.may_have(7, 43) && !opens.may_have(7, 42));
        opens.released(8, 42);
        let mut strangers = opens.strangers(42);
        strangers.sort_unstable();
        assert_eq!(strangers, [7, 8, 9]);
    }

    #[test]
    fn a_closed_session_holds_nothing() {
        let opens = Opens::default();
        opens.session_opened(7, Bytes::from_static(CLIENT), NOW);
        opens.opened(7, 42);
        opens.session_closed(7);
        assert!(opens.holders(42).is_empty());
        assert_eq!(opens.seen(7, NOW), None);
    }

    #[test]
    fn a_place_is_forgotten_with_the_last_session_that_had_the_inode_open() {
        let opens = Opens::default();
        let dir = DirRef::default();
        for session in [7, 8] {
            opens.session_opened(session, Bytes::from_static(CLIENT), NOW);
            opens.opened(session, 42);
        }
        opens.moved(42, dir, b"once");
        let place = || {
            let mut inode = InodeRef {
                object_id: 42,
                ..InodeRef::default()
            };
            opens.correct(Some(&mut inode));
            inode.name
        };
        opens.session_closed(7);
        assert_eq!(&place()[..], b"once");
        opens.session_closed(8);
        // From now on it is renamed without a word to here.
        opens.moved(42, dir, b"now");
        assert!(place().is_empty());
    }

    #[test]
    fn a_reference_follows_an_open_inode_that_another_client_renamed() {
        let opens = Opens::default();
        opens.opened(7, 42);
        let dir = DirRef {
            volume_id: 2,
            bucket_id: 3,
            parent_id: 9,
            snapshot: 0,
        };
        opens.moved(42, dir, b"new");
        let mut inode = InodeRef {
            dir: None,
            name: Default::default(),
            object_id: 42,
        };
        opens.correct(Some(&mut inode));
        assert_eq!((inode.dir, &inode.name[..]), (Some(dir), &b"new"[..]));
        opens.released(7, 42);
        let mut later = InodeRef {
            dir: None,
            name: Default::default(),
            object_id: 42,
        };
        opens.correct(Some(&mut later));
        assert_eq!(later.dir, None);
    }
}
