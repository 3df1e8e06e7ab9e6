//! Files of blocks on this machine, lent by their datanode: whoever reads them needs neither the datanode nor
//! this client, and checks nothing.
//!
//! A datanode lends what it or this client has verified as a whole. When the file's content changes, its reader can have the
//! block moved elsewhere and keeps the file, to change it as the content does ([`LentFile::detach`]).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use ozone_proto::local::{Detach, GiveBack, Lend, LocalRequest, local_request::Body};
use ozone_proto::namespace::{BlockSource, Extent, extent::Source};
use ozone_rpc::local::LocalClient;
use parking_lot::Mutex;

use super::DataEnv;
use super::extent_map::BlockRange;
use super::reader::FileReader;
use super::replica;
use crate::{ClientError, Result};

/// Smallest file that a datanode lends, bytes.
pub const LENT_FROM: u64 = 1 << 20;

/// How long a datanode may take to lend, and to move a block to another file.
pub(super) const LEND: Duration = Duration::from_secs(2);
const DETACH: Duration = Duration::from_secs(120);
/// How long is waited for other requests before a file is asked for.
const IDLE: Duration = Duration::from_millis(10);

/// The datanodes of this machine, by uuid. Each has a connection once it was needed.
#[derive(Debug, Default)]
pub(super) struct Doors(DashMap<String, Arc<Door>>);

#[derive(Debug)]
pub(super) struct Door {
    uuid: String,
    client: Mutex<Option<LocalClient>>,
    /// Another connection, for files that are handed over and forgotten: nothing is lost with it.
    for_files: Mutex<Option<LocalClient>>,
}

/// A file that holds the content of another, as it was.
#[derive(Debug)]
pub struct LentFile {
    door: Arc<Door>,
    request: LocalRequest,
    file: File,
    given_back: bool,
}

/// Whether a file is lent.
#[derive(Debug)]
pub enum Lending {
    /// This is its content.
    Lent(LentFile),
    /// It will be, when all of it was read.
    OnceRead,
    /// No datanode of this machine has it as one file.
    No,
}

/// What a datanode said.
#[derive(Debug)]
pub(super) enum Said {
    Done(Option<File>),
    Refused { why: String, once_read: bool },
}

impl Doors {
    pub(super) fn get(&self, uuid: &str) -> Arc<Door> {
        let door = self.0.entry(uuid.to_owned()).or_insert_with(|| {
            Arc::new(Door {
                uuid: uuid.to_owned(),
                client: Mutex::default(),
                for_files: Mutex::default(),
            })
        });
        door.clone()
    }
}

impl Door {
    /// Asks the datanode; an error if it is not there. Blocks.
    fn ask(&self, request: &LocalRequest, patience: Duration) -> io::Result<Said> {
        ask(&mut self.client.lock(), &self.uuid, request, patience)
    }

    /// The same, but not while another request takes its time.
    fn ask_if_idle(&self, request: &LocalRequest, patience: Duration) -> io::Result<Said> {
        self.ask_through(&self.client, request, patience)
    }

    /// Asks for a file of which the datanode remembers nothing. Not while another is asked for.
    pub(super) fn ask_for_file(
        &self,
        request: &LocalRequest,
        patience: Duration,
    ) -> io::Result<Said> {
        self.ask_through(&self.for_files, request, patience)
    }

    fn ask_through(
        &self,
        connection: &Mutex<Option<LocalClient>>,
        request: &LocalRequest,
        patience: Duration,
    ) -> io::Result<Said> {
        match connection.try_lock_for(IDLE) {
            Some(mut slot) => ask(&mut slot, &self.uuid, request, patience),
            None => Err(io::ErrorKind::ResourceBusy.into()),
        }
    }
}

fn ask(
    slot: &mut Option<LocalClient>,
    uuid: &str,
    request: &LocalRequest,
    patience: Duration,
) -> io::Result<Said> {
    let mut client = match slot.take() {
        Some(client) => client,
        None => LocalClient::connect(uuid)?,
    };
    // A connection that fails is dropped, and with it all that was lent through it.
    let (reply, file) = client.call(request, patience)?;
    *slot = Some(client);
    Ok(match reply.done {
        true => Said::Done(file.map(File::from)),
        false => Said::Refused {
            why: reply.refusal,
            once_read: reply.once_read,
        },
    })
}

impl FileReader {
    /// The whole content as one file of this machine, if it is one block and a datanode of this machine lends
    /// that.
    pub async fn lend(&self) -> Result<Lending> {
        let Some(range) = self.whole_block().await? else {
            return Ok(Lending::No);
        };
        let env = self.env().clone();
        blocking(move || Ok(lend(&env, &range))).await
    }
}

/// Asks the datanodes of a block in the order in which it is read from them.
fn lend(env: &DataEnv, range: &BlockRange) -> Lending {
    let place = &range.place;
    let mut lending = Lending::No;
    for member in replica::order(env, range) {
        let door = env.doors.get(&member.uuid);
        let lend = Lend {
            length: range.length,
            bcsid: range.bcsid,
            verified: env.verified.has_all(&member.uuid, range),
        };
        let request = place.ask_locally(Body::Lend(lend));
        match door.ask_if_idle(&request, LEND) {
            Ok(Said::Done(Some(file))) => {
                return Lending::Lent(LentFile {
                    door,
                    request,
                    file,
                    given_back: false,
                });
            }
            Ok(Said::Done(None)) => {
                // This process has as many files open as it may.
                tracing::warn!(block = place.name(), "a lent file did not arrive");
                let give_back = LocalRequest {
                    body: Some(Body::GiveBack(GiveBack {})),
                    ..request
                };
                let _ = door.ask(&give_back, LEND);
            }
            Ok(Said::Refused { why, once_read }) => {
                tracing::debug!(block = place.name(), why, "not lent");
                if once_read {
                    lending = Lending::OnceRead;
                }
            }
            Err(error) => {
                tracing::trace!(node = member.uuid, %error, "no datanode of this machine");
            }
        }
    }
    lending
}

impl LentFile {
    /// The extent that it is the source of.
    pub fn extent(&self) -> Extent {
        let (length, bcsid) = match &self.request.body {
            Some(Body::Lend(lend)) => (lend.length, lend.bcsid),
            _ => (0, 0),
        };
        let source = BlockSource {
            container: self.request.container as u64,
            local: self.request.local as u64,
            offset: 0,
            bcsid,
        };
        Extent {
            file_offset: 0,
            length,
            source: Some(Source::Block(source)),
        }
    }

    /// Takes the file over from the datanode, which stores the block elsewhere from then on. Gives it, to be
    /// changed.
    pub async fn detach(self: &Arc<Self>) -> Result<File> {
        let lent = self.clone();
        blocking(move || lent.detach_now()).await
    }

    fn detach_now(&self) -> Result<File> {
        let failed = |error: io::Error| ClientError::unavailable(self.what(), error.to_string());
        // One without a name is nobody else's.
        if self.file.metadata().map_err(failed)?.nlink() > 0 {
            self.leave_block()?;
        }
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let own = OpenOptions::new().read(true).write(true).open(path);
        own.map_err(failed)
    }

    /// Has the datanode store the block elsewhere.
    fn leave_block(&self) -> Result<()> {
        let failed = |error: io::Error| ClientError::unavailable(self.what(), error.to_string());
        let detach = self.about(Body::Detach(Detach {}));
        if let Ok(Said::Done(_)) = self.door.ask(&detach, DETACH) {
            return Ok(());
        }
        // The datanode may have been restarted, and know nothing of what it has lent.
        self.renew()?;
        match self.door.ask(&detach, DETACH).map_err(failed)? {
            Said::Done(_) => Ok(()),
            Said::Refused { why, .. } => Err(ClientError::unavailable(self.what(), why)),
        }
    }

    /// Is lent the same file once more.
    fn renew(&self) -> Result<()> {
        let failed = |error: io::Error| ClientError::unavailable(self.what(), error.to_string());
        let mut request = self.request.clone();
        if let Some(Body::Lend(lend)) = &mut request.body {
            lend.verified = true;
        }
        let file = match self.door.ask(&request, LEND).map_err(failed)? {
            Said::Done(Some(file)) => file,
            Said::Done(None) => return Err(ClientError::protocol(self.what(), "no file")),
            Said::Refused { why, .. } => return Err(ClientError::unavailable(self.what(), why)),
        };
        let identity = |file: &File| file.metadata().map(|m| (m.dev(), m.ino()));
        match identity(&file).map_err(failed)? == identity(&self.file).map_err(failed)? {
            true => Ok(()),
            false => Err(ClientError::unavailable(
                self.what(),
                "the block has another file by now",
            )),
        }
    }

    fn about(&self, body: Body) -> LocalRequest {
        LocalRequest {
            body: Some(body),
            token: String::new(),
            ..self.request
        }
    }

    fn what(&self) -> String {
        let (container, local) = (self.request.container, self.request.local);
        format!(
            "file of block {container}:{local} of datanode {}",
            self.door.uuid
        )
    }
}

impl AsFd for LentFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl LentFile {
    /// The datanode may do with the block what it likes, once this returns.
    pub async fn give_back(mut self) {
        let give_back = self.giving_back();
        self.given_back = true;
        if let Err(panic) = tokio::task::spawn_blocking(give_back).await {
            tracing::debug!(%panic, "a lent block was not given back");
        }
    }

    fn giving_back(&self) -> impl FnOnce() + Send + 'static {
        let (door, request) = (self.door.clone(), self.about(Body::GiveBack(GiveBack {})));
        move || {
            // Without a connection nothing is lent.
            if door.client.lock().is_some()
                && let Err(error) = door.ask(&request, LEND)
            {
                tracing::debug!(%error, "a lent block was not given back");
            }
        }
    }
}

impl Drop for LentFile {
    fn drop(&mut self) {
        if self.given_back {
            return;
        }
        let give_back = self.giving_back();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(give_back)),
            Err(_) => give_back(),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ClientError::unavailable("this client", error.to_string())))
}
