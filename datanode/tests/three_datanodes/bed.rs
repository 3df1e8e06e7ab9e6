//! Three datanodes in one process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ozone_datanode::DatanodeServer;
use ozone_proto::hdds::DatanodeDetailsProto;
use tempfile::TempDir;
use uuid::Uuid;

use crate::common::client::BlockWriter;
use crate::common::{Client, FakeScm, start, until};

/// Datanodes that can be killed one by one.
pub(crate) struct Bed {
    pub(crate) scm: FakeScm,
    pub(crate) dirs: HashMap<Uuid, TempDir>,
    pub(crate) datanodes: HashMap<Uuid, DatanodeServer>,
    pub(crate) members: Vec<Uuid>,
    pub(crate) pipeline: String,
    pub(crate) leader: Uuid,
}

impl Bed {
    pub(crate) async fn new(settings: &[(&str, &str)]) -> Self {
        let scm = FakeScm::start().await;
        let (mut dirs, mut datanodes) = (HashMap::new(), HashMap::new());
        for _ in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let datanode = start(&scm, dir.path(), settings).await;
            dirs.insert(datanode.uuid(), dir);
            datanodes.insert(datanode.uuid(), datanode);
        }
        let members: Vec<Uuid> = datanodes.keys().copied().collect();
        let (pipeline, leader) = scm.pipeline(&members).await;
        Self {
            scm,
            dirs,
            datanodes,
            members,
            pipeline,
            leader,
        }
    }

    pub(crate) async fn client(&self, of: Uuid) -> Client {
        let address = self.datanodes[&of].addresses().client;
        Client::connect(address, self.scm.key(), &self.pipeline).await
    }

    /// Who leads the members that run. Members that stand still for a second elect another one, so
    /// whoever was told of it may have to ask again.
    pub(crate) async fn leader(&self) -> Uuid {
        let running: Vec<_> = self.datanodes.keys().copied().collect();
        self.scm.leader(&self.pipeline, &running).await
    }

    /// Commits a block through whoever leads.
    pub(crate) async fn commit(&self, block: &BlockWriter) -> (u64, u64) {
        until("a commit", async || {
            let mut leader = self.client(self.leader().await).await;
            let committed = block.commit(&mut leader).await;
            committed.inspect_err(|e| eprintln!("commit: {e:?}")).ok()
        })
        .await
    }

    /// All members but one.
    pub(crate) fn others(&self, than: Uuid) -> Vec<Uuid> {
        self.members
            .iter()
            .copied()
            .filter(|m| *m != than)
            .collect()
    }

    pub(crate) fn details(&self, of: &[Uuid]) -> Vec<DatanodeDetailsProto> {
        of.iter().map(|uuid| self.scm.details(*uuid)).collect()
    }

    /// The file of a block on a datanode.
    pub(crate) fn file(&self, of: Uuid, local: i64) -> Option<PathBuf> {
        find(self.dirs[&of].path(), &format!("{local}.block"))
    }

    /// Reads the block from a datanode once it has it.
    pub(crate) async fn read(&self, from: Uuid, block: (i64, i64)) -> Vec<u8> {
        let mut client = self.client(from).await;
        until("the block on every member", async || {
            client.read(block, 0, None).await.ok()
        })
        .await
    }
}

pub(crate) fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if path.file_name().is_some_and(|n| n == name) {
            return Some(path);
        }
    }
    None
}

pub(crate) fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
