//! Server over hyper on compio: HTTP/1.1 on io_uring, one thread.
//!
//! The flags of the ring are those that compio's documentation names for a runtime of one thread.
//! Hyper's timer is that of cyper-core. Idle connections stay for 75 s instead of 30 s, and replies
//! have no date, as in ndecho's own servers.

mod stream;

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use compio::driver::ProactorBuilder;
use compio::net::TcpListener;
use compio::runtime::RuntimeBuilder;
use contract::npy;
use contract::program::{Program, fail};
use contract::rest::{BODY_BYTES_MAX, BYTES, NPY, Route, TEXT};
use cyper_core::CompioTimer;
use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};

use stream::Stream;

const IDLE: Duration = Duration::from_secs(75);

/// Room that a body gets because of its announced length. More follows the bytes that arrive.
const ANNOUNCED_BYTES_MAX: usize = 1 << 20;

/// Head of a file and its data, sent one after the other. The data is not copied before that.
struct Parts {
    parts: std::array::IntoIter<Bytes, 2>,
    bytes: u64,
}

impl Parts {
    fn new(head: Bytes, data: Bytes) -> Parts {
        Parts { bytes: (head.len() + data.len()) as u64, parts: [head, data].into_iter() }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.parts.next().map(|part| Ok(Frame::data(part))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}

type Reply = Response<Parts>;

async fn echo(request: Request<Incoming>) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    let route = Route::find(parts.method.as_str(), parts.uri.path());
    let body = match read(body).await {
        Ok(body) => body,
        Err((status, reason)) => return Ok(refuse(status, reason.to_owned())),
    };
    Ok(match route {
        Route::Npy => echo_npy(&body),
        Route::Reflect => reply(StatusCode::OK, BYTES, body, Bytes::new()),
        Route::Unknown => refuse(StatusCode::NOT_FOUND, "no such path".to_owned()),
        Route::WrongMethod => {
            let mut reply = refuse(StatusCode::METHOD_NOT_ALLOWED, "expected POST".to_owned());
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            reply
        }
    })
}

fn echo_npy(body: &Bytes) -> Reply {
    match npy::read(body) {
        Ok(array) => {
            let mut head = Vec::with_capacity(128);
            npy::write_header(&array, &mut head);
            let data = match array.data {
                Cow::Borrowed(data) => body.slice_ref(data),
                Cow::Owned(data) => data.into(),
            };
            reply(StatusCode::OK, NPY, head.into(), data)
        }
        Err(reason) => refuse(StatusCode::BAD_REQUEST, reason),
    }
}

/// Collects a body. One that came in one piece is not copied. A body that is not read to its end
/// makes hyper close the connection.
async fn read(mut body: Incoming) -> Result<Bytes, (StatusCode, &'static str)> {
    let too_long = (StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 192 MiB");
    let length = usize::try_from(body.size_hint().exact().unwrap_or(0)).map_err(|_| too_long)?;
    if length > BODY_BYTES_MAX {
        return Err(too_long);
    }
    let (mut only, mut joined) = (Bytes::new(), Vec::new());
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "the body cannot be read"))?;
        // Trailers are ignored.
        let Ok(piece) = frame.into_data() else { continue };
        if piece.len() > BODY_BYTES_MAX - joined.len() {
            return Err(too_long);
        }
        if joined.is_empty() && piece.len() == length {
            only = piece;
            continue;
        }
        let announced = length.saturating_sub(joined.len()).min(ANNOUNCED_BYTES_MAX);
        joined.reserve(piece.len().max(announced));
        joined.extend_from_slice(&piece);
    }
    Ok(if joined.is_empty() { only } else { joined.into() })
}

fn refuse(status: StatusCode, reason: String) -> Reply {
    reply(status, TEXT, (reason + "\n").into(), Bytes::new())
}

fn reply(status: StatusCode, content_type: &'static str, head: Bytes, data: Bytes) -> Reply {
    let mut reply = Response::new(Parts::new(head, data));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

async fn serve(port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut builder = Builder::new();
    builder.timer(CompioTimer).header_read_timeout(IDLE).auto_date_header(false);
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = builder.serve_connection(Stream::new(stream), service_fn(echo));
        // An error ends its connection alone.
        compio::runtime::spawn(async { connection.await.unwrap_or_default() }).detach();
    }
}

fn main() {
    let program = Program::start();
    let port = program.port;
    std::thread::spawn(move || {
        let mut ring = ProactorBuilder::new();
        ring.single_issuer(true).coop_taskrun(true).taskrun_flag(true).defer_taskrun(true);
        let runtime = RuntimeBuilder::new().with_proactor(ring).build();
        let runtime = runtime.unwrap_or_else(|error| fail(&format!("cannot start: {error}")));
        let ended = runtime.block_on(serve(port));
        fail(&format!("cannot serve on port {port}: {ended:?}"))
    });
    program.run()
}
