//! Pipelines: the Raft groups that this datanode is a member of.
//!
//! A pipeline is remembered on disk before it is opened, and opened again at every start until SCM
//! closes it. Its log has commits of blocks in it, never their bytes.

mod commit;
mod machine;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use ozone_common::disk::Disk;
use ozone_proto::hdds;
use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::{PipelineAction, PipelineReport};
use ozone_raft::{Group, GroupConfig, Peer, RaftHost, RaftOptions};
use uuid::Uuid;

pub(crate) use commit::{Proposal, close_in_log, commit_block};
pub(crate) use store::PipelineStore;

use self::machine::Machine;
use crate::error::{OpError, OpResult};
use crate::node::Node;
use crate::peer::{PEER_PORT, address};

/// Entries between two moments at which rows are made durable and the log need not be replayed.
const FLUSH_AFTER: u64 = 5_000;
/// A pipeline's log is kept whole, for members that are behind: they get no copy of the state.
const RETAIN: u64 = 1 << 40;
/// Room for small entries; log files are allocated at once.
const SEGMENT: u64 = 4 << 20;

/// A member of a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) uuid: Uuid,
    /// Of its peer service.
    pub(crate) address: String,
}

impl Member {
    fn peer(&self) -> Peer {
        Peer {
            id: self.uuid,
            address: self.address.clone(),
        }
    }
}

/// One pipeline that is open here.
pub(crate) struct Pipeline {
    pub(crate) id: Uuid,
    pub(crate) members: Vec<Member>,
    /// As [`hdds::Pipeline::places`] gives them, for SCM to see whether they are true.
    places: Vec<String>,
    pub(crate) group: Arc<Group>,
    machine: Arc<Machine>,
}

impl Pipeline {
    /// Why it stopped on this member, if it did: its log or its rows could not be written.
    pub(crate) fn fault(&self) -> Option<String> {
        self.machine.fault().or_else(|| self.group.fault())
    }
}

/// A pipeline that could not be opened again.
struct Failed {
    why: String,
    /// As of [`Pipeline::places`].
    places: Vec<String>,
    /// Nobody else has what is in its log.
    alone: bool,
}

/// All pipelines of a datanode.
pub(crate) struct Pipelines {
    host: Arc<RaftHost>,
    store: Arc<PipelineStore>,
    logs: PathBuf,
    disk: Arc<dyn Disk>,
    /// Entries that a member may lack before the pipeline had better be replaced.
    patience: u64,
    open: DashMap<Uuid, Arc<Pipeline>>,
    /// Those that could not be opened again, until SCM has closed them.
    failed: DashMap<Uuid, Failed>,
    /// Held while a pipeline is opened or closed.
    changing: tokio::sync::Mutex<()>,
}

fn bad_id(id: &str) -> OpError {
    OpError::new(
        Code::PipelineNotFound,
        format!("pipeline {id:?} is no UUID"),
    )
}

impl Pipelines {
    pub(crate) fn new(
        host: Arc<RaftHost>,
        store: Arc<PipelineStore>,
        logs: PathBuf,
        disk: Arc<dyn Disk>,
        patience: u64,
    ) -> Self {
        let changing = tokio::sync::Mutex::default();
        Self {
            host,
            store,
            logs,
            disk,
            patience,
            open: DashMap::new(),
            failed: DashMap::new(),
            changing,
        }
    }

    /// The Raft host, for its listener.
    pub(crate) fn host(&self) -> &Arc<RaftHost> {
        &self.host
    }

    /// An open pipeline.
    pub(crate) fn get(&self, id: &str) -> OpResult<Arc<Pipeline>> {
        let uuid = Uuid::parse_str(id).map_err(|_| bad_id(id))?;
        let found = self.open.get(&uuid).map(|entry| entry.value().clone());
        found.ok_or_else(|| {
            let text = format!("this datanode is no member of pipeline {id}");
            OpError::new(Code::PipelineNotFound, text)
        })
    }

    /// Members of a pipeline, open or closed since.
    pub(crate) fn members(&self, id: &str) -> OpResult<Vec<Member>> {
        if let Ok(open) = self.get(id) {
            return Ok(open.members.clone());
        }
        let Some(info) = self.store.pipeline(id)? else {
            return Ok(Vec::new());
        };
        let now = |member: Member| {
            let peer = self.host.locate(&member.peer());
            Member {
                address: peer.address,
                ..member
            }
        };
        Ok(members(&info)?.into_iter().map(now).collect())
    }

    /// What SCM is told. Those that could not be opened are among them, where others have their log: SCM closes what it
    /// is told of, and asks whoever has it to leave.
    pub(crate) fn report(&self) -> Vec<PipelineReport> {
        let report = |pipeline: &Pipeline| {
            let leader = pipeline.group.leader();
            PipelineReport {
                pipeline_id: pipeline.id.to_string(),
                is_leader: pipeline.group.is_leader(),
                has_leader: leader.is_some(),
                places: pipeline.places.clone(),
                leader_uuid: leader.map_or_else(String::new, |peer| peer.id.to_string()),
            }
        };
        let failed = self.failed.iter().filter(|entry| !entry.value().alone);
        let failed = failed.map(|entry| PipelineReport {
            pipeline_id: entry.key().to_string(),
            places: entry.value().places.clone(),
            ..PipelineReport::default()
        });
        let open = self.open.iter().map(|entry| report(entry.value()));
        open.chain(failed).collect()
    }

    /// Pipelines that are open here.
    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }

    /// Pipelines that SCM should close, and why: they stopped on this member or could not be opened here while others
    /// have them, or a member is so far behind that its containers are better copied than caught up. A log that
    /// nobody else has is left to the operator for now, who may mend it.
    pub(crate) fn actions(&self) -> Vec<PipelineAction> {
        let action = |pipeline: &Pipeline| {
            let pipeline_id = pipeline.id.to_string();
            if let Some(reason) = pipeline.fault() {
                return Some(PipelineAction {
                    pipeline_id,
                    reason,
                    can_wait: false,
                });
            }
            let lacks = pipeline.group.slowest_lacks();
            (lacks > self.patience).then(|| PipelineAction {
                pipeline_id,
                reason: format!("a member lacks {lacks} entries of the log"),
                can_wait: true,
            })
        };
        let failed = self.failed.iter().filter(|entry| !entry.value().alone);
        let failed = failed.map(|entry| PipelineAction {
            pipeline_id: entry.key().to_string(),
            reason: format!("a member cannot open it again: {}", entry.value().why),
            can_wait: false,
        });
        let open = self.open.iter();
        open.filter_map(|entry| action(entry.value()))
            .chain(failed)
            .collect()
    }

    /// Pipelines that could not be opened when the datanode started or have stopped since, and why, as long as SCM
    /// has not closed them.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = self.failed.iter().map(|entry| {
            let (id, why) = (entry.key(), &entry.value().why);
            format!("pipeline {id} cannot be opened again: {why}")
        });
        let stopped = self.open.iter().filter_map(|entry| {
            let why = entry.value().fault()?;
            Some(format!("pipeline {} has stopped: {why}", entry.key()))
        });
        failed.chain(stopped).collect()
    }

    /// Rows of all pipelines are durable and need not be replayed. Blocks.
    pub(crate) fn flush(&self) -> OpResult<()> {
        let open: Vec<_> = self
            .open
            .iter()
            .map(|entry| entry.value().machine.clone())
            .collect();
        open.iter().try_for_each(|machine| machine.flush_rows())
    }

    /// The log of a pipeline has the addresses with which it began; these are newer.
    fn relocate(&self, members: &[Member]) {
        for member in members {
            self.host.relocate(member.peer());
        }
    }

    /// Removes what a pipeline that could not be opened has left.
    async fn remove_log(&self, id: Uuid) -> OpResult<()> {
        let (disk, dir) = (self.disk.clone(), self.logs.join(id.to_string()));
        crate::node::off_thread(move || {
            let removed = disk.remove_dir_all(&dir);
            removed.map_err(|error| OpError::io("remove", &dir, &error))
        })
        .await
    }

    /// Stops all groups; they open again at the next start.
    pub(crate) async fn shutdown(&self) {
        self.host.shutdown().await;
        self.open.clear();
    }
}

fn members(info: &hdds::Pipeline) -> OpResult<Vec<Member>> {
    let member = |details: &hdds::DatanodeDetailsProto| {
        let uuid = Uuid::parse_str(details.uuid())
            .map_err(|_| OpError::malformed(format!("member {:?} has no UUID", details.uuid())))?;
        Ok(Member {
            uuid,
            address: address(details, PEER_PORT)?,
        })
    };
    info.members.iter().map(member).collect()
}

/// The id of a pipeline in its message.
fn id_of(info: &hdds::Pipeline) -> OpResult<Uuid> {
    let id = info.id.text();
    Uuid::parse_str(&id).map_err(|_| bad_id(&id))
}

/// Remembers a pipeline and takes part in it. When it is open already, its members may have moved.
pub(crate) async fn create(node: &Arc<Node>, info: hdds::Pipeline) -> OpResult<()> {
    let id = id_of(&info)?;
    let members = members(&info)?;
    if !members.iter().any(|member| member.uuid == node.uuid) {
        let text = format!(
            "this datanode, {}, is no member of pipeline {id}",
            node.uuid
        );
        return Err(OpError::malformed(text));
    }
    let pipelines = &node.pipelines;
    let _changing = pipelines.changing.lock().await;
    let known = pipelines.open.get(&id).map(|entry| entry.value().clone());
    if known
        .as_ref()
        .is_some_and(|known| known.places == info.places())
    {
        return Ok(());
    }
    let (store, row) = (pipelines.store.clone(), info.clone());
    crate::node::off_thread(move || store.remember(&id.to_string(), &row)).await?;
    let Some(known) = known else {
        open(node, &info).await?;
        tracing::info!(pipeline = %id, "pipeline opened");
        return Ok(());
    };
    pipelines.relocate(&members);
    tracing::info!(pipeline = %id, places = ?info.places(), "members of the pipeline have moved");
    let moved = Pipeline {
        id,
        members,
        places: info.places(),
        group: known.group.clone(),
        machine: known.machine.clone(),
    };
    pipelines.open.insert(id, Arc::new(moved));
    node.tell_scm();
    Ok(())
}

/// Opens all pipelines that were open when the datanode stopped.
pub(crate) async fn reopen_all(node: &Arc<Node>) -> OpResult<()> {
    let _changing = node.pipelines.changing.lock().await;
    for info in node.pipelines.store.open_pipelines()? {
        let id = id_of(&info)?;
        if node.pipelines.open.contains_key(&id) {
            continue;
        }
        if let Err(error) = open(node, &info).await {
            tracing::error!(pipeline = %id, %error, "pipeline cannot be opened again");
            let failed = Failed {
                why: error.message,
                places: info.places(),
                alone: info.members.len() == 1,
            };
            node.pipelines.failed.insert(id, failed);
        }
    }
    Ok(())
}

async fn open(node: &Arc<Node>, info: &hdds::Pipeline) -> OpResult<()> {
    let pipelines = &node.pipelines;
    let (id, members) = (id_of(info)?, members(info)?);
    pipelines.relocate(&members);
    let machine = Arc::new(Machine::new(node, id, pipelines.store.clone()));
    let peers = members.iter().map(Member::peer);
    let config = GroupConfig {
        group_id: id,
        storage_dir: pipelines.logs.clone(),
        members: peers.collect(),
        options: RaftOptions {
            flush_after_entries: Some(FLUSH_AFTER),
            retain_entries: RETAIN,
            segment_bytes: SEGMENT,
            propose_timeout: Duration::from_secs(20),
            disk: pipelines.disk.clone(),
            ..RaftOptions::default()
        },
    };
    let opened = pipelines.host.open_group(config, machine.clone()).await;
    let group = opened.map_err(|error| OpError::internal(error.to_string()))?;
    follow_leadership(node, &group);
    pipelines.failed.remove(&id);
    pipelines.open.insert(
        id,
        Arc::new(Pipeline {
            id,
            members,
            places: info.places(),
            group,
            machine,
        }),
    );
    node.tell_scm();
    Ok(())
}

/// Tells SCM whenever the leader changes.
fn follow_leadership(node: &Arc<Node>, group: &Arc<Group>) {
    let mut leadership = group.watch_leadership();
    let (node, gate) = (Arc::downgrade(node), node.gate.clone());
    tokio::spawn(async move {
        loop {
            let changed = tokio::select! {
                () = gate.cancelled() => return,
                changed = leadership.changed() => changed,
            };
            match (changed, node.upgrade()) {
                (Ok(()), Some(node)) => node.tell_scm(),
                _ => return,
            }
        }
    });
}

/// Leaves a pipeline for good. Fine when it is not open.
pub(crate) async fn close(node: &Arc<Node>, id: &str) -> OpResult<()> {
    let uuid = Uuid::parse_str(id).map_err(|_| bad_id(id))?;
    let pipelines = &node.pipelines;
    let _changing = pipelines.changing.lock().await;
    let open = pipelines.open.get(&uuid).map(|entry| entry.value().clone());
    if let Some(pipeline) = open {
        // What only the log has must not go with it: else it is opened again at the next start.
        crate::node::off_thread(move || pipeline.machine.flush_rows()).await?;
    }
    let store = pipelines.store.clone();
    let closing = id.to_owned();
    crate::node::off_thread(move || store.mark_closed(&closing)).await?;
    if pipelines.open.remove(&uuid).is_some() {
        let closed = pipelines.host.close_group(uuid, true).await;
        closed.map_err(|error| OpError::internal(format!("pipeline {id}: {error}")))?;
        tracing::info!(pipeline = id, "pipeline closed");
    }
    let alone = pipelines.failed.get(&uuid).map(|failed| failed.alone);
    match alone {
        Some(true) => {
            let log = pipelines.logs.join(uuid.to_string());
            let log = log.display().to_string();
            tracing::warn!(
                pipeline = id,
                log,
                "closed without its log, which stays: it may tell of commits that are nowhere else"
            );
        }
        Some(false) => {
            pipelines.remove_log(uuid).await?;
            tracing::info!(
                pipeline = id,
                "pipeline that could not be opened is closed, other members have its log"
            );
        }
        None => {}
    }
    pipelines.failed.remove(&uuid);
    node.tell_scm();
    Ok(())
}
