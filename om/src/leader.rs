//! What the leader of the OMs knows and can do beyond the replicated state.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ozone_common::clock::Clock;
use ozone_proto::namespace::{DirRef, Replication};
use ozone_proto::om::{Decided, KeyArgs, OmRequest, OmResponse};
use ozone_raft::Group;
use prost::Message;

use crate::blocks::Blocks;
use crate::error::{OmError, Result};
use crate::leases::Leases;
use crate::opens::Opens;
use crate::room::Room;
use crate::rows::Rows;
use crate::state_machine::OmState;
use crate::store::Store;
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
    /// What sessions may believe without asking.
    pub leases: Leases,
    /// How data is kept where bucket and key say nothing.
    pub default_replication: Replication,
    /// Whether there is room for changes.
    pub room: Arc<Room>,
    /// Time.
    pub clock: Arc<dyn Clock>,
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

    /// Puts the request into the log, with the leader's time, and returns its answer once nobody
    /// believes any more what it changed.
    pub async fn propose(&self, mut request: OmRequest) -> Result<OmResponse> {
        request.decided = Some(Decided {
            time_ns: Some(self.clock.wall_ns()),
            replication: Some(self.default_replication),
        });
        let session = session_of(&request);
        let answer = self.group.propose(request.encode_to_vec().into()).await?;
        self.settle(answer, session).await
    }

    /// Takes an answer of apply, to a request of `session`, and tells every other session of the
    /// changes.
    pub async fn settle(&self, answer: Bytes, session: u64) -> Result<OmResponse> {
        let mut answer = OmResponse::decode(answer)
            .map_err(|e| OmError::Storage(format!("undecodable answer: {e}")))?;
        let changes = std::mem::take(&mut answer.changes);
        self.leases.changed(changes, session).await;
        Ok(answer)
    }

    /// Time for timeouts.
    pub fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The sessions for which the file under a name must outlive its removal by the session `by`.
    pub async fn holders_at(
        &self,
        dir: Option<DirRef>,
        name: Vec<u8>,
        by: u64,
    ) -> Result<Vec<u64>> {
        let dir = *namespace::dir_of(dir.as_ref())?;
        let found = self
            .read(move |rows| namespace::child(rows, &dir, &name))
            .await?;
        Ok(found.map_or_else(Vec::new, |f| self.holders(f.row.object_id, by)))
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

    /// Likewise for a key.
    pub async fn holders_of_key(&self, args: &KeyArgs, by: u64) -> Result<Vec<u64>> {
        let (volume, bucket, key) = (
            args.volume_name.clone(),
            args.bucket_name.clone(),
            args.key_name.clone(),
        );
        let found = self
            .read(move |rows| {
                let bucket = namespace::bucket(rows, &volume, &bucket)?;
                let root = namespace::bucket_root(&bucket);
                Ok(key_path::resolve(rows, &root, &key)?.map(|(_, _, found)| found.row.object_id))
            })
            .await?;
        Ok(found.map_or_else(Vec::new, |id| self.holders(id, by)))
    }

    /// Forgets the soft state of an earlier term, whose leader granted leases until `since` at the
    /// latest: every session has to announce itself.
    pub async fn take_over(&self, since: Duration) -> Result<()> {
        let sessions: Vec<u64> = self
            .read(|rows| {
                let rows = rows.scan(tables::SESSION, &[], None, usize::MAX)?;
                Ok(rows
                    .iter()
                    .filter_map(|(k, _)| tables::parse_number_key::<1>(k))
                    .map(|[id]| id)
                    .collect())
            })
            .await?;
        self.leases.take_over(&sessions, since);
        self.opens.reset(sessions, self.now());
        Ok(())
    }
}

/// The session in whose name a request is made, 0 for none.
pub fn session_of(request: &OmRequest) -> u64 {
    request.context.as_ref().map_or(0, |c| c.session())
}
