//! Listeners and channels together, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::PathAndQuery;
use ozone_common::net::TcpNet;
use ozone_rpc::MAX_MESSAGE;
use ozone_rpc::channel::{Channels, ClientIdentity};
use ozone_rpc::failover::{Classify, Verdict};
use ozone_rpc::server::{Listener, ListenerIdentity, PeerInfo, ServerHandle};
use ozone_rpc::trust::describe;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::server::{NamedService, UnaryService};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

type Codec = ProstCodec<Vec<u8>, Vec<u8>>;
type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// Gives back what it gets, once it may; an empty message asks who the caller is.
#[derive(Clone)]
struct Echo {
    /// Holds back answers until there are permits.
    permits: Arc<Semaphore>,
    /// Counts calls that have arrived.
    arrived: Arc<Semaphore>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl UnaryService<Vec<u8>> for Echo {
    type Response = Vec<u8>;
    type Future = BoxFuture<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            this.arrived.add_permits(1);
            this.permits.acquire().await.unwrap().forget();
            let peer = request.extensions().get::<PeerInfo>().unwrap().clone();
            let message = request.into_inner();
            Ok(Response::new(match message.is_empty() {
                true => format!("{} {}", peer.address.ip(), peer.certificates.is_some()).into(),
                false => message,
            }))
        })
    }
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let grpc = tonic::server::Grpc::new(Codec::default());
            let mut grpc = grpc.apply_max_message_size_config(Some(MAX_MESSAGE), None);
            Ok(grpc.unary(this, request).await)
        })
    }
}

struct Running {
    echo: Echo,
    server: ServerHandle,
}

async fn serve(address: &str, identity: ListenerIdentity, permits: usize) -> Running {
    let echo = Echo {
        permits: Arc::new(Semaphore::new(permits)),
        arrived: Arc::new(Semaphore::new(0)),
    };
    let address = address.parse().unwrap();
    let listener = Listener::bind(&TcpNet, address, identity).await.unwrap();
    let server = listener.serve(Routes::new(echo.clone()));
    Running { echo, server }
}

fn plain_channels() -> Channels {
    Channels::new(TcpNet::shared(), ClientIdentity::Plaintext)
}

async fn call(channels: &Channels, address: &str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let channel = channels.get(address).unwrap();
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
    client
        .ready()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    let path = PathAndQuery::from_static("/test.Echo/Echo");
    let answer = client
        .unary(Request::new(message), path, Codec::default())
        .await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn large_messages_cross_whole() {
    let running = serve("127.0.0.1:0", ListenerIdentity::Plaintext, 10).await;
    let channels = plain_channels();
    let message: Vec<u8> = (0..20 << 20).map(|i: u32| (i % 251) as u8).collect();
    let address = running.server.address().to_string();
    let answer = call(&channels, &address, message.clone()).await.unwrap();
    assert!(answer == message);
    let peer = call(&channels, &address, vec![]).await.unwrap();
    assert_eq!(peer, b"127.0.0.1 false");
}

#[tokio::test]
async fn without_tls_only_loopback_is_served() {
    let open: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let refused = Listener::bind(&TcpNet, open, ListenerIdentity::Plaintext).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("ozone.security.enabled"), "{text}");
}

#[tokio::test]
async fn shutdown_lets_calls_under_way_finish() {
    let running = serve("127.0.0.1:0", ListenerIdentity::Plaintext, 0).await;
    let address = running.server.address().to_string();
    let called = address.clone();
    let pending = tokio::spawn(async move { call(&plain_channels(), &called, b"x".into()).await });
    running.echo.arrived.acquire().await.unwrap().forget();
    let stopping = tokio::spawn(running.server.shutdown(Duration::from_secs(60)));
    running.echo.permits.add_permits(1);
    assert_eq!(pending.await.unwrap().unwrap(), b"x");
    stopping.await.unwrap();
    let late = call(&plain_channels(), &address, b"y".into()).await;
    assert_eq!(late.unwrap_err().code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let running = serve("127.0.0.1:0", ListenerIdentity::Plaintext, 0).await;
    let address = running.server.address().to_string();
    let stuck = tokio::spawn(async move { call(&plain_channels(), &address, b"x".into()).await });
    running.echo.arrived.acquire().await.unwrap().forget();
    running.server.shutdown(Duration::from_millis(1)).await;
    assert!(stuck.await.unwrap().is_err());
}

#[tokio::test]
async fn a_channel_finds_a_server_that_came_back() {
    let running = serve("127.0.0.1:0", ListenerIdentity::Plaintext, 10).await;
    let address = running.server.address().to_string();
    let channels = plain_channels();
    call(&channels, &address, b"x".into()).await.unwrap();
    running.server.shutdown(Duration::from_secs(60)).await;
    assert!(call(&channels, &address, b"x".into()).await.is_err());
    let again = serve(&address, ListenerIdentity::Plaintext, 10).await;
    // The channel may first have to notice that its connection is gone.
    let mut answer = call(&channels, &address, b"x".into()).await;
    for _ in 0..3 {
        if answer.is_ok() {
            break;
        }
        answer = call(&channels, &address, b"x".into()).await;
    }
    assert_eq!(answer.unwrap(), b"x");
    drop(again);
}

#[test]
fn addresses_without_a_port_are_refused() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _guard = runtime.enter();
    for address in ["host", "http://host:1", "", "host:1/path", "a b:1"] {
        assert!(plain_channels().get(address).is_err(), "{address}");
    }
}

/// A listener's and a client's side of TLS with one self-signed certificate.
fn tls() -> (ListenerIdentity, ClientIdentity) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    (
        ListenerIdentity::Tls(Arc::new(server)),
        ClientIdentity::Tls(Arc::new(client)),
    )
}

#[tokio::test]
async fn a_tls_listener_answers_tls_clients_alone() {
    let (server, client) = tls();
    let running = serve("127.0.0.1:0", server, 10).await;
    let address = format!("localhost:{}", running.server.address().port());
    let channels = Channels::new(TcpNet::shared(), client);
    let answer = call(&channels, &address, b"secret".into()).await.unwrap();
    assert_eq!(answer, b"secret");
    let other_name = running.server.address().to_string();
    let refused = call(&channels, &other_name, b"x".into()).await.unwrap_err();
    assert_unwelcome(&refused, "its certificate is not accepted");
}

/// The status says what is wrong, and that asking again is of no use.
fn assert_unwelcome(status: &Status, reason: &str) {
    assert_eq!(status.verdict(), Verdict::Unwelcome, "{status:?}");
    let text = describe(status);
    assert!(text.contains(reason), "{text}");
}

#[tokio::test]
async fn two_ends_that_do_not_trust_each_other_are_told_so() {
    let (server, client) = tls();
    let (other_server, _) = tls();
    let running = serve("127.0.0.1:0", server, 10).await;
    let at = |running: &Running| format!("localhost:{}", running.server.address().port());
    let plain = call(&plain_channels(), &at(&running), b"x".into()).await;
    assert_unwelcome(&plain.unwrap_err(), "ozone.security.enabled=true");
    let other = serve("127.0.0.1:0", other_server, 10).await;
    let channels = Channels::new(TcpNet::shared(), client);
    let stranger = call(&channels, &at(&other), b"x".into()).await;
    assert_unwelcome(
        &stranger.unwrap_err(),
        "root certificate that this side trusts",
    );
    let unprotected = serve("127.0.0.1:0", ListenerIdentity::Plaintext, 10).await;
    let plain = call(&channels, &at(&unprotected), b"x".into()).await;
    assert_unwelcome(&plain.unwrap_err(), "it does not speak TLS");
}

#[tokio::test]
async fn a_client_whose_certificate_is_not_wanted_learns_it() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        roots.clone(),
        provider.clone(),
    );
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut nameless = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    nameless.alpn_protocols = vec![b"h2".to_vec()];
    let running = serve("127.0.0.1:0", ListenerIdentity::Tls(Arc::new(server)), 10).await;
    let address = format!("localhost:{}", running.server.address().port());
    let nameless = ClientIdentity::Tls(Arc::new(nameless));
    let refused = call(
        &Channels::new(TcpNet::shared(), nameless),
        &address,
        b"x".into(),
    )
    .await;
    assert_unwelcome(
        &refused.unwrap_err(),
        "does not accept this side's certificate",
    );
}
