//! What failed lately, and is asked last: datanodes, pipelines and containers. An entry is forgotten
//! after a while, so that what was repaired is used again.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use ozone_proto::hdds::{ExcludeListProto, PipelineId};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::place::Place;

/// One list for all of a client.
#[derive(Debug)]
pub(super) struct Avoid {
    keep: Duration,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    datanodes: HashMap<String, Instant>,
    pipelines: HashMap<String, Instant>,
    containers: HashMap<u64, Instant>,
}

impl Avoid {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            keep,
            lists: Mutex::default(),
        }
    }

    pub(super) fn datanode(&self, uuid: &str) {
        let until = Instant::now() + self.keep;
        self.lists.lock().datanodes.insert(uuid.to_owned(), until);
    }

    pub(super) fn pipeline(&self, id: &str) {
        let until = Instant::now() + self.keep;
        self.lists.lock().pipelines.insert(id.to_owned(), until);
    }

    pub(super) fn container(&self, id: u64) {
        let until = Instant::now() + self.keep;
        self.lists.lock().containers.insert(id, until);
    }

    /// A datanode that answered is no longer avoided.
    pub(super) fn datanode_works(&self, uuid: &str) {
        let mut lists = self.lists.lock();
        if !lists.datanodes.is_empty() {
            lists.datanodes.remove(uuid);
        }
    }

    pub(super) fn has_datanode(&self, uuid: &str) -> bool {
        alive(self.lists.lock().datanodes.get(uuid))
    }

    /// Whether writing there is likely to fail.
    pub(super) fn has(&self, place: &Place) -> bool {
        let lists = self.lists.lock();
        alive(lists.containers.get(&place.container))
            || alive(lists.pipelines.get(&place.pipeline))
            || place
                .members
                .iter()
                .any(|m| alive(lists.datanodes.get(&m.uuid)))
    }

    /// The list as the OM takes it; none when there is nothing to avoid.
    pub(super) fn list(&self) -> Option<ExcludeListProto> {
        let mut lists = self.lists.lock();
        let list = ExcludeListProto {
            datanodes: current(&mut lists.datanodes),
            container_ids: current(&mut lists.containers)
                .into_iter()
                .map(|id| id as i64)
                .collect(),
            pipeline_ids: current(&mut lists.pipelines)
                .into_iter()
                .map(|id| PipelineId {
                    id: Some(id),
                    uuid128: None,
                })
                .collect(),
        };
        (list != ExcludeListProto::default()).then_some(list)
    }
}

fn alive(until: Option<&Instant>) -> bool {
    until.is_some_and(|until| *until > Instant::now())
}

fn current<K: Clone + Eq + Hash>(list: &mut HashMap<K, Instant>) -> Vec<K> {
    list.retain(|_, until| alive(Some(until)));
    list.keys().cloned().collect()
}
