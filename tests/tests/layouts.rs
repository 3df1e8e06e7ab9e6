//! What the servers keep where, as the documents of the disk layouts say, and that a server never
//! works on data of another cluster or of newer software.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ozone_tests::corrupt::find;
use ozone_tests::{Daemon, DaemonOptions, Daemons, Refused};

/// Exit code of a command that could not do its work.
const FAILED: Option<i32> = Some(255);

/// Every directory on its own, as on a machine with several disks.
const PRODUCTION: &[(&str, &str)] = &[
    ("ozone.metadata.dirs", "{dir}/ozone-metadata"),
    ("ozone.om.db.dirs", "{dir}/om/data"),
    ("ozone.om.ratis.storage.dir", "{dir}/om/ratis"),
    ("ozone.scm.db.dirs", "{dir}/scm/data"),
    ("ozone.scm.ratis.storage.dir", "{dir}/scm/scm-ha"),
];

fn options(properties: &[(&'static str, &'static str)]) -> DaemonOptions {
    DaemonOptions {
        datanodes: 1,
        replication: "ONE",
        properties: properties.to_vec(),
    }
}

/// A properties file.
fn properties(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn assert_keys(properties: &BTreeMap<String, String>, keys: &[&str]) {
    for key in keys {
        let value = properties.get(*key);
        assert!(
            value.is_some_and(|v| !v.is_empty()),
            "no {key}: {properties:?}"
        );
    }
}

/// Gives a property of a file another value; gives the old one.
fn replace(file: &Path, key: &str, value: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let old = properties(file)[key].clone();
    let changed = text.replace(&format!("{key}={old}"), &format!("{key}={value}"));
    fs::write(file, changed).unwrap();
    old
}

fn assert_dirs(base: &Path, dirs: &[&str]) {
    for dir in dirs {
        assert!(
            base.join(dir).is_dir(),
            "no directory {dir} in {}",
            base.display()
        );
    }
}

fn assert_files(base: &Path, files: &[&str]) {
    for file in files {
        let length = fs::metadata(base.join(file)).map(|found| found.len());
        let length = length.unwrap_or_else(|e| panic!("{file} in {}: {e}", base.display()));
        assert!(length > 0, "{file} in {} is empty", base.display());
    }
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

fn assert_database(dir: &Path) {
    assert_files(dir, &["CURRENT", "IDENTITY"]);
    let is_manifest = |path: &Path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("MANIFEST-")
    };
    assert!(
        !find(dir, &is_manifest).is_empty(),
        "no manifest in {}",
        dir.display()
    );
}

/// The directory of the only Raft group in `storage`.
fn group(storage: &Path) -> PathBuf {
    let groups: Vec<_> = fs::read_dir(storage)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(groups.len(), 1, "{groups:?}");
    let name = groups[0].file_name().unwrap().to_str().unwrap();
    let parts: Vec<_> = name.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{name} is no UUID");
    groups[0].clone()
}

fn assert_raft_log(group: &Path) {
    assert_dirs(group, &["current", "snapshot"]);
    assert_files(&group.join("current"), &["raft-meta", "raft-meta.conf"]);
    let is_open = |path: &Path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("log_inprogress_")
    };
    assert_eq!(
        find(&group.join("current"), &is_open).len(),
        1,
        "{}",
        group.display()
    );
}

fn assert_authority(scm: &Path) {
    assert_files(
        &scm.join("ca"),
        &[
            "certs/certificate.crt",
            "keys/private.pem",
            "keys/public.pem",
        ],
    );
    let sub = scm.join("sub-ca");
    assert_files(
        &sub,
        &["certs/CA-1.crt", "keys/private.pem", "keys/public.pem"],
    );
    let root = fs::read_to_string(scm.join("ca/certs/certificate.crt")).unwrap();
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----"), "{root}");
    assert_eq!(
        fs::read_to_string(sub.join("certs/CA-1.crt")).unwrap(),
        root
    );
    let own = find(&sub.join("certs"), &|path| {
        let name = path.file_stem().unwrap().to_string_lossy();
        name.parse::<u64>().is_ok()
    });
    assert_eq!(
        own.len(),
        1,
        "one certificate with its serial number for a name: {own:?}"
    );
    assert_ne!(fs::read_to_string(&own[0]).unwrap(), root);
    for authority in ["ca", "sub-ca"] {
        let keys = scm.join(authority).join("keys");
        assert_eq!(mode(&keys.join("private.pem")), 0o600, "{}", keys.display());
        let private = fs::read_to_string(keys.join("private.pem")).unwrap();
        assert!(
            private.starts_with("-----BEGIN PRIVATE KEY-----"),
            "{}",
            keys.display()
        );
    }
    let key = |authority: &str| fs::read(scm.join(authority).join("keys/private.pem")).unwrap();
    assert_ne!(key("ca"), key("sub-ca"));
}

#[test]
fn trees_are_those_of_the_documents() {
    let mut cluster = Daemons::start(options(PRODUCTION));
    fs::write(
        cluster.bucket("vol", "bucket").join("file"),
        vec![7; 1 << 20],
    )
    .unwrap();
    cluster.stop_all();
    let dir = cluster.dir();

    let om = dir.join("om");
    assert_dirs(&om.join("data"), &["db.checkpoints", "om.db/snapshots"]);
    assert_database(&om.join("data/om.db"));
    assert_raft_log(&group(&om.join("ratis")));
    let om_version = properties(&om.join("data/om/current/VERSION"));
    assert_keys(
        &om_version,
        &[
            "cTime",
            "clusterID",
            "layoutVersion",
            "nodeType",
            "omUuid",
            "scmUuid",
        ],
    );

    let scm = dir.join("scm");
    assert_dirs(&scm.join("data"), &["db.checkpoints", "snapshot"]);
    assert_database(&scm.join("data/scm.db"));
    let scm_version = properties(&scm.join("data/scm/current/VERSION"));
    assert_keys(
        &scm_version,
        &["cTime", "clusterID", "layoutVersion", "nodeType", "scmUuid"],
    );
    let cluster_id = &scm_version["clusterID"];
    let scm_group = group(&scm.join("scm-ha"));
    assert_raft_log(&scm_group);
    let uuid = cluster_id.strip_prefix("CID-").expect("CID-<uuid>");
    assert_eq!(scm_group.file_name().unwrap(), uuid);
    assert_authority(&dir.join("ozone-metadata/scm"));

    assert_eq!(
        (
            om_version["nodeType"].as_str(),
            scm_version["nodeType"].as_str()
        ),
        ("OM", "SCM")
    );
    assert_eq!(&om_version["clusterID"], cluster_id);
    assert_eq!(om_version["scmUuid"], scm_version["scmUuid"]);
    assert_datanode(&cluster, &scm_version);
}

fn assert_datanode(cluster: &Daemons, scm: &BTreeMap<String, String>) {
    let hdds = cluster.data_of(1).join("hdds");
    let version = properties(&hdds.join("VERSION"));
    assert_keys(
        &version,
        &[
            "clusterID",
            "ctime",
            "datanodeUuid",
            "layOutVersion",
            "storageID",
        ],
    );
    assert_eq!(
        (&version["clusterID"], &version["ctime"]),
        (&scm["clusterID"], &scm["cTime"])
    );
    let home = hdds.join(&version["clusterID"]);
    assert_database(&home.join(&version["storageID"]).join("container.db"));
    let containers = home.join("current/containerDir0");
    let container = fs::read_dir(&containers)
        .unwrap()
        .next()
        .expect("a container")
        .unwrap();
    let id = container.file_name().into_string().unwrap();
    assert_files(&container.path(), &[&format!("metadata/{id}.container")]);
    let blocks = find(&container.path().join("chunks"), &|path| {
        path.extension().is_some()
    });
    assert!(
        blocks
            .iter()
            .any(|block| fs::metadata(block).unwrap().len() == 1 << 20),
        "{blocks:?}"
    );
    let metadata = cluster.dir().join("datanode-1/metadata");
    let identity = fs::read_to_string(metadata.join("datanode.id")).unwrap();
    assert!(identity.contains(&version["datanodeUuid"]), "{identity}");
    for group in fs::read_dir(metadata.join("datanode/ratis")).unwrap() {
        assert_raft_log(&group.unwrap().path());
    }
}

#[test]
fn one_metadata_directory_is_enough_for_om_and_scm() {
    let mut cluster = Daemons::new(options(&[("ozone.metadata.dirs", "{dir}/all")]));
    cluster.start_servers();
    cluster.stop_all();
    let all = cluster.dir().join("all");
    assert_files(&all, &["om/current/VERSION", "scm/current/VERSION"]);
    assert_database(&all.join("om.db"));
    assert_database(&all.join("scm.db"));
    assert_raft_log(&group(&all.join("ratis")));
    assert_raft_log(&group(&all.join("scm-ha")));
    assert_authority(&all.join("scm"));
}

#[test]
fn the_most_specific_directory_of_scm_wins() {
    const METADATA: (&str, &str) = ("hdds.scm.metadata.dirs", "{dir}/scm-metadata");
    let init = |properties: &[(&'static str, &'static str)]| {
        let cluster = Daemons::new(options(properties));
        cluster.succeed(&["scm", "--init"]);
        cluster
    };
    let cluster = init(&[METADATA]);
    let dir = cluster.dir().join("scm-metadata");
    assert_authority(&dir.join("scm"));
    assert_files(&dir, &["scm/current/VERSION"]);
    assert_dirs(&dir, &["scm-ha"]);
    assert!(!cluster.dir().join("metadata").exists());

    let cluster = init(&[
        METADATA,
        ("hdds.scm.ca.location", "{dir}/ca-disk"),
        ("ozone.scm.db.dirs", "{dir}/db-disk"),
    ]);
    assert_authority(&cluster.dir().join("ca-disk/scm"));
    assert_files(&cluster.dir().join("db-disk"), &["scm/current/VERSION"]);
    assert_dirs(&cluster.dir().join("scm-metadata"), &["scm-ha"]);
    assert!(!cluster.dir().join("scm-metadata/scm").exists());
}

#[test]
fn init_again_keeps_the_cluster() {
    let mut cluster = Daemons::new(options(&[]));
    let version = cluster.dir().join("metadata/scm/current/VERSION");
    let key = cluster.dir().join("metadata/scm/ca/keys/private.pem");
    let first = cluster.succeed(&["scm", "--init"]);
    let before = (properties(&version), fs::read(&key).unwrap());
    assert!(first.contains(&before.0["clusterID"]), "{first}");
    assert_eq!(cluster.succeed(&["scm", "--init"]), first);
    cluster.start_one(Daemon::Scm);
    let om = cluster.succeed(&["om", "--init"]);
    assert_eq!(cluster.succeed(&["om", "--init"]), om);
    assert_eq!((properties(&version), fs::read(&key).unwrap()), before);
    cluster.stop_all();
}

fn assert_refused(refused: &Refused, words: &[&str]) {
    assert_eq!(refused.code, FAILED, "{}", refused.text);
    let last = refused.text.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "no {word:?} in: {}", refused.text);
    }
}

#[test]
fn a_server_that_was_not_initialised_says_how() {
    let mut cluster = Daemons::new(options(&[]));
    assert_refused(&cluster.refused(Daemon::Scm), &["scm --init"]);
    cluster.succeed(&["scm", "--init"]);
    cluster.start_one(Daemon::Scm);
    assert_refused(&cluster.refused(Daemon::Om), &["om --init"]);
    cluster.stop_all();
}

/// A cluster whose datanode has registered once, all stopped.
fn stopped_cluster() -> Daemons {
    let mut cluster = Daemons::new(options(&[]));
    cluster.start_servers();
    cluster.stop_all();
    cluster
}

#[test]
fn newer_layouts_are_refused_with_both_versions() {
    let mut cluster = stopped_cluster();
    let metadata = cluster.dir().join("metadata");
    let data = cluster.data_of(1);
    let servers = [
        (
            Daemon::Scm,
            metadata.join("scm/current/VERSION"),
            "layoutVersion",
        ),
        (
            Daemon::Om,
            metadata.join("om/current/VERSION"),
            "layoutVersion",
        ),
        (
            Daemon::Datanode(1),
            data.join("hdds/VERSION"),
            "layOutVersion",
        ),
    ];
    for (server, file, key) in servers {
        let known = replace(&file, key, "4711");
        let refused = cluster.refused(server);
        assert_refused(
            &refused,
            &["4711", &format!(" {known}"), file.to_str().unwrap()],
        );
        replace(&file, key, &known);
        // It was for the version alone.
        cluster.start_one(server);
    }
    cluster.stop_all();
}

#[test]
fn a_server_of_another_cluster_is_refused_with_both_ids() {
    let mut home = stopped_cluster();
    let ours = properties(&home.dir().join("metadata/scm/current/VERSION"));
    let mut other = Daemons::new(options(&[]));
    other.succeed(&["scm", "--init"]);
    other.start_one(Daemon::Scm);
    let theirs = properties(&other.dir().join("metadata/scm/current/VERSION"));
    let ids = [ours["clusterID"].as_str(), theirs["clusterID"].as_str()];
    assert_ne!(ids[0], ids[1]);
    home.site_of(
        &other,
        &[
            "ozone.scm.datanode.address",
            "ozone.scm.block.client.address",
        ],
    );
    assert_refused(&home.refused(Daemon::Datanode(1)), &ids);
    let init = home.ozone(&["om", "--init"]);
    let refused = Refused {
        code: init.status.code(),
        text: String::from_utf8(init.stderr).unwrap(),
    };
    assert_refused(&refused, &ids);
    other.stop_all();
}

#[test]
fn a_datanode_of_a_cluster_formatted_at_another_time_is_refused_with_both_times() {
    let mut home = stopped_cluster();
    let ours = properties(&home.dir().join("metadata/scm/current/VERSION"));
    let mut again = Daemons::new(options(&[]));
    // The same id, formatted anew: what the datanode has is of no use there.
    again.succeed(&["scm", "--init", "--clusterid", &ours["clusterID"]]);
    again.start_one(Daemon::Scm);
    let theirs = properties(&again.dir().join("metadata/scm/current/VERSION"));
    assert_eq!(ours["clusterID"], theirs["clusterID"]);
    home.site_of(&again, &["ozone.scm.datanode.address"]);
    assert_refused(
        &home.refused(Daemon::Datanode(1)),
        &[&ours["cTime"], &theirs["cTime"]],
    );
    again.stop_all();
}
