//! Calls to the OM: the leader is found and followed, and a call whose answer was lost is repeated
//! under its own id, so that it takes effect once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ozone_common::caller::Caller;
use ozone_common::clock::Clock;
use ozone_common::request::current_id;
use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Response;
use ozone_proto::om::ozone_manager_service_client::OzoneManagerServiceClient;
use ozone_proto::om::{CallContext, OmRequest, OmResponse, Status, UserInfo};
use ozone_rpc::MAX_MESSAGE;
use ozone_rpc::call::{Call, CallIds};
use ozone_rpc::channel::Channels;
use ozone_rpc::failover::{Classify, Failover, FailoverError, FailoverPolicy, Verdict};
use ozone_rpc::trust::describe;
use parking_lot::Mutex;

use crate::config::ClientConfig;
use crate::request::type_of;
use crate::{ClientError, Result};

/// Longest wait for one server's answer before another one is asked.
const ATTEMPT: Duration = Duration::from_secs(20);
/// First and longest pause between rounds over all servers.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Version of the client protocol.
const VERSION: u32 = 3;

/// The OM service as one caller uses it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct OmClient {
    shared: Arc<Shared>,
    caller: Arc<Caller>,
    /// The session that caches what is answered, 0 for none.
    session: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Shared {
    calls: Arc<CallIds>,
    channels: Arc<Channels>,
    failover: Failover,
    deadline: Duration,
    first_deadline: Duration,
    clock: Arc<dyn Clock>,
    /// Whether any OM has ever answered.
    reached: AtomicBool,
    /// Why the last one did not.
    unreached: Mutex<String>,
}

/// Why one server did not answer the call.
#[derive(Debug)]
enum Unanswered {
    Transport(tonic::Status),
    /// It says that another one may, or that it may later.
    Deferred(Box<OmResponse>),
}

impl OmClient {
    pub(crate) fn new(config: &ClientConfig, channels: Arc<Channels>) -> Result<Self> {
        if config.om.is_empty() {
            return Err(ClientError::Config("no OM address is configured".into()));
        }
        for address in &config.om {
            channels
                .get(address)
                .map_err(|error| ClientError::Config(error.to_string()))?;
        }
        let policy = FailoverPolicy {
            deadline: config.om_deadline,
            attempt: ATTEMPT.min(config.om_deadline),
            first_pause: PAUSE.0,
            longest_pause: PAUSE.1,
        };
        let (clock, rng) = (config.clock.clone(), config.rng.clone());
        let shared = Shared {
            calls: CallIds::new(&*config.rng),
            channels,
            failover: Failover::new(config.om.clone(), clock.clone(), rng, policy),
            deadline: config.om_deadline,
            first_deadline: config.first_deadline,
            clock,
            reached: AtomicBool::new(false),
            unreached: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            caller: Arc::new(config.caller.clone()),
            session: Arc::default(),
        })
    }

    /// The same connections and call ids, for another caller.
    pub(crate) fn for_caller(&self, caller: &Caller) -> Self {
        Self {
            shared: self.shared.clone(),
            caller: Arc::new(caller.clone()),
            session: self.session.clone(),
        }
    }

    /// The same, asking for the session whose number is in `session` at the time of the call.
    pub(crate) fn for_session(&self, session: Arc<AtomicU64>) -> Self {
        Self {
            session,
            ..self.clone()
        }
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Makes one call. Every attempt carries the same call id.
    pub(crate) async fn call(&self, body: Request) -> Result<Option<Response>> {
        let call = self.shared.calls.begin();
        let request = self.request(&call, body);
        let answer = self.shared.failover.call(|server| {
            let mut request = request.clone();
            if let Some(context) = &mut request.context {
                context.lowest_pending_call = Some(call.lowest_pending().get());
            }
            self.shared.attempt(server, request)
        });
        let answer = tokio::select! {
            answer = answer => answer.map_err(|error| self.shared.unanswered(error))?,
            reason = self.shared.nobody() => {
                let servers = self.shared.failover.servers().to_vec();
                return Err(ClientError::NoOm { servers, reason });
            }
        };
        match answer.status() {
            Status::Ok => Ok(answer.body),
            Status::SessionExpired => Err(ClientError::SessionExpired),
            status => Err(ClientError::om(status, answer.message.unwrap_or_default())),
        }
    }

    /// Makes one call, giving up after `patience`.
    pub(crate) async fn call_within(
        &self,
        body: Request,
        patience: Duration,
    ) -> Result<Option<Response>> {
        match tokio::time::timeout(patience, self.call(body)).await {
            Ok(answer) => answer,
            Err(_) => Err(timeout(patience, "no answer".into())),
        }
    }

    fn request(&self, call: &Call, body: Request) -> OmRequest {
        let caller = &self.caller;
        let client = call.client().uuid();
        let context = CallContext {
            client_id: Some(Bytes::copy_from_slice(client.as_bytes())),
            call_id: Some(call.id().get()),
            lowest_pending_call: None,
            uid: Some(caller.uid),
            gid: Some(caller.gid),
            gids: caller.gids.clone(),
            groups: caller.groups.clone(),
            session: Some(self.session.load(Ordering::Acquire)).filter(|session| *session != 0),
        };
        let user = UserInfo {
            user_name: Some(caller.user.clone()),
            remote_address: caller.remote.map(|ip| ip.to_string()),
            host_name: None,
        };
        OmRequest {
            cmd_type: type_of(&body).into(),
            trace_id: Some(current_id().unwrap_or_else(|| call.request_id())),
            client_id: client.to_string(),
            user_info: Some(user),
            version: Some(VERSION),
            context: Some(context),
            body: Some(body),
            ..Default::default()
        }
    }
}

impl Shared {
    async fn attempt(&self, server: String, request: OmRequest) -> Result<OmResponse, Unanswered> {
        let channel = self.channels.get(&server);
        let channel = channel.map_err(|error| {
            Unanswered::Transport(tonic::Status::unavailable(error.to_string()))
        })?;
        let mut stub = OzoneManagerServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let answer = match stub.submit_request(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                *self.unreached.lock() = describe(&status);
                return Err(Unanswered::Transport(status));
            }
        };
        self.reached.store(true, Ordering::Relaxed);
        match answer.status() {
            Status::NotLeader
            | Status::OmNotInitialized
            | Status::RatisError
            | Status::Timeout
            | Status::ScmInSafeMode => Err(Unanswered::Deferred(Box::new(answer))),
            _ => Ok(answer),
        }
    }

    /// Returns, with the last reason, when no OM was reached in the time that there is for that.
    async fn nobody(&self) -> String {
        if !self.reached.load(Ordering::Relaxed) && self.first_deadline < self.deadline {
            self.clock.sleep(self.first_deadline).await;
            if !self.reached.load(Ordering::Relaxed) {
                return self.unreached.lock().clone();
            }
        }
        std::future::pending().await
    }

    fn unanswered(&self, error: FailoverError<Unanswered>) -> ClientError {
        let reason = error.to_string();
        match error {
            // Only a server that is none of ours refuses in this way.
            FailoverError::Refused(Unanswered::Transport(status)) => {
                let asked = self.failover.servers().join(", ");
                ClientError::protocol(format!("the server at {asked}"), no_om(&status))
            }
            FailoverError::Refused(_) => ClientError::protocol("OM", reason),
            // What the server said last is more use than that time ran out.
            FailoverError::GaveUp {
                last: Some(Unanswered::Deferred(answer)),
                ..
            } if answer.status() == Status::ScmInSafeMode => {
                ClientError::om(answer.status(), answer.message.unwrap_or_default())
            }
            FailoverError::GaveUp {
                servers,
                last: Some(Unanswered::Transport(status)),
                ..
            } => ClientError::NoOm {
                servers,
                reason: describe(&status),
            },
            FailoverError::GaveUp { .. } => timeout(self.deadline, reason),
        }
    }
}

impl Classify for Unanswered {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Transport(status) => status.verdict(),
            Self::Deferred(answer) if answer.status() == Status::NotLeader => {
                let leader = answer.leader_om_node_id.clone();
                Verdict::NotLeader(leader.filter(|leader| !leader.is_empty()))
            }
            Self::Deferred(_) => Verdict::Retry,
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(status) => f.write_str(&describe(status)),
            Self::Deferred(answer) => {
                let message = answer.message.as_deref().unwrap_or_default();
                write!(f, "{} {message}", answer.status().as_str_name())
            }
        }
    }
}

/// What an answer says of a server that does not do what an OM does.
fn no_om(status: &tonic::Status) -> String {
    match (status.code(), describe(status)) {
        (tonic::Code::Unimplemented, _) => {
            "it does not know the OM's calls: ozone.om.address has to be that of an OM".to_owned()
        }
        (code, text) if text.is_empty() => format!("it answers {code:?}: {code}"),
        (_, text) => text,
    }
}

fn timeout(patience: Duration, reason: String) -> ClientError {
    ClientError::Timeout {
        what: "OM".into(),
        after_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        reason,
    }
}
