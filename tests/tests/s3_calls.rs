//! What a request of S3 costs at the OM: one call for a small object, put or got; and for one that needs a block, the
//! call that finds the bucket, and blocks by the dozen.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use ozone_tests::s3::S3;
use ozone_tests::{Cluster, ClusterOptions};

/// Calls that a gateway might make for an object.
const CALLS: [&str; 11] = [
    "PutKey",
    "ReadKey",
    "CreateKey",
    "CommitKey",
    "GetKeyInfo",
    "Lookup",
    "GetAttr",
    "GetExtents",
    "InfoVolume",
    "InfoBucket",
    "AllocateBlocks",
];
const TIMES: u64 = 20;

/// How often each call is made while `work` runs so many times.
fn calls(cluster: &Cluster, work: impl Fn(u64)) -> BTreeMap<&'static str, u64> {
    let count = || CALLS.map(|call| cluster.om_requests(call));
    let before = count();
    (0..TIMES).for_each(work);
    let made = CALLS.into_iter().zip(count().into_iter().zip(before));
    let made = made.map(|(call, (after, before))| (call, after - before));
    made.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_small_object_is_put_by_one_call_and_got_by_one() {
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    assert_eq!(s3.ask("PUT", "/bucket", b"").status, 200);
    for size in [0, 4 << 10, 16 << 10] {
        let content = vec![7; size];
        let path = |n: u64| format!("/bucket/dir/{size}/{n}");
        let put = calls(&cluster, |n| {
            assert_eq!(s3.ask("PUT", &path(n), &content).status, 200);
        });
        assert_eq!(put, BTreeMap::from([("PutKey", TIMES)]));
        let got = calls(&cluster, |n| {
            assert!(s3.ask("GET", &path(n), b"").body == content);
        });
        assert_eq!(got, BTreeMap::from([("ReadKey", TIMES)]));
    }
}

#[test]
fn an_object_with_a_block_is_put_by_two_calls_and_got_by_one() {
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    assert_eq!(s3.ask("PUT", "/bucket", b"").status, 200);
    let content = vec![7; 100 << 10];
    let path = |n: u64| format!("/bucket/{n}");
    let mut put = calls(&cluster, |n| {
        assert_eq!(s3.ask("PUT", &path(n), &content).status, 200);
    });
    let blocks = put.remove("AllocateBlocks").unwrap();
    assert!(
        blocks <= TIMES / 4,
        "{blocks} allocations of {TIMES} blocks"
    );
    let wanted = BTreeMap::from([("InfoBucket", TIMES), ("PutKey", TIMES)]);
    assert_eq!(put, wanted);
    let got = calls(&cluster, |n| {
        assert!(s3.ask("GET", &path(n), b"").body == content);
    });
    assert_eq!(got, BTreeMap::from([("ReadKey", TIMES)]));
}
