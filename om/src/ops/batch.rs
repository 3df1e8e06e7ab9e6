//! Batch: what a mount has held back, as one command of the log. Each part is applied over the effects
//! of those before it, or refused on its own: a name that somebody else took meanwhile does not lose the
//! other files. Parts do not answer with the directory, which saves a lookup for each.

use std::collections::HashSet;

use ozone_proto::namespace::batch_part::Change as Part;
use ozone_proto::namespace::{BatchOutcome, BatchPart, BatchRequest, BatchResponse, Change, Inode};
use ozone_proto::om::Status;
use ozone_proto::om::om_response::Body as Reply;

use super::{commit, create, set_attr};
use crate::apply::{Apply, Batched, Given};
use crate::error::{OmError, Result, refuse};
use crate::leader::Leader;

/// Leader: open files are where the leader knows them to be.
pub fn prepare(request: &mut BatchRequest, leader: &Leader) {
    for part in &mut request.parts {
        match &mut part.change {
            Some(Part::SetAttr(r)) => leader.opens.correct(r.r#ref.as_mut()),
            Some(Part::Commit(r)) => leader.opens.correct(r.r#ref.as_mut()),
            _ => {}
        }
    }
}

/// Applies the parts, each to `rows` as the ones before it left them.
pub fn apply(
    request: &BatchRequest,
    given: &Given,
    rows: &mut Batched,
) -> Result<(Reply, Vec<Change>)> {
    let mut outcomes = Vec::with_capacity(request.parts.len());
    let mut changes = Vec::new();
    // Parts share the command's index, under which inline values are numbered.
    let mut inline_values = 0;
    for part in &request.parts {
        let applied = given.apply(rows, |apply| {
            apply.inline_values = inline_values;
            let inode = apply_part(part, apply)?;
            Ok((inode, apply.inline_values))
        });
        outcomes.push(match applied {
            Ok(((inode, values), new)) => {
                inline_values = values;
                changes.extend(new);
                done(inode)
            }
            Err(refusal) if refusal.is_refusal() => refused(&refusal),
            Err(fault) => return Err(fault),
        });
    }
    Ok((
        Reply::Batch(BatchResponse { outcomes }),
        without_repeats(changes),
    ))
}

/// The inode as it is after the part.
fn apply_part(part: &BatchPart, apply: &mut Apply<'_>) -> Result<Option<Inode>> {
    if part.time_ns != 0 {
        apply.time_ns = part.time_ns;
    }
    match &part.change {
        Some(Part::Create(r)) => create::apply(r, apply).map(|made| made.inode),
        Some(Part::SetAttr(r)) => set_attr::apply(r, apply).map(|set| set.inode),
        Some(Part::Commit(r)) => commit::apply(r, apply).map(|committed| committed.inode),
        None => Err(refuse::invalid(
            "a part of a batch makes, changes or commits something",
        )),
    }
}

fn done(inode: Option<Inode>) -> BatchOutcome {
    BatchOutcome {
        status: Status::Ok as u32,
        message: String::new(),
        inode,
    }
}

fn refused(refusal: &OmError) -> BatchOutcome {
    BatchOutcome {
        status: refusal.status() as u32,
        message: refusal.message(),
        inode: None,
    }
}

/// Many files made in one directory have changed it once, as far as sessions are concerned.
fn without_repeats(mut changes: Vec<Change>) -> Vec<Change> {
    let mut known = HashSet::new();
    changes.retain(|change| known.insert(change.clone()));
    changes
}
