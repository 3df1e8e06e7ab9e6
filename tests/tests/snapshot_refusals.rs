//! What is refused about snapshots: by whom it was asked for, in clear words, and with nothing lost.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use nix::errno::Errno;
use ozone_client::objects::{BucketName, NewSnapshot};
use ozone_client::wire::om::Status;
use ozone_client::{Client, ClientConfig, ClientError};
use ozone_common::caller::Caller;
use ozone_tests::s3::S3;
use ozone_tests::shared::Bucket;
use ozone_tests::shell::errno;
use ozone_tests::{Cluster, ClusterOptions, ozone_fs};

#[test]
fn a_name_that_a_snapshot_has_is_not_given_to_another() {
    let bucket = Bucket::new("taken");
    let (cluster, at) = (bucket.cluster(), bucket.address());
    fs::write(bucket.at("key"), "then").unwrap();
    cluster.sh(&format!("snapshot create {at} name"));
    fs::write(bucket.at("key"), "now").unwrap();
    let said = cluster.sh_refused(&format!("snapshot create {at} name"));
    assert_eq!(
        said,
        "FILE_ALREADY_EXISTS Snapshot name already exists: choose another name, or delete it first\n"
    );
    let said = ozone_fs::refused(cluster, 1, &["-createSnapshot", &format!("/{at}"), "name"]);
    assert!(said.trim_end().ends_with(": File exists"), "{said}");
    assert_eq!(
        fs::read(bucket.at(".snapshot/name/key")).unwrap(),
        b"then",
        "the one that has it stays"
    );
}

#[test]
fn a_name_that_no_bucket_could_have_is_refused() {
    let bucket = Bucket::new("names");
    let (cluster, at) = (bucket.cluster(), bucket.address());
    let long = "n".repeat(64);
    for name in [
        "no",
        "Upper",
        "under_score",
        "dash-",
        "a..b",
        "10.0.0.1",
        "a/b",
        &long,
    ] {
        let said = cluster.sh_refused(&format!("snapshot create {at} {name}"));
        let start = format!("INVALID_SNAPSHOT_ERROR Invalid snapshot name: {name}: snapshot name ");
        assert!(said.starts_with(&start), "{said}");
    }
    assert_eq!(fs::read_dir(bucket.at(".snapshot")).unwrap().count(), 0);
}

#[test]
fn writing_into_a_snapshot_is_refused_at_every_door() {
    let bucket = Bucket::new("written");
    let (cluster, at) = (bucket.cluster(), bucket.address());
    fs::write(bucket.at("key"), "then").unwrap();
    cluster.sh(&format!("snapshot create {at} name"));
    for path in [".snapshot/name/key", ".snapshot/name/new", ".snapshot/new"] {
        let written = fs::write(bucket.at(path), "now");
        assert_eq!(errno(written), Errno::EROFS, "{path}");
        let said = cluster.sh_refused(&format!("key put {at}/{path} /etc/hostname"));
        assert!(said.starts_with("INVALID_KEY_NAME"), "{said}");
        let words = ["-put", "-f", "/etc/hostname", &format!("/{at}/{path}")];
        let said = ozone_fs::refused(cluster, 1, &words);
        assert!(said.starts_with("put: "), "{said}");
    }
    let said = cluster.sh_refused(&format!("key delete {at}/.snapshot/name/key"));
    assert!(said.starts_with("INVALID_KEY_NAME"), "{said}");
    let said = cluster.sh_refused(&format!("key rename {at} .snapshot/name/key moved"));
    assert!(said.starts_with("INVALID_KEY_NAME"), "{said}");
    assert_eq!(fs::read(bucket.at(".snapshot/name/key")).unwrap(), b"then");
    assert_eq!(fs::read_dir(bucket.path()).unwrap().count(), 1);
}

#[test]
fn writing_into_a_snapshot_by_s3_is_refused() {
    let bucket = Bucket::new("s3-written");
    let cluster = bucket.cluster();
    let s3 = S3::of(cluster, "frodo");
    assert_eq!(s3.ask("PUT", "/past", b"").status, 200);
    assert_eq!(s3.ask("PUT", "/past/key", b"then").status, 200);
    cluster.sh("snapshot create s3v/past name");
    for (method, key) in [("PUT", "key"), ("PUT", "new"), ("DELETE", "key")] {
        let answer = s3.ask(method, &format!("/past/.snapshot/name/{key}"), b"now");
        assert_eq!(answer.status, 400, "{method} {key}: {}", answer.text);
        assert_eq!(answer.code(), "InvalidArgument", "{}", answer.text);
    }
    let then = s3.ask("GET", "/past/.snapshot/name/key", b"");
    assert_eq!((then.status, &*then.body), (200, &b"then"[..]));
}

#[test]
fn a_difference_across_buckets_is_refused() {
    let (one, two) = (Bucket::new("one-side"), Bucket::new("other-side"));
    let cluster = one.cluster();
    cluster.sh(&format!("snapshot create {} here", one.address()));
    cluster.sh(&format!("snapshot create {} there", two.address()));
    for report in ["", " -r", " --cancel"] {
        let line = format!("snapshot diff {} here there{report}", one.address());
        let said = cluster.sh_refused(&line);
        let expected = format!(
            "FILE_NOT_FOUND Snapshot '{}/.snapshot/there' is not found.\n",
            one.address()
        );
        assert_eq!(said, expected);
    }
}

#[test]
fn a_bucket_that_has_snapshots_is_deleted_by_no_door_and_loses_nothing() {
    let bucket = Bucket::new("kept");
    let (cluster, at) = (bucket.cluster(), bucket.address());
    fs::write(bucket.at("key"), "content").unwrap();
    cluster.sh(&format!("snapshot create {at} name"));
    let whole = format!("bucket delete {at} -r -y");
    let volume = "volume delete shared -r -y";
    for line in [&whole, volume] {
        let said = cluster.sh_refused(line);
        assert!(said.starts_with("CONTAINS_SNAPSHOT Bucket "), "{said}");
    }
    let words = ["-rm", "-r", "-skipTrash", &format!("/{at}")];
    let said = ozone_fs::refused(cluster, 1, &words);
    assert!(said.contains("has snapshots, such as name"), "{said}");
    assert_eq!(fs::read(bucket.at("key")).unwrap(), b"content");
    // Empty, it is still one that has snapshots.
    fs::remove_file(bucket.at("key")).unwrap();
    let said = cluster.sh_refused(&format!("bucket delete {at}"));
    assert!(
        said.starts_with("CONTAINS_SNAPSHOT Bucket kept can't"),
        "{said}"
    );
    assert_eq!(errno(fs::remove_dir(bucket.path())), Errno::EBUSY);
    let found = fs::read(bucket.at(".snapshot/name/key")).unwrap();
    assert_eq!(found, b"content");
    cluster.sh(&format!("snapshot delete {at} name"));
    cluster.sh(&format!("bucket delete {at}"));
}

#[test]
fn a_bucket_that_has_snapshots_is_not_deleted_by_s3() {
    let bucket = Bucket::new("s3-kept");
    let cluster = bucket.cluster();
    let s3 = S3::of(cluster, "sam");
    assert_eq!(s3.ask("PUT", "/kept", b"").status, 200);
    cluster.sh("snapshot create s3v/kept name");
    let answer = s3.ask("DELETE", "/kept", b"");
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(answer.code(), "BucketNotEmpty", "{}", answer.text);
    cluster.sh("snapshot delete s3v/kept name");
    assert_eq!(s3.ask("DELETE", "/kept", b"").status, 204);
}

/// What the OM says to a user about the snapshots of a bucket.
async fn answers(client: &Client, bucket: &str, user: &str) -> [Result<(), ClientError>; 3] {
    let client = client.as_caller(Caller::named(user));
    let of = BucketName {
        volume: "shared",
        bucket,
    };
    let (objects, new) = (client.objects(), format!("of-{user}"));
    let made = NewSnapshot {
        name: &new,
        no_flush: false,
    };
    [
        objects.create_snapshot(of, made).await.map(drop),
        objects.rename_snapshot(of, "old", "renamed").await,
        objects.delete_snapshot(of, &new).await,
    ]
}

#[tokio::test]
async fn only_the_owner_and_administrators_change_the_snapshots_of_a_bucket() {
    let cluster = Cluster::start(ClusterOptions {
        sets: [
            "ozone.om.snapshot.rename.allowed=true",
            "ozone.administrators=gandalf",
            "ozone.s3.administrators=saruman",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..ClusterOptions::default()
    });
    cluster.sh("volume create shared");
    cluster.sh("bucket create shared/owned -u bilbo");
    cluster.sh("snapshot create shared/owned old");
    let config = ClientConfig::new(vec![cluster.om_address().to_owned()]);
    let client = Client::connect(config).await.unwrap();
    for user in ["frodo", "saruman"] {
        let verbs = ["create", "rename", "delete"];
        for (verb, answer) in verbs.iter().zip(answers(&client, "owned", user).await) {
            let error = answer.unwrap_err();
            assert_eq!(error.om_status(), Some(Status::PermissionDenied), "{error}");
            let start = format!("Only bucket owners and Ozone admins can {verb} snapshots");
            assert!(error.to_string().starts_with(&start), "{error}");
        }
    }
    for user in ["bilbo", "gandalf"] {
        let [made, renamed, deleted] = answers(&client, "owned", user).await;
        assert!(
            made.is_ok() && deleted.is_ok(),
            "{user}: {made:?} {deleted:?}"
        );
        assert!(renamed.is_ok(), "{renamed:?}");
        cluster.sh("snapshot rename shared/owned renamed old");
    }
    // Whoever may look into the bucket may look into its snapshots.
    let frodo = client.as_caller(Caller::named("frodo"));
    let of = BucketName {
        volume: "shared",
        bucket: "owned",
    };
    frodo.objects().info_snapshot(of, "old").await.unwrap();
}

#[test]
fn no_more_snapshots_are_made_than_the_limit_allows() {
    let mut cluster = Cluster::start(ClusterOptions {
        sets: vec!["ozone.om.fs.snapshot.max.limit=2".to_owned()],
        ..ClusterOptions::default()
    });
    cluster.bucket("vol", "one");
    cluster.bucket("vol", "two");
    cluster.sh("snapshot create vol/one first");
    cluster.sh("snapshot create vol/two second");
    cluster.kill9();
    cluster.restart();
    let said = cluster.sh_refused("snapshot create vol/one third");
    assert!(
        said.starts_with("INVALID_SNAPSHOT_ERROR there are 2 snapshots")
            && said.contains("ozone.om.fs.snapshot.max.limit"),
        "{said}"
    );
    cluster.sh("snapshot delete vol/two second");
    cluster.sh("snapshot create vol/one third");
    cluster.sh_refused("snapshot create vol/one fourth");
}
