//! Deleting volumes and buckets with all that they hold.

use std::io::BufRead;

use ozone_client::Objects;
use ozone_client::objects::{BucketName, KeyName, Page};
use ozone_client::wire::om::BucketInfo;

use crate::error::{CliError, Result};
use crate::output::{print, print_line};
use crate::page::{PAGE, Pages};

/// Whether what is inside goes too.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RecursiveOptions {
    /// Delete all that is inside as well
    #[arg(short, long)]
    recursive: bool,
    /// Do not ask before that
    #[arg(short, long)]
    yes: bool,
}

impl RecursiveOptions {
    /// Whether to delete what is inside; `None`: the user who was asked thought better of it. `what`
    /// is what loses its content.
    pub(crate) async fn decide(&self, what: &str) -> Result<Option<bool>> {
        if !self.recursive || self.yes {
            return Ok(Some(self.recursive));
        }
        let question = format!(
            "This command will delete {what} recursively.\nThere is no recovery option after using \
             this command, and deleted keys won't move to trash.\nEnter 'yes' to proceed': "
        );
        print(question.as_bytes()).await?;
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let answer = answer.await.map_err(|_| CliError::Panicked)?;
        let answer = answer.map_err(CliError::Input)?;
        if answer.trim().eq_ignore_ascii_case("yes") {
            return Ok(Some(true));
        }
        print_line("Operation cancelled.").await?;
        Ok(None)
    }
}

/// Whether a bucket is a link to another.
pub(crate) fn is_link(bucket: &BucketInfo) -> bool {
    bucket.source_bucket.is_some()
}

/// Deletes all keys of a bucket that has no snapshots. A directory goes in one step with all that it holds.
pub(crate) async fn empty_bucket(objects: &Objects, volume: &str, bucket: &str) -> Result<()> {
    objects
        .check_no_snapshots(BucketName { volume, bucket })
        .await?;
    let page = Page {
        limit: PAGE as u32,
        ..Page::default()
    };
    loop {
        let (keys, _) = objects.list_keys(volume, bucket, &page).await?;
        if keys.is_empty() {
            return Ok(());
        }
        let mut gone: Option<&str> = None;
        for info in &keys {
            let key = info.key_name.as_str();
            if gone.is_some_and(|directory| key.starts_with(directory)) {
                continue;
            }
            let name = KeyName {
                volume,
                bucket,
                key,
            };
            objects.delete_tree(name).await?;
            gone = (!info.is_file() && key.ends_with('/')).then_some(key);
        }
    }
}

/// Deletes all buckets of a volume, and what they hold; nothing if any of them has snapshots. Of a link nothing
/// but the link goes.
pub(crate) async fn empty_volume(objects: &Objects, volume: &str) -> Result<()> {
    each_bucket(objects, volume, async |info| {
        let bucket = &*info.bucket_name;
        match is_link(info) {
            true => Ok(()),
            false => Ok(objects
                .check_no_snapshots(BucketName { volume, bucket })
                .await?),
        }
    })
    .await?;
    each_bucket(objects, volume, async |info| {
        let bucket = &*info.bucket_name;
        if !is_link(info) {
            empty_bucket(objects, volume, bucket).await?;
        }
        Ok(objects.delete_bucket(volume, bucket).await?)
    })
    .await
}

async fn each_bucket(
    objects: &Objects,
    volume: &str,
    work: impl AsyncFn(&BucketInfo) -> Result<()>,
) -> Result<()> {
    let mut pages = Pages::all();
    while let Some(page) = pages.next() {
        let buckets = objects.list_buckets(volume, &page).await?;
        let last = buckets.last().map(|bucket| bucket.bucket_name.as_str());
        pages.took(buckets.len(), last);
        for bucket in buckets {
            work(&bucket).await?;
        }
    }
    Ok(())
}
