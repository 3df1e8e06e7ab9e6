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
use ozone_tests::{Cluster, ClusterOptions, ozone_fs};

/// Runs `ozone sh` with these words; its exit code, and what it said.
fn run(cluster: &Cluster, line: &str) -> (i32, String) {
    let words: Vec<_> = ["sh"].into_iter().chain(line.split(' ')).collect();
    let output = cluster.ozone(&words);
    let said = [output.stdout, output.stderr].concat();
    let code = output.status.code().expect("an exit code");
    (code, String::from_utf8(said).unwrap())
}

fn sh(cluster: &Cluster, line: &str) -> String {
    let (code, said) = run(cluster, line);
    assert_eq!(code, 0, "{line}: {said}");
    said
}

/// What a command says that is refused.
fn refused(cluster: &Cluster, line: &str) -> String {
    let (code, said) = run(cluster, line);
    assert_eq!(code, 255, "{line}: {said}");
    said
}

#[test]
fn a_name_that_a_snapshot_has_is_not_given_to_another() {
    let bucket = Bucket::new("taken");
    let (cluster, at) = (bucket.cluster(), bucket.address());
    fs::write(bucket.at("key"), "then").unwrap();
    sh(cluster, &format!("snapshot create {at} name"));
    fs::write(bucket.at("key"), "now").unwrap();
    let said = refused(cluster, &format!("snapshot create {at} name"));
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
        let said = refused(cluster, &format!("snapshot create {at} {name}"));
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
    sh(cluster, &format!("snapshot create {at} name"));
    for path in [".snapshot/name/key", ".snapshot/name/new", ".snapshot/new"] {
        let refusal = fs::write(bucket.at(path), "now").unwrap_err();
        let errno = Errno::from_raw(refusal.raw_os_error().unwrap());
        assert_eq!(errno, Errno::EROFS, "{path}");
        let said = refused(cluster, &format!("key put {at}/{path} /etc/hostname"));
        assert!(said.starts_with("INVALID_KEY_NAME"), "{said}");
        let words = ["-put", "-f", "/etc/hostname", &format!("/{at}/{path}")];
        let said = ozone_fs::refused(cluster, 1, &words);
        assert!(said.starts_with("put: "), "{said}");
    }
    let said = refused(cluster, &format!("key delete {at}/.snapshot/name/key"));
    assert!(said.starts_with("INVALID_KEY_NAME"), "{said}");
    let said = refused(
        cluster,
        &format!("key rename {at} .snapshot/name/key moved"),
    );
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
    sh(cluster, "snapshot create s3v/past name");
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
    sh(cluster, &format!("snapshot create {} here", one.address()));
    sh(cluster, &format!("snapshot create {} there", two.address()));
    for report in ["", " -r", " --cancel"] {
        let line = format!("snapshot diff {} here there{report}", one.address());
        let said = refused(cluster, &line);
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
    sh(cluster, &format!("snapshot create {at} name"));
    let whole = format!("bucket delete {at} -r -y");
    let volume = "volume delete shared -r -y";
    for line in [&whole, volume] {
        let said = refused(cluster, line);
        assert!(said.starts_with("CONTAINS_SNAPSHOT Bucket "), "{said}");
    }
    let words = ["-rm", "-r", "-skipTrash", &format!("/{at}")];
    let said = ozone_fs::refused(cluster, 1, &words);
    assert!(said.contains("has snapshots, such as name"), "{said}");
    assert_eq!(fs::read(bucket.at("key")).unwrap(), b"content");
    // Empty, it is still one that has snapshots.
    fs::remove_file(bucket.at("key")).unwrap();
    let said = refused(cluster, &format!("bucket delete {at}"));
    assert!(
        said.starts_with("CONTAINS_SNAPSHOT Bucket kept can't"),
        "{said}"
    );
    let refusal = fs::remove_dir(bucket.path()).unwrap_err();
    let errno = Errno::from_raw(refusal.raw_os_error().unwrap());
    assert_eq!(errno, Errno::EBUSY);
    let found = fs::read(bucket.at(".snapshot/name/key")).unwrap();
    assert_eq!(found, b"content");
    sh(cluster, &format!("snapshot delete {at} name"));
    sh(cluster, &format!("bucket delete {at}"));
}

#[test]
fn a_bucket_that_has_snapshots_is_not_deleted_by_s3() {
    let bucket = Bucket::new("s3-kept");
    let cluster = bucket.cluster();
    let s3 = S3::of(cluster, "sam");
    assert_eq!(s3.ask("PUT", "/kept", b"").status, 200);
    sh(cluster, "snapshot create s3v/kept name");
    let answer = s3.ask("DELETE", "/kept", b"");
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(answer.code(), "BucketNotEmpty", "{}", answer.text);
    sh(cluster, "snapshot delete s3v/kept name");
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
    sh(&cluster, "volume create shared");
    sh(&cluster, "bucket create shared/owned -u bilbo");
    sh(&cluster, "snapshot create shared/owned old");
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
        sh(&cluster, "snapshot rename shared/owned renamed old");
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
    sh(&cluster, "snapshot create vol/one first");
    sh(&cluster, "snapshot create vol/two second");
    cluster.kill9();
    cluster.restart();
    let said = refused(&cluster, "snapshot create vol/one third");
    assert!(
        said.starts_with("INVALID_SNAPSHOT_ERROR there are 2 snapshots")
            && said.contains("ozone.om.fs.snapshot.max.limit"),
        "{said}"
    );
    sh(&cluster, "snapshot delete vol/two second");
    sh(&cluster, "snapshot create vol/one third");
    refused(&cluster, "snapshot create vol/one fourth");
}
