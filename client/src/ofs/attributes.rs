//! Modes, owners and times.

use ozone_common::caller::{group_id, user_id};
use ozone_proto::namespace::SetAttrRequest;

use super::Ofs;
use super::error::{OfsError, Result};
use super::path::{Level, OfsPath};
use super::status::FileStatus;
use crate::ClientError;
use crate::namespace::place_of;

/// Times to give to a file, in milliseconds since the epoch; what is not given stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// When its content changed.
    pub modified_ms: Option<u64>,
    /// When it was read.
    pub accessed_ms: Option<u64>,
}

impl Ofs {
    /// Sets the permission bits.
    pub async fn set_permission(&self, path: &OfsPath, mode: u32) -> Result<()> {
        let change = SetAttrRequest {
            mode: Some(mode & 0o7777),
            ..Default::default()
        };
        self.set(path, change).await
    }

    /// Sets the owner and the group, by names of this system or by numbers.
    pub async fn set_owner(
        &self,
        path: &OfsPath,
        owner: Option<String>,
        group: Option<String>,
    ) -> Result<()> {
        let change = SetAttrRequest {
            uid: id_of("user", owner, user_id).await?,
            gid: id_of("group", group, group_id).await?,
            ..Default::default()
        };
        self.set(path, change).await
    }

    /// Sets times.
    pub async fn set_times(&self, path: &OfsPath, times: Times) -> Result<()> {
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        let change = SetAttrRequest {
            atime_ns: times.accessed_ms.map(ns),
            mtime_ns: times.modified_ms.map(ns),
            ..Default::default()
        };
        self.set(path, change).await
    }

    /// What is at `path`, if anything is.
    pub async fn found(&self, path: &OfsPath) -> Result<Option<FileStatus>> {
        match self.status(path).await {
            Ok(status) => Ok(Some(status)),
            Err(OfsError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn set(&self, path: &OfsPath, change: SetAttrRequest) -> Result<()> {
        if path.is_past() {
            return Err(OfsError::ReadOnly);
        }
        if path.level() == Level::Root {
            return Err(OfsError::Refused("The root belongs to nobody"));
        }
        let inode = self.inode(path).await?;
        let change = SetAttrRequest {
            r#ref: Some(place_of(&inode)?.clone()),
            ..change
        };
        self.client.namespace().set_attr(change).await?;
        Ok(())
    }
}

/// The number of a name, asked of the system off the async threads.
async fn id_of(
    kind: &'static str,
    name: Option<String>,
    look_up: fn(&str) -> Option<u32>,
) -> Result<Option<u32>> {
    let Some(name) = name else { return Ok(None) };
    let asked = name.clone();
    let looked_up = tokio::task::spawn_blocking(move || look_up(&asked)).await;
    let failed = |e| ClientError::unavailable("the system's users", format!("{e}"));
    match looked_up.map_err(failed)? {
        Some(id) => Ok(Some(id)),
        None => Err(OfsError::Unknown { kind, name }),
    }
}
