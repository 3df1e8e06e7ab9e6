//! Between a client and the datanode of its own machine: a unix socket, over which open files can be handed.
//!
//! The socket has a name that the datanode's id gives, in the abstract namespace: whoever can connect is on the
//! same machine, and no file has to be configured or removed. Both ends believe only the user that they run as,
//! and root. A request is its length (four bytes, big-endian) and a [`LocalRequest`]; its answer is the same
//! with a [`LocalReply`], with at most one descriptor.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as BlockingStream};
use std::time::Duration;

use ozone_proto::local::{LocalReply, LocalRequest};
use prost::Message;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{UnixListener, UnixStream};

/// Longest request or answer, bytes.
const LONGEST: usize = 64 << 10;

fn address(uuid: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("ozone-datanode-{uuid}"))
}

/// Refuses a process of another user at the other end.
fn check_peer(uid: u32) -> io::Result<()> {
    if uid == 0 || uid == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let text = format!("the other end is a process of user {uid}, neither root's nor this user's");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

fn framed(message: &impl Message) -> io::Result<Vec<u8>> {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes()[..], &body].concat())
}

fn length(prefix: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > LONGEST {
        let text = format!("a message of {length} bytes, more than {LONGEST}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(length)
}

/// The datanode's end, to which clients connect.
#[derive(Debug)]
pub struct LocalListener(UnixListener);

impl LocalListener {
    /// Opens the socket of the datanode `uuid`. Must be called within a runtime.
    pub fn bind(uuid: &str) -> io::Result<Self> {
        let listener = std::os::unix::net::UnixListener::bind_addr(&address(uuid)?)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener).map(Self)
    }

    /// Waits for the next client.
    pub async fn accept(&self) -> io::Result<LocalStream> {
        self.0.accept().await.map(|(stream, _)| LocalStream(stream))
    }
}

/// A client at the datanode's end.
#[derive(Debug)]
pub struct LocalStream(UnixStream);

impl LocalStream {
    /// Refuses a client of another user.
    pub fn check_peer(&self) -> io::Result<()> {
        check_peer(self.0.peer_cred()?.uid())
    }

    /// The next request; none when the client is gone.
    pub async fn receive(&mut self) -> io::Result<Option<LocalRequest>> {
        let mut prefix = [0; 4];
        match self.0.read_exact(&mut prefix).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut body = vec![0; length(prefix)?];
        self.0.read_exact(&mut body).await?;
        LocalRequest::decode(&body[..])
            .map(Some)
            .map_err(io::Error::other)
    }

    /// Answers a request, with a descriptor or without.
    pub async fn answer(
        &mut self,
        reply: &LocalReply,
        file: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let bytes = framed(reply)?;
        let stream = &self.0;
        let send = || send(stream.as_fd(), &bytes, file);
        let sent = stream.async_io(Interest::WRITABLE, send).await?;
        // Answers are short: all of one is sent, or the connection is of no use.
        if sent < bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = file.as_slice();
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = rustix::net::sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(sent)
}

/// The client's end. Calls block.
#[derive(Debug)]
pub struct LocalClient(BlockingStream);

impl LocalClient {
    /// Connects to the datanode `uuid`; fails where there is none of that id on this machine.
    pub fn connect(uuid: &str) -> io::Result<Self> {
        let stream = BlockingStream::connect_addr(&address(uuid)?)?;
        check_peer(rustix::net::sockopt::socket_peercred(&stream)?.uid.as_raw())?;
        Ok(Self(stream))
    }

    /// Asks, and waits for the answer and the descriptor that comes with it. After an error the connection is of
    /// no use any more.
    pub fn call(
        &mut self,
        request: &LocalRequest,
        patience: Duration,
    ) -> io::Result<(LocalReply, Option<OwnedFd>)> {
        self.0.set_read_timeout(Some(patience))?;
        self.0.set_write_timeout(Some(patience))?;
        self.0.write_all(&framed(request)?)?;
        let mut prefix = [0; 4];
        let (read, file) = self.receive(&mut prefix)?;
        self.0.read_exact(&mut prefix[read..])?;
        let mut body = vec![0; length(prefix)?];
        self.0.read_exact(&mut body)?;
        let reply = LocalReply::decode(&body[..]).map_err(io::Error::other)?;
        Ok((reply, file))
    }

    /// Reads the first bytes of an answer, with which its descriptor comes.
    fn receive(&self, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::net::recvmsg(
            &self.0,
            &mut [IoSliceMut::new(bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if got.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut file = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut files) = message {
                file = files.next();
            }
        }
        Ok((got.bytes, file))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::fs::File;

    use ozone_proto::local::{Lend, local_request::Body};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn request(local: i64) -> LocalRequest {
        LocalRequest {
            container: 1,
            local,
            token: "t".repeat(500),
            body: Some(Body::Lend(Lend::default())),
        }
    }

    #[tokio::test]
    async fn a_file_is_handed_over_with_the_answer() {
        let name = uuid();
        let listener = LocalListener::bind(&name).unwrap();
        let (dir, asked) = (tempfile::tempdir().unwrap(), request(7));
        let path = dir.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let sent = asked.clone();
        let client = tokio::task::spawn_blocking(move || {
            let mut client = LocalClient::connect(&name).unwrap();
            let first = client.call(&sent, PATIENCE).unwrap();
            let second = client.call(&sent, PATIENCE).unwrap();
            (first, second)
        });
        let mut stream = listener.accept().await.unwrap();
        stream.check_peer().unwrap();
        assert_eq!(stream.receive().await.unwrap(), Some(asked));
        let file = File::open(&path).unwrap();
        let yes = LocalReply {
            done: true,
            ..LocalReply::default()
        };
        stream.answer(&yes, Some(file.as_fd())).await.unwrap();
        stream.receive().await.unwrap();
        stream.answer(&LocalReply::default(), None).await.unwrap();
        let (first, second) = client.await.unwrap();
        assert!(first.0.done && !second.0.done && second.1.is_none());
        let mut text = String::new();
        File::from(first.1.unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "content");
        assert_eq!(stream.receive().await.unwrap(), None, "the client is gone");
    }

    #[test]
    fn where_there_is_no_datanode_nobody_answers() {
        assert!(LocalClient::connect(&uuid()).is_err());
    }

    fn uuid() -> String {
        uuid::Uuid::new_v4().to_string()
    }
}
