//! `ozone freon ockv`: reads the keys of a load test and compares their digests with the first's.

use std::sync::Arc;

use ozone_client::Client;
use sha2::{Digest, Sha256};

use super::Place;
use super::runner::RunOptions;
use crate::content::Content;
use crate::error::{CliError, Result};
use crate::output::print_line;
use crate::shell::Shell;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Ockv {
    #[command(flatten)]
    run: RunOptions,
    #[command(flatten)]
    place: Place,
}

impl Ockv {
    pub(super) async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let client = self.place.client(shell).await?;
        let mut work = Work {
            client,
            prefix: self.run.prefix(),
            place: self.place,
            reference: [0; 32],
        };
        (work.reference, _) = work.digest(&work.name(0)).await?;
        let work = Arc::new(work);
        let validate = move |number| {
            let work = work.clone();
            async move { work.validate(number).await }
        };
        let report = self.run.run("key-validate", validate).await?;
        print_line(&report.to_string()).await?;
        report.check()
    }
}

/// What every worker needs.
struct Work {
    client: Client,
    place: Place,
    prefix: String,
    /// Digest of the first key.
    reference: [u8; 32],
}

impl Work {
    fn name(&self, number: u64) -> String {
        format!("{}/{number}", self.prefix)
    }

    async fn validate(&self, number: u64) -> Result<u64> {
        let key = self.name(number);
        let (digest, bytes) = self.digest(&key).await?;
        match digest == self.reference {
            true => Ok(bytes),
            false => Err(CliError::OtherDigest { key }),
        }
    }

    /// Digest and size of a key's content.
    async fn digest(&self, key: &str) -> Result<([u8; 32], u64)> {
        let name = self.place.key(key);
        let mut content = Content::open(&self.client, name, key.to_owned()).await?;
        let mut hash = Sha256::new();
        let mut size = 0;
        loop {
            let pieces = content.next().await?;
            if pieces.is_empty() {
                return Ok((hash.finalize().into(), size));
            }
            for piece in pieces {
                hash.update(&piece);
                size += piece.len() as u64;
            }
        }
    }
}
