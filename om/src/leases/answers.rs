//! Which inodes and names an answer speaks of, and the marks in it that the asker may believe them.

use ozone_proto::namespace::Inode;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;

use super::{Leases, Moment};
use crate::namespace;

impl Leases {
    /// Grants `session` leases on what `reply`, which was looked up after `moment`, says in answer to
    /// `asked`, and marks it so.
    pub fn grant_answer(&self, session: u64, moment: Moment, asked: &Body, reply: &mut Reply) {
        if session == 0 {
            return;
        }
        let mut told = Vec::new();
        let mut objects = Vec::new();
        match (asked, reply) {
            (Body::Lookup(asked), Reply::Lookup(found)) => {
                objects.extend(asked.dir.as_ref().map(namespace::id_of));
                match &mut found.inode {
                    Some(inode) => told.push(inode),
                    None => {
                        found.absence_leased = self.grant(session, moment, &objects);
                        return;
                    }
                }
            }
            (_, Reply::Create(made)) => {
                told.extend(&mut made.inode);
                told.extend(&mut made.parent);
            }
            (_, Reply::Link(made)) => {
                told.extend(&mut made.inode);
                told.extend(&mut made.parent);
            }
            (_, Reply::Unlink(done)) => told.extend(&mut done.parent),
            (_, Reply::Rename(done)) => {
                told.extend(&mut done.from_parent);
                told.extend(&mut done.to_parent);
            }
            (Body::ReadDir(asked), Reply::ReadDir(page)) => {
                objects.extend(asked.dir.as_ref().map(namespace::id_of));
                told.extend(&mut page.entries);
            }
            (_, Reply::GetAttr(found)) => told.extend(&mut found.inode),
            (_, Reply::Open(found)) => told.extend(&mut found.inode),
            (_, Reply::SetAttr(found)) => told.extend(&mut found.inode),
            (_, Reply::Commit(found)) => told.extend(&mut found.inode),
            (_, Reply::Batch(done)) => {
                told.extend(done.outcomes.iter_mut().filter_map(|o| o.inode.as_mut()));
            }
            _ => return,
        }
        objects.extend(told.iter().map(|inode| id_of(inode)));
        if self.grant(session, moment, &objects) {
            told.into_iter().for_each(|inode| inode.leased = true);
        }
    }
}

fn id_of(inode: &Inode) -> u64 {
    inode.row.as_ref().map_or(0, |row| row.object_id)
}
