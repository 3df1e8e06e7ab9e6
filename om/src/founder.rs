//! `/` of a new cluster belongs to the user whom its OM runs as, an administrator: who starts a cluster and mounts it
//! makes the first volume there.

use ozone_common::caller::Caller;
use ozone_proto::namespace::{DirRef, InodeRef, InodeRow, SetAttrRequest};
use ozone_proto::om::Type;
use ozone_proto::om::om_request::Body;

use crate::error::Result;
use crate::leader::Leader;
use crate::namespace::ROOT_ID;
use crate::rows::Rows;
use crate::runner::own_request;
use crate::tables;

/// Gives `/` to the user of this process, if nothing has changed it since the cluster was made.
pub(crate) async fn found(leader: &Leader) -> Result<()> {
    let founder = Caller::of_process();
    // To whom it belongs as it is.
    if founder.is_root() {
        return Ok(());
    }
    let changed = leader.read(|store| store.get::<InodeRow>(tables::META, tables::ROOT_KEY));
    if changed.await?.is_some() {
        return Ok(());
    }
    let request = SetAttrRequest {
        r#ref: Some(InodeRef {
            dir: Some(DirRef::default()),
            object_id: ROOT_ID,
            ..Default::default()
        }),
        uid: Some(founder.uid),
        gid: Some(founder.gid),
        owner_name: founder.user,
        ..Default::default()
    };
    let request = own_request(Type::SetAttr, Body::SetAttr(request));
    leader.ask(request).await.map(drop)
}
