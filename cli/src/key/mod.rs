//! `ozone sh key`.

mod delete;
mod list;
mod local;
mod transfer;
mod view;

use std::path::PathBuf;

use clap::Subcommand;

use crate::address::Address;
use crate::error::Result;
use crate::output::print_json;
use crate::replication::ReplicationOptions;
use crate::shell::Shell;
use view::KeyDetails;

/// What there is to do with keys.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum KeyCommand {
    /// Store a local file as a key
    Put(Put),
    /// Fetch a key into a local file
    Get(Get),
    /// Print a key's content
    Cat(Target),
    /// Show a key as JSON
    Info(Target),
    /// List the keys of a bucket, or of all buckets of a volume, as JSON
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Delete a key, or move it into the trash where that is on
    Delete(Target),
    /// Give a key another name in its bucket
    Rename(Rename),
}

/// A key.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// [o3://HOST[:PORT]/]VOLUME/BUCKET/KEY
    #[arg(value_name = "URI")]
    uri: String,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Put {
    #[command(flatten)]
    target: Target,
    /// The file to store
    file: PathBuf,
    #[command(flatten)]
    replication: ReplicationOptions,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Get {
    #[command(flatten)]
    target: Target,
    /// Where to store it: a file, or a directory to put a file of the key's name into
    file: PathBuf,
    /// Overwrite the file if there is one
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Rename {
    /// [o3://HOST[:PORT]/]VOLUME/BUCKET
    #[arg(value_name = "URI")]
    uri: String,
    /// The name it has
    from: String,
    /// The name it is to have
    to: String,
}

impl KeyCommand {
    pub(crate) async fn run(self, shell: &Shell<'_>) -> Result<()> {
        match self {
            Self::Put(put) => transfer::put(put, shell).await,
            Self::Get(get) => transfer::get(get, shell).await,
            Self::Cat(target) => transfer::cat(&target, shell).await,
            Self::Info(target) => target.info(shell).await,
            Self::List(list) => list.run(shell).await,
            Self::Delete(target) => delete::run(target, shell).await,
            Self::Rename(rename) => rename.run(shell).await,
        }
    }
}

impl Target {
    async fn info(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.uri)?;
        let key = address.key()?;
        let objects = shell.client(&address).await?.objects();
        let info = objects.key_info(key).await?;
        print_json(&KeyDetails::from(info)).await
    }
}

impl Rename {
    async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.uri)?;
        let from = address.key_in_bucket(&self.from)?;
        let objects = shell.client(&address).await?.objects();
        Ok(objects.rename_key(from, &self.to).await?)
    }
}
