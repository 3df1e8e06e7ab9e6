//! An object-store bucket in a cluster of its own, by S3 and as a directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ozone_tests::s3::{Answer, Request, S3};
use ozone_tests::shell::run;
use ozone_tests::{Cluster, ClusterOptions};

pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    pub(crate) s3: S3,
}

impl Bed {
    /// A cluster with the bucket `s3v/bucket`, an object store.
    pub(crate) fn start() -> Self {
        let cluster = Cluster::start(ClusterOptions::default());
        cluster.sh("volume create s3v");
        cluster.sh("bucket create --layout obs s3v/bucket");
        let s3 = S3::of(&cluster, "bilbo");
        Self { cluster, s3 }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.cluster.mountpoint().join("s3v/bucket")
    }

    pub(crate) fn ask(&self, method: &'static str, key: &str, body: &[u8]) -> Answer {
        self.s3
            .ask(method, &format!("/bucket/{}", escape(key)), body)
    }

    pub(crate) fn put(&self, key: &str, body: &[u8]) {
        let answer = self.ask("PUT", key, body);
        assert_eq!(answer.status, 200, "{key:?}: {}", answer.text);
    }

    /// What S3 has under a key.
    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.ask("GET", key, b"");
        match answer.status {
            200 => Some(answer.body),
            404 => None,
            _ => panic!("{}", answer.text),
        }
    }

    pub(crate) fn list(&self, query: &[(&str, &str)]) -> Vec<String> {
        let mut request = Request {
            method: "GET",
            path: "/bucket".to_owned(),
            query: query
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Request::default()
        };
        self.s3.sign(&mut request);
        let answer = self.s3.send(&request);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let inside = |tag: &str| {
            let parts = answer.text.split(tag).skip(1);
            parts
                .map(|rest| rest.split('<').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let groups = inside("<CommonPrefixes><Prefix>");
        inside("<Key>").into_iter().chain(groups).collect()
    }
}

fn escape(key: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
            (byte as char).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    key.bytes().map(byte).collect()
}

/// Paths below a directory, directories with a slash.
pub(crate) fn walk(dir: &Path) -> BTreeSet<String> {
    let text = run(dir, "find", &[".", "-mindepth", "1", "-printf", "%P\t%y\n"]);
    text.lines()
        .map(|line| match line.split_once('\t').unwrap() {
            (path, "d") => format!("{path}/"),
            (path, _) => path.to_owned(),
        })
        .collect()
}
