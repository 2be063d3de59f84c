//! `tonic`: the generated service, served as in tonic's documentation. *Standalone*, on tokio.
//!
//! The default form changes only the message limits. The tuned form raises windows, frames and
//! streams. If the server's protobuf codec is `protobuf:prost`, protobuf calls go to the generated
//! `CalculatorServer`. All other calls run through tonic's `Codec` trait with `EchoCodec`, which
//! hands the message over undecoded, so that tonic carries every codec.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::serve::Listener as Accepts;
use bytes::{Buf, BufMut, Bytes};
use futures_util::stream::unfold;
use http::header::CONTENT_TYPE;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Code, Request, Response, Status};

use crate::array::{ArrayError, ArrayView, DType, Shape};
use crate::axis::{self, Encoding};
use crate::codec::ArrayCodec;
use crate::generated::NdArray;
use crate::generated::calculator_server::{Calculator, CalculatorServer, SERVICE_NAME};
use crate::service::codecs::CodecSet;
use crate::service::delay::InjectedDelay;
use crate::service::echo::{Echoed, echo_once};
use crate::service::routes::{self, Target};
use crate::stack::standalone::{Drained, Serving, Stack};
use crate::stack::tuning;
use crate::wire::{Limits, Refusal, Refused, grpc};

#[derive(Debug)]
pub struct Tonic;

#[derive(Debug)]
pub struct TonicTuned;

impl Stack for Tonic {
    fn serve<L>(listener: L, codecs: CodecSet, limits: Limits, drained: Drained) -> Serving
    where
        L: Accepts<Io: Connected>,
    {
        serve(Server::builder(), listener, codecs, limits, drained)
    }
}

impl Stack for TonicTuned {
    fn serve<L>(listener: L, codecs: CodecSet, limits: Limits, drained: Drained) -> Serving
    where
        L: Accepts<Io: Connected>,
    {
        let server = Server::builder()
            .initial_stream_window_size(tuning::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(tuning::CONNECTION_WINDOW_BYTES)
            .max_frame_size(tuning::FRAME_BYTES_MAX)
            .max_concurrent_streams(tuning::STREAMS_MAX);
        serve(server, listener, codecs, limits, drained)
    }
}

fn serve<L: Accepts<Io: Connected>>(
    mut server: Server,
    listener: L,
    codecs: CodecSet,
    limits: Limits,
    drained: Drained,
) -> Serving {
    let incoming = unfold(listener, |mut listener| async move {
        let (stream, _) = listener.accept().await;
        Some((Ok::<_, io::Error>(stream), listener))
    });
    let server = server.add_service(Dispatch::new(codecs, limits.body_bytes_max));
    Box::pin(async move {
        let serving = server.serve_with_incoming_shutdown(Box::pin(incoming), drained);
        serving.await.map_err(io::Error::other)
    })
}

#[derive(Debug)]
struct Echo {
    delay: InjectedDelay,
}

#[tonic::async_trait]
impl Calculator for Echo {
    async fn echo(&self, request: Request<NdArray>) -> Result<Response<NdArray>, Status> {
        let NdArray { buffer, dtype, shape } = request.into_inner();
        self.delay.wait();
        let (dtype, shape) = check(&buffer, &dtype, &shape)
            .map_err(|error| Status::invalid_argument(format!("protobuf: {error}")))?;
        let (dtype, shape) = (dtype.name().to_owned(), shape.dims().to_vec());
        Ok(Response::new(NdArray { buffer, dtype, shape }))
    }
}

fn check(buffer: &[u8], dtype: &str, shape: &[u64]) -> Result<(DType, Shape), ArrayError> {
    let (dtype, shape) = (DType::parse(dtype)?, Shape::new(shape)?);
    let array = ArrayView::new(dtype, shape, buffer)?;
    Ok((array.dtype(), array.shape().clone()))
}

#[derive(Clone, Debug)]
struct Dispatch {
    generated: Option<CalculatorServer<Echo>>,
    codecs: CodecSet,
    message_bytes_max: usize,
}

impl Dispatch {
    fn new(codecs: CodecSet, message_bytes_max: usize) -> Dispatch {
        let protobuf = codecs.get(Encoding::Protobuf).map(ArrayCodec::id);
        let generated = (protobuf == Some(axis::Codec::ProtobufProst)).then(|| {
            CalculatorServer::new(Echo { delay: codecs.delay() })
                .max_decoding_message_size(message_bytes_max)
        });
        Dispatch { generated, codecs, message_bytes_max }
    }
}

impl NamedService for Dispatch {
    const NAME: &'static str = SERVICE_NAME;
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for Dispatch {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let content_type = request.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
        let method = request.method().as_str().as_bytes();
        let path = request.uri().path().as_bytes();
        let encoding = match routes::grpc(method, path, content_type.unwrap_or_default()) {
            Ok(Target::Echo(encoding)) => encoding,
            Ok(Target::Health) => {
                let refused = Refused::new(Refusal::NoSuchRoute, "health is not served here");
                return Box::pin(ready(Ok(status(refused).into_http())));
            }
            Err(refused) => return Box::pin(ready(Ok(status(refused).into_http()))),
        };
        match &mut self.generated {
            Some(generated) if encoding == Encoding::Protobuf => generated.call(request),
            _ => {
                let method = EchoCodec { codecs: self.codecs, encoding };
                let limit = self.message_bytes_max;
                Box::pin(async move {
                    let mut grpc = Grpc::new(method).max_decoding_message_size(limit);
                    Ok(grpc.unary(method, request).await)
                })
            }
        }
    }
}

fn status(refused: Refused) -> Status {
    let grpc::Status { code, text } = refused.into();
    Status::new(Code::from_i32(code as i32), text)
}

#[derive(Clone, Copy, Debug)]
struct EchoCodec {
    codecs: CodecSet,
    encoding: Encoding,
}

#[derive(Debug)]
struct Reply {
    echoed: Echoed,
    out: Vec<u8>,
    body: Bytes,
}

impl UnaryService<Bytes> for EchoCodec {
    type Response = Reply;
    type Future = std::future::Ready<Result<Response<Reply>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let body = request.into_inner();
        let reply = echo_once(&self.codecs, self.encoding, &body)
            .map(|(echoed, out)| Response::new(Reply { echoed, out, body }));
        ready(reply.map_err(status))
    }
}

impl Codec for EchoCodec {
    type Encode = Reply;
    type Decode = Bytes;
    type Encoder = EchoCodec;
    type Decoder = EchoCodec;

    fn encoder(&mut self) -> EchoCodec {
        *self
    }

    fn decoder(&mut self) -> EchoCodec {
        *self
    }
}

impl Encoder for EchoCodec {
    type Item = Reply;
    type Error = Status;

    fn encode(&mut self, reply: Reply, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let Reply { echoed, out, body } = reply;
        let (head, tail) = out.split_at(echoed.head_len);
        into.reserve(out.len() + echoed.payload.len());
        into.put_slice(head);
        into.put_slice(&body[echoed.payload]);
        into.put_slice(tail);
        Ok(())
    }
}

impl Decoder for EchoCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
