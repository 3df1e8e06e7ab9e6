//! The trash: `.Trash/<user>/Current` in the bucket that something is deleted from, so that throwing away is
//! a rename. Expunging gives `Current` the time as its name, and removes what was named so long enough ago.

use std::time::Duration;

use ozone_common::trash::{CURRENT, TRASH, made_at, stamp};
use time::OffsetDateTime;

use super::Ofs;
use super::error::{OfsError, Result};
use super::path::{Level, OfsPath};

/// How often another name is tried for what is there already.
const ATTEMPTS: u32 = 100;

/// The trash of one user, in every bucket.
#[derive(Debug, Clone)]
pub struct Trash {
    /// Whose it is.
    pub user: String,
    /// How long a checkpoint is kept.
    pub keep: Duration,
}

/// What became of something that was to be thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It is there now.
    To(OfsPath),
    /// It is in the trash already: only deleting is left.
    InTrash,
    /// The trash is in it.
    ContainsTrash,
}

impl Trash {
    /// Where this user's trash of the bucket of `path` is; none above buckets.
    pub fn root(&self, path: &OfsPath) -> Option<OfsPath> {
        match path.level() {
            Level::Root | Level::Volume => None,
            _ => Some(path.bucket_path().child(TRASH).child(&self.user)),
        }
    }

    /// Moves something into the trash.
    pub async fn take(&self, ofs: &Ofs, path: &OfsPath) -> Result<Moved> {
        let Some(root) = self.root(path) else {
            return Ok(Moved::ContainsTrash);
        };
        if path.is_within(&root) {
            return Ok(Moved::InTrash);
        }
        if root.is_within(path) {
            return Ok(Moved::ContainsTrash);
        }
        if path.is_past() {
            return Err(OfsError::ReadOnly);
        }
        let current = root.child(CURRENT);
        let dir = self.directory(ofs, &current, path).await?;
        for attempt in 0..ATTEMPTS {
            let name = match attempt {
                0 => path.name().to_owned(),
                _ => format!("{}{}", path.name(), ofs.client.config().clock.wall_ms()),
            };
            let target = dir.child(&name);
            if ofs.found(&target).await?.is_some() {
                continue;
            }
            match ofs.rename(path, &target).await {
                Ok(()) => return Ok(Moved::To(target)),
                Err(OfsError::Exists) => {}
                // Somebody made a checkpoint in between.
                Err(OfsError::NotFound) if attempt == 0 && ofs.found(path).await?.is_some() => {
                    ofs.mkdirs(&dir).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(OfsError::Exists)
    }

    /// The directory in `current` for what is in the same directory as `path`. Where a file has the name of
    /// one of them, the directory gets another.
    async fn directory(&self, ofs: &Ofs, current: &OfsPath, path: &OfsPath) -> Result<OfsPath> {
        let mut dir = current.clone();
        let above = path.parent();
        let names: Vec<_> = above.lineage().skip(2).collect();
        for above in names {
            let next = dir.child(above.name());
            dir = match ofs.found(&next).await? {
                Some(found) if !found.is_directory() => dir.child(&format!(
                    "{}{}",
                    above.name(),
                    ofs.client.config().clock.wall_ms()
                )),
                _ => next,
            };
        }
        ofs.mkdirs(&dir).await?;
        Ok(dir)
    }

    /// Gives what was thrown away in a bucket since the last time the time as its name; that checkpoint, if
    /// there was anything.
    pub async fn checkpoint(&self, ofs: &Ofs, bucket: &OfsPath) -> Result<Option<OfsPath>> {
        let Some(root) = self.root(bucket) else {
            return Ok(None);
        };
        let current = root.child(CURRENT);
        if ofs.found(&current).await?.is_none() {
            return Ok(None);
        }
        let stamp = stamp(OffsetDateTime::now_utc());
        for attempt in 0..ATTEMPTS {
            let target = match attempt {
                0 => root.child(&stamp),
                _ => root.child(&format!("{stamp}-{attempt}")),
            };
            if ofs.found(&target).await?.is_some() {
                continue;
            }
            ofs.rename(&current, &target).await?;
            return Ok(Some(target));
        }
        Err(OfsError::Exists)
    }

    /// Removes the checkpoints of a bucket that have been kept long enough, or with `all` everything that was
    /// thrown away. Gives what was removed.
    pub async fn expunge(&self, ofs: &Ofs, bucket: &OfsPath, all: bool) -> Result<Vec<OfsPath>> {
        let Some(root) = self.root(bucket) else {
            return Ok(Vec::new());
        };
        let mut listing = match ofs.list(&root).await {
            Ok(listing) => listing,
            Err(OfsError::NotFound) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let oldest = OffsetDateTime::now_utc() - self.keep;
        let mut removed = Vec::new();
        loop {
            let page = listing.next_page().await?;
            if page.is_empty() {
                return Ok(removed);
            }
            for entry in page {
                let due = made_at(&entry.name).is_some_and(|made| made <= oldest);
                if !all && !due {
                    continue;
                }
                let path = root.child(&entry.name);
                ofs.delete(&path, true).await?;
                removed.push(path);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn the_trash_of_a_user_is_in_the_bucket() {
        let trash = Trash {
            user: "me".to_owned(),
            keep: Duration::ZERO,
        };
        let path = OfsPath::parse("/vol/bucket/a/b", "").unwrap();
        let root = trash.root(&path).unwrap();
        assert_eq!(root.to_string(), "/vol/bucket/.Trash/me");
        assert!(trash.root(&OfsPath::parse("/vol", "").unwrap()).is_none());
    }
}
