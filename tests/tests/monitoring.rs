//! What an operator asks a cluster about itself: version, configuration, health, numbers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use ozone_tests::{Daemon, DaemonOptions, Daemons, http};

/// Names in the text that Prometheus reads; every line has to be one that it understands.
fn metrics(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.is_empty());
    let mut names = Vec::new();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "no number in {line:?}");
        names.push(name.split('{').next().unwrap());
    }
    names
}

#[test]
fn every_server_tells_its_health_and_its_numbers() {
    let cluster = Daemons::start(DaemonOptions::one_copy());
    std::fs::write(cluster.bucket("vol", "bucket").join("file"), "content").unwrap();
    let servers = [
        (Daemon::Scm, "scm_"),
        (Daemon::Om, "om_"),
        (Daemon::Datanode(1), "datanode_"),
    ];
    for (server, prefix) in servers {
        let port = cluster.http_port(server);
        let (status, body) = http::get(port, "/health").unwrap();
        assert_eq!(status, 200, "{server}: {body}");
        let (status, text) = http::get(port, "/prom").unwrap();
        assert_eq!(status, 200, "{server}: {text}");
        let own = metrics(&text);
        assert!(
            own.iter().any(|name| name.starts_with(prefix)),
            "{server} tells {own:?}"
        );
        let (status, _) = http::get(port, "/no-such-page").unwrap();
        assert_eq!(status, 404, "{server}");
    }
}

#[test]
fn version_and_configuration_are_printed() {
    let cluster = Daemons::new(DaemonOptions::default());
    let version = cluster.succeed(&["version"]);
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let key = "ozone.om.address";
    let value = cluster.property(key);
    let printed = cluster.succeed(&["getconf", "confKey", key]);
    assert_eq!(printed.trim(), value);
    // The command line wins over the file.
    let set = format!("{key}=localhost:1");
    let printed = cluster.succeed(&["--set", &set, "getconf", "-confKey", key]);
    assert_eq!(printed.trim(), "localhost:1");
    let all = cluster.succeed(&["getconf", "list"]);
    let line = format!("{key}={value}");
    assert!(all.lines().any(|printed| printed == line), "{all}");
    for who in ["ozonemanagers", "storagecontainermanagers"] {
        assert_eq!(cluster.succeed(&["getconf", who]).trim(), "127.0.0.1");
    }
    let missing = cluster.ozone(&["getconf", "confKey", "no.such.key"]);
    assert!(!missing.status.success());
    let error = String::from_utf8_lossy(&missing.stderr);
    assert!(error.contains("no.such.key"), "{error}");
}
