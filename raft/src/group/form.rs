//! Opening a group: its log, its state machine, and how it comes to a leader quickly.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;
use openraft::{BasicNode, Config, SnapshotPolicy, StorageHelper};
use tokio::sync::watch;

use super::belongs::Pair;
use super::{Barriers, Group, Leadership, Raft, Silence, fatal, status};
use crate::apply::Adapter;
use crate::error::io_error;
use crate::log::{Flushers, LogOptions, LogStore};
use crate::net::{Connections, Network};
use crate::snapshot::SnapshotDir;
use crate::types::{MemberId, Types};
use crate::{GroupConfig, RaftError, RaftOptions, Result, StateMachine};

/// Between attempts of the member that should lead to be elected.
const CAMPAIGN_EVERY: Duration = Duration::from_millis(50);
/// How long a group of one may take to write its vote: nobody else could do it faster, and a disk that
/// others keep busy has its time.
const ALONE_LIMIT: Duration = Duration::from_secs(30);

/// What a group takes from its host.
pub(crate) struct Shared {
    pub(crate) me: MemberId,
    pub(crate) connections: Arc<Connections>,
    pub(crate) flushers: Arc<Flushers>,
}

fn core_config(group: &GroupConfig) -> Result<Config> {
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let RaftOptions {
        heartbeat,
        election_min,
        election_max,
        ..
    } = group.options;
    let snapshots = group.options.flush_after_entries;
    let config = Config {
        cluster_name: group.group_id.to_string(),
        heartbeat_interval: millis(heartbeat),
        election_timeout_min: millis(election_min),
        election_timeout_max: millis(election_max),
        enable_pre_vote: Some(true),
        // What was committed is not on disk, so leadership is never taken up without an election.
        enable_leader_restore: Some(false),
        snapshot_policy: snapshots.map_or(SnapshotPolicy::Never, SnapshotPolicy::LogsSinceLast),
        max_in_snapshot_log_to_keep: group.options.retain_entries,
        replication_lag_threshold: u64::MAX >> 1,
        max_payload_entries: 4096,
        backoff: "20ms 50ms 100ms ...500ms".to_owned(),
        ..Config::default()
    };
    config
        .validate()
        .map_err(|e| RaftError::Options(e.to_string()))
}

/// Log and state machine, before Raft runs on them.
struct Storage {
    log: LogStore,
    adapter: Adapter,
}

async fn open_storage(
    config: &GroupConfig,
    flushers: Arc<Flushers>,
    machine: Arc<dyn StateMachine>,
) -> Result<Storage> {
    let dir = config.storage_dir.join(config.group_id.to_string());
    let RaftOptions {
        disk,
        segment_bytes,
        cache_bytes,
        ..
    } = config.options.clone();
    let open = move || -> Result<_> {
        let options = LogOptions {
            disk: disk.clone(),
            segment_bytes,
            cache_bytes,
        };
        let log = LogStore::open(&dir.join("current"), options, &flushers)?;
        let copies = dir.join("snapshot");
        let opened = SnapshotDir::open(disk, copies.clone()).map_err(io_error("empty", &copies));
        Ok((log, opened?))
    };
    let (log, copies) = blocking(&config.storage_dir, open).await?;
    let name = config.group_id.to_string();
    let adapter = Adapter::start(machine, copies, &name[..8]).await?;
    Ok(Storage { log, adapter })
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| io_error("open", path)(std::io::Error::other(e)))?
}

impl Group {
    /// Opens a group and lets it run.
    pub(crate) async fn open(
        config: GroupConfig,
        machine: Arc<dyn StateMachine>,
        shared: Shared,
    ) -> Result<Arc<Self>> {
        let core = Arc::new(core_config(&config)?);
        let Shared {
            me,
            connections,
            flushers,
        } = shared;
        let Storage { log, adapter } = open_storage(&config, flushers, machine).await?;
        let voters = voters(&config, &log, &adapter).await?;
        let alone = voters == [me];
        let pair = Pair {
            log: &log,
            adapter: &adapter,
        };
        let dir = config.storage_dir.join(config.group_id.to_string());
        pair.check(&dir, me, alone)?;
        check_member(&config, me, &voters)?;
        pair.mark(&dir).await?;
        let pristine = log.is_pristine() && adapter.position().applied.is_none();
        let before = log.vote().filter(|vote| vote.committed);
        let led_by = before.map(|vote| vote.leader_id.voted_for);
        let network = Network {
            group: config.group_id,
            me,
            connections: connections.clone(),
            copies: adapter.copies().clone(),
        };
        let raft = Raft::build(me, core, network, log.clone(), adapter.clone())
            .await
            .map_err(fatal)?;
        let silence = led_by
            .filter(|leader| *leader != me && !alone)
            .map(|leader| Silence {
                until: Instant::now() + config.options.election_max,
                leader,
            });
        let (tell, leadership) = watch::channel(Leadership::default());
        let mut tasks = vec![tokio::spawn(status::follow(raft.clone(), tell)).abort_handle()];
        if let Some(silence) = silence {
            raft.runtime_config().elect(false);
            tasks.push(tokio::spawn(keep_silence(raft.clone(), silence.until)).abort_handle());
        }
        raft.run();
        let start = Start {
            raft: raft.clone(),
            me,
            options: config.options.clone(),
        };
        if pristine {
            tasks.extend(start.found(&config).await?);
        } else if alone {
            raft.trigger().elect(false).await.map_err(fatal)?;
        } else if led_by == Some(me) {
            tasks.push(tokio::spawn(start.campaign()).abort_handle());
        }
        let group = Arc::new(Self {
            id: config.group_id,
            me,
            raft,
            log,
            adapter,
            connections,
            options: config.options,
            leadership,
            silence,
            barriers: Barriers::default(),
            tasks,
        });
        if alone {
            group.wait_until_leading().await?;
        }
        Ok(group)
    }

    /// A group of one is of use as soon as it is open.
    async fn wait_until_leading(&self) -> Result<()> {
        let limit = ALONE_LIMIT;
        let mut seen = self.leadership.clone();
        match tokio::time::timeout(limit, seen.wait_for(|now| now.is_leader)).await {
            Err(_) => Err(RaftError::Timeout(limit)),
            Ok(Err(_)) => Err(self.why_ended()),
            Ok(Ok(_)) => Ok(()),
        }
    }

    /// The cause of the end, which the core leaves behind.
    fn why_ended(&self) -> RaftError {
        let metrics = self.raft.metrics();
        match &metrics.borrow_watched().running_state {
            Err(cause) => fatal(cause.clone()),
            Ok(()) => RaftError::Fatal("ended while it was opened".into()),
        }
    }
}

/// The members that vote: as the log says, or as it is about to.
async fn voters(config: &GroupConfig, log: &LogStore, adapter: &Adapter) -> Result<Vec<MemberId>> {
    let (mut log, mut adapter) = (log.clone(), adapter.clone());
    let mut helper = StorageHelper::<Types, _, _>::new(&mut log, &mut adapter);
    let known = helper
        .get_membership()
        .await
        .map_err(|e| RaftError::Fatal(e.to_string()))?;
    let voters: Vec<MemberId> = known.effective().voter_ids().collect();
    Ok(match voters.is_empty() {
        true => config.members.iter().map(|p| MemberId(p.id)).collect(),
        false => voters,
    })
}

/// Refuses the log of others in a group that this member believes to be alone in: it would wait for
/// them for ever.
fn check_member(config: &GroupConfig, me: MemberId, voters: &[MemberId]) -> Result<()> {
    let alone = matches!(config.members[..], [ref only] if only.id == me.0);
    if !alone || voters.contains(&me) {
        return Ok(());
    }
    Err(RaftError::NotAMember {
        dir: config.storage_dir.join(config.group_id.to_string()),
        me: me.0,
        members: voters.iter().map(|voter| voter.0).collect(),
    })
}

async fn keep_silence(raft: Raft, until: Instant) {
    tokio::time::sleep_until(until.into()).await;
    raft.runtime_config().elect(true);
}

/// The first moments of a group that runs.
struct Start {
    raft: Raft,
    me: MemberId,
    options: RaftOptions,
}

impl Start {
    /// Founds a group that nobody has written to. All members may do this with the same list; the
    /// one with the least id does so at once, the others only when nothing comes of it, because
    /// members that stand for election at the same time stand in one another's way.
    async fn found(self, config: &GroupConfig) -> Result<Option<tokio::task::AbortHandle>> {
        let members: BTreeMap<MemberId, BasicNode> = config
            .members
            .iter()
            .map(|peer| (MemberId(peer.id), BasicNode::new(&peer.address)))
            .collect();
        if members.is_empty() {
            return Ok(None);
        }
        if !members.contains_key(&self.me) {
            return Err(RaftError::Members(format!("{} is not among them", self.me)));
        }
        if members.keys().next() == Some(&self.me) {
            self.initialize(members).await;
            return Ok(Some(tokio::spawn(self.campaign()).abort_handle()));
        }
        let wait = self.options.election_max;
        let later = async move {
            tokio::time::sleep(wait).await;
            if !self.raft.is_initialized().await.unwrap_or(true) {
                self.initialize(members).await;
            }
        };
        Ok(Some(tokio::spawn(later).abort_handle()))
    }

    async fn initialize(&self, members: BTreeMap<MemberId, BasicNode>) {
        // Refused when another member was faster, which is as good.
        if let Err(cause) = self.raft.initialize(members).await {
            tracing::debug!(member = %self.me, %cause, "group is founded already");
        }
    }

    /// Stands for election until there is a leader, because the others may take a moment to appear.
    async fn campaign(self) {
        let end = Instant::now() + self.options.election_max * 2;
        let mut metrics = self.raft.server_metrics();
        while Instant::now() < end {
            let elected = async {
                while metrics.borrow_watched().current_leader.is_none() {
                    if metrics.changed().await.is_err() {
                        return;
                    }
                }
            };
            if tokio::time::timeout(CAMPAIGN_EVERY, elected).await.is_ok() {
                return;
            }
            if self.raft.trigger().elect(true).await.is_err() {
                return;
            }
        }
    }
}
