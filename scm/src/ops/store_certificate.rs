//! A certificate that SCM signed is on record.

use super::{Answer, Op, Refusal};
use crate::model::{Change, QueueError, View};
use crate::rows::{CertificateRow, ROW_VERSION};

/// The command.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoreCertificate {
    /// Serial number, big endian.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) serial: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) pem: String,
    /// Kind of the node that holds it: `OM`, `DATANODE`, `SCM`.
    #[prost(string, tag = "3")]
    pub(crate) node_type: String,
    #[prost(string, tag = "4")]
    pub(crate) node_uuid: String,
    #[prost(uint64, tag = "5")]
    pub(crate) at_ms: u64,
}

impl Op for StoreCertificate {
    fn name(&self) -> &'static str {
        "StoreCertificate"
    }

    fn validate(&self, _: View<'_>) -> Result<(), Refusal> {
        match self.serial.is_empty() || self.pem.is_empty() {
            true => Err(Refusal::Malformed(
                "a certificate needs a serial and a text",
            )),
            false => Ok(()),
        }
    }

    fn apply(&self, _: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        out.push(Change::Certificate {
            serial: self.serial.clone(),
            scm: self.node_type == "SCM",
            row: CertificateRow {
                version: ROW_VERSION,
                pem: self.pem.clone(),
                node_type: self.node_type.clone(),
                node_uuid: self.node_uuid.clone(),
                issued_ms: self.at_ms,
            },
        });
        Ok(Answer::Done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::testing::World;
    use super::*;

    #[test]
    fn certificates_of_scms_are_told_apart() {
        let world = World::default();
        let view = View {
            model: &world.model,
            queue: &world,
        };
        for (node_type, is_scm) in [("SCM", true), ("OM", false), ("DATANODE", false)] {
            let op = StoreCertificate {
                serial: vec![1],
                pem: "pem".to_owned(),
                node_type: node_type.to_owned(),
                ..StoreCertificate::default()
            };
            op.validate(view).unwrap();
            let mut out = Vec::new();
            op.apply(view, &mut out).unwrap();
            assert!(matches!(&out[..], [Change::Certificate { scm, .. }] if *scm == is_scm));
        }
        let empty = StoreCertificate::default().validate(view);
        assert!(matches!(empty, Err(Refusal::Malformed(_))));
    }
}
