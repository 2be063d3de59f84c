//! Server over wtx: its gRPC and its own HTTP/2, on one thread of tokio.
//!
//! The server framework of wtx needs a nightly compiler. So [`serve`] accepts connections and
//! streams as that framework does, over the public interface below it. The frame size and the
//! number of streams are those of ndecho's tuned rungs. wtx has one setting for the windows of
//! streams and connections: it is the window of a connection of those rungs.

mod wire;

use std::mem;

use contract::array::check;
use contract::program::{Program, fail};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use wtx::codec::format::QuickProtobuf;
use wtx::collection::Vector;
use wtx::grpc::{GrpcManager, GrpcStatusCode};
use wtx::http::{Header, HttpRecvParams, KnownHeaderName, Mime, ReqResBuffer, StatusCode};
use wtx::http2::{Http2, Http2Buffer, Http2ErrorCode, Http2RecvStatus, ServerStream};

use wire::NdArray;

/// Largest message. An array of 64 MiB fits.
const MESSAGE_BYTES_MAX: u32 = 192 << 20;

/// Room of a reply for prefix, tags, lengths and dtype, beyond the bytes of its request.
const REPLY_BYTES_MORE: usize = 64;

type Stream = ServerStream<Http2Buffer, OwnedWriteHalf>;

/// Reason for which a call fails.
struct Refusal(GrpcStatusCode, String);

/// Turns the request in `buffer` into a reply with its trailers.
fn answer(buffer: &mut ReqResBuffer) -> wtx::Result<()> {
    let request = mem::take(&mut buffer.body);
    let is_echo = buffer.uri.path() == "/Calculator/Echo";
    buffer.headers.clear();
    let content_type = (KnownHeaderName::ContentType.into(), Mime::ApplicationGrpc.as_str());
    buffer.headers.push_from_iter(Header::from_name_and_value(content_type.0, [content_type.1]))?;
    let echoed = match is_echo {
        true => echo(&request, &mut buffer.body),
        false => Err(Refusal(GrpcStatusCode::Unimplemented, "no such method".to_owned())),
    };
    let (status, reason) = match echoed {
        Ok(()) => (GrpcStatusCode::Ok, String::new()),
        Err(Refusal(status, reason)) => (status, percent_encoded(&reason)),
    };
    buffer.headers.push_from_iter(Header::new(false, true, "grpc-status", [status.as_str()]))?;
    if !reason.is_empty() {
        buffer.headers.push_from_iter(Header::new(false, true, "grpc-message", [&*reason]))?;
    }
    Ok(())
}

fn echo(mut request: &[u8], reply: &mut Vector<u8>) -> Result<(), Refusal> {
    let mut manager = GrpcManager::from_drsr(QuickProtobuf);
    let invalid = |reason: String| Refusal(GrpcStatusCode::InvalidArgument, reason);
    let internal = |error: wtx::Error| Refusal(GrpcStatusCode::Internal, error.to_string());
    let room = request.len() + REPLY_BYTES_MORE;
    let array: NdArray<'_> = manager
        .des_from_req_bytes(&mut request)
        .map_err(|error| invalid(format!("cannot read the message: {error}")))?;
    let dtype = check(&array.dtype, &array.shape, array.buffer.len());
    let dtype = dtype.map_err(|refusal| invalid(refusal.to_string()))?;
    reply.reserve(room).map_err(internal)?;
    let array = NdArray { dtype: dtype.name.into(), ..array };
    manager.ser_to_res_bytes(reply, array).map_err(internal)
}

/// Encodes a reason for `grpc-message`.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

async fn call(stream: &mut Stream) -> wtx::Result<()> {
    let (status, mut buffer) = stream.recv_req().await?;
    if let Http2RecvStatus::ClosedConnection | Http2RecvStatus::ClosedStream(_) = status {
        return Ok(());
    }
    answer(&mut buffer)?;
    // The memory of the path is used again for the head, as the framework of wtx does.
    let mut head = Vector::from_vec(mem::take(&mut buffer.uri).into_inner().into_bytes());
    stream.send_res(&mut head, buffer.into_http2_response(StatusCode::Ok)).await?;
    Ok(())
}

async fn connection(stream: TcpStream, params: HttpRecvParams) -> wtx::Result<()> {
    stream.set_nodelay(true)?;
    let parts = stream.into_split();
    let (frame_reader, http2) = Http2::accept(Http2Buffer::default(), params, parts).await?;
    tokio::spawn(frame_reader);
    while let Some((mut stream, ())) = http2.stream(|_, _| ()).await? {
        tokio::spawn(async move {
            let called = call(&mut stream).await;
            // The stream stays known for 50 ms: wtx ends a connection on a late WINDOW_UPDATE.
            let cleared = stream.common().clear(true).await;
            if called.and(cleared).is_err() {
                stream.common().send_go_away(Http2ErrorCode::InternalError).await;
            }
        });
    }
    Ok(())
}

async fn serve(port: u16) -> wtx::Result<()> {
    let params = HttpRecvParams::with_optioned_params()
        .set_initial_window_len(16 << 20)
        .set_max_body_len(MESSAGE_BYTES_MAX)
        .set_max_concurrent_streams_num(1024)
        .set_max_frame_len(1 << 20)
        // This limit counts all streams of a connection, not only the open ones.
        .set_max_recv_streams_num(u32::MAX);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        // An error ends its connection alone.
        tokio::spawn(async move { connection(stream, params).await.unwrap_or_default() });
    }
}

fn main() {
    let program = Program::start();
    let port = program.port;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| fail(&format!("cannot start: {error}")));
    std::thread::spawn(move || {
        let ended = runtime.block_on(serve(port));
        fail(&format!("cannot serve on port {port}: {ended:?}"))
    });
    program.run()
}
