//! Uploads in parts, copies and snapshots of one bucket, in random order, over restarts: every snapshot keeps the
//! bytes that it was taken of, a part that is no key yet is in none, and when everything is deleted no block is left.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ozone_tests::blocks;
use ozone_tests::content::{bytes, number, rng};
use ozone_tests::s3::{Request, S3};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};
use rand::Rng;
use rand::rngs::StdRng;

const MIB: usize = 1 << 20;
/// What a cluster wrote to find out that it is ready, and may keep as long as it runs.
const PROBE: u64 = 64 << 10;
/// How long it may take until bytes are freed.
const LIMIT: Duration = Duration::from_secs(90);
/// Few, so that they are replaced and copied onto one another.
const KEYS: [&str; 5] = ["a", "dir/b", "dir/c", "dir/deep/d", "e"];
/// What small objects, and the last part of large ones, have: none, inline, in a block.
const SIZES: [usize; 4] = [0, 100, 16 << 10, MIB];
/// The smallest part that is not the last.
const PART: usize = 5 * MIB;

type Content = Arc<Vec<u8>>;
type Tree = BTreeMap<String, Content>;

struct Upload {
    key: &'static str,
    id: String,
    /// By number: ETag and bytes.
    parts: BTreeMap<usize, (String, Content)>,
}

struct World {
    cluster: Cluster,
    s3: S3,
    rng: StdRng,
    seed: u64,
    keys: Tree,
    uploads: Vec<Upload>,
    snapshots: BTreeMap<String, Tree>,
    taken: usize,
}

fn escaped(key: &str) -> String {
    format!("/bucket/{key}")
}

impl World {
    fn new() -> Self {
        let sets = [
            "ozone.block.deleting.service.interval=300ms",
            "ozone.snapshot.deleting.service.interval=300ms",
            "ozone.om.freed.block.grace=500ms",
        ];
        let cluster = Cluster::start(ClusterOptions {
            sets: sets.map(str::to_owned).to_vec(),
            ..ClusterOptions::default()
        });
        let s3 = S3::of(&cluster, "bilbo");
        assert_eq!(s3.ask("PUT", "/bucket", b"").status, 200);
        Self {
            cluster,
            s3,
            rng: rng(),
            seed: 0,
            keys: Tree::new(),
            uploads: Vec::new(),
            snapshots: BTreeMap::new(),
            taken: 0,
        }
    }

    fn content(&mut self, size: usize) -> Content {
        self.seed += 1;
        Arc::new(bytes(self.seed, size))
    }

    fn key(&mut self) -> &'static str {
        KEYS[self.rng.random_range(0..KEYS.len())]
    }

    fn size(&mut self) -> usize {
        SIZES[self.rng.random_range(0..SIZES.len())]
    }

    /// A key that there is, if there is any.
    fn source(&mut self) -> Option<(String, Content)> {
        let at = self.rng.random_range(0..self.keys.len().max(1));
        let (key, content) = self.keys.iter().nth(at)?;
        Some((key.clone(), content.clone()))
    }

    #[track_caller]
    fn done(&self, method: &'static str, of: (&str, &[(&str, &str)]), body: &[u8]) -> String {
        let answer = self.s3.ask_with(method, of, body);
        let done = matches!(answer.status, 200 | 204);
        assert!(done, "{method} {of:?}: {}", answer.text);
        answer.text
    }

    /// A copy of a key, or of some of its bytes, with headers that say of what.
    fn copy(
        &self,
        to: (&str, &[(&str, &str)]),
        source: &str,
        range: Option<(usize, usize)>,
    ) -> String {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut request = Request {
            method: "PUT",
            path: to.0.to_owned(),
            query: to.1.iter().map(pair).collect(),
            ..Request::default()
        };
        let of = format!("/bucket/{source}");
        request.headers.push(("x-amz-copy-source".to_owned(), of));
        if let Some((from, to)) = range {
            let range = format!("bytes={from}-{}", to - 1);
            let name = "x-amz-copy-source-range".to_owned();
            request.headers.push((name, range));
        }
        // Onto itself it needs a reason.
        if to.0 == escaped(source) {
            let replace = ("x-amz-metadata-directive".to_owned(), "REPLACE".to_owned());
            request.headers.push(replace);
        }
        self.s3.sign(&mut request);
        let answer = self.s3.send(&request);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
            .element("ETag")
            .replace("&quot;", "")
            .replace('"', "")
    }

    fn step(&mut self) {
        match self.rng.random_range(0..12) {
            0 => self.put(),
            1 | 2 => self.begin(),
            3..=5 => self.part(),
            6 => self.copied_part(),
            7 => self.complete(),
            8 => self.copy_key(),
            9 => self.delete(),
            10 => self.abort(),
            _ => self.drop_snapshot(),
        }
    }

    fn put(&mut self) {
        let (key, size) = (self.key(), self.size());
        let content = self.content(size);
        self.done("PUT", (&escaped(key), &[]), &content);
        self.keys.insert(key.to_owned(), content);
    }

    fn begin(&mut self) {
        let key = self.key();
        let begun = self
            .s3
            .ask_with("POST", (&escaped(key), &[("uploads", "")]), b"");
        let id = begun.element("UploadId").to_owned();
        assert!(!id.is_empty(), "{}", begun.text);
        let parts = BTreeMap::new();
        self.uploads.push(Upload { key, id, parts });
    }

    /// An upload, and a number for its next part: a new one, or one that there is.
    fn upload(&mut self) -> Option<(usize, usize)> {
        let at = self.rng.random_range(0..self.uploads.len().max(1));
        let parts = self.uploads.get(at)?.parts.len();
        Some((at, self.rng.random_range(1..=parts + 1)))
    }

    fn place(&self, (at, number): (usize, usize)) -> (String, [(&'static str, String); 2]) {
        let upload = &self.uploads[at];
        let query = [
            ("partNumber", number.to_string()),
            ("uploadId", upload.id.clone()),
        ];
        (escaped(upload.key), query)
    }

    fn part(&mut self) {
        let Some(place) = self.upload() else { return };
        let content = self.content(PART);
        let (path, query) = self.place(place);
        let query = query
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let answer = self.s3.ask_with("PUT", (&path, &query), &content);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let etag = answer.header("etag").unwrap().replace('"', "");
        self.uploads[place.0].parts.insert(place.1, (etag, content));
    }

    fn copied_part(&mut self) {
        let large = |(_, content): &(String, Content)| content.len() > PART;
        let Some((key, content)) = self.source().filter(large) else {
            return;
        };
        let Some(place) = self.upload() else { return };
        let from = self.rng.random_range(0..content.len() - PART);
        let (path, query) = self.place(place);
        let query = query
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let etag = self.copy((&path, &query), &key, Some((from, from + PART)));
        let content = Arc::new(content[from..from + PART].to_vec());
        self.uploads[place.0].parts.insert(place.1, (etag, content));
    }

    /// The last part is small; some of those that are there are left out.
    fn complete(&mut self) {
        let Some((at, _)) = self.upload() else { return };
        let size = self.size();
        let last = self.content(size);
        let number = self.uploads[at].parts.len() + 1;
        let (path, query) = self.place((at, number));
        let query = query
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let answer = self.s3.ask_with("PUT", (&path, &query), &last);
        let etag = answer.header("etag").unwrap().replace('"', "");
        let mut upload = self.uploads.remove(at);
        if upload.parts.len() > 2 {
            upload.parts.remove(&2);
        }
        upload.parts.insert(number, (etag, last));
        let part = |(number, (etag, _)): (&usize, &(String, Content))| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag></Part>")
        };
        let list: String = upload.parts.iter().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let of = (path.as_str(), &[("uploadId", upload.id.as_str())][..]);
        let text = self.done("POST", of, body.as_bytes());
        assert!(text.contains("<ETag>"), "{text}");
        let pieces = upload.parts.values().map(|(_, content)| content.as_slice());
        let whole = Arc::new(pieces.collect::<Vec<_>>().concat());
        self.keys.insert(upload.key.to_owned(), whole);
    }

    fn copy_key(&mut self) {
        let Some((from, content)) = self.source() else {
            return;
        };
        let to = self.key();
        self.copy((&escaped(to), &[]), &from, None);
        self.keys.insert(to.to_owned(), content);
    }

    fn delete(&mut self) {
        let key = self.key();
        self.done("DELETE", (&escaped(key), &[]), b"");
        self.keys.remove(key);
    }

    fn abort(&mut self) {
        // Seldom: an upload has to get somewhere.
        if self.uploads.len() > 3 {
            let upload = self.uploads.remove(0);
            self.give_up(&upload);
        }
    }

    fn give_up(&self, upload: &Upload) {
        let of = (escaped(upload.key), [("uploadId", upload.id.as_str())]);
        self.done("DELETE", (&of.0, &of.1), b"");
    }

    fn snapshot(&self, what: &str, name: &str) {
        let output = self
            .cluster
            .ozone(&["sh", "snapshot", what, "s3v/bucket", name]);
        assert!(output.status.success(), "{what} {name}: {output:?}");
    }

    fn take(&mut self) {
        let name = format!("snap{}", self.taken);
        self.taken += 1;
        self.snapshot("create", &name);
        self.snapshots.insert(name, self.keys.clone());
    }

    fn drop_snapshot(&mut self) {
        let at = self.rng.random_range(0..self.snapshots.len().max(1));
        let name = self.snapshots.keys().nth(at).cloned();
        if let Some(name) = name.filter(|_| self.snapshots.len() > 2) {
            self.snapshot("delete", &name);
            self.snapshots.remove(&name);
        }
    }

    fn interrupt(&mut self) {
        match self.rng.random_bool(0.5) {
            true => self.cluster.kill9(),
            false => self.cluster.stop(),
        }
        self.cluster.restart();
        self.s3.follow(&self.cluster);
    }

    fn check(&self, when: &str) {
        let bucket = self.cluster.mountpoint().join("s3v/bucket");
        same(&self.keys, &bucket, &format!("{when}: now"));
        for (name, tree) in &self.snapshots {
            let past = bucket.join(".snapshot").join(name);
            same(tree, &past, &format!("{when}: {name}"));
        }
        for (key, content) in &self.keys {
            let got = self.s3.ask("GET", &escaped(key), b"");
            assert!(got.body == **content, "{when}: {key} by S3");
        }
    }
}

/// The files below a directory, and nothing else.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

#[track_caller]
fn same(tree: &Tree, root: &Path, when: &str) {
    let mut found = Vec::new();
    files(root, &mut found);
    found.sort();
    let wanted: Vec<PathBuf> = tree.keys().map(|key| root.join(key)).collect();
    assert_eq!(found, wanted, "{when}");
    for (key, content) in tree {
        let read = fs::read(root.join(key)).unwrap_or_else(|e| panic!("{when}: {key}: {e}"));
        assert!(read == **content, "{when}: {key} has other bytes");
    }
}

#[test]
fn snapshots_keep_their_bytes_over_parts_copies_and_restarts() {
    let mut world = World::new();
    for round in 0..number("ROUNDS", 4) {
        for _ in 0..4 {
            (0..10).for_each(|_| world.step());
            world.take();
        }
        world.check(&format!("round {round}, before"));
        world.interrupt();
        world.check(&format!("round {round}, after"));
    }
    for upload in std::mem::take(&mut world.uploads) {
        world.give_up(&upload);
    }
    for key in KEYS {
        world.done("DELETE", (&escaped(key), &[]), b"");
    }
    world.keys.clear();
    world.check("when all keys are deleted");
    for name in world.snapshots.keys() {
        world.snapshot("delete", name);
    }
    let data = world.cluster.dir().join("datanode-1/data");
    wait_for(LIMIT, || match blocks::used(&data) {
        used if used <= PROBE => Ok(()),
        used => Err(format!("blocks take {used} bytes")),
    });
    // A bucket goes when its snapshots are gone, which the background sees to.
    wait_for(LIMIT, || match world.s3.ask("DELETE", "/bucket", b"") {
        answer if answer.status == 204 => Ok(()),
        answer => Err(answer.text),
    });
}
