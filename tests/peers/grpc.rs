//! gRPC client over the h2 crate that sends any given frames.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request};
use tokio::runtime::Runtime;

/// Connection with its own runtime.
pub(crate) struct Grpc {
    pub(crate) runtime: Runtime,
    pub(crate) requests: SendRequest<Bytes>,
}

#[derive(Debug)]
#[allow(dead_code, reason = "not every test looks at all of it")]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Fields of the head and of the trailers.
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().expect("printable"))
    }
}

/// Returns a message with its gRPC prefix.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("below 4 GiB");
    [&[0][..], &len.to_be_bytes(), message].concat()
}

/// Returns a request to the method of the contract.
#[allow(dead_code, reason = "some tests name a method with each request")]
pub(crate) fn request(content_type: &str) -> Request<()> {
    request_to("/Calculator/Echo", content_type)
}

/// Returns a request to any method.
pub(crate) fn request_to(path: &str, content_type: &str) -> Request<()> {
    let request = Request::post(format!("http://test{path}")).header("te", "trailers");
    request.header("content-type", content_type).body(()).expect("well-formed")
}

/// Returns a request for the health of the server.
#[allow(dead_code, reason = "not every test asks for health")]
pub(crate) fn health_check() -> Request<()> {
    request_to("/grpc.health.v1.Health/Check", "application/grpc")
}

impl Grpc {
    #[allow(dead_code, reason = "not every test has these windows")]
    pub(crate) fn connect(address: SocketAddr) -> Grpc {
        let mut builder = Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
        Grpc::connect_as(address, &builder)
    }

    /// Connects with the windows and frames of `builder`.
    pub(crate) fn connect_as(address: SocketAddr, builder: &Builder) -> Grpc {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let requests = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
            stream.set_nodelay(true).expect("a TCP socket");
            let (requests, connection) = builder.handshake(stream).await.expect("a preface");
            tokio::spawn(connection);
            requests
        });
        Grpc { runtime, requests }
    }

    /// Sends `request` with `pieces` as its DATA frames and reads the reply.
    pub(crate) fn call(&mut self, request: Request<()>, pieces: &[&[u8]]) -> Reply {
        let pieces: Vec<Bytes> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
        let reply = exchange(self.requests.clone(), request, pieces, true);
        let bounded = async { tokio::time::timeout(Duration::from_secs(60), reply).await };
        self.runtime.block_on(bounded).expect("a reply in time").expect("no reset")
    }
}

/// Makes one call. Without `end`, the request body stays open.
pub(crate) async fn exchange(
    requests: SendRequest<Bytes>,
    request: Request<()>,
    pieces: Vec<Bytes>,
    end: bool,
) -> Result<Reply, h2::Error> {
    let mut requests = requests.ready().await?;
    let (reply, mut body) = requests.send_request(request, end && pieces.is_empty())?;
    let last = pieces.len().saturating_sub(1);
    for (at, piece) in pieces.into_iter().enumerate() {
        // The server may already have answered and reset the stream.
        let _ = body.send_data(piece, end && at == last);
    }
    let (head, mut stream) = reply.await?.into_parts();
    let mut reply = Reply { status: head.status.as_u16(), fields: head.headers, body: Vec::new() };
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        reply.body.extend_from_slice(&piece);
        stream.flow_control().release_capacity(piece.len())?;
    }
    reply.fields.extend(stream.trailers().await?.unwrap_or_default());
    Ok(reply)
}
