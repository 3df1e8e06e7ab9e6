//! What the leader of the OMs knows and can do beyond the replicated state.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ozone_common::clock::Clock;
use ozone_common::rng::Rng;
use ozone_proto::hdds::ReplicationFactor;
use ozone_proto::namespace::{
    DirRef, Keep, Replication, SessionRow, StatFsRequest, StatFsResponse,
};
use ozone_proto::om::{Decided, KeyArgs, OmRequest, OmResponse};
use ozone_raft::Group;
use prost::Message;

use crate::admins::Admins;
use crate::blocks::Blocks;
use crate::error::{OmError, Result};
use crate::leases::Leases;
use crate::opens::Opens;
use crate::removals::{Removal, Removals};
use crate::room::Room;
use crate::rows::{self, Rows};
use crate::snapshots::{self, jobs::Jobs};
use crate::state_machine::OmState;
use crate::store::{Store, View};
use crate::{key_path, namespace, tables};

/// The leader's means.
pub struct Leader {
    /// The replicated state.
    pub state: Arc<OmState>,
    /// The Raft group.
    pub group: Arc<Group>,
    /// SCM, and tokens for datanodes.
    pub blocks: Blocks,
    /// Who has what open.
    pub opens: Opens,
    /// Files that are losing a name.
    pub removals: Removals,
    /// What sessions may believe without asking.
    pub leases: Leases,
    /// How data is kept where bucket and key say nothing.
    pub default_replication: Replication,
    /// Whether there is room for changes.
    pub room: Arc<Room>,
    /// What may be done with snapshots.
    pub snapshots: snapshots::Settings,
    /// Differences of snapshots that were asked for.
    pub diffs: Jobs,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// Who may act for others.
    pub admins: Admins,
}

impl Leader {
    /// Looks at the rows, on a thread that may block.
    pub async fn read<T, F>(&self, look: F) -> Result<T>
    where
        F: FnOnce(&Store) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let store = self.state.store()?;
        ozone_kv::blocking(move || look(&store))
            .await
            .map_err(|e| OmError::Storage(e.to_string()))?
    }

    /// As [`read`](Self::read), of few rows that are mostly in memory: at once if they are, since a hop to a thread
    /// that may block and back costs more than such a look.
    pub async fn peek<T, F>(&self, look: F) -> Result<T>
    where
        F: Fn(&View<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let store = self.state.store()?;
        let seen = look(&store.view_in_memory());
        match seen {
            Err(OmError::NotInMemory) => self.read(move |store| look(&store.view())).await,
            seen => seen,
        }
    }

    /// Puts the request into the log and returns its answer once nobody believes any more what it
    /// changed.
    pub async fn propose(&self, request: OmRequest) -> Result<OmResponse> {
        let session = session_of(&request);
        let mut answer = decode(self.log(request).await?)?;
        self.settle(&mut answer, session).await;
        Ok(answer)
    }

    /// Puts a request of the OM's own into the log; a refusal is an error.
    pub async fn ask(&self, request: OmRequest) -> Result<OmResponse> {
        let answer = self.propose(request).await?;
        match answer.success() {
            true => Ok(answer),
            false => Err(OmError::refused(
                answer.status(),
                answer.message.unwrap_or_default(),
            )),
        }
    }

    /// Puts the request into the log, with the leader's time; the answer of apply, to be settled.
    pub async fn log(&self, mut request: OmRequest) -> Result<Bytes> {
        request.decided = Some(Decided {
            time_ns: Some(self.clock.wall_ns()),
            replication: Some(self.default_replication),
        });
        Ok(self.group.propose(request.encode_to_vec().into()).await?)
    }

    /// Tells every other session of the changes that come with the answer of apply to a request of
    /// `session`, and takes them out of it.
    pub async fn settle(&self, answer: &mut OmResponse, session: u64) {
        let changes = std::mem::take(&mut answer.changes);
        let gone = changes.iter().filter(|change| change.gone);
        let gone: Vec<u64> = gone.map(|change| change.object_id).collect();
        self.leases.changed(changes, session).await;
        if let Err(error) = self.drop_for_strangers(&gone).await {
            tracing::warn!(%error, "removed files are kept until the sessions end that they are kept for");
        }
    }

    /// Time for timeouts.
    pub fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The inode under a name, if there is one.
    pub async fn child(&self, dir: Option<DirRef>, name: Vec<u8>) -> Result<Option<u64>> {
        let dir = *namespace::dir_of(dir.as_ref())?;
        let found = self
            .peek(move |rows| namespace::child(rows, &dir, &name))
            .await?;
        Ok(found.map(|found| found.row.object_id))
    }

    /// The inode of a key, if there is one.
    pub async fn key(&self, args: &KeyArgs) -> Result<Option<u64>> {
        let (volume, bucket, key) = (
            args.volume_name.clone(),
            args.bucket_name.clone(),
            args.key_name.clone(),
        );
        self.peek(move |rows| {
            let bucket = namespace::bucket(rows, &volume, &bucket)?;
            let root = namespace::bucket_root(&bucket);
            Ok(key_path::resolve(rows, &root, &key)?.map(|(_, _, found)| found.row.object_id))
        })
        .await
    }

    /// How data of a bucket is kept; none if there is no such bucket.
    pub async fn bucket_replication(&self, dir: DirRef) -> Result<Option<Replication>> {
        let bucket = self
            .peek(move |rows| namespace::bucket_by_id(rows, dir.volume_id, dir.bucket_id))
            .await?;
        Ok(bucket.map(|bucket| bucket.replication.unwrap_or(self.default_replication)))
    }

    /// Room for data where `request` asks: of a byte of the disks, each copy takes its own.
    pub async fn stat_fs(&self, request: &StatFsRequest) -> Result<StatFsResponse> {
        let space = self.blocks.stat_fs().await?;
        let dir = *namespace::dir_of(request.dir.as_ref())?;
        let replication = self.bucket_replication(dir).await?;
        let copies = match replication.unwrap_or(self.default_replication).factor() {
            ReplicationFactor::Three => 3,
            _ => 1,
        };
        Ok(StatFsResponse {
            capacity: space.capacity / copies,
            used: space.used / copies,
            available: space.available / copies,
            files: space.files,
        })
    }

    /// The sessions for which an inode must outlive its removal by the session `by`. They stay the same
    /// until the removal is over: whoever opens the inode meanwhile waits.
    pub fn removal(&self, inode: Option<u64>, by: u64) -> Option<(Removal<'_>, Keep)> {
        let object_id = inode?;
        let removal = self.removals.begin(object_id);
        let keep = Keep {
            object_id,
            sessions: self.holders(object_id, by),
        };
        Some((removal, keep))
    }

    /// Those that have the inode open, and others than `by` that believe that its name is there and
    /// may open it yet.
    fn holders(&self, object: u64, by: u64) -> Vec<u64> {
        let mut held = self.opens.holders(object);
        held.extend(self.leases.holders(object).filter(|session| *session != by));
        held.sort_unstable();
        held.dedup();
        held
    }

    /// Forgets the soft state of an earlier term, whose leader granted leases until `since` at the
    /// latest: every session has to announce itself.
    pub async fn take_over(&self, since: Duration) -> Result<()> {
        let sessions: Vec<SessionRow> = self
            .read(|rows| {
                let rows = rows.scan(tables::SESSION, &[], None, usize::MAX)?;
                rows.iter()
                    .map(|(_, value)| rows::decode(tables::SESSION, value))
                    .collect()
            })
            .await?;
        let ids: Vec<u64> = sessions.iter().map(|session| session.id).collect();
        self.leases.take_over(&ids, since);
        let sessions = sessions.into_iter().map(|row| (row.id, row.client_id));
        self.opens.reset(sessions, self.now());
        Ok(())
    }
}

/// An answer of apply.
pub fn decode(answer: Bytes) -> Result<OmResponse> {
    OmResponse::decode(answer).map_err(|e| OmError::Storage(format!("undecodable answer: {e}")))
}

/// The session in whose name a request is made, 0 for none.
pub fn session_of(request: &OmRequest) -> u64 {
    request.context.as_ref().map_or(0, |c| c.session())
}
