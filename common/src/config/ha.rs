//! The members of the replicated services, as Ozone's keys describe them.

use super::{Config, ConfigError, HostPort};

/// One server of a replicated service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceNode {
    /// The service it belongs to; empty in a cluster without service ids.
    pub service: String,
    /// Its node id; empty in a cluster without service ids.
    pub id: String,
    /// Where it answers clients.
    pub address: HostPort,
    /// Where it replicates with the others.
    pub ratis: HostPort,
}

impl ServiceNode {
    /// The name that `key` has for this node.
    pub fn key(&self, config: &Config, key: &str) -> String {
        let part = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (service, id) = (part(&self.service), part(&self.id));
        config.node_key(key, service.as_deref(), id.as_deref())
    }
}

/// The OMs: `ozone.om.service.ids`, `ozone.om.nodes.<service>`, `ozone.om.address.<service>.<node>`,
/// or the single `ozone.om.address`.
pub fn om_nodes(config: &Config) -> Result<Vec<ServiceNode>, ConfigError> {
    let service = service_id(
        config,
        "ozone.om.service.ids",
        "ozone.om.internal.service.id",
    )?;
    let Some(service) = service else {
        let address = config.get_address("ozone.om.address")?;
        let port = config.get_port("ozone.om.ratis.port")?;
        return Ok(vec![single(address, port)]);
    };
    let mut nodes = Vec::new();
    for id in node_ids(config, "ozone.om.nodes", &service)? {
        let at = |key| config.node_key(key, Some(&service), Some(&id));
        let address = config.get_address(&at("ozone.om.address"))?;
        let ratis = address.with_port(config.get_port(&at("ozone.om.ratis.port"))?);
        nodes.push(ServiceNode {
            service: service.clone(),
            id,
            address,
            ratis,
        });
    }
    Ok(nodes)
}

/// The SCMs, with the address that clients use: `ozone.scm.service.ids`, `ozone.scm.nodes.<service>`,
/// `ozone.scm.address.<service>.<node>`; or the hosts of `ozone.scm.names`; or the single
/// `ozone.scm.client.address`.
pub fn scm_nodes(config: &Config) -> Result<Vec<ServiceNode>, ConfigError> {
    let service = service_id(
        config,
        "ozone.scm.service.ids",
        "ozone.scm.default.service.id",
    )?;
    let client = config.get_address("ozone.scm.client.address")?;
    let ratis_port = config.get_port("ozone.scm.ratis.port")?;
    let Some(service) = service else {
        let names = config.get_list("ozone.scm.names")?;
        if names.is_empty() || config.is_set("ozone.scm.client.address") {
            return Ok(vec![single(client, ratis_port)]);
        }
        let parse = |name: &String| HostPort::parse_with(name, client.port);
        let nodes = names.iter().map(|name| {
            let address = parse(name).map_err(|_| bad_host(config, "ozone.scm.names", name))?;
            Ok(single(address.with_port(client.port), ratis_port))
        });
        return nodes.collect();
    };
    let mut nodes = Vec::new();
    for id in node_ids(config, "ozone.scm.nodes", &service)? {
        let at = |key| config.node_key(key, Some(&service), Some(&id));
        let own = at("ozone.scm.client.address");
        let host_key = at("ozone.scm.address");
        let host = config.get_str(&host_key)?;
        let address = if host.is_empty() || own != "ozone.scm.client.address" {
            config.get_address(&own)?
        } else {
            HostPort::parse_with(host, client.port)
                .map_err(|_| bad_host(config, &host_key, host))?
        };
        let ratis = address.with_port(config.get_port(&at("ozone.scm.ratis.port"))?);
        nodes.push(ServiceNode {
            service: service.clone(),
            id,
            address,
            ratis,
        });
    }
    Ok(nodes)
}

/// Where each SCM answers one kind of caller, as `host:port`: on the hosts of the SCMs, at the port
/// of `key` (such as `ozone.scm.datanode.address`), unless that is set for a node by itself.
pub fn scm_addresses(config: &Config, key: &str) -> Result<Vec<String>, ConfigError> {
    let shared = config.get_address(key)?;
    let nodes = scm_nodes(config)?;
    if nodes.len() == 1 && config.is_set(key) {
        return Ok(vec![shared.to_string()]);
    }
    nodes
        .iter()
        .map(|node| {
            let own = node.key(config, key);
            match own == key {
                true => Ok(node.address.with_port(shared.port).to_string()),
                false => Ok(config.get_address(&own)?.to_string()),
            }
        })
        .collect()
}

fn single(address: HostPort, ratis_port: u16) -> ServiceNode {
    ServiceNode {
        service: String::new(),
        id: String::new(),
        ratis: address.with_port(ratis_port),
        address,
    }
}

fn bad_host(config: &Config, key: &str, value: &str) -> ConfigError {
    ConfigError::bad_value(key, value, config.source(key), "a host name")
}

/// The service of this cluster: the only one named, or the one that `chosen` picks.
fn service_id(config: &Config, ids: &str, chosen: &str) -> Result<Option<String>, ConfigError> {
    let mut services = config.get_list(ids)?;
    let pick = config.get_str(chosen)?;
    if !pick.is_empty() {
        if services.iter().any(|service| service == pick) {
            return Ok(Some(pick.to_owned()));
        }
        let expected = format!("one of the services in {ids}");
        let from = config.source(chosen);
        return Err(ConfigError::bad_value(chosen, pick, from, &expected));
    }
    if services.len() > 1 {
        return Err(ConfigError::Missing {
            keys: vec![chosen.to_owned()],
            example: format!("{ids} names several services: set it to the one of this cluster"),
        });
    }
    Ok(services.pop())
}

fn node_ids(config: &Config, key: &str, service: &str) -> Result<Vec<String>, ConfigError> {
    let name = format!("{key}.{service}");
    let ids = match config.get(&name) {
        Some(_) => config.get_list(&name)?,
        None => Vec::new(),
    };
    if ids.is_empty() {
        return Err(ConfigError::Missing {
            keys: vec![name],
            example: format!("set it to the node ids of service {service}, such as n1,n2,n3"),
        });
    }
    Ok(ids)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn without_service_ids_there_is_one_of_each() {
        let config = Config::default();
        let om = om_nodes(&config).unwrap();
        assert_eq!(om.len(), 1);
        assert_eq!(om[0].address.to_string(), "127.0.0.1:9862");
        assert_eq!(om[0].ratis.to_string(), "127.0.0.1:9872");
        let scm = scm_nodes(&config).unwrap();
        assert_eq!(scm[0].address.to_string(), "127.0.0.1:9860");
    }

    #[test]
    fn a_service_lists_its_nodes_with_their_own_ports() {
        let config = Config::from_pairs([
            ("ozone.om.service.ids", "s"),
            ("ozone.om.nodes.s", "a,b"),
            ("ozone.om.address.s.a", "h1"),
            ("ozone.om.address.s.b", "h2:7"),
            ("ozone.om.ratis.port.s.b", "8"),
        ])
        .unwrap();
        let nodes = om_nodes(&config).unwrap();
        assert_eq!(nodes[0].address.to_string(), "h1:9862");
        assert_eq!(nodes[1].address.to_string(), "h2:7");
        assert_eq!(nodes[1].ratis.to_string(), "h2:8");
    }

    #[test]
    fn scm_hosts_come_from_names_or_from_the_service() {
        let config = Config::from_pairs([("ozone.scm.names", "h1,h2")]).unwrap();
        let nodes = scm_nodes(&config).unwrap();
        assert_eq!(nodes[1].address.to_string(), "h2:9860");
        let config = Config::from_pairs([
            ("ozone.scm.service.ids", "s"),
            ("ozone.scm.nodes.s", "a"),
            ("ozone.scm.address.s.a", "h9"),
        ])
        .unwrap();
        let nodes = scm_nodes(&config).unwrap();
        assert_eq!(nodes[0].address.to_string(), "h9:9860");
        assert_eq!(nodes[0].ratis.to_string(), "h9:9894");
    }

    #[test]
    fn every_scm_answers_at_the_port_of_its_key() {
        let addresses = |pairs: &[(&str, &str)]| {
            let config = Config::from_pairs(pairs.iter().copied()).unwrap();
            scm_addresses(&config, "ozone.scm.datanode.address").unwrap()
        };
        assert_eq!(addresses(&[]), ["127.0.0.1:9861"]);
        assert_eq!(addresses(&[("ozone.scm.datanode.address", "h:1")]), ["h:1"]);
        assert_eq!(
            addresses(&[("ozone.scm.names", "a,b")]),
            ["a:9861", "b:9861"]
        );
        let service = [
            ("ozone.scm.service.ids", "s"),
            ("ozone.scm.nodes.s", "x,y"),
            ("ozone.scm.address.s.x", "hx"),
            ("ozone.scm.address.s.y", "hy"),
            ("ozone.scm.datanode.address.s.y", "hy:7"),
        ];
        assert_eq!(addresses(&service), ["hx:9861", "hy:7"]);
    }

    #[test]
    fn a_service_without_nodes_and_an_unclear_service_are_errors() {
        let lonely = Config::from_pairs([("ozone.om.service.ids", "s")]).unwrap();
        assert!(om_nodes(&lonely).is_err());
        let two = Config::from_pairs([("ozone.om.service.ids", "s,t")]).unwrap();
        let text = om_nodes(&two).unwrap_err().to_string();
        assert!(text.contains("ozone.om.internal.service.id"), "{text}");
    }
}
