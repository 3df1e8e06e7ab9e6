//! On whose behalf the namespace is asked: the user who made the system call.

use std::future::Future;

use dashmap::DashMap;
use nix::errno::Errno;
use ozone_client::{Client, ClientError, Namespace, Objects};
use ozone_common::caller::{Caller, group_name, user_name};

use crate::errno::{FsError, Result};
use crate::vfs::{Vfs, Who};

/// Users that have been seen, ready to ask with.
pub(crate) struct Callers {
    client: Client,
    namespace: Namespace,
    known: DashMap<(u32, u32), Namespace>,
    objects: DashMap<(u32, u32), Objects>,
    names: DashMap<u32, String>,
}

impl Callers {
    pub(crate) fn new(client: Client, namespace: Namespace) -> Self {
        Self {
            client,
            namespace,
            known: DashMap::new(),
            objects: DashMap::new(),
            names: DashMap::new(),
        }
    }

    /// The name of a user, to whom something is given.
    pub(crate) async fn name(&self, uid: u32) -> String {
        if let Some(known) = self.names.get(&uid) {
            return known.value().clone();
        }
        // Names may come from a directory server.
        let name = tokio::task::spawn_blocking(move || user_name(uid)).await;
        let name = name.unwrap_or_else(|_| uid.to_string());
        self.names.insert(uid, name.clone());
        name
    }

    /// The namespace as user and primary group see it.
    pub(crate) async fn namespace(&self, who: &Who) -> Namespace {
        let key = (who.uid, who.gid);
        if let Some(known) = self.known.get(&key) {
            return known.value().clone();
        }
        let namespace = self.namespace_of(who, vec![who.gid]).await;
        self.known.insert(key, namespace.clone());
        namespace
    }

    /// The object interface for user and primary group.
    pub(crate) async fn objects(&self, who: &Who) -> Objects {
        let key = (who.uid, who.gid);
        if let Some(known) = self.objects.get(&key) {
            return known.value().clone();
        }
        let objects = match caller_of(who, vec![who.gid]).await {
            Some(caller) => self.client.as_caller(caller).objects().clone(),
            None => self.client.objects().clone(),
        };
        self.objects.insert(key, objects.clone());
        objects
    }

    /// The namespace as the process sees it, with all of its groups; `None` when it has no others.
    async fn namespace_with_groups(&self, who: &Who) -> Option<Namespace> {
        let gids = who.groups().await;
        if gids.iter().all(|gid| *gid == who.gid) {
            return None;
        }
        Some(self.namespace_of(who, gids).await)
    }

    async fn namespace_of(&self, who: &Who, gids: Vec<u32>) -> Namespace {
        match caller_of(who, gids).await {
            Some(caller) => self.namespace.for_caller(&caller),
            None => self.namespace.clone(),
        }
    }
}

/// User and groups by name, as the cluster knows them.
async fn caller_of(who: &Who, gids: Vec<u32>) -> Option<Caller> {
    let Who { uid, gid, .. } = *who;
    // Names may come from a directory server.
    let names = tokio::task::spawn_blocking(move || {
        let groups = gids.iter().map(|gid| group_name(*gid)).collect();
        Caller {
            user: user_name(uid),
            groups,
            uid,
            gid,
            gids,
            remote: None,
        }
    });
    names.await.ok()
}

impl Who {
    /// The supplementary groups of the process; none if it is gone.
    pub(crate) async fn groups(&self) -> Vec<u32> {
        let status = tokio::fs::read_to_string(format!("/proc/{}/status", self.pid)).await;
        status.map_or_else(|_| Vec::new(), |status| groups_of(&status))
    }
}

/// The supplementary groups in `/proc/<pid>/status`.
fn groups_of(status: &str) -> Vec<u32> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .unwrap_or_default();
    line.split_whitespace()
        .filter_map(|gid| gid.parse().ok())
        .collect()
}

impl Vfs {
    /// Asks the namespace on behalf of `who`, once it has heard of everything that waits.
    pub(crate) async fn act<T, F, Fut>(&self, who: &Who, call: F) -> Result<T>
    where
        F: Fn(Namespace) -> Fut,
        Fut: Future<Output = Result<T, ClientError>>,
    {
        self.backlog.settle().await?;
        self.ask(who, call).await
    }

    /// Asks the namespace on behalf of `who`. A user whom the primary group does not get in is
    /// tried again with all groups of the process, which cost a look into `/proc`.
    pub(crate) async fn ask<T, F, Fut>(&self, who: &Who, call: F) -> Result<T>
    where
        F: Fn(Namespace) -> Fut,
        Fut: Future<Output = Result<T, ClientError>>,
    {
        let error = match call(self.callers.namespace(who).await).await {
            Ok(answer) => return Ok(answer),
            Err(error) => FsError::from(error),
        };
        if who.uid == 0 || !(error.is(Errno::EACCES) || error.is(Errno::EPERM)) {
            return Err(error);
        }
        match self.callers.namespace_with_groups(who).await {
            Some(namespace) => Ok(call(namespace).await?),
            None => Err(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_from_the_process() {
        let status = "Name:\tcat\nUid:\t5\t5\t5\t5\nGroups:\t4 24 1000 \nVmPeak:\t1 kB\n";
        assert_eq!(groups_of(status), [4, 24, 1000]);
        assert_eq!(groups_of("Name:\tcat\nGroups:\t \n"), [0u32; 0]);
        assert_eq!(groups_of(""), [0u32; 0]);
    }
}
