//! The doors of a bucket: the same six things through each of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Output;

use ozone_tests::Cluster;
use ozone_tests::ozone_fs::fs_with;
use ozone_tests::s3::{Request, S3};

/// A way into a bucket. Keys are paths in the bucket; whatever a door says that is neither yes nor "there is
/// nothing" fails the test.
pub(crate) trait Door {
    /// What it is called in messages.
    fn name(&self) -> &'static str;
    /// The bytes under a key; `None`: there are none.
    fn read(&self, key: &str) -> Option<Vec<u8>>;
    /// The names in a directory; a directory that is not there has none.
    fn list(&self, dir: &str) -> BTreeSet<String>;
    /// Makes a key, or replaces its bytes.
    fn write(&self, key: &str, data: &[u8]);
    /// Gives a key another name.
    fn rename(&self, from: &str, to: &str);
    /// Removes a key.
    fn delete(&self, key: &str);
}

/// The directory of the bucket in a mount.
pub(crate) struct Mount {
    pub name: &'static str,
    pub bucket: PathBuf,
}

fn found<T>(result: std::io::Result<T>, path: &Path) -> Option<T> {
    match result {
        Ok(found) => Some(found),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

impl Door for Mount {
    fn name(&self) -> &'static str {
        self.name
    }

    fn read(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.bucket.join(key);
        let data = found(fs::read(&path), &path);
        // Now from what is cached.
        let again = found(fs::read(&path), &path);
        assert!(
            data == again,
            "{}: {:?} bytes, and read again {:?}",
            path.display(),
            data.map(|data| data.len()),
            again.map(|data| data.len())
        );
        let size = found(fs::metadata(&path), &path).map(|meta| meta.len());
        let length = data.as_ref().map(|data| data.len() as u64);
        assert_eq!(size, length, "{}", path.display());
        data
    }

    fn list(&self, dir: &str) -> BTreeSet<String> {
        let path = self.bucket.join(dir);
        let Some(entries) = found(fs::read_dir(&path), &path) else {
            return BTreeSet::new();
        };
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect()
    }

    fn write(&self, key: &str, data: &[u8]) {
        let path = self.bucket.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.bucket.join(from), self.bucket.join(to)).unwrap();
    }

    fn delete(&self, key: &str) {
        fs::remove_file(self.bucket.join(key)).unwrap();
    }
}

/// What a command printed; `None` when it failed because there is nothing, which it says by one of `absent`.
fn printed(output: &Output, absent: &[&str]) -> Option<Vec<u8>> {
    if output.status.success() {
        return Some(output.stdout.clone());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let is_absent = absent.iter().any(|words| text.contains(words));
    assert!(is_absent, "{output:?}");
    None
}

/// `ozone fs`.
pub(crate) struct OzoneFs<'a> {
    pub cluster: &'a Cluster,
    /// `/volume/bucket`.
    pub bucket: String,
}

impl OzoneFs<'_> {
    fn path(&self, key: &str) -> String {
        format!("{}/{key}", self.bucket)
    }

    fn run(&self, words: &[&str], input: &[u8]) -> Option<Vec<u8>> {
        let output = fs_with(self.cluster, words, input);
        printed(&output, &["No such file or directory"])
    }

    fn must(&self, words: &[&str], input: &[u8]) {
        assert!(self.run(words, input).is_some(), "{words:?}");
    }
}

impl Door for OzoneFs<'_> {
    fn name(&self) -> &'static str {
        "ozone fs"
    }

    fn read(&self, key: &str) -> Option<Vec<u8>> {
        self.run(&["-cat", &self.path(key)], b"")
    }

    fn list(&self, dir: &str) -> BTreeSet<String> {
        let path = self.path(dir);
        let lines = self.run(&["-ls", "-C", &path], b"").unwrap_or_default();
        let lines = String::from_utf8(lines).unwrap();
        let name = |line: &str| line.strip_prefix(&format!("{path}/")).unwrap().to_owned();
        lines.lines().map(name).collect()
    }

    fn write(&self, key: &str, data: &[u8]) {
        let path = self.path(key);
        let dir = path.rsplit_once('/').unwrap().0;
        self.must(&["-mkdir", "-p", dir], b"");
        self.must(&["-put", "-f", "-", &path], data);
    }

    fn rename(&self, from: &str, to: &str) {
        self.must(&["-mv", &self.path(from), &self.path(to)], b"");
    }

    fn delete(&self, key: &str) {
        self.must(&["-rm", &self.path(key)], b"");
    }
}

/// `ozone sh key`.
pub(crate) struct Shell<'a> {
    pub cluster: &'a Cluster,
    /// `volume/bucket`.
    pub bucket: String,
}

impl Shell<'_> {
    fn path(&self, key: &str) -> String {
        format!("{}/{key}", self.bucket)
    }

    fn run(&self, words: &[&str]) -> Option<Vec<u8>> {
        let output = self.cluster.ozone(&[&["sh", "key"], words].concat());
        printed(&output, &["KEY_NOT_FOUND"])
    }

    fn must(&self, words: &[&str]) {
        assert!(self.run(words).is_some(), "{words:?}");
    }
}

impl Door for Shell<'_> {
    fn name(&self) -> &'static str {
        "ozone sh"
    }

    fn read(&self, key: &str) -> Option<Vec<u8>> {
        self.run(&["cat", &self.path(key)])
    }

    fn list(&self, dir: &str) -> BTreeSet<String> {
        let prefix = format!("{dir}/");
        let listed = self.run(&["list", "--all", "--prefix", &prefix, &self.bucket]);
        let listed = serde_json::from_slice(&listed.unwrap()).unwrap();
        let serde_json::Value::Array(keys) = listed else {
            panic!("{listed} is no list");
        };
        let names = keys.iter().map(|key| key["name"].as_str().unwrap());
        below(&prefix, names)
    }

    fn write(&self, key: &str, data: &[u8]) {
        let file = self.cluster.scratch().join("shell");
        fs::write(&file, data).unwrap();
        self.must(&["put", &self.path(key), file.to_str().unwrap()]);
    }

    fn rename(&self, from: &str, to: &str) {
        self.must(&["rename", &self.bucket, from, to]);
    }

    fn delete(&self, key: &str) {
        self.must(&["delete", &self.path(key)]);
    }
}

/// The names of keys below a directory that are directly in it.
fn below<'a>(prefix: &str, keys: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    keys.filter_map(|key| key.strip_prefix(prefix))
        .filter(|name| !name.is_empty())
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect()
}

/// S3.
pub(crate) struct Gateway {
    pub s3: S3,
    pub bucket: String,
}

impl Gateway {
    fn path(&self, key: &str) -> String {
        format!("/{}/{key}", self.bucket)
    }
}

impl Door for Gateway {
    fn name(&self) -> &'static str {
        "S3"
    }

    fn read(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.s3.ask("GET", &self.path(key), b"");
        match answer.status {
            200 => Some(answer.body),
            404 => None,
            _ => panic!("{}", answer.text),
        }
    }

    fn list(&self, dir: &str) -> BTreeSet<String> {
        let prefix = format!("{dir}/");
        let query = [("list-type", "2"), ("prefix", &prefix), ("delimiter", "/")];
        let query = query.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut request = Request {
            method: "GET",
            path: format!("/{}", self.bucket),
            query: query.to_vec(),
            ..Request::default()
        };
        self.s3.sign(&mut request);
        let answer = self.s3.send(&request);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let inside = |text: &str| text.split_once("</Key>").unwrap().0.to_owned();
        let keys: Vec<_> = answer.text.split("<Key>").skip(1).map(inside).collect();
        below(&prefix, keys.iter().map(String::as_str))
    }

    fn write(&self, key: &str, data: &[u8]) {
        let answer = self.s3.ask("PUT", &self.path(key), data);
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// As its clients do: a copy, and the other one goes.
    fn rename(&self, from: &str, to: &str) {
        let mut copy = Request {
            method: "PUT",
            path: self.path(to),
            headers: vec![("x-amz-copy-source".to_owned(), self.path(from))],
            ..Request::default()
        };
        self.s3.sign(&mut copy);
        let answer = self.s3.send(&copy);
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.delete(from);
    }

    fn delete(&self, key: &str) {
        let answer = self.s3.ask("DELETE", &self.path(key), b"");
        assert_eq!(answer.status, 204, "{}", answer.text);
    }
}
