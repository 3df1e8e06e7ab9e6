//! The emptier of the trash: removes the checkpoints that have been kept long enough, and gives what was thrown
//! away since the last one the time as its name, in every bucket and for every user.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::config::{Config, ConfigError};
use ozone_common::trash::{self, CURRENT, TRASH, made_at, stamp};
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::namespace::{BucketRow, DirRef};
use ozone_proto::om::om_request::Body;
use ozone_proto::om::{DeleteKeyRequest, KeyArgs, RenameKeyRequest, Status, Type};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::error::{OmError, Result};
use crate::reads::listing::children;
use crate::rows::{Rows, decode};
use crate::runner::{Runner, own_request};
use crate::{namespace, tables};

/// Buckets looked at, at a time.
const BUCKETS: usize = 100;
/// Between looks whether this is the leader by now.
const LOOK: Duration = Duration::from_secs(1);

/// Empties the trash.
pub struct EmptyTrash {
    /// Answers requests.
    pub runner: Arc<Runner>,
    /// How long a checkpoint is kept.
    pub keep: Duration,
    /// Pause between rounds.
    pub interval: Duration,
}

/// What is to be done in a bucket.
enum Step {
    /// Remove a checkpoint.
    Remove(String),
    /// Make one.
    Rename(String, String),
}

type Steps = Vec<(KeyArgs, Step)>;

impl EmptyTrash {
    /// As the configuration says; none where nothing is to be emptied.
    pub fn from_config(config: &Config, runner: &Arc<Runner>) -> Result<Option<Self>> {
        let start = |error: ConfigError| OmError::Start(error.to_string());
        let Some(keep) = trash::keep(config).map_err(start)? else {
            return Ok(None);
        };
        let interval = trash::checkpoint_interval(config, keep).map_err(start)?;
        let runner = runner.clone();
        Ok(Some(Self {
            runner,
            keep,
            interval,
        }))
    }

    /// What is to be done in some buckets after `after`, and the last of them if there are more.
    async fn steps(&self, after: Vec<u8>) -> Result<(Steps, Option<Vec<u8>>)> {
        let now_ns = i128::from(self.runner.leader.clock.wall_ns());
        let now = OffsetDateTime::from_unix_timestamp_nanos(now_ns)
            .map_err(|error| OmError::Storage(format!("the OM's clock is wrong: {error}")))?;
        let oldest = now - self.keep;
        let look = move |rows: &crate::store::Store| {
            let view = rows.view();
            let start = (!after.is_empty()).then_some(after.as_slice());
            let page = view.scan(tables::BUCKET, &[], start, BUCKETS)?;
            let last = page.last().filter(|_| page.len() == BUCKETS);
            let last = last.map(|(key, _)| key.clone());
            let mut steps = Vec::new();
            for (_, value) in page {
                let bucket: BucketRow = decode(tables::BUCKET, &value)?;
                let found = in_bucket(&bucket, &view, oldest, &stamp(now))?;
                steps.extend(found.into_iter().map(|step| (args_of(&bucket), step)));
            }
            Ok((steps, last))
        };
        self.runner.leader.read(look).await
    }

    /// Does it as a client would: who has the bucket to itself gives it back before.
    async fn take(&self, (args, step): (KeyArgs, Step)) {
        let place = format!("{}/{}", args.volume_name, args.bucket_name);
        let (kind, body) = match step {
            Step::Remove(key_name) => {
                tracing::info!(bucket = place, key = key_name, "old trash is removed");
                let key_args = KeyArgs {
                    key_name,
                    recursive: Some(true),
                    ..args
                };
                let request = DeleteKeyRequest {
                    key_args,
                    ..Default::default()
                };
                (Type::DeleteKey, Body::DeleteKeyRequest(request))
            }
            Step::Rename(key_name, to_key_name) => {
                let key_args = KeyArgs { key_name, ..args };
                let request = RenameKeyRequest {
                    key_args,
                    to_key_name,
                    ..Default::default()
                };
                (Type::RenameKey, Body::RenameKeyRequest(request))
            }
        };
        let answer = self.runner.run(own_request(kind, body)).await;
        // Somebody else may have emptied it meanwhile.
        if answer.status() != Status::Ok && answer.status() != Status::KeyNotFound {
            let message = answer.message();
            tracing::warn!(bucket = place, message, "the trash is not emptied");
        }
    }
}

fn args_of(bucket: &BucketRow) -> KeyArgs {
    KeyArgs {
        volume_name: bucket.volume.clone(),
        bucket_name: bucket.name.clone(),
        ..Default::default()
    }
}

/// What is to be done in a bucket: checkpoints are kept that were made after `oldest`.
fn in_bucket(
    bucket: &BucketRow,
    rows: &impl Rows,
    oldest: OffsetDateTime,
    now: &str,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let root = namespace::bucket_root(bucket);
    for (user, dir) in directories(rows, directory(rows, &root, TRASH)?)? {
        let path = |name: &str| format!("{TRASH}/{user}/{name}");
        for (name, _) in directories(rows, Some(dir))? {
            if made_at(&name).is_some_and(|made| made <= oldest) {
                steps.push(Step::Remove(path(&name)));
            }
        }
        if directory(rows, &dir, CURRENT)?.is_some() {
            steps.push(Step::Rename(path(CURRENT), path(now)));
        }
    }
    Ok(steps)
}

/// A directory in another one.
fn directory(rows: &impl Rows, dir: &DirRef, name: &str) -> Result<Option<DirRef>> {
    let found = namespace::child(rows, dir, name.as_bytes())?;
    let found = found.filter(|found| namespace::is_dir(&found.row));
    Ok(found.map(|found| DirRef {
        parent_id: found.row.object_id,
        ..*dir
    }))
}

/// The directories in one, by name. There are as many as users, or checkpoints of one.
fn directories(rows: &impl Rows, dir: Option<DirRef>) -> Result<Vec<(String, DirRef)>> {
    let Some(dir) = dir else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for inode in children(rows, &dir, b"", usize::MAX)? {
        let (Some(place), Some(row)) = (inode.r#ref, inode.row) else {
            continue;
        };
        let parent_id = row.object_id;
        if let (true, Ok(name)) = (namespace::is_dir(&row), std::str::from_utf8(&place.name)) {
            found.push((name.to_owned(), DirRef { parent_id, ..dir }));
        }
    }
    Ok(found)
}

#[async_trait]
impl Worker for EmptyTrash {
    fn name(&self) -> String {
        "empty-trash".to_owned()
    }

    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError> {
        if !self.runner.leader.group.is_leader() {
            return Ok(Next::After(LOOK.min(self.interval)));
        }
        let mut after = Some(Vec::new());
        while let Some(from) = after.take()
            && self.runner.leader.group.is_leader()
            && !gate.is_cancelled()
        {
            let (steps, last) = self.steps(from).await?;
            for step in steps {
                self.take(step).await;
            }
            after = last;
        }
        Ok(Next::After(self.interval))
    }
}
