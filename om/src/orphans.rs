//! Files without a name that are kept for sessions, and when a session needs one no more.
//!
//! A file that loses its last name is kept for those who have it open, and for those who believe that the
//! name is there and may be about to open it. The latter are told, and release what they have not opened.
//! Nobody would tell those who have forgotten everything before they heard of it, nor those for whom it is
//! kept only because nobody knew whom to keep it for: the leader releases it in their name.

use ozone_proto::namespace::DropOrphansRequest;
use ozone_proto::om::Type;
use ozone_proto::om::om_request::Body;

use crate::error::Result;
use crate::leader::Leader;
use crate::rows::Rows;
use crate::runner::own_request;
use crate::store::Store;
use crate::{tables, unlink};

impl Leader {
    /// What is kept for the session.
    pub async fn orphans_of(&self, session: u64) -> Result<Vec<u64>> {
        self.read(move |rows| {
            let prefix = tables::number_key(&[session]);
            let rows = rows.scan(tables::SESSION_ORPHAN, &prefix, None, usize::MAX)?;
            let keys = rows
                .iter()
                .filter_map(|(key, _)| tables::parse_number_key::<2>(key));
            Ok(keys.map(|[_, object]| object).collect())
        })
        .await
    }

    /// The session needs none of these files, if they are kept for it.
    pub async fn release_orphans(&self, session: u64, object_ids: Vec<u64>) -> Result<()> {
        let pairs = object_ids.into_iter().map(|id| (session, id)).collect();
        let kept = self.read(move |rows| kept(rows, pairs)).await?;
        let object_ids = kept.into_iter().map(|(_, id)| id).collect();
        self.drop_orphans(session, object_ids).await
    }

    /// The session has forgotten everything, and so the names of these files: it needs those that it has
    /// open.
    pub async fn drop_unopened(&self, session: u64, mut orphans: Vec<u64>) -> Result<()> {
        orphans.retain(|id| !self.opens.may_have(session, *id));
        self.drop_orphans(session, orphans).await
    }

    /// These files have lost their last names, and whoever believed otherwise has heard of it: those who
    /// neither did nor have them open do not need them.
    pub(crate) async fn drop_for_strangers(&self, gone: &[u64]) -> Result<()> {
        let mut pairs = Vec::new();
        for id in gone {
            let holders: Vec<u64> = self.leases.holders(*id).collect();
            let strangers = self.opens.strangers(*id).into_iter();
            pairs.extend(
                strangers
                    .filter(|session| !holders.contains(session))
                    .map(|session| (session, *id)),
            );
        }
        if pairs.is_empty() {
            return Ok(());
        }
        for (session, id) in self.read(move |rows| kept(rows, pairs)).await? {
            self.drop_orphans(session, vec![id]).await?;
        }
        Ok(())
    }

    /// Whatever else it changes, nobody believes anything of a file without a name that it would have to
    /// be told of.
    async fn drop_orphans(&self, session: u64, object_ids: Vec<u64>) -> Result<()> {
        if object_ids.is_empty() {
            return Ok(());
        }
        let body = Body::DropOrphans(DropOrphansRequest {
            session,
            object_ids,
        });
        self.log(own_request(Type::DropOrphans, body)).await?;
        Ok(())
    }
}

/// Those of the pairs of session and file in which the file is kept for the session.
fn kept(rows: &Store, pairs: Vec<(u64, u64)>) -> Result<Vec<(u64, u64)>> {
    let mut kept = Vec::new();
    for (session, id) in pairs {
        let key = unlink::session_orphan_key(session, id);
        if rows.get_raw(tables::SESSION_ORPHAN, &key)?.is_some() {
            kept.push((session, id));
        }
    }
    Ok(kept)
}
