//! Differences that were asked for: the leader computes each once and hands it out page by page. They
//! are its own, and asked for anew from the next leader.

use std::collections::HashMap;
use std::sync::Arc;

use ozone_common::rng::Rng;
use ozone_proto::om::SnapshotDiffJobProto;
use ozone_proto::om::snapshot_diff_response::JobStatusProto;
use parking_lot::Mutex;

use super::diff::Difference;

/// Differences that are remembered: the oldest goes first.
const REMEMBERED: usize = 64;

/// Bucket, and the two snapshots by index.
pub type Question = (u64, u64, u64);

/// What is known about a difference.
#[derive(Debug, Clone)]
pub struct Job {
    /// What the command line calls it.
    pub description: SnapshotDiffJobProto,
    /// What has come of it.
    pub outcome: Outcome,
}

/// What has come of a job.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is being computed.
    Running,
    /// It was given up on demand.
    Cancelled,
    /// Why it cannot be told.
    Failed(String),
    /// The difference, in order.
    Done(Arc<Vec<Difference>>),
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
#[derive(Default)]
pub struct Jobs(Mutex<HashMap<Question, Job>>);

impl Jobs {
    /// What is known about a difference.
    pub fn find(&self, question: Question) -> Option<Job> {
        self.0.lock().get(&question).cloned()
    }

    /// Notes that it is being computed; the job as it was, if it is known and need not be computed again.
    pub fn begin(
        &self,
        question: Question,
        mut description: SnapshotDiffJobProto,
        rng: &dyn Rng,
    ) -> Option<Job> {
        let mut jobs = self.0.lock();
        if let Some(known) = jobs.get(&question)
            && matches!(known.outcome, Outcome::Running | Outcome::Done(_))
        {
            return Some(known.clone());
        }
        description.job_id = Some(rng.uuid().to_string());
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
        None
    }

    /// Notes what has come of it, unless it was cancelled meanwhile.
    pub fn end(&self, question: Question, outcome: Outcome) {
        if let Some(job) = self.0.lock().get_mut(&question)
            && matches!(job.outcome, Outcome::Running)
        {
            if let Outcome::Done(found) = &outcome {
                job.description.total_diff_entries = Some(found.len() as u64);
            }
            job.outcome = outcome;
        }
    }

    /// All jobs about a bucket.
    pub fn of_bucket(&self, bucket: u64) -> Vec<Job> {
        let jobs = self.0.lock();
        let of_bucket = jobs.iter().filter(|((of, _, _), _)| *of == bucket);
        of_bucket.map(|(_, job)| job.clone()).collect()
    }
}
