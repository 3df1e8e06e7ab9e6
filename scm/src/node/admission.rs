//! Who may join: a datanode of another cluster, or with data of a newer layout, is refused with a
//! message that names both values.

use ozone_proto::scm::RegisterRequest;

use crate::layout::{Identity, LAYOUT_VERSION};
use crate::rows::datanode_id;

/// Why a datanode may not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AdmissionError {
    /// It says nothing of itself that could be believed.
    #[error("a datanode registers with its details and a uuid; got uuid {found:?}")]
    NoIdentity {
        /// What it said.
        found: String,
    },
    /// It belongs to another cluster.
    #[error("datanode {node} is of cluster {theirs}, this SCM serves cluster {ours}")]
    OtherCluster {
        /// The datanode.
        node: String,
        /// Its cluster.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// It was formatted by another cluster that had the same id.
    #[error(
        "datanode {node} was formatted by a cluster with cTime {theirs}, this cluster has cTime {ours}"
    )]
    OtherFormat {
        /// The datanode.
        node: String,
        /// What it was told then.
        theirs: i64,
        /// What is right.
        ours: i64,
    },
    /// It has data that this cluster's software may not understand.
    #[error(
        "datanode {node} has data of layout version {theirs}, this SCM supports up to {ours}: \
         upgrade SCM first"
    )]
    NewerLayout {
        /// The datanode.
        node: String,
        /// Layout of its data.
        theirs: u32,
        /// Newest that this software knows.
        ours: u32,
    },
    /// Its software cannot work with the cluster's layout.
    #[error(
        "datanode {node} supports layout versions up to {theirs}, this cluster has {ours}: \
         upgrade the datanode"
    )]
    OlderSoftware {
        /// The datanode.
        node: String,
        /// Newest that it knows.
        theirs: u32,
        /// The cluster's.
        ours: u32,
    },
}

/// Whether a datanode may join. One without a cluster is new, and takes ours.
pub(crate) fn admit(us: &Identity, request: &RegisterRequest) -> Result<(), AdmissionError> {
    let details = request.datanode.as_ref();
    let Some(id) = details.and_then(datanode_id) else {
        let found = details.and_then(|d| d.uuid.clone()).unwrap_or_default();
        return Err(AdmissionError::NoIdentity { found });
    };
    let node = id.to_string();
    if !request.cluster_id.is_empty() && request.cluster_id != us.cluster_id {
        return Err(AdmissionError::OtherCluster {
            node,
            theirs: request.cluster_id.clone(),
            ours: us.cluster_id.clone(),
        });
    }
    if !request.cluster_id.is_empty() && request.c_time != us.c_time_wire() {
        return Err(AdmissionError::OtherFormat {
            node,
            theirs: request.c_time,
            ours: us.c_time_wire(),
        });
    }
    if request.layout_version > LAYOUT_VERSION {
        return Err(AdmissionError::NewerLayout {
            node,
            theirs: request.layout_version,
            ours: LAYOUT_VERSION,
        });
    }
    if request.max_layout_version < us.layout_version {
        return Err(AdmissionError::OlderSoftware {
            node,
            theirs: request.max_layout_version,
            ours: us.layout_version,
        });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ops::testing::details;

    fn us() -> Identity {
        Identity {
            cluster_id: "CID-ours".to_owned(),
            scm_id: Uuid::nil(),
            group: Uuid::nil(),
            c_time: 77,
            layout_version: LAYOUT_VERSION,
        }
    }

    fn request() -> RegisterRequest {
        RegisterRequest {
            datanode: Some(details(1)),
            cluster_id: "CID-ours".to_owned(),
            c_time: 77,
            layout_version: LAYOUT_VERSION,
            max_layout_version: LAYOUT_VERSION,
            ..RegisterRequest::default()
        }
    }

    #[test]
    fn members_and_new_datanodes_are_admitted() {
        admit(&us(), &request()).unwrap();
        let new = RegisterRequest {
            cluster_id: String::new(),
            c_time: 0,
            ..request()
        };
        admit(&us(), &new).unwrap();
    }

    #[test]
    fn strangers_are_refused_with_both_values() {
        let newer = LAYOUT_VERSION + 1;
        let cases = [
            (
                RegisterRequest {
                    cluster_id: "CID-theirs".to_owned(),
                    ..request()
                },
                ["CID-theirs".to_owned(), "CID-ours".to_owned()],
            ),
            (
                RegisterRequest {
                    c_time: 5,
                    ..request()
                },
                ["5".to_owned(), "77".to_owned()],
            ),
            (
                RegisterRequest {
                    layout_version: newer,
                    ..request()
                },
                [newer.to_string(), LAYOUT_VERSION.to_string()],
            ),
        ];
        for (request, values) in cases {
            let text = admit(&us(), &request).unwrap_err().to_string();
            assert!(values.iter().all(|value| text.contains(value)), "{text}");
        }
    }

    #[test]
    fn software_older_than_the_cluster_is_refused() {
        let us = Identity {
            layout_version: 3,
            ..us()
        };
        let old = RegisterRequest {
            max_layout_version: 2,
            ..request()
        };
        let text = admit(&us, &old).unwrap_err().to_string();
        assert!(text.contains('2') && text.contains('3'), "{text}");
    }

    #[test]
    fn a_datanode_without_a_uuid_is_refused() {
        let mut request = request();
        request.datanode.as_mut().unwrap().uuid = Some("nonsense".to_owned());
        let text = admit(&us(), &request).unwrap_err().to_string();
        assert!(text.contains("nonsense"), "{text}");
    }
}
