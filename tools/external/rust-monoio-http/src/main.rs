//! Server over monoio-http: HTTP/1.1 on io_uring, one thread.
//!
//! The library decodes requests and encodes responses. The rest is the server's part: the body is
//! read before the reply, `Connection: close` and HTTP/1.0 end a connection, and idle connections
//! stay for 75 s, as in ndecho's own servers. The library has no limit for a chunked body, so such
//! a request is refused with 411. A reply is one buffer, so the data of a file are copied once.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use contract::npy;
use contract::program::{Program, fail};
use contract::rest::{BODY_BYTES_MAX, BYTES, NPY, Route, TEXT};
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, StatusCode, Version};
use monoio::io::sink::{Sink, SinkExt};
use monoio::io::stream::Stream;
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use monoio_http::common::body::BodyExt;
use monoio_http::common::error::HttpError;
use monoio_http::common::response::Response;
use monoio_http::h1::codec::ServerCodec;
use monoio_http::h1::codec::decoder::FillPayload;
use monoio_http::h1::payload::{FixedPayload, Payload};

const IDLE: Duration = Duration::from_secs(75);

type Refusal = (StatusCode, String);

fn answer(head: &Parts, body: Bytes) -> Response {
    match Route::find(head.method.as_str(), head.uri.path()) {
        Route::Npy => match echo_npy(&body) {
            Ok(file) => reply(StatusCode::OK, NPY, file),
            Err(reason) => refuse((StatusCode::BAD_REQUEST, reason)),
        },
        Route::Reflect => reply(StatusCode::OK, BYTES, body),
        Route::Unknown => refuse((StatusCode::NOT_FOUND, "no such path".to_owned())),
        Route::WrongMethod => {
            let reason = "expected POST".to_owned();
            let mut reply = refuse((StatusCode::METHOD_NOT_ALLOWED, reason));
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            reply
        }
    }
}

fn echo_npy(body: &[u8]) -> Result<Bytes, String> {
    let array = npy::read(body)?;
    let mut file = Vec::with_capacity(body.len() + 128);
    npy::write_header(&array, &mut file);
    file.extend_from_slice(&array.data);
    Ok(file.into())
}

/// Refuses a body of unknown or excessive length before it is read.
fn check_length(head: &Parts) -> Result<(), Refusal> {
    if head.headers.contains_key(TRANSFER_ENCODING) {
        let reason = "chunked bodies are not supported; send a Content-Length";
        return Err((StatusCode::LENGTH_REQUIRED, reason.to_owned()));
    }
    // The library has parsed the length before.
    let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = length.and_then(|text| text.parse().ok()).unwrap_or(0_usize);
    if length > BODY_BYTES_MAX {
        let reason = "the body is longer than 192 MiB";
        return Err((StatusCode::PAYLOAD_TOO_LARGE, reason.to_owned()));
    }
    Ok(())
}

fn refuse((status, reason): Refusal) -> Response {
    reply(status, TEXT, (reason + "\n").into())
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut reply = Response::new(Payload::Fixed(FixedPayload::new(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

fn is_last(head: &Parts) -> bool {
    let values =
        head.headers.get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    let mut options = values.flat_map(|value| value.split(','));
    head.version == Version::HTTP_10
        || options.any(|option| option.trim().eq_ignore_ascii_case("close"))
}

async fn send_last(
    codec: &mut ServerCodec<TcpStream>,
    mut reply: Response,
) -> Result<(), HttpError> {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    codec.send_and_flush(reply).await?;
    Sink::<Response>::close(codec).await
}

async fn connection(stream: TcpStream) -> Result<(), HttpError> {
    stream.set_nodelay(true)?;
    let mut codec = ServerCodec::new_with_timeout(stream, IDLE);
    while let Some(request) = codec.next().await {
        let (head, payload) = match request {
            Ok(request) => request.into_parts(),
            Err(HttpError::H1DecodeError(error)) => {
                let reply = refuse((StatusCode::BAD_REQUEST, error.to_string()));
                return send_last(&mut codec, reply).await;
            }
            Err(error) => return Err(error),
        };
        if let Err(refusal) = check_length(&head) {
            return send_last(&mut codec, refuse(refusal)).await;
        }
        codec.fill_payload().await?;
        let reply = answer(&head, payload.bytes().await?);
        if is_last(&head) {
            return send_last(&mut codec, reply).await;
        }
        codec.send_and_flush(reply).await?;
    }
    Ok(())
}

async fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    loop {
        let (stream, _) = listener.accept().await?;
        // An error ends its connection alone.
        monoio::spawn(async { connection(stream).await.unwrap_or_default() });
    }
}

fn main() {
    let program = Program::start();
    let port = program.port;
    std::thread::spawn(move || {
        let runtime = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build();
        let mut runtime = runtime.unwrap_or_else(|error| fail(&format!("cannot start: {error}")));
        let ended = runtime.block_on(serve(port));
        fail(&format!("cannot serve on port {port}: {ended:?}"))
    });
    program.run()
}
