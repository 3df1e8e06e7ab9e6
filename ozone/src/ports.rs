//! The ports of an embedded cluster: well-known ones, or free ones that are picked at the first
//! start and kept, because pipelines remember where their members are.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use ozone_common::rng::{OsRng, Rng};

/// Ports by configuration key; datanodes' keys begin with their number.
pub(crate) type Ports = BTreeMap<String, u16>;

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
/// Ports that are tried before there is said to be none.
const ATTEMPTS: usize = 10_000;

/// The ports of the cluster in `dir`.
pub(crate) fn choose(dir: &Path, datanodes: u16, auto: bool) -> Result<Ports, String> {
    let file = dir.join(FILE);
    let mut ports = read(&file)?;
    // Held until all are chosen, so that none is picked twice.
    let mut held = Vec::new();
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
    let text: String = ports
        .iter()
        .map(|(key, port)| format!("{key}={port}\n"))
        .collect();
    std::fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(ports)
}

fn read(file: &Path) -> Result<Ports, String> {
    let text = match std::fs::read_to_string(file) {
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

fn free(held: &mut Vec<TcpListener>) -> Result<u16, String> {
    for _ in 0..ATTEMPTS {
        let port = FREE.start + (OsRng.u64() % u64::from(FREE.end - FREE.start)) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push(listener);
            return Ok(port);
        }
    }
    Err(format!("no free port in {FREE:?}"))
}

/// Configuration of the servers that all share.
pub(crate) fn shared(ports: &Ports) -> Vec<(String, String)> {
    ports
        .iter()
        .filter(|(key, _)| !key.contains('/'))
        .map(|(key, port)| (key.clone(), value(key, *port)))
        .collect()
}

/// Configuration of one datanode alone.
pub(crate) fn of_datanode(ports: &Ports, node: u16) -> Vec<(String, String)> {
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
