//! `ozone freon ockg`: writes keys.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ozone_client::objects::{NewBucket, NewKey, Objects};
use ozone_client::wire::om::Status;
use ozone_client::{Client, ClientError};
use ozone_common::rng::{OsRng, Rng};
use ozone_common::units::parse_size;
use tokio::io::{AsyncRead, ReadBuf};

use super::Place;
use super::runner::RunOptions;
use crate::error::Result;
use crate::output::print_line;
use crate::replication::ReplicationOptions;
use crate::shell::Shell;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Ockg {
    #[command(flatten)]
    run: RunOptions,
    #[command(flatten)]
    place: Place,
    /// Size of each key, such as 10KB
    #[arg(short, long, default_value = "10KB", value_parser = parse_size)]
    size: u64,
    /// Size of the random text that fills the keys, over and over
    #[arg(long, default_value = "4096", value_parser = buffer_size)]
    buffer: usize,
    /// How many replicas: ONE or THREE
    #[arg(short, long, visible_short_alias = 'F', visible_alias = "factor")]
    replication: Option<String>,
}

fn buffer_size(text: &str) -> std::result::Result<usize, String> {
    let size = parse_size(text).map_err(|e| e.to_string())?;
    match usize::try_from(size) {
        Ok(size) if size > 0 => Ok(size),
        _ => Err("a buffer has at least one byte".to_owned()),
    }
}

impl Ockg {
    pub(super) async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let replicas = ReplicationOptions::of_replicas(self.replication.clone());
        let replication = replicas.or_configured(shell.config())?;
        let client = self.place.client(shell).await?;
        ensure_bucket(client.objects(), &self.place).await?;
        let prefix = self.run.prefix();
        let work = Arc::new(Work {
            client,
            place: self.place,
            prefix,
            text: text(self.buffer),
            size: self.size,
            new: NewKey {
                replication,
                ..Default::default()
            },
        });
        let create = move |number| {
            let work = work.clone();
            async move { work.create(number).await }
        };
        let report = self.run.run("key-create", create).await?;
        print_line(&report.to_string()).await?;
        report.check()
    }
}

/// What every worker needs.
struct Work {
    client: Client,
    place: Place,
    prefix: String,
    text: Arc<[u8]>,
    size: u64,
    new: NewKey,
}

impl Work {
    async fn create(&self, number: u64) -> Result<u64> {
        let key = format!("{}/{number}", self.prefix);
        let content = Repeated {
            text: self.text.clone(),
            at: 0,
            left: self.size,
        };
        let objects = self.client.objects();
        let name = self.place.key(&key);
        Ok(objects.put_key(name, content, self.new.clone()).await?)
    }
}

/// Makes volume and bucket unless they are there.
async fn ensure_bucket(objects: &Objects, place: &Place) -> Result<()> {
    let (volume, bucket) = (&place.volume, &place.bucket);
    unless(
        Status::VolumeAlreadyExists,
        objects.create_volume(volume, None).await,
    )?;
    let new = NewBucket::default();
    let made = objects.create_bucket(volume, bucket, new).await;
    unless(Status::BucketAlreadyExists, made)
}

fn unless(fine: Status, made: Result<(), ClientError>) -> Result<()> {
    match made {
        Err(ClientError::Om { status, .. }) if status == fine => Ok(()),
        made => Ok(made?),
    }
}

/// Random printable text.
fn text(length: usize) -> Arc<[u8]> {
    let printable = |byte: u8| b' ' + byte % (b'~' - b' ' + 1);
    let mut bytes = vec![0; length];
    OsRng.fill(&mut bytes);
    bytes.into_iter().map(printable).collect()
}

/// A text over and over, up to a length.
struct Repeated {
    text: Arc<[u8]>,
    at: usize,
    left: u64,
}

impl AsyncRead for Repeated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left > 0 && out.remaining() > 0 {
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            let count = (self.text.len() - self.at).min(out.remaining()).min(left);
            out.put_slice(&self.text[self.at..self.at + count]);
            self.at = (self.at + count) % self.text.len();
            self.left -= count as u64;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn content_is_the_text_over_and_over() {
        for size in [0, 1, 3, 10, 3 * 4096 + 1] {
            let mut content = Repeated {
                text: Arc::from(&b"abc"[..]),
                at: 0,
                left: size,
            };
            let mut all = Vec::new();
            content.read_to_end(&mut all).await.unwrap();
            let expected: Vec<u8> = b"abc".iter().copied().cycle().take(size as usize).collect();
            assert!(all == expected, "{size} bytes");
        }
    }

    #[test]
    fn text_is_printable() {
        let text = text(10_000);
        assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert!(text.iter().any(|byte| *byte != text[0]));
    }
}
