//! Who asks: the identity that every request carries, from the face that received it to the
//! operation that is allowed or refused.

use std::fmt;
use std::net::IpAddr;

use nix::unistd::{Gid, Group, Uid, User, getgroups};

/// The user on whose behalf a request runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Short user name.
    pub user: String,
    /// Names of the user's groups.
    pub groups: Vec<String>,
    /// POSIX user id.
    pub uid: u32,
    /// POSIX primary group id.
    pub gid: u32,
    /// POSIX supplementary group ids.
    pub gids: Vec<u32>,
    /// Where the request came from, if over the network.
    pub remote: Option<IpAddr>,
}

impl Caller {
    /// The user whom this process runs as, with names from the system's user database.
    pub fn of_process() -> Self {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        let gids = getgroups().unwrap_or_default();
        Self {
            user: user_name(uid.as_raw()),
            groups: gids.iter().map(|g| group_name(g.as_raw())).collect(),
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            gids: gids.into_iter().map(Gid::as_raw).collect(),
            remote: None,
        }
    }

    /// A user known by name alone, as object-store faces see them. Ids come from the system's user
    /// database; a user unknown there gets the id of `nobody`.
    pub fn named(user: &str) -> Self {
        let entry = User::from_name(user).ok().flatten();
        let (uid, gid) = entry.map_or((NOBODY, NOBODY), |e| (e.uid.as_raw(), e.gid.as_raw()));
        Self {
            user: user.to_owned(),
            groups: vec![group_name(gid)],
            uid,
            gid,
            gids: vec![gid],
            remote: None,
        }
    }

    /// Whether `gid` is the caller's primary group or one of the others.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.gids.contains(&gid)
    }

    /// Whether the caller is the POSIX superuser.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (uid {}, gid {})", self.user, self.uid, self.gid)
    }
}

/// The id of a user that the system does not know.
pub const NOBODY: u32 = 65_534;

/// The name of a user id; the number itself when the system knows none.
pub fn user_name(uid: u32) -> String {
    let entry = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    entry.map_or_else(|| uid.to_string(), |entry| entry.name)
}

/// The name of a group id; the number itself when the system knows none.
pub fn group_name(gid: u32) -> String {
    let entry = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    entry.map_or_else(|| gid.to_string(), |entry| entry.name)
}

/// The id of a user by name, or by number; none when the system does not know the name.
pub fn user_id(name: &str) -> Option<u32> {
    let entry = User::from_name(name).ok().flatten();
    entry
        .map(|entry| entry.uid.as_raw())
        .or_else(|| name.parse().ok())
}

/// The id of a group by name, or by number; none when the system does not know the name.
pub fn group_id(name: &str) -> Option<u32> {
    let entry = Group::from_name(name).ok().flatten();
    entry
        .map(|entry| entry.gid.as_raw())
        .or_else(|| name.parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_a_name_and_ids_that_agree() {
        let caller = Caller::of_process();
        assert_eq!(caller.uid, Uid::effective().as_raw());
        assert_eq!(caller.user, user_name(caller.uid));
        assert!(caller.in_group(caller.gid));
    }

    #[test]
    fn unknown_users_are_nobody() {
        let caller = Caller::named("no-such-user-here");
        assert_eq!((caller.uid, caller.gid), (NOBODY, NOBODY));
        assert!(!caller.is_root());
        assert!(Caller::named("root").is_root());
    }
}
