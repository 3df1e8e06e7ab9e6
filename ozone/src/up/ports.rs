//! The ports of an embedded cluster: well-known ones, or free ones. A cluster keeps those with which
//! it has once been up; a start that fails leaves no trace here.

use std::collections::btree_map::Entry;
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
/// Ports that one cluster takes from: the first of them is never given to a server, but listened on by whoever
/// takes from the others. So no cluster picks what another one picked and has not bound yet.
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

/// The ports for a start: those recorded, and well-known ones where there are none.
pub(super) fn fixed(recorded: &Ports, datanodes: u16) -> Ports {
    let mut ports = recorded.clone();
    for (key, port) in wanted(datanodes) {
        ports.entry(key).or_insert(port);
    }
    ports
}

/// Every server's key, with its well-known port.
fn wanted(datanodes: u16) -> impl Iterator<Item = (String, u16)> {
    let servers = SERVERS.iter().map(|(key, port)| ((*key).to_owned(), *port));
    let of_datanode = |node: u16| {
        let first = DATANODE_BASE + node * 10;
        let keys = DATANODE.iter().zip(first..);
        keys.map(move |(key, port)| (format!("{node}/{key}"), port))
    };
    servers.chain((0..datanodes).flat_map(of_datanode))
}

/// Free ports for a start: those recorded, where they are free. They are the cluster's as long as
/// what comes with them is held. Blocks.
pub(super) fn free(recorded: &Ports, datanodes: u16) -> Result<(Ports, Slice), String> {
    let slice = Slice::take(recorded)?;
    // Held until all are chosen, so that none is picked twice.
    let mut held = Vec::new();
    let mut ports = recorded.clone();
    ports.retain(|_, port| {
        let listener = listen(*port).filter(|_| slice.may_have(*port));
        let kept = listener.is_some();
        held.extend(listener);
        kept
    });
    for (key, _) in wanted(datanodes) {
        if let Entry::Vacant(place) = ports.entry(key) {
            place.insert(slice.pick(&mut held)?);
        }
    }
    Ok((ports, slice))
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

/// The ports that are one cluster's to take from.
pub(super) struct Slice {
    first: u16,
    /// On the first port.
    _guard: TcpListener,
}

impl Slice {
    /// The slice of the ports that a cluster has had, if it is nobody's, or another one.
    fn take(recorded: &Ports) -> Result<Self, String> {
        let slices = (FREE.end - FREE.start) / SLICE;
        let had = recorded.values().find(|port| FREE.contains(port));
        let own = match had {
            Some(port) => (port - FREE.start) / SLICE,
            None => (std::process::id() % u32::from(slices)) as u16,
        };
        let all = (own..slices).chain(0..own);
        all.map(|slice| FREE.start + slice * SLICE)
            .find_map(|first| {
                let guard = listen(first)?;
                Some(Self {
                    first,
                    _guard: guard,
                })
            })
            .ok_or_else(|| format!("no {SLICE} free ports in a row in {FREE:?}"))
    }

    /// Whether a port that was recorded is nobody else's to take.
    fn may_have(&self, port: u16) -> bool {
        let own = self.first..self.first + SLICE;
        own.contains(&port) || !FREE.contains(&port)
    }

    fn pick(&self, held: &mut Vec<TcpListener>) -> Result<u16, String> {
        let chance = || FREE.start + (OsRng.u64() % u64::from(FREE.end - FREE.start)) as u16;
        let own = self.first + 1..self.first + SLICE;
        // A cluster that is larger than that takes its chance.
        for port in own.chain(std::iter::repeat_with(chance).take(ATTEMPTS)) {
            if let Some(listener) = listen(port) {
                held.push(listener);
                return Ok(port);
            }
        }
        Err(format!("no free port in {FREE:?}"))
    }
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
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Held by tests that take free ports: all would begin with the slice of this process.
    static TAKING: Mutex<()> = Mutex::new(());

    #[test]
    fn recorded_ports_are_kept_and_count_the_datanodes() {
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        assert!(recorded(dir.path()).unwrap().is_empty());
        let (first, slice) = free(&Ports::new(), 2).unwrap();
        record(dir.path(), &first).unwrap();
        let known = recorded(dir.path()).unwrap();
        assert_eq!((&known, datanodes(&known)), (&first, 2));
        assert_eq!(fixed(&known, 2), first);
        drop(slice);
        assert_eq!(free(&known, 2).unwrap().0, first);
    }

    #[test]
    fn clusters_that_start_at_once_share_no_port_though_none_is_bound_yet() {
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, _slice) = free(&Ports::new(), 3).unwrap();
        let own = |ports: &Ports| ports.values().copied().collect::<BTreeSet<_>>();
        let (second, _other) = free(&Ports::new(), 3).unwrap();
        assert!(own(&first).is_disjoint(&own(&second)));
        // Not even one that has had the same ports.
        let (third, _another) = free(&first, 3).unwrap();
        assert!(own(&first).is_disjoint(&own(&third)));
        assert!(own(&second).is_disjoint(&own(&third)));
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
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let known = Ports::from([("ozone.om.address".to_owned(), port)]);
        assert_eq!(fixed(&known, 1)["ozone.om.address"], port);
        assert_ne!(free(&known, 1).unwrap().0["ozone.om.address"], port);
    }
}
