//! Addresses of listeners, and the rule that nothing is offered to a network without security.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// A host (name or IP) and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Host name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// Port; 0 lets a listener pick one.
    pub port: u16,
}

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: expected host:port, such as 127.0.0.1:9862")]
pub struct AddressError {
    /// What was given.
    pub text: String,
}

/// A listener that would serve the network unprotected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "refusing to listen on {address} without security: set ozone.security.enabled=true, \
     or listen on a loopback address such as 127.0.0.1:{}", address.port()
)]
pub struct UnsafeListener {
    /// The address that was asked for.
    pub address: SocketAddr,
}

impl HostPort {
    /// `host` with `port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Parses `host:port`, `host` (which takes `default_port`) or `:port` (loopback).
    pub fn parse_with(text: &str, default_port: u16) -> Result<Self, AddressError> {
        let bad = || AddressError {
            text: text.to_owned(),
        };
        let text = text.trim();
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::new(ip.to_string(), default_port));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (text, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = match host {
            "" if text.starts_with(':') => "127.0.0.1",
            host => host,
        };
        let colons_fit = !host.contains(':') || host.parse::<IpAddr>().is_ok();
        let legal = |c: char| !c.is_whitespace() && !"/@,?#".contains(c);
        if host.is_empty() || !colons_fit || !host.chars().all(legal) {
            return Err(bad());
        }
        Ok(Self::new(host, port))
    }

    /// The same host with another port.
    pub fn with_port(&self, port: u16) -> Self {
        Self::new(self.host.clone(), port)
    }

    /// Asks the resolver. Blocks unless the host is an IP address.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let mut found = (self.host.as_str(), self.port).to_socket_addrs()?;
        found.next().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("host {} has no address", self.host),
            )
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    /// Parses `host:port`; both must be there.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = Self::parse_with(text, 0)?;
        match parsed.port {
            0 if !text.trim_end().ends_with(":0") => Err(AddressError {
                text: text.to_owned(),
            }),
            _ => Ok(parsed),
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port())
    }
}

/// What to do about a listener that cannot be had at the address that `key` sets.
pub fn listener_hint(key: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "stop what listens there, or set {key} to another one (`ozone up --auto-ports` picks free \
             ones)"
        ),
        _ => format!("{key} sets it"),
    }
}

/// Refuses a listener beyond this machine while security is off.
pub fn check_listener(address: SocketAddr, secure: bool) -> Result<(), UnsafeListener> {
    let loopback = match address.ip() {
        IpAddr::V6(v6) => v6
            .to_ipv4_mapped()
            .map_or(v6.is_loopback(), |v4: Ipv4Addr| v4.is_loopback()),
        IpAddr::V4(v4) => v4.is_loopback(),
    };
    if secure || loopback {
        return Ok(());
    }
    Err(UnsafeListener { address })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_take_defaults() {
        let parse = |text| HostPort::parse_with(text, 9862).unwrap().to_string();
        assert_eq!(parse("om"), "om:9862");
        assert_eq!(parse("om:1"), "om:1");
        assert_eq!(parse(":9875"), "127.0.0.1:9875");
        assert_eq!(parse("::1"), "[::1]:9862");
        assert_eq!(parse("[::1]:5"), "[::1]:5");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "a:b", "a:70000", "http://om:1", "a b:1", "a,b:1"] {
            assert!(HostPort::parse_with(text, 1).is_err(), "{text}");
        }
        assert!("om".parse::<HostPort>().is_err());
    }

    #[test]
    fn only_loopback_is_served_without_security() {
        for safe in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            check_listener(safe.parse().unwrap(), false).unwrap();
        }
        for open in ["0.0.0.0:9862", "10.0.0.1:1", "[::]:1"] {
            let error = check_listener(open.parse().unwrap(), false).unwrap_err();
            assert!(error.to_string().contains("ozone.security.enabled"));
            check_listener(open.parse().unwrap(), true).unwrap();
        }
    }
}
