//! Differences that were asked for: the leader computes each once, on disk, and hands it out page by page.
//! They are its own, and asked for anew from the next leader.

use std::collections::HashMap;
use std::sync::Arc;

use ozone_common::rng::Rng;
use ozone_proto::om::SnapshotDiffJobProto;
use ozone_proto::om::snapshot_diff_response::JobStatusProto;
use parking_lot::Mutex;

use super::reports::{Report, Reports};
use crate::error::Result;

/// Differences that are remembered: the oldest goes first.
const REMEMBERED: usize = 64;

/// Bucket, and the two snapshots by index.
pub type Question = (u64, u64, u64);

/// What is known about a difference.
#[derive(Clone)]
pub struct Job {
    /// What the command line calls it.
    pub description: SnapshotDiffJobProto,
    /// What has come of it.
    pub outcome: Outcome,
}

impl Job {
    fn is_running(&self, id: &str) -> bool {
        self.description.job_id() == id && matches!(self.outcome, Outcome::Running)
    }
}

/// What became of asking for a difference.
pub enum Begun {
    /// It is to be computed, as the job with this id.
    New(String),
    /// It was asked for before.
    Known(Outcome),
}

/// What has come of a job.
#[derive(Clone)]
pub enum Outcome {
    /// It is being computed.
    Running,
    /// It was given up on demand.
    Cancelled,
    /// Why it cannot be told.
    Failed(String),
    /// The difference.
    Done(Arc<Report>),
}

impl Outcome {
    /// As the protocol says it.
    pub fn status(&self) -> JobStatusProto {
        match self {
            Self::Running => JobStatusProto::InProgress,
            Self::Cancelled => JobStatusProto::Cancelled,
            Self::Failed(_) => JobStatusProto::Failed,
            Self::Done(_) => JobStatusProto::Done,
        }
    }
}

/// The jobs of this leader.
pub struct Jobs {
    jobs: Mutex<HashMap<Question, Job>>,
    reports: Reports,
}

impl Jobs {
    /// None yet; what comes of them is kept in `reports`.
    pub fn new(reports: Reports) -> Self {
        Self {
            jobs: Mutex::default(),
            reports,
        }
    }

    /// A report to be filled.
    pub fn report(&self) -> Result<Report> {
        self.reports.begin()
    }

    /// What is known about a difference.
    pub fn find(&self, question: Question) -> Option<Job> {
        self.jobs.lock().get(&question).cloned()
    }

    /// Whether somebody still waits for the job to end.
    pub fn is_running(&self, question: Question, id: &str) -> bool {
        let jobs = self.jobs.lock();
        jobs.get(&question).is_some_and(|job| job.is_running(id))
    }

    /// Notes that it is being computed, unless it is known and need not be computed again.
    pub fn begin(
        &self,
        question: Question,
        mut description: SnapshotDiffJobProto,
        rng: &dyn Rng,
    ) -> Begun {
        let mut jobs = self.jobs.lock();
        if let Some(known) = jobs.get(&question)
            && matches!(known.outcome, Outcome::Running | Outcome::Done(_))
        {
            return Begun::Known(known.outcome.clone());
        }
        let id = rng.uuid().to_string();
        description.job_id = Some(id.clone());
        let outcome = Outcome::Running;
        let job = Job {
            description,
            outcome,
        };
        jobs.insert(question, job);
        if jobs.len() > REMEMBERED {
            let age = |job: &Job| job.description.creation_time();
            let oldest = jobs.iter().min_by_key(|(_, job)| age(job));
            if let Some(oldest) = oldest.map(|(question, _)| *question) {
                jobs.remove(&oldest);
            }
        }
        Begun::New(id)
    }

    /// Notes what has come of the job with this id, unless it was cancelled meanwhile.
    pub fn end(&self, question: Question, id: &str, outcome: Outcome) {
        if let Some(job) = self.jobs.lock().get_mut(&question)
            && job.is_running(id)
        {
            if let Outcome::Done(found) = &outcome {
                job.description.total_diff_entries = Some(found.len());
            }
            job.outcome = outcome;
        }
    }

    /// All jobs about a bucket.
    pub fn of_bucket(&self, bucket: u64) -> Vec<Job> {
        let jobs = self.jobs.lock();
        let of_bucket = jobs.iter().filter(|((of, _, _), _)| *of == bucket);
        of_bucket.map(|(_, job)| job.clone()).collect()
    }
}
