//! Volumes.

use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Response;
use ozone_proto::om::{
    CreateVolumeRequest, DeleteVolumeRequest, InfoVolumeRequest, ListVolumeRequest, VolumeInfo,
    list_volume_request::Scope,
};

use super::{Objects, Page, ask};
use crate::{ClientError, Result};

impl Objects {
    /// Makes a volume. `owner`: the caller, when none is given.
    pub async fn create_volume(&self, volume: &str, owner: Option<&str>) -> Result<()> {
        let caller = self.namespace.om().caller();
        let info = VolumeInfo {
            admin_name: caller.user.clone(),
            owner_name: owner.unwrap_or(&caller.user).to_owned(),
            volume: volume.to_owned(),
            ..Default::default()
        };
        self.create_volume_with(info).await
    }

    /// Makes a volume as described, quotas included.
    pub async fn create_volume_with(&self, volume_info: VolumeInfo) -> Result<()> {
        let request = CreateVolumeRequest { volume_info };
        ask!(self, CreateVolumeRequest, CreateVolumeResponse, request).map(drop)
    }

    /// What is known of a volume.
    pub async fn info_volume(&self, volume: &str) -> Result<VolumeInfo> {
        let request = InfoVolumeRequest {
            volume_name: volume.to_owned(),
        };
        let answer = ask!(self, InfoVolumeRequest, InfoVolumeResponse, request)?;
        let missing = || ClientError::protocol("OM", "a volume without its description");
        answer.volume_info.ok_or_else(missing)
    }

    /// Volumes in the order of their names: those of `owner`, or all.
    pub async fn list_volumes(&self, owner: Option<&str>, page: &Page) -> Result<Vec<VolumeInfo>> {
        let scope = match owner {
            Some(_) => Scope::VolumesByUser,
            None => Scope::VolumesByCluster,
        };
        let request = ListVolumeRequest {
            scope: scope.into(),
            user_name: owner.map(str::to_owned),
            prefix: Some(page.prefix.clone()),
            prev_key: Some(page.start.clone()),
            max_keys: (page.limit > 0).then_some(page.limit),
        };
        Ok(ask!(self, ListVolumeRequest, ListVolumeResponse, request)?.volume_info)
    }

    /// Removes an empty volume.
    pub async fn delete_volume(&self, volume: &str) -> Result<()> {
        let request = DeleteVolumeRequest {
            volume_name: volume.to_owned(),
        };
        ask!(self, DeleteVolumeRequest, DeleteVolumeResponse, request).map(drop)
    }
}
