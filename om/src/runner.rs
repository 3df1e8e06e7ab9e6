//! The life of a request, once for all of them: is this the leader, was it answered before, may the
//! caller, prepare, the log, the answer; with a span, metrics and the audit around it.

use std::sync::Arc;
use std::time::Instant;

use ozone_common::request::proceed;
use ozone_proto::namespace::batch_part::Change as Part;
use ozone_proto::namespace::{
    CloseSessionRequest, CreateRequest, Inode, KeepAliveRequest, KeepAliveResponse, OpenRequest,
    ReleaseRequest, ReleaseResponse, RenewLeasesRequest, RenewLeasesResponse,
};
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::{
    GetKeyInfoResponse, KeyInfo, LookupKeyResponse, OmRequest, OmResponse, Status, Type,
};

use crate::error::{OmError, Result, refuse};
use crate::leader::{Leader, decode, session_of};
use crate::leases::{Entered, Moment};
use crate::reads::{self, Answer};
use crate::state_machine::{call_of, client_of, response};
use crate::store::Store;
use crate::{admins, differences, look_back, ops, services, touched};

/// How often a name is looked up whose file is being removed each time.
const LOOKS: u32 = 4;

/// Answers requests.
pub struct Runner {
    /// What the leader knows and can do.
    pub leader: Arc<Leader>,
    /// The client listeners of the OMs, by Raft member: for hints.
    pub services: services::Services,
}

impl Runner {
    /// Answers one request. Never fails: refusals are responses.
    pub async fn run(&self, request: OmRequest) -> OmResponse {
        let kind = Type::try_from(request.cmd_type).unwrap_or(Type::UnknownCommand);
        let started = Instant::now();
        let work = async {
            let answer = self.answer(&request).await;
            let answer = answer.unwrap_or_else(|error| response(&request, Err(error)));
            audit(kind, &request, &answer);
            answer
        };
        let id = request.trace_id.as_deref();
        let answer = proceed(kind.as_str_name(), id, work).await;
        metrics::counter!("om_requests_total", "op" => kind.as_str_name(), "status" => status_name(&answer)).increment(1);
        metrics::histogram!("om_request_seconds", "op" => kind.as_str_name())
            .record(started.elapsed().as_secs_f64());
        answer
    }

    async fn answer(&self, request: &OmRequest) -> Result<OmResponse> {
        let Some(body) = &request.body else {
            return Err(refuse::invalid(format!(
                "request type {} is not served by this version",
                request.cmd_type
            )));
        };
        if ops::is_internal(body) {
            return Err(OmError::refused(
                Status::PermissionDenied,
                "the request is the OM's own",
            ));
        }
        if !self.leader.group.is_leader() {
            return Err(self.not_leader());
        }
        self.check_session(request, body)?;
        self.leader.admins.check(request, body)?;
        admins::check_snapshots(request, body, &self.leader).await?;
        if ops::is_change(body) && look_back::is_past(body) {
            return Err(look_back::read_only());
        }
        if let Some(reply) = Box::pin(self.answer_past(body)).await {
            return Ok(response(request, Ok(reply?)));
        }
        let entered = self.enter(body, session_of(request)).await?;
        if ops::is_change(body) {
            return self.change(request, &entered).await;
        }
        let mut looks = 1;
        loop {
            let moment = self.leader.leases.moment();
            let mut reply = self.read(body).await?;
            self.lease(&entered, moment, body, &mut reply).await;
            let told = told_of(&reply);
            if looks == LOOKS || told.is_none_or(|id| !self.leader.removals.is_under_way(id)) {
                return Ok(response(request, Ok(reply)));
            }
            // The file was losing its name, and may not have been kept for the asker.
            if let Some(id) = told {
                self.leader.removals.over(id).await;
            }
            looks += 1;
        }
    }

    /// Refuses to act for a session that another client has opened.
    fn check_session(&self, request: &OmRequest, body: &Body) -> Result<()> {
        let client = client_of(request);
        let own = [session_of(request), ops::session::named_by(body)];
        let parts = match body {
            Body::Batch(batch) => batch.parts.as_slice(),
            _ => &[],
        };
        let of_parts = parts.iter().map(|part| match &part.change {
            Some(Part::Create(create)) => create.session,
            Some(Part::Commit(commit)) => commit.session,
            _ => 0,
        });
        for session in own.into_iter().chain(of_parts) {
            if session != 0 && self.leader.opens.is_foreign(session, client) {
                let message = format!("session {session} is another client's");
                return Err(OmError::refused(Status::PermissionDenied, message));
            }
        }
        Ok(())
    }

    /// Waits until no other session has a bucket that the request touches to itself.
    async fn enter(&self, body: &Body, session: u64) -> Result<Entered<'_>> {
        let leases = &self.leader.leases;
        let buckets = touched::buckets(body, &self.leader).await?;
        Ok(match body {
            // A new leader awaits what sessions hold back for as long as it keeps others out.
            Body::Batch(_) => leases.enter_at_once(buckets, session).await,
            _ => leases.enter(buckets, session).await,
        })
    }

    /// Lets the asker believe the answer, which was looked up after `moment`.
    async fn lease(&self, entered: &Entered<'_>, moment: Moment, asked: &Body, reply: &mut Reply) {
        let (leases, session) = (&self.leader.leases, entered.session());
        if session == 0 {
            return;
        }
        let mut late = touched::told(reply);
        late.retain(|bucket| !entered.holds(*bucket));
        // Nobody has a bucket to itself while another believes something about it.
        let _late = leases.enter_at_once(late, session).await;
        leases.grant_answer(session, moment, asked, reply);
    }

    fn not_leader(&self) -> OmError {
        OmError::NotLeader {
            leader: self.services.address_of(self.leader.group.leader()),
        }
    }

    async fn change(&self, request: &OmRequest, entered: &Entered<'_>) -> Result<OmResponse> {
        let session = entered.session();
        if let Some(answer) = call_of(request).and_then(|call| self.leader.state.replied(&call)) {
            let mut answer = decode(answer)?;
            self.leader.settle(&mut answer, session).await;
            return Ok(answer);
        }
        let mut request = request.clone();
        let mut removal = None;
        if let Some(body) = &mut request.body {
            self.leader.room.check(body)?;
            removal = ops::prepare(body, session, &self.leader).await?;
        }
        let moment = self.leader.leases.moment();
        let applied = match self.leader.log(request.clone()).await {
            Err(OmError::Raft(ozone_raft::RaftError::NotLeader { leader })) => {
                return Err(OmError::NotLeader {
                    leader: self.services.address_of(leader),
                });
            }
            other => other?,
        };
        drop(removal);
        let mut answer = decode(applied)?;
        self.note(&request, &answer);
        self.leader.settle(&mut answer, session).await;
        if let (Some(body), Some(reply)) = (&request.body, &mut answer.body) {
            self.lease(entered, moment, body, reply).await;
        }
        Ok(answer)
    }

    /// Keeps the leader's soft state true after a change.
    fn note(&self, request: &OmRequest, answer: &OmResponse) {
        let opens = &self.leader.opens;
        match (&request.body, &answer.body) {
            (Some(Body::OpenSession(_)), Some(Reply::OpenSession(r))) => {
                let client = client_of(request).clone();
                opens.session_opened(r.session, client, self.leader.now());
            }
            (Some(Body::CloseSession(r)), Some(_)) => self.session_closed(r.session),
            (Some(Body::Create(r)), Some(Reply::Create(reply))) => {
                self.made(r, reply.inode.as_ref());
            }
            (Some(Body::Batch(r)), Some(Reply::Batch(reply))) => {
                for (part, outcome) in r.parts.iter().zip(&reply.outcomes) {
                    if let Some(Part::Create(r)) = &part.change {
                        self.made(r, outcome.inode.as_ref());
                    }
                }
            }
            (Some(Body::Rename(r)), Some(Reply::Rename(reply))) => {
                if let Some(dir) = r.to_dir {
                    opens.moved(reply.object_id, dir, &r.to_name);
                }
                if let (true, Some(dir)) = (r.exchange, r.from_dir) {
                    opens.moved(reply.replaced_id, dir, &r.from_name);
                }
            }
            _ => {}
        }
    }

    /// A session has what it made open, if it says so.
    fn made(&self, request: &CreateRequest, inode: Option<&Inode>) {
        if let Some(row) = inode.and_then(|inode| inode.row.as_ref()) {
            self.leader.opens.opened(request.session, row.object_id);
        }
    }

    async fn read(&self, body: &Body) -> Result<Reply> {
        self.leader.group.read_barrier().await?;
        match body {
            Body::KeepAlive(r) => self.keep_alive(r).await.map(Reply::KeepAlive),
            Body::RenewLeases(r) => self.renew_leases(r).await.map(Reply::RenewLeases),
            Body::Release(r) => self.release(r).await.map(Reply::Release),
            Body::StatFs(r) => self.leader.stat_fs(r).await.map(Reply::StatFs),
            Body::ServiceListRequest(_) => Ok(Reply::ServiceListResponse(
                self.services.list(self.leader.group.leader()),
            )),
            _ => self.look(body).await,
        }
    }

    /// Answers what is about snapshots; `None`: it is about what is there now.
    async fn answer_past(&self, body: &Body) -> Option<Result<Reply>> {
        if let Some(past) = look_back::past_of(body) {
            return Some(self.look_back(body, past).await);
        }
        if !differences::is_about(body) {
            return None;
        }
        if let Err(error) = self.leader.group.read_barrier().await {
            return Some(Err(error.into()));
        }
        differences::answer(body, &self.leader).await
    }

    async fn look_back(&self, body: &Body, past: look_back::Past) -> Result<Reply> {
        self.leader.group.read_barrier().await?;
        let answer = look_back::answer(body, past, &self.leader).await?;
        self.complete(body, answer).await
    }

    async fn look(&self, body: &Body) -> Result<Reply> {
        let mut asked = body.clone();
        match &mut asked {
            Body::GetAttr(r) => self.leader.opens.correct(r.r#ref.as_mut()),
            Body::GetExtents(r) => self.leader.opens.correct(r.r#ref.as_mut()),
            Body::Open(r) => {
                self.leader.opens.correct(r.r#ref.as_mut());
                self.open(r).await?;
            }
            _ => {}
        }
        let answer = match reads::is_short(&asked) {
            true => {
                self.leader
                    .peek(move |rows| reads::answer(&asked, rows))
                    .await
            }
            false => {
                let look = move |store: &Store| reads::answer(&asked, &store.view());
                self.leader.read(look).await
            }
        };
        self.complete(body, answer?).await
    }

    /// Adds to an answer of the rows what only the leader knows.
    async fn complete(&self, asked: &Body, answer: Answer) -> Result<Reply> {
        match answer {
            Answer::Done(reply) => Ok(*reply),
            Answer::Extents(mut found) => {
                let fresh = matches!(asked, Body::GetExtents(r) if r.fresh_locations);
                found.locations = self.leader.blocks.locate(&found.extents, fresh).await?;
                Ok(Reply::GetExtents(*found))
            }
            Answer::Key(key) => {
                let is_lookup = matches!(asked, Body::LookupKeyRequest(_));
                let head = matches!(asked, Body::GetKeyInfoRequest(r) if r.key_args.head_op());
                match head {
                    true => Ok(key_answer(*key, is_lookup)),
                    false => self.complete_key(*key, is_lookup).await,
                }
            }
            Answer::KeyMap(mut found) => {
                if let Some(map) = &mut found.map {
                    map.locations = self.leader.blocks.locate(&map.extents, false).await?;
                }
                Ok(Reply::ReadKey(*found))
            }
        }
    }

    async fn complete_key(&self, mut key: KeyInfo, lookup: bool) -> Result<Reply> {
        for list in &mut key.key_location_list {
            self.leader.blocks.complete(&mut list.key_locations).await?;
        }
        Ok(key_answer(key, lookup))
    }

    /// Notes the opener before the look, so that an unlink in between keeps the inode for it.
    async fn open(&self, request: &OpenRequest) -> Result<()> {
        let Some(inode) = &request.r#ref else {
            return Ok(());
        };
        if request.session != 0
            && self
                .leader
                .opens
                .seen(request.session, self.leader.now())
                .is_none()
        {
            return Err(refuse::session(request.session));
        }
        self.leader.opens.opened(request.session, inode.object_id);
        self.leader.removals.over(inode.object_id).await;
        Ok(())
    }

    async fn keep_alive(&self, request: &KeepAliveRequest) -> Result<KeepAliveResponse> {
        let session = request.session;
        let Some(must_announce) = self.leader.opens.seen(session, self.leader.now()) else {
            return Err(refuse::session(session));
        };
        if request.announcing {
            self.leader.opens.announced(session, &request.opens);
            let mut closed = self.leader.orphans_of(session).await?;
            closed.retain(|id| !request.opens.contains(id));
            self.leader.release_orphans(session, closed).await?;
        }
        Ok(KeepAliveResponse {
            reannounce: must_announce && !request.announcing,
        })
    }

    async fn renew_leases(&self, request: &RenewLeasesRequest) -> Result<RenewLeasesResponse> {
        let leader = &self.leader;
        if leader.opens.seen(request.session, leader.now()).is_none() {
            return Err(refuse::session(request.session));
        }
        // What mounts hold back would come when there is no room for it.
        let may_own = !leader.room.is_low();
        // Before it is told of anything new.
        let orphans = match leader.leases.forgets(request) {
            true => leader.orphans_of(request.session).await?,
            false => Vec::new(),
        };
        let answer = leader.leases.renew(request, may_own).await;
        leader.drop_unopened(request.session, orphans).await?;
        // What was granted by one that has been deposed meanwhile must not live longer.
        leader.group.read_barrier().await?;
        Ok(answer)
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseResponse> {
        for object in &request.object_ids {
            self.leader.opens.released(request.session, *object);
        }
        let released = request.object_ids.clone();
        self.leader
            .release_orphans(request.session, released)
            .await?;
        Ok(ReleaseResponse {})
    }

    /// Gives up the sessions that have been silent for too long.
    pub async fn expire_sessions(&self) -> Result<()> {
        let lease = std::time::Duration::from_millis(ops::session::LEASE_MS);
        for session in self.leader.opens.silent(self.leader.now(), lease) {
            tracing::info!(session, "session is silent: given up");
            let body = Body::CloseSession(CloseSessionRequest {
                session,
                expired: true,
            });
            self.leader
                .propose(own_request(Type::CloseSession, body))
                .await?;
            self.session_closed(session);
        }
        Ok(())
    }

    fn session_closed(&self, session: u64) {
        self.leader.opens.session_closed(session);
        self.leader.leases.session_closed(session);
    }
}

fn key_answer(key: KeyInfo, lookup: bool) -> Reply {
    match lookup {
        true => Reply::LookupKeyResponse(LookupKeyResponse {
            key_info: Some(key),
            ..Default::default()
        }),
        false => Reply::GetKeyInfoResponse(GetKeyInfoResponse {
            key_info: Some(key),
            ..Default::default()
        }),
    }
}

/// The file of which an answer says that it has the name that was asked for.
fn told_of(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Lookup(found) => Some(found.inode.as_ref()?.row.as_ref()?.object_id),
        _ => None,
    }
}

/// A request of the OM itself.
pub fn own_request(kind: Type, body: Body) -> OmRequest {
    OmRequest {
        cmd_type: kind.into(),
        client_id: "om".into(),
        body: Some(body),
        ..Default::default()
    }
}

fn status_name(answer: &OmResponse) -> &'static str {
    Status::try_from(answer.status).map_or("UNKNOWN", |s| s.as_str_name())
}

fn audit(kind: Type, request: &OmRequest, answer: &OmResponse) {
    let user = request
        .user_info
        .as_ref()
        .map(|u| u.user_name())
        .unwrap_or_default();
    tracing::debug!(target: "audit", user, op = kind.as_str_name(), ret = status_name(answer), "");
}
