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
use crate::snapshots::diff::{self, Difference};
use crate::snapshots::jobs::{Job, Outcome, Question};
use crate::snapshots::{self, change_log};
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
    let known = leader
        .diffs
        .begin(pair.question(), description, &*leader.rng);
    let response = match known {
        Some(job) => format!(
            "Previous snapshot diff attempt found. Status: {} . Please get the report using \
             --get-report option.",
            job.outcome.status().as_str_name()
        ),
        None => {
            tokio::spawn(compute(leader.clone(), pair));
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

async fn compute(leader: Arc<Leader>, pair: Pair) {
    let question = pair.question();
    let state = leader.state.clone();
    let found = leader.read(move |live| {
        let bucket = pair.from.bucket_id;
        let changes = change_log::between(live, bucket, pair.from.index, pair.to.index)?;
        let from = state.checkpoints.open(&pair.from)?;
        let to = state.checkpoints.open(&pair.to)?;
        let places = diff::places(changes, &from, &to)?;
        let root = namespace::bucket_root(&namespace::bucket(
            &from,
            &pair.from.volume,
            &pair.from.bucket,
        )?);
        diff::compare(&from, &to, root, &places)
    });
    let outcome = match found.await {
        Ok(found) => Outcome::Done(Arc::new(found)),
        Err(error) => Outcome::Failed(error.message()),
    };
    leader.diffs.end(question, outcome);
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
            answer.snapshot_diff_report = Some(page(request, &found, leader.snapshots.diff_page)?);
        }
    }
    Ok(answer)
}

/// The page that begins where the token says: it is the number of the entry.
fn page(
    request: &SnapshotDiffRequest,
    found: &[Difference],
    most: usize,
) -> Result<SnapshotDiffReportProto> {
    let token = request.token();
    let from: usize = match token.is_empty() {
        true => 0,
        false => token
            .parse()
            .ok()
            .filter(|at| *at <= found.len())
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
    let to = from.saturating_add(size).min(found.len());
    Ok(SnapshotDiffReportProto {
        volume_name: request.volume_name.clone(),
        bucket_name: request.bucket_name.clone(),
        from_snapshot: request.from_snapshot.clone(),
        to_snapshot: request.to_snapshot.clone(),
        diff_list: found[from..to].iter().map(Difference::entry).collect(),
        token: (to < found.len()).then(|| to.to_string()),
    })
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
    let reason = match leader.diffs.find(pair.question()).map(|job| job.outcome) {
        None => {
            "No snapshot diff job found. Job may not have been submitted or was removed during \
                 cleanup."
                .to_owned()
        }
        Some(Outcome::Running) => {
            leader.diffs.end(pair.question(), Outcome::Cancelled);
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
