//! `raft-meta`: the few facts of a log that are not entries.
//!
//! Lines of `key=value` with a CRC at the end, so that an operator can read it; replaced as a whole.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;

use ozone_common::checksum::crc32c;
use ozone_common::disk::{Disk, replace_file};
use uuid::Uuid;

use crate::RaftError;
use crate::types::{LogId, MemberId, Vote, log_id};

pub(super) const META_NAME: &str = "raft-meta";

/// What is kept in `raft-meta`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// The vote that must not be forgotten.
    pub(super) vote: Option<Vote>,
    /// Entries up to here may be missing from the files.
    pub(super) purged: Option<LogId>,
}

impl Meta {
    pub(super) fn save(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        replace_file(disk, &dir.join(META_NAME), self.to_text().as_bytes())
    }

    /// Reads it; none where no log was begun.
    pub(super) fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, RaftError> {
        let path = dir.join(META_NAME);
        let bytes = match disk.read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(RaftError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        let read = Self::from_text(&bytes).map_err(|reason| RaftError::Corrupt {
            file: path,
            offset: 0,
            reason: reason.to_owned(),
        });
        read.map(Some)
    }

    fn to_text(&self) -> String {
        let mut text = String::from("version=1\n");
        // Writing to a string cannot fail.
        if let Some(vote) = &self.vote {
            let (term, id) = (vote.leader_id.term, vote.leader_id.voted_for);
            let _ = write!(
                text,
                "term={term}\nvotedFor={id}\nelected={}\n",
                vote.committed
            );
        }
        if let Some(purged) = &self.purged {
            let term = purged.committed_leader_id().term;
            let _ = write!(text, "purgedTerm={term}\npurgedIndex={}\n", purged.index());
        }
        let crc = crc32c(text.as_bytes());
        let _ = writeln!(text, "crc32c={crc:08x}");
        text
    }

    fn from_text(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not text")?;
        let (body, crc) = text.rsplit_once("crc32c=").ok_or("no checksum")?;
        if format!("{:08x}", crc32c(body.as_bytes())) != crc.trim_end() {
            return Err("checksum mismatch");
        }
        let values: BTreeMap<&str, &str> = body
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        if values.get("version") != Some(&"1") {
            return Err("unknown version");
        }
        let number = |key| values.get(key).and_then(|v| v.parse::<u64>().ok());
        let vote = match values.get("votedFor") {
            None => None,
            Some(id) => {
                let id = MemberId(Uuid::parse_str(id).map_err(|_| "votedFor is no UUID")?);
                let term = number("term").ok_or("no term")?;
                Some(match values.get("elected") {
                    Some(&"true") => Vote::new_committed(term, id),
                    _ => Vote::new(term, id),
                })
            }
        };
        let purged = match number("purgedIndex") {
            None => None,
            Some(index) => Some(log_id(number("purgedTerm").ok_or("no purgedTerm")?, index)),
        };
        Ok(Self { vote, purged })
    }
}
