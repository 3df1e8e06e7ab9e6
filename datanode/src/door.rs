//! The door for clients of the same machine: files of blocks are lent to them, over a unix socket.
//!
//! What a client has been lent to read it holds until it gives it back or its connection ends. Everything can be
//! read and written by the other door as well.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ozone_common::disk::DiskFile;
use ozone_proto::local::{Lend, LocalReply, LocalRequest, local_request::Body};
use ozone_rpc::local::{LocalListener, LocalStream};

use crate::container::{Container, NotLent, Wanted};
use crate::error::{OpError, OpResult};
use crate::io::Lane;
use crate::node::{Node, on_container};
use crate::tokens::Access;

/// Pause before a socket that cannot be opened is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Lets clients in until the datanode is shut down.
pub(crate) async fn serve(node: Arc<Node>) {
    let Some(listener) = open(&node).await else {
        return;
    };
    let clients = AtomicU64::new(0);
    loop {
        let accepted = tokio::select! {
            () = node.gate.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(stream) => {
                let id = clients.fetch_add(1, Ordering::Relaxed);
                let client = Client {
                    node: node.clone(),
                    id,
                    lent: Vec::new(),
                };
                tokio::spawn(client.run(stream));
            }
            Err(error) => {
                tracing::warn!(%error, "a local client was not let in");
                node.clock.sleep(AGAIN).await;
            }
        }
    }
}

/// The socket. It may still be that of this datanode before it was restarted; none at shutdown.
async fn open(node: &Node) -> Option<LocalListener> {
    let name = node.uuid.to_string();
    let mut told = false;
    loop {
        match LocalListener::bind(&name) {
            Ok(listener) => return Some(listener),
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(%error, "no local socket yet: clients of this machine read through the network");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = node.gate.cancelled() => return None,
            () = node.clock.sleep(AGAIN) => {}
        }
    }
}

/// One connection.
struct Client {
    node: Arc<Node>,
    id: u64,
    /// Containers and blocks that it has.
    lent: Vec<(i64, i64)>,
}

impl Client {
    async fn run(mut self, mut stream: LocalStream) {
        let gate = self.node.gate.clone();
        let ended = tokio::select! {
            () = gate.cancelled() => Ok(()),
            ended = self.answer_all(&mut stream) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a local client was sent away");
        }
        for block in self.lent.clone() {
            self.give_back(block);
        }
    }

    async fn answer_all(&mut self, stream: &mut LocalStream) -> io::Result<()> {
        stream.check_peer()?;
        while let Some(request) = stream.receive().await? {
            let answered = self.carry_out(request).await;
            let (reply, file) = match answered {
                Ok(file) => (done(), file),
                Err(why) => (refused(&why), None),
            };
            let descriptor = file.as_ref().and_then(|file| file.descriptor());
            stream.answer(&reply, descriptor).await?;
        }
        Ok(())
    }

    async fn carry_out(
        &mut self,
        request: LocalRequest,
    ) -> Result<Option<Arc<dyn DiskFile>>, NotLent> {
        let block = (request.container, request.local);
        match &request.body {
            Some(Body::Lend(lend)) => self.lend(&request, lend).await.map(Some),
            Some(Body::Detach(_)) => Ok(self.detach(block).await.map(|()| None)?),
            Some(Body::GiveBack(_)) => {
                self.give_back(block);
                Ok(None)
            }
            Some(Body::LendToRead(_)) => Ok(self.lend_to_read(&request).await.map(Some)?),
            Some(Body::LendToWrite(_)) => Ok(self.lend_to_write(&request).await.map(Some)?),
            None => Err(OpError::malformed("the request asks for nothing").into()),
        }
    }

    async fn lend(
        &mut self,
        request: &LocalRequest,
        lend: &Lend,
    ) -> Result<Arc<dyn DiskFile>, NotLent> {
        let (container, local, id) = (request.container, request.local, self.id);
        let found = self.allowed(request, Access::Read)?;
        let wanted = Wanted {
            local,
            length: lend.length,
            bcsid: lend.bcsid,
            verified: lend.verified,
        };
        let work = move |container: &Container| Ok(container.lend(&wanted, id));
        let file = on_container(&found, Lane::Read, work).await??;
        self.lent.push((container, local));
        metrics::counter!("datanode_blocks_lent_total").increment(1);
        Ok(file)
    }

    /// The container of a block that the token of the request allows to use so.
    fn allowed(&self, request: &LocalRequest, access: Access) -> OpResult<Arc<Container>> {
        let (container, local) = (request.container, request.local);
        let token = Some(&*request.token);
        self.node
            .tokens
            .check_block(token, container, local, access)?;
        self.node.containers.get(container)
    }

    async fn lend_to_read(&self, request: &LocalRequest) -> OpResult<Arc<dyn DiskFile>> {
        let local = request.local;
        let found = self.allowed(request, Access::Read)?;
        on_container(&found, Lane::Read, move |c| c.lend_to_read(local)).await
    }

    async fn lend_to_write(&self, request: &LocalRequest) -> OpResult<Arc<dyn DiskFile>> {
        let local = request.local;
        // How far it may write is checked when it commits.
        let found = self.allowed(request, Access::Write(0))?;
        on_container(&found, Lane::Write, move |c| c.lend_to_write(local)).await
    }

    async fn detach(&mut self, (container, local): (i64, i64)) -> OpResult<()> {
        if !self.lent.contains(&(container, local)) {
            return Err(OpError::malformed("the block is not lent to this client"));
        }
        // A container that is gone took its blocks with it.
        if let Some(found) = self.node.containers.find(container) {
            let id = self.id;
            on_container(&found, Lane::Sync, move |c| c.detach(local, id)).await?;
        }
        self.lent.retain(|lent| *lent != (container, local));
        metrics::counter!("datanode_blocks_detached_total").increment(1);
        Ok(())
    }

    fn give_back(&mut self, block: (i64, i64)) {
        if let Some(container) = self.node.containers.find(block.0) {
            container.give_back(block.1, self.id);
        }
        self.lent.retain(|lent| *lent != block);
    }
}

fn done() -> LocalReply {
    LocalReply {
        done: true,
        ..LocalReply::default()
    }
}

fn refused(why: &NotLent) -> LocalReply {
    LocalReply {
        done: false,
        refusal: why.error.to_string(),
        once_read: why.once_read,
    }
}
