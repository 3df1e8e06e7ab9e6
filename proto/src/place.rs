//! Where a datanode is reached and what it is called, as messages say it. Ids come in two forms:
//! as text, and in the two halves that Java knows.

use crate::hdds::{self, DatanodeDetailsProto, PipelineId};

/// Name of the port on which a datanode answers clients and takes chunks.
pub const CLIENT_PORT: &str = "STANDALONE";
/// Name of the port on which a datanode answers other datanodes.
pub const PEER_PORT: &str = "RATIS_SERVER";

impl DatanodeDetailsProto {
    /// `host:port` of the port of that name; `None` when it has none.
    pub fn address(&self, port: &str) -> Option<String> {
        let port = self.ports.iter().find(|p| p.name == port)?;
        let host = match self.ip_address.is_empty() {
            true => &self.host_name,
            false => &self.ip_address,
        };
        Some(match host.contains(':') {
            true => format!("[{host}]:{}", port.value),
            false => format!("{host}:{}", port.value),
        })
    }

    /// The datanode's UUID; empty when the message has none.
    pub fn uuid_text(&self) -> String {
        text(self.uuid.as_ref(), self.uuid128.as_ref())
    }
}

impl PipelineId {
    /// The pipeline's UUID; empty when the message has none.
    pub fn text(&self) -> String {
        text(self.id.as_ref(), self.uuid128.as_ref())
    }
}

impl hdds::Pipeline {
    /// Each member with where it is reached: equal when nobody has moved.
    pub fn places(&self) -> Vec<String> {
        let place = |member: &DatanodeDetailsProto| {
            let at = |port| member.address(port).unwrap_or_default();
            format!(
                "{} {} {}",
                member.uuid_text(),
                at(PEER_PORT),
                at(CLIENT_PORT)
            )
        };
        let mut places: Vec<_> = self.members.iter().map(place).collect();
        places.sort();
        places
    }
}

fn text(text: Option<&String>, halves: Option<&hdds::Uuid>) -> String {
    match (text, halves) {
        (Some(text), _) => text.clone(),
        (None, Some(id)) => {
            let (most, least) = (id.most_sig_bits, id.least_sig_bits);
            uuid::Uuid::from_u64_pair(most.cast_unsigned(), least.cast_unsigned()).to_string()
        }
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hdds::Port;

    #[test]
    fn a_datanode_is_reached_by_address_first_and_ipv6_goes_in_brackets() {
        let mut datanode = DatanodeDetailsProto {
            host_name: "dn7".into(),
            ports: vec![Port {
                name: CLIENT_PORT.into(),
                value: 9859,
            }],
            ..Default::default()
        };
        assert_eq!(datanode.address(CLIENT_PORT).as_deref(), Some("dn7:9859"));
        datanode.ip_address = "::1".into();
        assert_eq!(datanode.address(CLIENT_PORT).as_deref(), Some("[::1]:9859"));
        assert_eq!(datanode.address(PEER_PORT), None);
    }

    #[test]
    fn an_id_is_read_in_both_forms() {
        let halves = hdds::Uuid {
            most_sig_bits: -1,
            least_sig_bits: 2,
        };
        let mut id = PipelineId {
            id: None,
            uuid128: Some(halves),
        };
        assert_eq!(id.text(), "ffffffff-ffff-ffff-0000-000000000002");
        id.id = Some("named".into());
        assert_eq!(id.text(), "named");
    }
}
