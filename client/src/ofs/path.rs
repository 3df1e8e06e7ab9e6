//! The paths of `ofs`: `/volume/bucket/key`, where `/tmp` stands for the caller's own bucket.

use super::error::{OfsError, Result};

/// The directory of a bucket that has its snapshots.
pub const SNAPSHOTS: &str = ".snapshot";
/// The volume, and the directory, of temporary files.
const TMP: &str = "tmp";

/// A path, taken apart. Names are not empty, and neither `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OfsPath {
    /// The volume, the bucket, and the names below.
    names: Vec<String>,
    /// Whether it was written as `/tmp`, without the bucket's name.
    tmp: bool,
}

/// How deep a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The directory of volumes.
    Root,
    /// A volume, the directory of its buckets.
    Volume,
    /// A bucket.
    Bucket,
    /// A file or directory of a bucket.
    Key,
}

impl OfsPath {
    /// Takes a path apart. `tmp_bucket` has what is in `/tmp`. Empty names and `.` count for nothing, `..` takes the
    /// name before it away.
    pub fn parse(text: &str, tmp_bucket: &str) -> Result<Self> {
        let mut names = names_in(text)?;
        let tmp = names.first().is_some_and(|first| first == TMP);
        if tmp {
            names.insert(1, tmp_bucket.to_owned());
        }
        Ok(Self { names, tmp })
    }

    /// A path that starts in a bucket, as those of `o3fs` do.
    pub fn in_bucket(volume: &str, bucket: &str, text: &str) -> Result<Self> {
        let mut names = vec![volume.to_owned(), bucket.to_owned()];
        names.append(&mut names_in(text)?);
        Ok(Self { names, tmp: false })
    }

    fn with(&self, names: Vec<String>) -> Self {
        Self {
            tmp: self.tmp && names.len() > 1,
            names,
        }
    }

    /// How deep it leads.
    pub fn level(&self) -> Level {
        match self.names.len() {
            0 => Level::Root,
            1 => Level::Volume,
            2 => Level::Bucket,
            _ => Level::Key,
        }
    }

    /// The volume; empty for the root.
    pub fn volume(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// The bucket; empty above buckets.
    pub fn bucket(&self) -> &str {
        self.names.get(1).map_or("", String::as_str)
    }

    /// The key within the bucket; empty for the bucket itself.
    pub fn key(&self) -> String {
        self.names.get(2..).unwrap_or_default().join("/")
    }

    /// The last name; empty for the root.
    pub fn name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// What it is in; the root is in itself.
    pub fn parent(&self) -> Self {
        let names = &self.names[..self.names.len().saturating_sub(1)];
        self.with(names.to_vec())
    }

    /// The path of a name in this directory.
    pub fn child(&self, name: &str) -> Self {
        let mut names = self.names.clone();
        names.push(name.to_owned());
        self.with(names)
    }

    /// The bucket that it is in.
    pub fn bucket_path(&self) -> Self {
        self.with(self.names.iter().take(2).cloned().collect())
    }

    /// This path and those that it is in, from below the root down.
    pub fn lineage(&self) -> impl Iterator<Item = Self> {
        (1..=self.names.len()).map(|depth| self.with(self.names[..depth].to_vec()))
    }

    /// Whether it is this path, or below it.
    pub fn is_within(&self, above: &Self) -> bool {
        self.names.starts_with(&above.names)
    }

    /// Whether both are in the same bucket.
    pub fn same_bucket(&self, other: &Self) -> bool {
        self.names.len() > 2 && other.names.len() > 2 && self.names[..2] == other.names[..2]
    }

    /// Whether it is the directory of a bucket's snapshots.
    pub fn is_snapshots(&self) -> bool {
        self.names.len() == 3 && self.names[2] == SNAPSHOTS
    }

    /// Whether it leads into a snapshot, or to the directory of snapshots, where nothing can be changed.
    pub fn is_past(&self) -> bool {
        self.names.get(2).is_some_and(|name| name == SNAPSHOTS)
    }
}

/// The names in a path.
fn names_in(text: &str) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." if names.pop().is_none() => {
                return Err(OfsError::Refused("Path leads above the root"));
            }
            ".." => {}
            name => names.push(name.to_owned()),
        }
    }
    Ok(names)
}

impl std::fmt::Display for OfsPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = |at: usize| self.tmp && at == 1;
        let names = self.names.iter().enumerate();
        let shown = names.filter(|(at, _)| !hidden(*at)).map(|(_, name)| name);
        if self.names.is_empty() {
            return f.write_str("/");
        }
        shown.into_iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn path(text: &str) -> OfsPath {
        OfsPath::parse(text, "mine").unwrap()
    }

    #[test]
    fn a_path_is_a_volume_a_bucket_and_a_key() {
        let whole = path("//vol/bucket/./a/x/../b/");
        assert_eq!((whole.volume(), whole.bucket()), ("vol", "bucket"));
        assert_eq!((whole.key().as_str(), whole.name()), ("a/b", "b"));
        assert_eq!(whole.to_string(), "/vol/bucket/a/b");
        assert_eq!(whole.parent(), path("/vol/bucket/a"));
        for (text, level) in [
            ("/", Level::Root),
            ("/vol", Level::Volume),
            ("/vol/bucket/", Level::Bucket),
            ("/vol/bucket/key", Level::Key),
        ] {
            assert_eq!(path(text).level(), level, "{text}");
        }
        assert!(OfsPath::parse("/a/../..", "mine").is_err());
    }

    #[test]
    fn tmp_is_a_bucket_of_the_caller() {
        assert_eq!(path("/tmp").level(), Level::Bucket);
        let inside = path("/tmp/a/b");
        assert_eq!((inside.volume(), inside.bucket()), ("tmp", "mine"));
        assert_eq!(inside.key(), "a/b");
        assert_eq!(inside.parent().to_string(), "/tmp/a");
        let named = OfsPath::in_bucket("tmp", "other", "/a").unwrap();
        assert_eq!(named.to_string(), "/tmp/other/a");
        assert_eq!(path("/tmpx").level(), Level::Volume);
    }

    #[test]
    fn snapshots_are_only_in_the_root_of_a_bucket() {
        assert!(path("/vol/bucket/.snapshot").is_snapshots());
        assert!(path("/vol/bucket/.snapshot/s/a").is_past());
        assert!(!path("/vol/bucket/a/.snapshot").is_past());
        assert!(!path("/vol/.snapshot").is_past());
    }

    #[test]
    fn being_within_goes_by_whole_names() {
        assert!(path("/vol/bucket/ab").is_within(&path("/vol/bucket")));
        assert!(!path("/vol/bucket/ab").is_within(&path("/vol/bucket/a")));
        assert!(path("/vol/bucket/a").same_bucket(&path("/vol/bucket/b/c")));
        assert!(!path("/vol/bucket").same_bucket(&path("/vol/bucket")));
    }
}
