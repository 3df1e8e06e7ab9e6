//! SubmitSnapshotDiff, SnapshotDiff, CancelSnapshotDiff and ListSnapshotDiffJobs: the leader compares two
//! snapshots of a bucket in the background and hands the difference out in pages.

use std::sync::Arc;

use ozone_proto::namespace::SnapshotRow;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::snapshot_diff_response::JobStatusProto;
use ozone_proto::om::{
    CancelSnapshotDiffRequest, CancelSnapshotDiffResponse, ListSnapshotDiffJobRequest,
    ListSnapshotDiffJobResponse, SnapshotDiffJobProto, SnapshotDiffReportProto,
    SnapshotDiffRequest, SnapshotDiffResponse, SubmitSnapshotDiffRequest,
    SubmitSnapshotDiffResponse,
};

use crate::error::{OmError, Result, refuse};
use crate::leader::Leader;
use crate::namespace;
use crate::snapshots;
use crate::snapshots::change_log::Changes;
use crate::snapshots::diff::Comparison;
use crate::snapshots::difference::Difference;
use crate::snapshots::jobs::{Begun, Job, Outcome, Question};
use crate::snapshots::reports::Report;
use crate::store::Store;

/// When a client may ask again, ms.
const WAIT_MS: i64 = 500;

/// Whether the request is about differences.
pub(crate) fn is_about(body: &Body) -> bool {
    matches!(
        body,
        Body::SubmitSnapshotDiffRequest(_)
            | Body::SnapshotDiffRequest(_)
            | Body::CancelSnapshotDiffRequest(_)
            | Body::ListSnapshotDiffJobRequest(_)
    )
}

/// Answers a request about differences; `None`: it is about something else.
pub(crate) async fn answer(body: &Body, leader: &Arc<Leader>) -> Option<Result<Reply>> {
    Some(match body {
        Body::SubmitSnapshotDiffRequest(r) => submit(r, leader)
            .await
            .map(Reply::SubmitSnapshotDiffResponse),
        Body::SnapshotDiffRequest(r) => report(r, leader).await.map(Reply::SnapshotDiffResponse),
        Body::CancelSnapshotDiffRequest(r) => cancel(r, leader)
            .await
            .map(Reply::CancelSnapshotDiffResponse),
        Body::ListSnapshotDiffJobRequest(r) => list(r, leader)
            .await
            .map(Reply::ListSnapshotDiffJobResponse),
        _ => return None,
    })
}

/// The two snapshots that a request names.
struct Pair {
    from: SnapshotRow,
    to: SnapshotRow,
}

impl Pair {
    async fn find(leader: &Leader, place: [&str; 4]) -> Result<Self> {
        let [volume, bucket, from, to] = place.map(str::to_owned);
        let find = move |rows: &Store| {
            let from = snapshots::find(rows, &volume, &bucket, &from)?;
            let to = snapshots::find(rows, &volume, &bucket, &to)?;
            if from.index > to.index {
                let message = format!(
                    "fromSnapshot:{} should be older than toSnapshot:{}: swap them",
                    from.name, to.name
                );
                return Err(refuse::invalid(message));
            }
            Ok(Self { from, to })
        };
        leader.read(find).await
    }

    fn question(&self) -> Question {
        (self.from.bucket_id, self.from.index, self.to.index)
    }
}

async fn submit(
    request: &SubmitSnapshotDiffRequest,
    leader: &Arc<Leader>,
) -> Result<SubmitSnapshotDiffResponse> {
    let place = [
        request.volume_name(),
        request.bucket_name(),
        request.from_snapshot(),
        request.to_snapshot(),
    ];
    let pair = Pair::find(leader, place).await?;
    let description = SnapshotDiffJobProto {
        creation_time: Some(leader.clock.wall_ms()),
        volume: request.volume_name.clone(),
        bucket: request.bucket_name.clone(),
        from_snapshot: request.from_snapshot.clone(),
        to_snapshot: request.to_snapshot.clone(),
        force_full_diff: Some(request.force_full_diff()),
        ..Default::default()
    };
    let question = pair.question();
    let response = match leader.diffs.begin(question, description, &*leader.rng) {
        Begun::Known(outcome) => format!(
            "Previous snapshot diff attempt found. Status: {} . Please get the report using \
             --get-report option.",
            outcome.status().as_str_name()
        ),
        Begun::New(id) => {
            tokio::spawn(run(leader.clone(), pair, id));
            format!(
                "Submitting a new job. Please retry after {WAIT_MS} ms using --get-report option to get \
                 the report."
            )
        }
    };
    Ok(SubmitSnapshotDiffResponse {
        response: Some(response),
    })
}

async fn run(leader: Arc<Leader>, pair: Pair, id: String) {
    let question = pair.question();
    let outcome = match compute(leader.clone(), pair, id.clone()).await {
        Ok(Some(report)) => Outcome::Done(Arc::new(report)),
        Ok(None) => return,
        Err(error) => Outcome::Failed(error.message()),
    };
    leader.diffs.end(question, &id, outcome);
}

/// The difference; none when it was given up meanwhile.
async fn compute(leader: Arc<Leader>, pair: Pair, id: String) -> Result<Option<Report>> {
    let (state, asked) = (leader.state.clone(), leader.clone());
    let look = move |live: &Store| {
        let (bucket, first, last) = pair.question();
        // As of one moment, in which both snapshots are there: the change log goes with them.
        let live = live.view();
        let from = state
            .checkpoints
            .open(&snapshots::at(&live, bucket, first)?)?;
        let to = state
            .checkpoints
            .open(&snapshots::at(&live, bucket, last)?)?;
        let (volume, name) = (&pair.from.volume, &pair.from.bucket);
        let comparison = Comparison {
            changes: Changes::between(&live, bucket, first, last),
            root: namespace::bucket_root(&namespace::bucket(&from, volume, name)?),
            from: &from,
            to: &to,
        };
        let mut report = asked.diffs.report()?;
        let wanted = || asked.diffs.is_running(pair.question(), &id);
        let complete = comparison.compute(&mut report, wanted)?;
        Ok(complete.then_some(report))
    };
    leader.read(look).await
}

async fn report(request: &SnapshotDiffRequest, leader: &Leader) -> Result<SnapshotDiffResponse> {
    let place = [
        request.volume_name(),
        request.bucket_name(),
        request.from_snapshot(),
        request.to_snapshot(),
    ];
    let pair = Pair::find(leader, place).await?;
    let Some(job) = leader.diffs.find(pair.question()) else {
        return Ok(SnapshotDiffResponse {
            job_status: Some(JobStatusProto::NotFound.into()),
            ..Default::default()
        });
    };
    let mut answer = SnapshotDiffResponse {
        job_status: Some(job.outcome.status().into()),
        ..Default::default()
    };
    match job.outcome {
        Outcome::Running => answer.wait_time_in_ms = Some(WAIT_MS),
        Outcome::Cancelled => {}
        Outcome::Failed(reason) => answer.reason = Some(reason),
        Outcome::Done(found) => {
            let page = Page::of(request, found.len(), leader.snapshots.diff_page)?;
            let look = move |_: &Store| found.page(page.from, page.size);
            let entries = leader.read(look).await?;
            answer.snapshot_diff_report = Some(page.report(request, &entries));
        }
    }
    Ok(answer)
}

/// A part of a report, by the number of its first entry: that is what tokens say.
struct Page {
    from: u64,
    size: usize,
    /// The token of the next one.
    next: Option<String>,
}

impl Page {
    /// The one that is asked for, of a report with so many entries, of which `most` go into an answer.
    fn of(request: &SnapshotDiffRequest, entries: u64, most: usize) -> Result<Self> {
        let token = request.token();
        let from = match token.is_empty() {
            true => 0,
            false => token
                .parse()
                .ok()
                .filter(|at| *at <= entries)
                .ok_or_else(|| {
                    refuse::invalid(format!(
                        "{token:?} is no token of this difference: use one that it was answered with"
                    ))
                })?,
        };
        let size = match request.page_size() as usize {
            0 => most,
            asked => asked.min(most),
        };
        let next = from.saturating_add(size as u64);
        Ok(Self {
            from,
            size,
            next: (next < entries).then(|| next.to_string()),
        })
    }

    fn report(
        self,
        request: &SnapshotDiffRequest,
        entries: &[Difference],
    ) -> SnapshotDiffReportProto {
        SnapshotDiffReportProto {
            volume_name: request.volume_name.clone(),
            bucket_name: request.bucket_name.clone(),
            from_snapshot: request.from_snapshot.clone(),
            to_snapshot: request.to_snapshot.clone(),
            diff_list: entries.iter().map(Difference::entry).collect(),
            token: self.next,
        }
    }
}

async fn cancel(
    request: &CancelSnapshotDiffRequest,
    leader: &Leader,
) -> Result<CancelSnapshotDiffResponse> {
    let place = [
        request.volume_name(),
        request.bucket_name(),
        request.from_snapshot(),
        request.to_snapshot(),
    ];
    let pair = Pair::find(leader, place).await?;
    let known = leader.diffs.find(pair.question());
    let reason = match known.as_ref().map(|job| &job.outcome) {
        None => {
            "No snapshot diff job found. Job may not have been submitted or was removed during \
                 cleanup."
                .to_owned()
        }
        Some(Outcome::Running) => {
            let id = known.as_ref().map_or("", |job| job.description.job_id());
            leader.diffs.end(pair.question(), id, Outcome::Cancelled);
            "Snapshot diff job has been cancelled.".to_owned()
        }
        Some(other) => format!(
            "Snapshot diff job is {}: there is nothing to cancel.",
            other.status().as_str_name()
        ),
    };
    Ok(CancelSnapshotDiffResponse {
        reason: Some(reason),
    })
}

async fn list(
    request: &ListSnapshotDiffJobRequest,
    leader: &Leader,
) -> Result<ListSnapshotDiffJobResponse> {
    let (volume, bucket) = (request.volume_name.clone(), request.bucket_name.clone());
    let row = leader
        .read(move |rows| namespace::bucket(rows, &volume, &bucket))
        .await?;
    let wanted = match request.job_status() {
        "" => JobStatusProto::InProgress,
        text => JobStatusProto::from_str_name(&text.to_uppercase()).ok_or_else(|| {
            OmError::refused(
                ozone_proto::om::Status::InvalidRequest,
                format!("Invalid job status: {text}"),
            )
        })?,
    };
    let is_wanted = |job: &Job| request.list_all() || job.outcome.status() == wanted;
    let jobs = leader.diffs.of_bucket(snapshots::bucket_id(&row));
    let mut snapshot_diff_job: Vec<_> = jobs
        .into_iter()
        .filter(is_wanted)
        .map(|job| SnapshotDiffJobProto {
            status: Some(job.outcome.status().into()),
            ..job.description
        })
        .collect();
    snapshot_diff_job.sort_by_key(SnapshotDiffJobProto::creation_time);
    Ok(ListSnapshotDiffJobResponse { snapshot_diff_job })
}
