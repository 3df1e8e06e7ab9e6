//! `raft-meta.conf`: the membership last seen, for operators to read. Nothing depends on it.

use std::fmt::Write;
use std::path::Path;

use ozone_common::disk::{Disk, replace_file};

use crate::types::{LogId, Membership};

const CONF_NAME: &str = "raft-meta.conf";

pub(super) fn save(disk: &dyn Disk, dir: &Path, at: &LogId, membership: &Membership) {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "term={}\nindex={}\n",
        at.committed_leader_id().term,
        at.index()
    );
    for (id, node) in membership.nodes() {
        let role = match membership.voter_ids().any(|voter| voter == *id) {
            true => "member",
            false => "learner",
        };
        let _ = writeln!(text, "{role}={id} {}", node.addr);
    }
    let path = dir.join(CONF_NAME);
    if let Err(cause) = replace_file(disk, &path, text.as_bytes()) {
        tracing::warn!(path = %path.display(), %cause, "membership could not be noted");
    }
}
