//! Whether the cluster takes writes: a key is written to datanodes, read back and deleted, in a volume
//! that nobody else can have. What a probe that was killed has left is removed by the next one.

use std::time::{Duration, Instant};

use nix::libc;
use ozone_client::objects::{KeyName, NewBucket, NewKey, Objects, Page};
use ozone_client::{Client, ClientError};
use ozone_common::rng::{OsRng, Rng};

/// How long the cluster may take until a write succeeds.
const LIMIT: Duration = Duration::from_secs(60);
/// The same when a datanode has said that it cannot open a pipeline: it will not later either.
const DAMAGED_LIMIT: Duration = Duration::from_secs(15);
/// Between attempts to write.
const PAUSE: Duration = Duration::from_millis(50);
/// What the names of the volumes begin with; 16 random hexadecimal digits follow.
const PREFIX: &str = "ozone-up-probe-";
/// Name of the bucket, and of the key in it.
const NAME: &str = "probe";
/// More than rides inline, so that datanodes take part.
const BYTES: usize = 64 << 10;
/// Volumes that are looked at for what earlier probes have left.
const LEFTOVERS: u32 = 100;

/// What a cluster that has started can do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Everything.
    Writable,
    /// Everything but take room: its disk is nearly full. With the words of who refused.
    Full(String),
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(
        "what was written was read back as other bytes: the memory, the disk or the network of this \
         machine damages data"
    )]
    OtherBytes,
}

impl ProbeError {
    fn is_full(&self) -> bool {
        matches!(self, Self::Client(error) if error.errno() == libc::ENOSPC)
    }
}

/// Returns when a key has been written, or when the disk is too full for that. `damage` tells what the
/// datanodes found wrong so far.
pub(super) async fn wait_ready(
    client: &Client,
    damage: impl Fn() -> Vec<String>,
) -> Result<Readiness, String> {
    let probe = Probe {
        objects: client.objects(),
        volume: format!("{PREFIX}{:016x}", OsRng.u64()),
    };
    let ready = tokio::select! {
        ready = probe.wait() => ready?,
        reason = hopeless(damage) => return Err(reason),
    };
    probe.clean_up().await;
    Ok(ready)
}

/// Returns when it is no use to wait on. What is damaged is told at once.
async fn hopeless(damage: impl Fn() -> Vec<String>) -> String {
    let started = Instant::now();
    let mut told = 0;
    loop {
        let damage = damage();
        for one in damage.iter().skip(told) {
            eprintln!("ozone: {one}");
        }
        told = damage.len();
        if told > 0 && started.elapsed() > DAMAGED_LIMIT {
            return format!("the cluster does not take writes: {}", damage.join("; "));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

struct Probe<'a> {
    objects: &'a Objects,
    volume: String,
}

impl Probe<'_> {
    async fn wait(&self) -> Result<Readiness, String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.write().await {
                Ok(()) => return Ok(Readiness::Writable),
                Err(error) if error.is_full() => return Ok(Readiness::Full(error.to_string())),
                Err(error @ ProbeError::OtherBytes) => return Err(error.to_string()),
                Err(error) if Instant::now() > deadline => {
                    return Err(format!("the cluster does not take writes: {error}"));
                }
                Err(error) => tracing::debug!(%error, "not writable yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn write(&self) -> Result<(), ProbeError> {
        let objects = self.objects;
        made(objects.create_volume(&self.volume, None).await)?;
        let bucket = NewBucket::default();
        made(objects.create_bucket(&self.volume, NAME, bucket).await)?;
        let name = key_of(&self.volume);
        let content: Vec<u8> = (0..BYTES).map(|at| at as u8 ^ (at >> 8) as u8).collect();
        objects
            .put_key(name, &content[..], NewKey::default())
            .await?;
        let (_, reader) = objects.get_key(name).await?;
        check(&content, &reader.read(0, BYTES).await?)
    }

    /// Removes what this probe and killed ones have made. What stays is in nobody's way.
    async fn clean_up(&self) {
        let page = Page {
            prefix: PREFIX.to_owned(),
            limit: LEFTOVERS,
            ..Page::default()
        };
        let found = match self.objects.list_volumes(None, &page).await {
            Ok(found) => found,
            Err(error) => return tracing::debug!(%error, "leftovers of probes are not looked for"),
        };
        for volume in found.iter().filter(|found| is_of_a_probe(&found.volume)) {
            match self.remove(&volume.volume).await {
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, volume.volume, "volume of a probe stays"),
            }
        }
    }

    /// Removes a volume that holds nothing but what a probe writes.
    async fn remove(&self, volume: &str) -> Result<(), ClientError> {
        let objects = self.objects;
        let name = key_of(volume);
        match objects.key_info(name).await {
            Ok(info) if info.data_size == BYTES as u64 => objects.delete_key(name).await?,
            Ok(_) => return Ok(()),
            Err(error) => gone(Err(error))?,
        }
        gone(objects.delete_bucket(volume, NAME).await)?;
        objects.delete_volume(volume).await
    }
}

fn key_of(volume: &str) -> KeyName<'_> {
    KeyName {
        volume,
        bucket: NAME,
        key: NAME,
    }
}

/// An earlier attempt of the same probe may have made it.
fn made(outcome: Result<(), ClientError>) -> Result<(), ClientError> {
    match outcome {
        Err(error) if error.errno() == libc::EEXIST => Ok(()),
        outcome => outcome,
    }
}

/// It may not have got that far.
fn gone(outcome: Result<(), ClientError>) -> Result<(), ClientError> {
    match outcome {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome,
    }
}

fn check(written: &[u8], read: &[u8]) -> Result<(), ProbeError> {
    match written == read {
        true => Ok(()),
        false => Err(ProbeError::OtherBytes),
    }
}

fn is_of_a_probe(volume: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let id = volume.strip_prefix(PREFIX);
    id.is_some_and(|id| id.len() == 16 && id.chars().all(hex))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_than_were_written_are_an_error() {
        check(b"same", b"same").unwrap();
        for read in [&b"sane"[..], b"sam", b""] {
            let error = check(b"same", read).unwrap_err();
            assert!(matches!(error, ProbeError::OtherBytes));
            assert!(!error.is_full());
        }
    }

    #[test]
    fn only_names_that_a_probe_gives_are_taken_for_its_own() {
        assert!(is_of_a_probe("ozone-up-probe-0123456789abcdef"));
        for name in [
            "ozone-up-probe",
            "ozone-up-probe-",
            "ozone-up-probe-mine",
            "ozone-up-probe-0123456789abcdeg",
            "ozone-up-probe-0123456789abcdef0",
            "vol",
        ] {
            assert!(!is_of_a_probe(name), "{name}");
        }
    }
}
