//! `ozone sh bucket`.

use clap::builder::EnumValueParser;
use clap::{Subcommand, ValueEnum};
use ozone_client::wire::hdds::DefaultReplicationConfig;
use ozone_client::wire::om::{BucketInfo, BucketLayoutProto, StorageTypeProto};
use serde::Serialize;

use crate::address::Address;
use crate::error::Result;
use crate::json::{Instant, Pairs, pairs};
use crate::output::{Listing, print_json, print_line};
use crate::page::ListOptions;
use crate::quota::QuotaOptions;
use crate::recursive::{RecursiveOptions, empty_bucket, is_link};
use crate::replication::{ReplicationOptions, ReplicationView};
use crate::shell::Shell;
use crate::usage::WithUsage;

/// How many entries a client of Ozone keeps of a listing, which Ozone shows with every bucket.
const LIST_CACHE_SIZE: u32 = 1000;

/// What there is to do with buckets.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum BucketCommand {
    /// Create a bucket
    Create(Create),
    /// Show a bucket as JSON
    Info(Target),
    /// List the buckets of a volume as JSON
    #[command(visible_alias = "ls")]
    List(List),
    /// Delete a bucket
    Delete(Delete),
    /// Create a symlink to another bucket
    Link(Link),
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Link {
    /// The bucket that the link is to lead to: [o3://HOST[:PORT]/]VOLUME/BUCKET
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The link: [o3://HOST[:PORT]/]VOLUME/BUCKET
    #[arg(value_name = "TARGET")]
    target: String,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    options: RecursiveOptions,
}

/// A bucket.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// [o3://HOST[:PORT]/]VOLUME/BUCKET
    #[arg(value_name = "URI")]
    uri: String,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    target: Target,
    /// How names are kept
    #[arg(
        short,
        long,
        ignore_case = true,
        value_parser = WithUsage(EnumValueParser::<Layout>::new())
    )]
    layout: Option<Layout>,
    /// The user who is to own it; you, unless said otherwise
    #[arg(short, long)]
    user: Option<String>,
    #[command(flatten)]
    replication: ReplicationOptions,
    #[command(flatten)]
    quota: QuotaOptions,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct List {
    /// [o3://HOST[:PORT]/]VOLUME
    #[arg(value_name = "URI")]
    uri: String,
    #[command(flatten)]
    options: ListOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Layout {
    #[value(name = "FILE_SYSTEM_OPTIMIZED", alias = "fso")]
    FileSystemOptimized,
    #[value(name = "OBJECT_STORE", alias = "obs")]
    ObjectStore,
    #[value(name = "LEGACY")]
    Legacy,
}

impl From<Layout> for BucketLayoutProto {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::FileSystemOptimized => Self::FileSystemOptimized,
            Layout::ObjectStore => Self::ObjectStore,
            Layout::Legacy => Self::Legacy,
        }
    }
}

impl BucketCommand {
    pub(crate) async fn run(self, shell: &Shell<'_>) -> Result<()> {
        match self {
            Self::Create(create) => create.run(shell).await,
            Self::Info(target) => target.info(shell).await,
            Self::List(list) => list.run(shell).await,
            Self::Delete(delete) => delete.run(shell).await,
            Self::Link(link) => link.run(shell).await,
        }
    }
}

impl Create {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.target.uri)?;
        let (volume, bucket) = address.bucket()?;
        let replication = self.replication.explicit()?;
        let (space, namespace) = (self.quota.space()?, self.quota.namespace()?);
        let client = shell.client(&address).await?;
        let user = &client.caller().user;
        let info = BucketInfo {
            volume_name: volume.to_owned(),
            bucket_name: bucket.to_owned(),
            storage_type: StorageTypeProto::Disk.into(),
            bucket_layout: self.layout.map(|l| BucketLayoutProto::from(l).into()),
            owner: Some(self.user.unwrap_or_else(|| user.clone())),
            quota_in_bytes: Some(space.unwrap_or(-1)),
            quota_in_namespace: Some(namespace.unwrap_or(-1)),
            default_replication_config: replication.map(|r| DefaultReplicationConfig {
                r#type: r.r#type,
                factor: Some(r.factor),
                ec_replication_config: None,
            }),
            ..Default::default()
        };
        Ok(client.objects().create_bucket_with(info).await?)
    }
}

impl Link {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let source = Address::parse(&self.source)?;
        let (source_volume, source_bucket) = source.bucket()?;
        let target = Address::parse(&self.target)?;
        let (volume, bucket) = target.bucket()?;
        let client = shell.client(&target).await?;
        let info = BucketInfo {
            volume_name: volume.to_owned(),
            bucket_name: bucket.to_owned(),
            storage_type: StorageTypeProto::Disk.into(),
            owner: Some(client.caller().user.clone()),
            source_volume: Some(source_volume.to_owned()),
            source_bucket: Some(source_bucket.to_owned()),
            ..Default::default()
        };
        Ok(client.objects().create_bucket_with(info).await?)
    }
}

impl Target {
    async fn info(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.uri)?;
        let (volume, bucket) = address.bucket()?;
        let objects = shell.client(&address).await?.objects();
        let info = objects.info_bucket(volume, bucket).await?;
        print_json(&BucketView::from(info)).await
    }
}

impl Delete {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.target.uri)?;
        let (volume, bucket) = address.bucket()?;
        let Some(recursive) = self.options.decide("bucket").await? else {
            return Ok(());
        };
        let objects = shell.client(&address).await?.objects();
        // With a link, what it leads to stays.
        if recursive && !is_link(&objects.info_bucket(volume, bucket).await?) {
            empty_bucket(objects, volume, bucket).await?;
        }
        objects.delete_bucket(volume, bucket).await?;
        print_line(&format!("Bucket {bucket} is deleted")).await
    }
}

impl List {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.uri)?;
        let volume = address.volume()?;
        let mut pages = self.options.pages()?;
        let objects = shell.client(&address).await?.objects();
        let mut listing = Listing::default();
        while let Some(page) = pages.next() {
            let buckets = objects.list_buckets(volume, &page).await?;
            pages.took(
                buckets.len(),
                buckets.last().map(|b| b.bucket_name.as_str()),
            );
            listing
                .print(buckets.into_iter().map(BucketView::from))
                .await?;
        }
        listing.end().await
    }
}

/// A bucket as JSON; one that stands for another shows only where it leads.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum BucketView {
    Link(LinkView),
    Bucket(Box<FullView>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkView {
    volume_name: String,
    name: String,
    source_volume: String,
    source_bucket: String,
    creation_time: Instant,
    modification_time: Instant,
    owner: Option<String>,
    link: bool,
}

/// Quotas: -1 for none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FullView {
    metadata: Pairs,
    volume_name: String,
    name: String,
    storage_type: &'static str,
    versioning: bool,
    list_cache_size: u32,
    used_bytes: u64,
    used_namespace: u64,
    creation_time: Instant,
    modification_time: Instant,
    source_path_exist: bool,
    quota_in_bytes: i64,
    quota_in_namespace: i64,
    bucket_layout: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    pending_delete_bytes: u64,
    pending_delete_namespace: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    replication_config: Option<ReplicationView>,
    link: bool,
}

impl From<BucketInfo> for BucketView {
    fn from(info: BucketInfo) -> Self {
        let (created, modified) = (info.creation_time(), info.modification_time());
        match (info.source_volume.clone(), info.source_bucket.clone()) {
            (Some(source_volume), Some(source_bucket)) => Self::Link(LinkView {
                volume_name: info.volume_name,
                name: info.bucket_name,
                source_volume,
                source_bucket,
                creation_time: Instant(created),
                modification_time: Instant(modified),
                owner: info.owner,
                link: true,
            }),
            _ => Self::Bucket(Box::new(FullView::from(info))),
        }
    }
}

impl From<BucketInfo> for FullView {
    fn from(info: BucketInfo) -> Self {
        let replication = info.default_replication_config.as_ref();
        Self {
            storage_type: info.storage_type().as_str_name(),
            versioning: info.is_version_enabled,
            list_cache_size: LIST_CACHE_SIZE,
            used_bytes: info.used_bytes(),
            used_namespace: info.used_namespace(),
            creation_time: Instant(info.creation_time()),
            modification_time: Instant(info.modification_time()),
            source_path_exist: true,
            quota_in_bytes: info.quota_in_bytes(),
            quota_in_namespace: info.quota_in_namespace(),
            bucket_layout: info.bucket_layout().as_str_name(),
            pending_delete_bytes: info.snapshot_used_bytes(),
            pending_delete_namespace: info.snapshot_used_namespace(),
            replication_config: replication.map(|r| ReplicationView::new(r.r#type(), r.factor())),
            link: false,
            metadata: pairs(info.metadata),
            volume_name: info.volume_name,
            name: info.bucket_name,
            owner: info.owner,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ozone_client::wire::hdds::{ReplicationFactor, ReplicationType};

    use super::*;
    use crate::json::pretty;

    fn bucket() -> BucketInfo {
        BucketInfo {
            volume_name: "vol1".to_owned(),
            bucket_name: "bucket1".to_owned(),
            storage_type: StorageTypeProto::Disk.into(),
            creation_time: Some(1_595_939_510_112),
            modification_time: Some(1_595_939_510_112),
            quota_in_bytes: Some(-1),
            quota_in_namespace: Some(-1),
            bucket_layout: Some(BucketLayoutProto::FileSystemOptimized.into()),
            owner: Some("bilbo".to_owned()),
            ..Default::default()
        }
    }

    fn text(info: BucketInfo) -> String {
        String::from_utf8(pretty(&BucketView::from(info)).unwrap()).unwrap()
    }

    #[test]
    fn a_bucket_has_ozones_fields_in_ozones_order() {
        let expected = r#"{
  "metadata" : { },
  "volumeName" : "vol1",
  "name" : "bucket1",
  "storageType" : "DISK",
  "versioning" : false,
  "listCacheSize" : 1000,
  "usedBytes" : 0,
  "usedNamespace" : 0,
  "creationTime" : "2020-07-28T12:31:50.112Z",
  "modificationTime" : "2020-07-28T12:31:50.112Z",
  "sourcePathExist" : true,
  "quotaInBytes" : -1,
  "quotaInNamespace" : -1,
  "bucketLayout" : "FILE_SYSTEM_OPTIMIZED",
  "owner" : "bilbo",
  "pendingDeleteBytes" : 0,
  "pendingDeleteNamespace" : 0,
  "link" : false
}"#;
        assert_eq!(text(bucket()), expected);
    }

    #[test]
    fn a_bucket_with_its_own_replication_shows_it() {
        let info = BucketInfo {
            default_replication_config: Some(DefaultReplicationConfig {
                r#type: ReplicationType::Ratis.into(),
                factor: Some(ReplicationFactor::One.into()),
                ec_replication_config: None,
            }),
            ..bucket()
        };
        let expected = r#"  "replicationConfig" : {
    "replicationFactor" : "ONE",
    "requiredNodes" : 1,
    "minimumNodes" : 1,
    "replicationType" : "RATIS"
  },
  "link" : false
}"#;
        assert!(text(info).ends_with(expected));
    }

    #[test]
    fn a_link_shows_where_it_leads_and_no_metadata() {
        let info = BucketInfo {
            source_volume: Some("vol2".to_owned()),
            source_bucket: Some("bucket2".to_owned()),
            ..bucket()
        };
        let text = text(info);
        assert!(text.contains(r#""sourceBucket" : "bucket2""#), "{text}");
        assert!(text.contains(r#""link" : true"#), "{text}");
        assert!(!text.contains("metadata"), "{text}");
    }
}
