//! What can go wrong, in terms a caller can act on.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use crate::config::Peer;

/// Result of this crate.
pub type Result<T, E = RaftError> = std::result::Result<T, E>;

/// Failure of a group or of the host that runs it.
#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    /// This member does not lead. Nothing was accepted: ask `leader`, or look for one.
    #[error("not the leader of the group{}", hint(.leader))]
    NotLeader {
        /// Who leads, where known.
        leader: Option<Peer>,
    },
    /// The command was accepted, then another leader took over before the answer was known. It may
    /// or may not take effect: ask again there, in a way that the state machine recognises.
    #[error("leadership was lost while the command was under way{}", hint(.leader))]
    LeaderChanged {
        /// Who leads, where known.
        leader: Option<Peer>,
    },
    /// The group is being closed.
    #[error("the group is shutting down")]
    ShuttingDown,
    /// The group stopped for good on this member: its log or its state machine failed. A restart of
    /// the process is needed, after the cause is removed.
    #[error(
        "the group stopped on this member: {0}: mend what caused it (room on its disk, or a disk that fails), and \
         start again"
    )]
    Fatal(String),
    /// No answer in time. A command may still take effect.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The command is larger than a log entry may be.
    #[error("command of {size} bytes, at most {limit} are possible")]
    TooLarge {
        /// Bytes of the command.
        size: usize,
        /// Bytes that an entry may have.
        limit: usize,
    },
    /// A group of that id is open in this process already.
    #[error("group {0} is open already")]
    AlreadyOpen(Uuid),
    /// Members that make no sense together.
    #[error("members of the group: {0}")]
    Members(String),
    /// Options that make no sense together.
    #[error("options of the group: {0}")]
    Options(String),
    /// The log on disk is damaged beyond what a crash explains.
    #[error(
        "{}: corrupt at offset {offset}: {reason}: bytes that were on disk have changed: check the disk, \
         and put the file back from a backup", file.display()
    )]
    Corrupt {
        /// File that is damaged.
        file: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What was found.
        reason: String,
    },
    /// The log lacks entries that it had, and with them what was acknowledged.
    #[error(
        "{}: {}: what is missing was acknowledged, and is nowhere else: mount the log's disk, or set \
         the directory back to where it was; from a backup, put state and log back together",
        dir.display(), lost(*.last, *.applied)
    )]
    LogLost {
        /// Directory of the group.
        dir: PathBuf,
        /// Last entry found, if any.
        last: Option<u64>,
        /// Last entry that the state has, if any.
        applied: Option<u64>,
    },
    /// The state lacks what the log has let go of.
    #[error(
        "{}: the log begins after entry {purged}, but the state that belongs to it {}: what is between was in \
         the state alone: mount the state's disk, or set its directory back to where it was; from a backup, \
         put state and log back together", dir.display(), at(*.applied)
    )]
    StateLost {
        /// Directory of the group.
        dir: PathBuf,
        /// No longer in the log up to here.
        purged: u64,
        /// Last entry that the state has, if any.
        applied: Option<u64>,
    },
    /// The log is that of other members.
    #[error(
        "{}: this is the log of member {}, and this member is {me}: put back the directory that holds its \
         identity, or mount the disk of its own log", dir.display(), names(.members)
    )]
    NotAMember {
        /// Directory of the group.
        dir: PathBuf,
        /// This member.
        me: Uuid,
        /// Those whose log it is.
        members: Vec<Uuid>,
    },
    /// The disk refused.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The state machine failed.
    #[error(transparent)]
    StateMachine(#[from] crate::StateMachineError),
}

fn hint(leader: &Option<Peer>) -> String {
    leader
        .as_ref()
        .map(|peer| format!(", {} at {} is", peer.id, peer.address))
        .unwrap_or_default()
}

fn lost(last: Option<u64>, applied: Option<u64>) -> String {
    let log = last.map_or("the log has no entry".to_owned(), |last| {
        format!("the log ends with entry {last}")
    });
    let state = match applied {
        None => "tells of a log that was begun".to_owned(),
        some => at(some),
    };
    format!("{log}, but the state that belongs to it {state}")
}

fn at(applied: Option<u64>) -> String {
    applied.map_or("is empty".to_owned(), |applied| {
        format!("is applied up to entry {applied}")
    })
}

fn names(members: &[Uuid]) -> String {
    let names: Vec<_> = members.iter().map(Uuid::to_string).collect();
    names.join(", ")
}

/// Makes an error of the disk one of the group, with what was tried on what.
pub(crate) fn io_error(
    action: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(std::io::Error) -> RaftError {
    let path = path.to_path_buf();
    move |source| RaftError::Io {
        action,
        path,
        source,
    }
}
