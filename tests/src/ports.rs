//! Ports for servers that are started again on the same ones.

use std::net::TcpListener;

use rand::Rng;

/// Below the ports that the kernel gives to outgoing connections, so that none of those takes the
/// port of a server that is down for a moment.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// Free ports, as many as asked for.
pub fn free_ports(count: usize) -> Vec<u16> {
    let mut rng = rand::rng();
    // Held until all are found, so that none is found twice.
    let mut held = Vec::new();
    while held.len() < count {
        let port = rng.random_range(RANGE);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((port, listener));
        }
    }
    held.into_iter().map(|(port, _)| port).collect()
}
