//! The network seam: byte streams between addresses.
//!
//! Servers bind and clients connect through a [`Net`], so that the simulator can put a network of
//! its own (delays, cuts, partitions) in the place of TCP.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A connection in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// A connection of any network.
pub type BoxStream = Box<dyn ByteStream>;

/// A network.
#[async_trait]
pub trait Net: fmt::Debug + Send + Sync {
    /// Connects to `host:port`.
    async fn connect(&self, address: &str) -> io::Result<BoxStream>;

    /// Listens on `address`; port 0 picks a free one.
    async fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn NetListener>>;
}

/// A bound listener. Dropping it closes it.
#[async_trait]
pub trait NetListener: Send + Sync {
    /// Waits for the next connection; gives it with the address of its other end.
    async fn accept(&self) -> io::Result<(BoxStream, SocketAddr)>;

    /// Where it listens, with the port that was picked.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// TCP, without Nagle's delay.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpNet;

impl TcpNet {
    /// TCP as a shared [`Net`].
    pub fn shared() -> Arc<dyn Net> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Net for TcpNet {
    async fn connect(&self, address: &str) -> io::Result<BoxStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn NetListener>> {
        Ok(Box::new(TcpListener::bind(address).await?))
    }
}

#[async_trait]
impl NetListener for TcpListener {
    async fn accept(&self) -> io::Result<(BoxStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_cross_in_both_directions() {
        let net = TcpNet::shared();
        let listener = net.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4];
            stream.read_exact(&mut buffer).await.unwrap();
            stream.write_all(&buffer).await.unwrap();
        });
        let mut client = net.connect(&address).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
        server.await.unwrap();
    }
}
