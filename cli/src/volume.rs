//! `ozone sh volume`.

use clap::Subcommand;
use ozone_client::wire::om::VolumeInfo;
use serde::Serialize;

use crate::acl::AclView;
use crate::address::Address;
use crate::error::Result;
use crate::json::{Instant, Pairs, pairs};
use crate::output::{Listing, print_json, print_line};
use crate::page::ListOptions;
use crate::quota::QuotaOptions;
use crate::recursive::{RecursiveOptions, empty_volume};
use crate::shell::Shell;

/// What there is to do with volumes.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Create a volume
    Create(Create),
    /// Show a volume as JSON
    Info(Target),
    /// List volumes as JSON: your own, those of a user, or all
    #[command(visible_alias = "ls")]
    List(List),
    /// Delete a volume
    Delete(Delete),
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    options: RecursiveOptions,
}

/// A volume.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// [o3://HOST[:PORT]/]VOLUME
    #[arg(value_name = "URI")]
    uri: String,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    target: Target,
    /// The user who is to own it; you, unless said otherwise
    #[arg(short, long)]
    user: Option<String>,
    #[command(flatten)]
    quota: QuotaOptions,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct List {
    /// [o3://HOST[:PORT]/]
    #[arg(value_name = "URI", default_value = "/", hide_default_value = true)]
    uri: String,
    /// List the volumes that this user owns
    #[arg(short, long)]
    user: Option<String>,
    #[command(flatten)]
    options: ListOptions,
}

impl VolumeCommand {
    pub(crate) async fn run(self, shell: &Shell<'_>) -> Result<()> {
        match self {
            Self::Create(create) => create.run(shell).await,
            Self::Info(target) => target.info(shell).await,
            Self::List(list) => list.run(shell).await,
            Self::Delete(delete) => delete.run(shell).await,
        }
    }
}

impl Create {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.target.uri)?;
        let volume = address.volume()?;
        let (space, namespace) = (self.quota.space()?, self.quota.namespace()?);
        let client = shell.client(&address).await?;
        let user = &client.caller().user;
        let info = VolumeInfo {
            admin_name: user.clone(),
            owner_name: self.user.unwrap_or_else(|| user.clone()),
            volume: volume.to_owned(),
            quota_in_bytes: space.map(i64::cast_unsigned),
            quota_in_namespace: Some(namespace.unwrap_or(-1)),
            ..Default::default()
        };
        Ok(client.objects().create_volume_with(info).await?)
    }
}

impl Target {
    async fn info(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.uri)?;
        let volume = address.volume()?;
        let objects = shell.client(&address).await?.objects();
        let info = objects.info_volume(volume).await?;
        print_json(&VolumeView::from(info)).await
    }
}

impl Delete {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.target.uri)?;
        let volume = address.volume()?;
        let Some(recursive) = self.options.decide("volume").await? else {
            return Ok(());
        };
        let objects = shell.client(&address).await?.objects();
        if recursive {
            empty_volume(objects, volume).await?;
        }
        objects.delete_volume(volume).await?;
        print_line(&format!("Volume {volume} is deleted")).await
    }
}

impl List {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.uri)?;
        address.check_root()?;
        let mut pages = self.options.pages()?;
        let client = shell.client(&address).await?;
        let owner = match &self.user {
            Some(user) => Some(user.as_str()),
            None if self.options.all => None,
            None => Some(client.caller().user.as_str()),
        };
        let mut listing = Listing::default();
        while let Some(page) = pages.next() {
            let volumes = client.objects().list_volumes(owner, &page).await?;
            pages.took(volumes.len(), volumes.last().map(|v| v.volume.as_str()));
            listing
                .print(volumes.into_iter().map(VolumeView::from))
                .await?;
        }
        listing.end().await
    }
}

/// A volume as JSON. Quotas: -1 for none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VolumeView {
    metadata: Pairs,
    name: String,
    admin: String,
    owner: String,
    quota_in_bytes: i64,
    quota_in_namespace: i64,
    used_namespace: u64,
    creation_time: Instant,
    modification_time: Instant,
    acls: Vec<AclView>,
    ref_count: i64,
}

impl From<VolumeInfo> for VolumeView {
    fn from(info: VolumeInfo) -> Self {
        Self {
            quota_in_bytes: info.quota_in_bytes.map_or(-1, u64::cast_signed),
            quota_in_namespace: info.quota_in_namespace(),
            used_namespace: info.used_namespace(),
            creation_time: Instant(info.creation_time()),
            modification_time: Instant(info.modification_time()),
            ref_count: info.ref_count(),
            metadata: pairs(info.metadata),
            name: info.volume,
            admin: info.admin_name,
            owner: info.owner_name,
            acls: info.volume_acls.into_iter().map(AclView::from).collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::json::pretty;

    #[test]
    fn a_volume_has_ozones_fields_in_ozones_order() {
        let info = VolumeInfo {
            admin_name: "hadoop".to_owned(),
            owner_name: "bilbo".to_owned(),
            volume: "vol1".to_owned(),
            quota_in_namespace: Some(-1),
            creation_time: Some(1_595_939_510_112),
            modification_time: Some(1_595_939_510_112),
            used_namespace: Some(2),
            ..Default::default()
        };
        let expected = r#"{
  "metadata" : { },
  "name" : "vol1",
  "admin" : "hadoop",
  "owner" : "bilbo",
  "quotaInBytes" : -1,
  "quotaInNamespace" : -1,
  "usedNamespace" : 2,
  "creationTime" : "2020-07-28T12:31:50.112Z",
  "modificationTime" : "2020-07-28T12:31:50.112Z",
  "acls" : [ ],
  "refCount" : 0
}"#;
        let text = pretty(&VolumeView::from(info)).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn no_quota_is_minus_one_however_it_is_sent() {
        let info = VolumeInfo {
            quota_in_bytes: Some(u64::MAX),
            ..Default::default()
        };
        assert_eq!(VolumeView::from(info).quota_in_bytes, -1);
    }
}
