//! What SCM answers: each service decodes, calls, and encodes.

pub(crate) mod admin;
pub(crate) mod block;
pub(crate) mod datanode;
pub(crate) mod security;

use ozone_rpc::failover::not_leader;
use tonic::Status;

use crate::error::ScmError;
use crate::scm::Scm;

/// An error as a gRPC status; with the leader's address where that is what is wrong.
fn status(scm: &Scm, error: &ScmError) -> Status {
    match error {
        ScmError::NotLeader { .. } => not_leader(scm.leader_hint().as_deref()),
        other => other.grpc(),
    }
}
