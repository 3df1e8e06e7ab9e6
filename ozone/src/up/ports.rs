//! The ports of an embedded cluster: well-known ones, or free ones. A cluster keeps those with which
//! it has once been up; a start that fails leaves no trace here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

use ozone_common::config::{Config, listener_hint};
use ozone_common::disk::{RealDisk, replace_file};
use ozone_common::rng::{OsRng, Rng};

/// Ports by configuration key; datanodes' keys begin with their number.
pub(super) type Ports = BTreeMap<String, u16>;

const FILE: &str = "ports.properties";
const SERVERS: &[(&str, u16)] = &[
    ("ozone.om.address", 9862),
    ("ozone.om.http-address", 9874),
    ("ozone.om.ratis.port", 9872),
    ("ozone.scm.client.address", 9860),
    ("ozone.scm.datanode.address", 9861),
    ("ozone.scm.block.client.address", 9863),
    ("ozone.scm.security.service.address", 9961),
    ("ozone.scm.ratis.port", 9894),
    ("ozone.scm.http-address", 9876),
    ("ozone.s3g.http-address", 9878),
];
const DATANODE: &[&str] = &[
    "hdds.container.ipc.port",
    "hdds.container.ratis.server.port",
    "hdds.datanode.http-address",
];
/// First port of the first datanode; the next one's are ten further.
const DATANODE_BASE: u16 = 19_860;
/// Where free ports are picked: below those that the kernel gives to outgoing connections, so that
/// none of these has the port of a server that was down for a moment.
const FREE: std::ops::Range<u16> = 10_000..32_000;
/// Ports that a process tries first: clusters that start at the same time look in different places, so that
/// none takes what another has picked and not bound yet.
const SLICE: u16 = 64;
/// Ports that are tried before there is said to be none.
const ATTEMPTS: usize = 10_000;

/// The ports with which the cluster in `dir` was up; none before its first start has succeeded.
/// Blocks.
pub(super) fn recorded(dir: &Path) -> Result<Ports, String> {
    let file = dir.join(FILE);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Ports::new()),
        Err(e) => return Err(format!("{}: {e}", file.display())),
    };
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let bad = || format!("{}: {line:?} should be key=port", file.display());
            let (key, port) = line.split_once('=').ok_or_else(bad)?;
            Ok((key.to_owned(), port.trim().parse().map_err(|_| bad())?))
        })
        .collect()
}

/// Records the ports of a cluster that is up. Blocks.
pub(super) fn record(dir: &Path, ports: &Ports) -> Result<(), String> {
    let text: String = ports
        .iter()
        .map(|(key, port)| format!("{key}={port}\n"))
        .collect();
    let file = dir.join(FILE);
    replace_file(&RealDisk, &file, text.as_bytes()).map_err(|e| format!("{}: {e}", file.display()))
}

/// With how many datanodes a cluster was up that has these ports.
pub(super) fn datanodes(recorded: &Ports) -> u16 {
    let nodes: BTreeSet<_> = recorded
        .keys()
        .filter_map(|key| Some(key.split_once('/')?.0))
        .collect();
    u16::try_from(nodes.len()).unwrap_or(u16::MAX)
}

/// The ports for a start: those recorded, and well-known ones where there are none. With `auto` free
/// ones instead, and instead of recorded ones that are taken. Blocks.
pub(super) fn choose(recorded: &Ports, datanodes: u16, auto: bool) -> Result<Ports, String> {
    let mut ports = recorded.clone();
    // Held until all are chosen, so that none is picked twice.
    let mut held = Vec::new();
    if auto {
        ports.retain(|_, port| match listen(*port) {
            Some(listener) => {
                held.push(listener);
                true
            }
            None => false,
        });
    }
    let mut add = |key: String, fixed: u16| -> Result<(), String> {
        if ports.contains_key(&key) {
            return Ok(());
        }
        let port = match auto {
            false => fixed,
            true => free(&mut held)?,
        };
        ports.insert(key, port);
        Ok(())
    };
    for (key, fixed) in SERVERS {
        add((*key).to_owned(), *fixed)?;
    }
    for node in 0..datanodes {
        for (nth, key) in DATANODE.iter().enumerate() {
            add(
                format!("{node}/{key}"),
                DATANODE_BASE + node * 10 + nth as u16,
            )?;
        }
    }
    Ok(ports)
}

/// Refuses ports that are taken, before anything is made. What the user sets in `config` is not from here.
pub(super) fn check_free(ports: &Ports, config: &Config) -> Result<(), String> {
    for (key, port) in ports {
        let name = key.split_once('/').map_or(key.as_str(), |(_, name)| name);
        let ours = key.contains('/') || !config.is_set(name);
        let Err(error) = TcpListener::bind(("127.0.0.1", *port)) else {
            continue;
        };
        if ours && error.kind() == ErrorKind::AddrInUse {
            let hint = listener_hint(name, &error);
            return Err(format!(
                "cannot listen on 127.0.0.1:{port}: {error}: {hint}"
            ));
        }
    }
    Ok(())
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).ok()
}

fn free(held: &mut Vec<TcpListener>) -> Result<u16, String> {
    let slices = u32::from((FREE.end - FREE.start) / SLICE);
    let own = FREE.start + (std::process::id() % slices) as u16 * SLICE;
    let chance = || FREE.start + (OsRng.u64() % u64::from(FREE.end - FREE.start)) as u16;
    let ports = (own..own + SLICE).chain(std::iter::repeat_with(chance).take(ATTEMPTS));
    for port in ports {
        if let Some(listener) = listen(port) {
            held.push(listener);
            return Ok(port);
        }
    }
    Err(format!("no free port in {FREE:?}"))
}

/// Configuration of the servers that all share.
pub(super) fn shared(ports: &Ports) -> Vec<(String, String)> {
    ports
        .iter()
        .filter(|(key, _)| !key.contains('/'))
        .map(|(key, port)| (key.clone(), value(key, *port)))
        .collect()
}

/// Configuration of one datanode alone.
pub(super) fn of_datanode(ports: &Ports, node: u16) -> Vec<(String, String)> {
    let prefix = format!("{node}/");
    ports
        .iter()
        .filter_map(|(key, port)| {
            key.strip_prefix(&prefix)
                .map(|key| (key.to_owned(), value(key, *port)))
        })
        .collect()
}

fn value(key: &str, port: u16) -> String {
    if key.ends_with("address") {
        format!("127.0.0.1:{port}")
    } else {
        port.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn recorded_ports_are_kept_and_count_the_datanodes() {
        let dir = tempfile::tempdir().unwrap();
        assert!(recorded(dir.path()).unwrap().is_empty());
        let first = choose(&Ports::new(), 2, true).unwrap();
        record(dir.path(), &first).unwrap();
        let known = recorded(dir.path()).unwrap();
        assert_eq!((&known, datanodes(&known)), (&first, 2));
        assert_eq!(choose(&known, 2, false).unwrap(), first);
    }

    #[test]
    fn a_port_that_is_taken_is_refused_before_anything_is_made_unless_the_user_sets_another() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let key = "ozone.om.address";
        let ports = Ports::from([(key.to_owned(), port)]);
        let refused = check_free(&ports, &Config::default()).unwrap_err();
        for words in [key, &port.to_string(), "--auto-ports"] {
            assert!(refused.contains(words), "{refused}");
        }
        let other = Config::from_pairs([(key, "127.0.0.1:1")]).unwrap();
        check_free(&ports, &other).unwrap();
        drop(taken);
        check_free(&ports, &Config::default()).unwrap();
    }

    #[test]
    fn a_recorded_port_that_is_taken_is_chosen_anew_where_that_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let known = Ports::from([("ozone.om.address".to_owned(), port)]);
        let om = |auto| choose(&known, 1, auto).unwrap()["ozone.om.address"];
        assert_eq!(om(false), port);
        assert_ne!(om(true), port);
    }
}
