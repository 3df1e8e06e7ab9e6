//! `ozone sh snapshot`.

mod diff;
mod view;

use clap::Subcommand;
use ozone_client::objects::{BucketName, NewSnapshot};

use self::diff::{Diff, ListDiff};
use self::view::SnapshotView;
use crate::address::Address;
use crate::error::Result;
use crate::output::{Listing, print_json, print_line};
use crate::page::ListOptions;
use crate::shell::Shell;

/// What there is to do with snapshots.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Take a snapshot of a bucket
    Create(Create),
    /// List the snapshots of a bucket as JSON
    #[command(visible_alias = "ls")]
    List(List),
    /// Show a snapshot as JSON
    Info(Named),
    /// Delete a snapshot
    Delete(Named),
    /// Give a snapshot another name
    Rename(Rename),
    /// Show what has changed between two snapshots
    #[command(visible_alias = "snapshotDiff")]
    Diff(Diff),
    /// List the differences that were asked for, as JSON
    #[command(name = "listDiff", aliases = ["listDiffJob", "lsDiff", "lsDiffJob"])]
    ListDiff(ListDiff),
}

/// The bucket whose snapshots are meant.
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
    /// Its name; one made of the time, unless said otherwise
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Do not have mounts send what they hold back: it may be missing in the snapshot
    #[arg(long)]
    no_flush: bool,
    /// Say what was done
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    options: ListOptions,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Named {
    #[command(flatten)]
    target: Target,
    /// The snapshot
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Rename {
    #[command(flatten)]
    target: Target,
    /// The snapshot
    #[arg(value_name = "OLD")]
    old: String,
    /// Its name from now on
    #[arg(value_name = "NEW")]
    new: String,
}

impl SnapshotCommand {
    pub(crate) async fn run(self, shell: &Shell<'_>) -> Result<()> {
        match self {
            Self::Create(create) => create.run(shell).await,
            Self::List(list) => list.run(shell).await,
            Self::Info(named) => named.info(shell).await,
            Self::Delete(named) => named.delete(shell).await,
            Self::Rename(rename) => rename.run(shell).await,
            Self::Diff(diff) => diff.run(shell).await,
            Self::ListDiff(list) => list.run(shell).await,
        }
    }
}

impl Target {
    fn address(&self) -> Result<Address> {
        Address::parse(&self.uri)
    }
}

fn bucket_of(address: &Address) -> Result<BucketName<'_>> {
    let (volume, bucket) = address.bucket()?;
    Ok(BucketName { volume, bucket })
}

impl Create {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = self.target.address()?;
        let of = bucket_of(&address)?;
        let objects = shell.client(&address).await?.objects();
        let new = NewSnapshot {
            name: self.name.as_deref().unwrap_or_default(),
            no_flush: self.no_flush,
        };
        let made = objects.create_snapshot(of, new).await?;
        if !self.verbose {
            return Ok(());
        }
        let (name, path) = (made.name(), made.snapshot_path());
        print_line(&format!("Created snapshot '{name}' under '{path}'.")).await
    }
}

impl List {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = self.target.address()?;
        let of = bucket_of(&address)?;
        let mut pages = self.options.pages()?;
        let objects = shell.client(&address).await?.objects();
        let mut listing = Listing::default();
        while let Some(page) = pages.next() {
            let snapshots = objects.list_snapshots(of, &page).await?;
            pages.took(snapshots.len(), snapshots.last().map(|last| last.name()));
            listing
                .print(snapshots.into_iter().map(SnapshotView::from))
                .await?;
        }
        listing.end().await
    }
}

impl Named {
    async fn info(self, shell: &Shell<'_>) -> Result<()> {
        let address = self.target.address()?;
        let of = bucket_of(&address)?;
        let objects = shell.client(&address).await?.objects();
        let info = objects.info_snapshot(of, &self.name).await?;
        print_json(&SnapshotView::from(info)).await
    }

    async fn delete(self, shell: &Shell<'_>) -> Result<()> {
        let address = self.target.address()?;
        let of = bucket_of(&address)?;
        let objects = shell.client(&address).await?.objects();
        Ok(objects.delete_snapshot(of, &self.name).await?)
    }
}

impl Rename {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = self.target.address()?;
        let of = bucket_of(&address)?;
        let objects = shell.client(&address).await?.objects();
        Ok(objects.rename_snapshot(of, &self.old, &self.new).await?)
    }
}
