//! What the servers keep where, as the documents of the disk layouts say, and that a server never
//! works on data of another cluster or of newer software.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod disk;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use ozone_tests::corrupt::find;
use ozone_tests::credentials::{assert_certified, own_certificates};
use ozone_tests::refused::FAILED;
use ozone_tests::wait::wait_for;
use ozone_tests::{Daemon, DaemonOptions, Daemons, Refused};

use disk::{
    assert_authority, assert_database, assert_dirs, assert_files, assert_keys, assert_raft_log,
    group, properties, replace, sub_authority,
};

/// How long a server may take to have itself certified, or to find out that it is in another cluster.
const LIMIT: Duration = Duration::from_secs(60);

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
        properties: properties.to_vec(),
        ..DaemonOptions::one_copy()
    }
}

#[test]
fn trees_are_those_of_the_documents() {
    let mut cluster = Daemons::start(options(PRODUCTION));
    fs::write(
        cluster.bucket("vol", "bucket").join("file"),
        vec![7; 1 << 20],
    )
    .unwrap();
    let servers = ["ozone-metadata/om", "datanode-1/metadata/dn"];
    wait_for(LIMIT, || {
        let certificates = |server| own_certificates(&cluster.dir().join(server)).len();
        match servers.map(certificates) {
            [1, 1] => Ok(()),
            found => Err(format!("{found:?} certificates of {servers:?}")),
        }
    });
    cluster.stop_all();
    let dir = cluster.dir();

    let om = dir.join("om");
    assert_dirs(&om.join("data"), &["db.checkpoints", "om.db/snapshots"]);
    assert_database(&om.join("data/om.db"));
    assert_files(&om.join("data"), &["omMetrics"]);
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
    let datanode = assert_datanode(&cluster, &scm_version);

    let authority = sub_authority(&dir.join("ozone-metadata/scm"));
    let names = [
        ("om", om_version["omUuid"].as_str(), cluster_id.as_str()),
        ("dn", &datanode, cluster_id),
    ];
    for (server, name) in servers.into_iter().zip(names) {
        assert_certified(&dir.join(server), &authority, name);
    }
}

/// Gives the datanode's id.
fn assert_datanode(cluster: &Daemons, scm: &BTreeMap<String, String>) -> String {
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
    version["datanodeUuid"].clone()
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

/// What a server says that ends by itself.
fn ended(cluster: &mut Daemons, server: Daemon) -> Refused {
    let status = wait_for(LIMIT, || {
        let ended = cluster.ended(server);
        ended.ok_or_else(|| format!("{server} runs"))
    });
    Refused {
        code: status.code(),
        text: cluster.log(server),
    }
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
    assert_refused(&Refused::from(&init), &ids);
    home.spawn(Daemon::Om);
    assert_refused(&ended(&mut home, Daemon::Om), &ids);
    other.stop_all();
}

#[test]
fn an_om_that_meets_the_scm_of_another_cluster_later_stops_with_both_ids() {
    let mut home = stopped_cluster();
    let mut other = Daemons::new(options(&[]));
    other.succeed(&["scm", "--init"]);
    home.site_of(&other, &["ozone.scm.block.client.address"]);
    // Reads need no SCM, so it serves without one.
    home.start_one(Daemon::Om);
    other.start_one(Daemon::Scm);
    let version =
        |cluster: &Daemons| properties(&cluster.dir().join("metadata/scm/current/VERSION"));
    let [ours, theirs] = [&home, &other].map(version);
    let refused = ended(&mut home, Daemon::Om);
    assert_refused(&refused, &[&ours["clusterID"], &theirs["clusterID"]]);
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
