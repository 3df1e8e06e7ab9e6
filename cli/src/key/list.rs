//! `ozone sh key list`.

use ozone_client::Objects;
use ozone_client::objects::Page;

use super::view::KeyView;
use crate::address::Address;
use crate::error::Result;
use crate::output::Listing;
use crate::page::{ListOptions, PAGE, Pages};
use crate::sh::complain;
use crate::shell::Shell;

/// List the keys of a bucket or of a whole volume.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct List {
    /// [o3://HOST[:PORT]/]VOLUME[/BUCKET]
    #[arg(value_name = "URI")]
    uri: String,
    #[command(flatten)]
    options: ListOptions,
}

/// A listing over one or more buckets.
struct Walk<'a> {
    objects: &'a Objects,
    options: &'a ListOptions,
    /// What all keys begin with: a snapshot.
    within: String,
    /// Keys that may still be printed.
    left: u64,
    /// Whether there are keys beyond them.
    truncated: bool,
    listing: Listing,
}

impl List {
    pub(crate) async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = Address::parse(&self.uri)?;
        let (volume, bucket, within) = address.listable()?;
        let limit = self.options.limit()?;
        let mut walk = Walk {
            objects: shell.client(&address).await?.objects(),
            options: &self.options,
            within,
            left: limit,
            truncated: false,
            listing: Listing::default(),
        };
        match bucket {
            Some(bucket) => walk.bucket(volume, bucket).await?,
            None => walk.volume(volume).await?,
        }
        walk.listing.end().await?;
        if walk.truncated {
            complain(&format!(
                "Listing first {limit} entries of the result. Use --length (-l) to override max \
                 returned keys."
            ));
        }
        Ok(())
    }
}

impl Walk<'_> {
    async fn volume(&mut self, volume: &str) -> Result<()> {
        let mut pages = Pages::all();
        while let Some(page) = pages.next() {
            let buckets = self.objects.list_buckets(volume, &page).await?;
            pages.took(
                buckets.len(),
                buckets.last().map(|b| b.bucket_name.as_str()),
            );
            for bucket in buckets {
                self.bucket(volume, &bucket.bucket_name).await?;
                if self.truncated {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// With nothing left to print, only looks whether there is a key.
    async fn bucket(&mut self, volume: &str, bucket: &str) -> Result<()> {
        let mut start = match self.options.start.as_str() {
            "" => String::new(),
            start => format!("{}{start}", self.within),
        };
        loop {
            let page = Page {
                prefix: format!("{}{}", self.within, self.options.prefix),
                start,
                limit: self.left.clamp(1, PAGE) as u32,
            };
            let (keys, more) = self.objects.list_keys(volume, bucket, &page).await?;
            let Some(last) = keys.last() else {
                return Ok(());
            };
            if self.left == 0 {
                self.truncated = true;
                return Ok(());
            }
            start = last.key_name.clone();
            self.left = self.left.saturating_sub(keys.len() as u64);
            self.listing
                .print(keys.into_iter().map(KeyView::from))
                .await?;
            self.truncated = more && self.left == 0;
            if !more || self.truncated {
                return Ok(());
            }
        }
    }
}
