//! Server over xitca-http: HTTP/1.1 on epoll, one worker thread.
//!
//! The library also has a form on io_uring. It was dearer in every earlier measurement of this
//! project, so a user who looks for speed takes epoll. There is one worker, because the process has
//! one core. Idle connections stay for 75 s instead of 5 s, as in ndecho's own servers.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use contract::npy;
use contract::program::{Program, fail};
use contract::rest::{BODY_BYTES_MAX, BYTES, NPY, Route, TEXT};
use xitca_http::body::{Body, BodyExt, Frame, SizeHint};
use xitca_http::bytes::{Bytes, BytesMut};
use xitca_http::config::HttpServiceConfig;
use xitca_http::http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use xitca_http::http::{RequestExt, StatusCode};
use xitca_http::{HttpServiceBuilder, Request, RequestBody, Response};
use xitca_service::{ServiceExt, fn_service};

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
        Poll::Ready(self.parts.next().map(|part| Ok(Frame::Data(part))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::Exact(self.bytes)
    }
}

type Reply = Response<Parts>;

async fn echo(request: Request<RequestExt<RequestBody>>) -> Result<Reply, Infallible> {
    let (parts, ext) = request.into_parts();
    let route = Route::find(parts.method.as_str(), parts.uri.path());
    let (_, body) = ext.replace_body(());
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
/// makes the library close the connection.
async fn read(mut body: RequestBody) -> Result<Bytes, (StatusCode, &'static str)> {
    let too_long = (StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 192 MiB");
    let length = match body.size_hint() {
        SizeHint::Exact(length) => usize::try_from(length).map_err(|_| too_long)?,
        _ => 0,
    };
    if length > BODY_BYTES_MAX {
        return Err(too_long);
    }
    let (mut only, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(piece) = Pin::new(&mut body).data().await {
        let piece = piece.map_err(|_| (StatusCode::BAD_REQUEST, "the body cannot be read"))?;
        if piece.len() > BODY_BYTES_MAX - joined.len() {
            return Err(too_long);
        }
        if joined.is_empty() && piece.len() == length {
            only = piece;
            continue;
        }
        joined.reserve(piece.len().max(length.saturating_sub(joined.len())));
        joined.extend_from_slice(&piece);
    }
    Ok(if joined.is_empty() { only } else { joined.freeze() })
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

fn main() {
    let program = Program::start();
    let port = program.port;
    let listener = TcpListener::bind(("127.0.0.1", port))
        .unwrap_or_else(|error| fail(&format!("cannot listen on port {port}: {error}")));
    let config = HttpServiceConfig::new().keep_alive_timeout(Duration::from_secs(75));
    let service = fn_service(echo).enclosed(HttpServiceBuilder::h1().config(config));
    // The program waits for signals itself.
    let builder = xitca_server::Builder::new().worker_threads(1).disable_signal();
    let server = builder.listen("echo", listener, service).build();
    std::thread::spawn(move || {
        let ended = server.wait();
        fail(&format!("the server has ended: {ended:?}"))
    });
    program.run()
}
