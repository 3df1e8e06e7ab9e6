//! Ports for servers that are started again on the same ones.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use rand::Rng;

/// Below the ports that the kernel gives to outgoing connections and those that `ozone up` picks from, so that
/// nobody takes the port of a server that is down for a moment.
const RANGE: std::ops::Range<u16> = 4_000..9_800;

/// What was given to a cluster of this process, whether its servers listen already or not.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Free ports, as many as asked for. No port is given twice in a process.
pub fn free_ports(count: usize) -> Vec<u16> {
    let mut rng = rand::rng();
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::new();
    while found.len() < count {
        let port = rng.random_range(RANGE);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && given.insert(port) {
            found.push(port);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_that_are_made_at_once_share_no_port() {
        let made: Vec<_> = (0..8)
            .map(|_| std::thread::spawn(|| free_ports(200)))
            .collect();
        let ports: Vec<_> = made
            .into_iter()
            .flat_map(|made| made.join().expect("ports"))
            .collect();
        let different: BTreeSet<_> = ports.iter().collect();
        assert_eq!(different.len(), ports.len());
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }
}
