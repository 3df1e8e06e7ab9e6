//! Talking to SCM: registration, heartbeats, and the commands that come back.
//!
//! Every SCM (and whoever else listens) is told the same, each by a task of its own, at intervals
//! and at once when there is news. What SCM knows of a datanode comes from here alone.

mod commands;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ozone_proto::hdds::DatanodeDetailsProto;
use ozone_proto::scm::scm_datanode_service_client::ScmDatanodeServiceClient;
use ozone_proto::scm::{HeartbeatRequest, HeartbeatResponse, RegisterRequest};
use ozone_rpc::channel::Channels;
use ozone_rpc::trust::describe;
use tokio::sync::watch;
use tonic::transport::Channel;

use self::commands::Commands;
use crate::error::StartError;
use crate::join::Join;
use crate::layout::LAYOUT_VERSION;
use crate::node::Node;

/// How long an SCM has for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Pause after an SCM did not answer; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Pause after an SCM refused this datanode.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);
/// Between two complaints about an SCM that does not answer.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// Least time between two heartbeats, however much news there is.
const LEAST_INTERVAL: Duration = Duration::from_millis(20);

/// Whether this datanode is in its cluster.
#[derive(Debug, Clone, Default)]
pub(crate) enum Membership {
    /// No SCM has answered yet.
    #[default]
    Unknown,
    /// An SCM has accepted it.
    Registered,
    /// An SCM does not want it, or its data is of no use there.
    Refused {
        /// Address of the SCM.
        scm: String,
        /// Why.
        reason: String,
    },
}

/// What all heartbeat tasks share.
pub(crate) struct Heartbeats {
    pub(crate) node: Arc<Node>,
    pub(crate) join: Arc<Join>,
    pub(crate) channels: Channels,
    pub(crate) details: DatanodeDetailsProto,
    pub(crate) interval: Duration,
    pub(crate) full_report_interval: Duration,
    pub(crate) replication_limit: usize,
    pub(crate) membership: watch::Sender<Membership>,
    /// The highest leader term of any SCM: older leaders are not obeyed.
    pub(crate) term: AtomicU64,
}

impl Heartbeats {
    /// Talks to the SCM at `address` until shutdown.
    pub(crate) async fn run(self: Arc<Self>, address: String) {
        let commands = Commands::new(self.node.clone(), self.replication_limit);
        let mut endpoint = Endpoint {
            shared: self.clone(),
            address,
            commands,
            registered: false,
            keys_version: 0,
            seen_changes: 0,
            seen_failures: 0,
            full_report_at: None,
            complained_at: None,
        };
        let mut pause = FIRST_PAUSE;
        let mut news = self.node.news.subscribe();
        let mut containers = self.node.containers.watch();
        loop {
            news.borrow_and_update();
            containers.borrow_and_update();
            let next = match endpoint.talk().await {
                Ok(next) => {
                    endpoint.complained_at = None;
                    pause = FIRST_PAUSE;
                    next
                }
                Err(Failure::Refused(reason)) => {
                    endpoint.refused(reason);
                    REFUSED_PAUSE
                }
                Err(Failure::NoAnswer(why)) => {
                    endpoint.unanswered(&why);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    self.sleep(pause).await;
                    continue;
                }
            };
            self.sleep(LEAST_INTERVAL.min(next)).await;
            tokio::select! {
                () = self.node.gate.cancelled() => return,
                _ = news.changed() => {}
                _ = containers.changed() => {}
                () = self.node.clock.sleep(next.saturating_sub(LEAST_INTERVAL)) => {}
            }
        }
    }

    async fn sleep(&self, pause: Duration) {
        tokio::select! {
            () = self.node.gate.cancelled() => {}
            () = self.node.clock.sleep(pause) => {}
        }
    }
}

enum Failure {
    NoAnswer(String),
    Refused(String),
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Self::NoAnswer(describe(&status))
    }
}

/// One SCM.
struct Endpoint {
    shared: Arc<Heartbeats>,
    address: String,
    commands: Commands,
    registered: bool,
    keys_version: u64,
    seen_changes: u64,
    seen_failures: usize,
    /// When the next full report is due, in monotonic time.
    full_report_at: Option<Duration>,
    /// When it was last said that this SCM does not answer; none while it does.
    complained_at: Option<Duration>,
}

impl Endpoint {
    /// One round; says when the next is due at the latest.
    async fn talk(&mut self) -> Result<Duration, Failure> {
        if self.shared.node.gate.is_cancelled() {
            return Ok(Duration::ZERO);
        }
        if !self.registered {
            self.register().await?;
        }
        self.heartbeat().await
    }

    fn client(&self) -> Result<ScmDatanodeServiceClient<Channel>, Failure> {
        let channel = self.shared.channels.get(&self.address);
        let channel = channel.map_err(|error| Failure::NoAnswer(error.to_string()))?;
        Ok(ScmDatanodeServiceClient::new(channel)
            .max_decoding_message_size(ozone_rpc::MAX_MESSAGE)
            .max_encoding_message_size(ozone_rpc::MAX_MESSAGE))
    }

    async fn register(&mut self) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let node = &shared.node;
        let cluster = shared.join.cluster();
        let (changes, containers) = report::all_containers(node).await;
        let request = RegisterRequest {
            datanode: Some(shared.details.clone()),
            cluster_id: cluster
                .as_ref()
                .map_or_else(String::new, |c| c.cluster_id.clone()),
            c_time: cluster.map_or(0, |c| i64::try_from(c.c_time).unwrap_or(0)),
            layout_version: LAYOUT_VERSION,
            max_layout_version: LAYOUT_VERSION,
            storage: report::storage(node).await,
            containers,
            pipelines: node.pipelines.report(),
        };
        let mut client = self.client()?;
        let answer = limited(client.register(request)).await?;
        if !answer.accepted {
            return Err(Failure::Refused(answer.refusal));
        }
        node.tokens.learn(&answer.secret_keys);
        let c_time = u64::try_from(answer.c_time).unwrap_or(0);
        let joined = shared.join.join(node, &answer.cluster_id, c_time).await;
        joined.map_err(|error: StartError| Failure::Refused(error.to_string()))?;
        self.registered = true;
        self.keys_version = 0;
        self.seen_changes = changes;
        self.full_report_at = None;
        tracing::info!(
            scm = self.address,
            cluster = answer.cluster_id,
            "registered with SCM"
        );
        shared.membership.send_replace(Membership::Registered);
        Ok(())
    }

    async fn heartbeat(&mut self) -> Result<Duration, Failure> {
        let shared = self.shared.clone();
        let node = &shared.node;
        let now = node.clock.monotonic();
        // A volume that failed takes its containers with it: SCM is told of all of them.
        let failures = node
            .volumes
            .get()
            .map_or(0, |volumes| volumes.failures().len());
        let full_report =
            failures != self.seen_failures || self.full_report_at.is_none_or(|at| now >= at);
        let (changes, containers) = match full_report {
            true => report::all_containers(node).await,
            false => report::changed_containers(node, self.seen_changes).await,
        };
        let cluster = shared.join.cluster();
        let statuses = self.commands.take_statuses();
        let request = HeartbeatRequest {
            datanode_uuid: node.uuid.to_string(),
            cluster_id: cluster.map_or_else(String::new, |cluster| cluster.cluster_id),
            storage: report::storage(node).await,
            full_report,
            containers,
            pipelines: node.pipelines.report(),
            command_status: statuses.clone(),
            pipeline_actions: node.pipelines.actions(),
            close_containers: report::to_close(node),
            known_secret_keys_version: self.keys_version,
        };
        let mut client = self.client()?;
        let answer = match limited(client.heartbeat(request)).await {
            Ok(answer) => answer,
            Err(status) => {
                self.commands.put_back(statuses);
                return Err(status.into());
            }
        };
        metrics::counter!("datanode_heartbeats_total").increment(1);
        self.seen_changes = changes;
        self.seen_failures = failures;
        if full_report {
            self.full_report_at = Some(now + shared.full_report_interval);
        }
        Ok(self.obey(answer))
    }

    fn obey(&mut self, answer: HeartbeatResponse) -> Duration {
        let shared = self.shared.clone();
        if answer.reregister {
            self.registered = false;
            return Duration::ZERO;
        }
        shared.node.tokens.learn(&answer.secret_keys);
        self.keys_version = answer.secret_keys_version;
        let newest = shared
            .term
            .fetch_max(answer.term, Ordering::Relaxed)
            .max(answer.term);
        if answer.term < newest && !answer.commands.is_empty() {
            tracing::warn!(
                scm = self.address,
                term = answer.term,
                newest,
                "ignoring commands of an SCM that no longer leads"
            );
        } else {
            self.commands.start(answer.commands);
        }
        match answer.next_heartbeat_ms {
            0 => shared.interval,
            ms => shared.interval.min(Duration::from_millis(ms)),
        }
    }

    /// Says that there is no answer, and again as long as there is none.
    fn unanswered(&mut self, why: &str) {
        let now = self.shared.node.clock.monotonic();
        let silent = |at| now < at + COMPLAINT_INTERVAL;
        if self.complained_at.is_some_and(silent) {
            return;
        }
        self.complained_at = Some(now);
        tracing::warn!(
            scm = self.address,
            why,
            "no answer from SCM: does it run, and is ozone.scm.datanode.address right?"
        );
    }

    fn refused(&mut self, reason: String) {
        tracing::error!(scm = self.address, reason, "SCM refused this datanode");
        let scm = self.address.clone();
        self.shared.membership.send_if_modified(|membership| {
            let first = !matches!(membership, Membership::Registered);
            if first {
                *membership = Membership::Refused { scm, reason };
            }
            first
        });
    }
}

async fn limited<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, tonic::Status> {
    match tokio::time::timeout(ANSWER_LIMIT, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(tonic::Status::deadline_exceeded(
            "no answer from SCM in time",
        )),
    }
}
