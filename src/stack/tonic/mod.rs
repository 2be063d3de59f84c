//! `tonic`: the generated service, served as in tonic's documentation. *Standalone*, on tokio.
//!
//! The default form changes only the message limits. The tuned form raises windows, frames and
//! streams. The best form replaces tonic's server by hyper's, as tonic's example `h2c` does, and
//! encodes into a buffer of the right size. It applies `grpc-timeout` itself, which tonic's server
//! does in a layer.
//!
//! If the server's protobuf codec is one of prost, protobuf calls go to the generated
//! `CalculatorServer`, and calls with `PackedArray` are served in the same way. All others run
//! through tonic's `Codec` trait with `EchoCodec`, which hands the message over undecoded, so that
//! tonic carries every codec.
//!
//! Calls that name a coding get a service that takes gzip and zstd and answers in them. Other calls
//! get the service without compression, also those of a client that accepts codings.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener as Accepts;
use futures_util::stream::unfold;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, CompressionEncoding, EncodeBuf, Encoder};
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use tonic_prost::{ProstCodec, ProstDecoder};

use crate::array::{ArrayView, DType, Shape};
use crate::axis::{self, Coding, Encoding, Layer};
use crate::codec::ArrayCodec;
use crate::generated::calculator_server::{CalculatorServer, SERVICE_NAME};
use crate::generated_bytes::calculator_server as bytes_server;
use crate::generated_inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use crate::generated_packed::PackedArray;
use crate::probe::injected_delay::{InjectedDelay, PlacedDelay};
use crate::service::codecs::CodecSet;
use crate::service::routes::{self, Target};
use crate::stack::grpc::GRPC_TIMEOUT;
use crate::stack::standalone::{Serving, Shutdown, Stack, serve_connections};
use crate::stack::tuning;
use crate::wire::{Limits, Refusal, Refused, WorkerCounts, grpc};
use crate::{generated, generated_bytes};

mod codec;
mod health;
mod inference;
mod packed;
mod planted;

use codec::EchoCodec;
use health::health;
use inference::{Inference, Named};
use planted::{Planted, PlantedCodec};

#[derive(Debug)]
pub struct Tonic;

#[derive(Debug)]
pub struct TonicTuned;

#[derive(Debug)]
pub struct TonicBest;

impl Stack for Tonic {
    fn serve<L>(listener: L, codecs: CodecSet, limits: Limits, shutdown: Shutdown) -> Serving
    where
        L: Accepts<Io: Connected>,
    {
        serve(Server::builder(), listener, codecs, limits, shutdown)
    }
}

impl Stack for TonicTuned {
    fn serve<L>(listener: L, codecs: CodecSet, limits: Limits, shutdown: Shutdown) -> Serving
    where
        L: Accepts<Io: Connected>,
    {
        let server = Server::builder()
            .initial_stream_window_size(tuning::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(tuning::CONNECTION_WINDOW_BYTES)
            .max_frame_size(tuning::FRAME_BYTES_MAX)
            .max_concurrent_streams(tuning::STREAMS_MAX);
        serve(server, listener, codecs, limits, shutdown)
    }
}

impl Stack for TonicBest {
    fn serve<L>(listener: L, codecs: CodecSet, limits: Limits, shutdown: Shutdown) -> Serving
    where
        L: Accepts,
    {
        let dispatch = Dispatch { is_best: true, ..Dispatch::new(codecs, &limits, &shutdown) };
        let mut builder = http2::Builder::new(TokioExecutor::new());
        tuning::raise(&mut builder);
        builder.auto_date_header(false);
        builder.max_header_list_size(tuning::head_bytes_max(&limits));
        let (health, reporting) = health(&shutdown);
        let connect = move |stream| {
            let (dispatch, health) = (dispatch.clone(), health.clone());
            let respond = move |request: http::Request<Incoming>| {
                let timeout = request.headers().get(GRPC_TIMEOUT);
                let timeout = timeout.and_then(|value| grpc::parse_timeout(value.as_bytes()));
                within(timeout, dispatch.respond(request.map(Body::new), Some(&health)))
            };
            builder.serve_connection(stream, service_fn(respond))
        };
        Box::pin(async move {
            tokio::spawn(reporting);
            serve_connections(listener, shutdown, connect).await
        })
    }
}

async fn within(
    timeout: Option<Duration>,
    responding: Responding,
) -> Result<http::Response<Body>, Infallible> {
    let Some(timeout) = timeout else { return responding.await };
    tokio::time::timeout(timeout, responding)
        .await
        .unwrap_or_else(|_| Ok(Status::deadline_exceeded("the deadline passed").into_http()))
}

fn serve<L: Accepts<Io: Connected>>(
    server: Server,
    listener: L,
    codecs: CodecSet,
    limits: Limits,
    shutdown: Shutdown,
) -> Serving {
    let incoming = unfold(listener, |mut listener| async move {
        let (stream, _) = listener.accept().await;
        Some((Ok::<_, io::Error>(stream), listener))
    });
    let mut server = server.http2_max_header_list_size(tuning::head_bytes_max(&limits));
    let dispatch = Dispatch::new(codecs, &limits, &shutdown);
    let mut routes = match codecs.delay().placed_in(Layer::Framework) {
        None => Routes::new(dispatch.clone()).add_service(Named(dispatch)),
        Some(delay) => {
            let planted = Planted { inner: dispatch, delay };
            Routes::new(planted.clone()).add_service(Named(planted))
        }
    };
    let (health, reporting) = health(&shutdown);
    // As the fallback, it costs the calls of the other service nothing.
    let router = std::mem::take(routes.axum_router_mut());
    *routes.axum_router_mut() = router.fallback_service(health);
    Box::pin(async move {
        tokio::spawn(reporting);
        let incoming = Box::pin(incoming);
        let serving = server.add_routes(routes);
        let serving = serving.serve_with_incoming_shutdown(incoming, shutdown.drain());
        serving.await.map_err(io::Error::other)
    })
}

#[derive(Debug)]
struct Echo {
    delay: InjectedDelay,
    counts: &'static WorkerCounts,
}

impl Echo {
    /// Checks a message, which the handler then sends back, and makes the dtype's name canonical.
    fn check_echo(&self, buffer: &[u8], dtype: &mut String, shape: &[u64]) -> Result<(), Status> {
        self.counts.requests.add(1);
        self.delay.wait();
        let checked = DType::parse(dtype).and_then(|dtype| {
            ArrayView::new(dtype, Shape::new(shape)?, buffer).map(|array| array.dtype().name())
        });
        let name = checked.map_err(|error| {
            let text = format!("protobuf: {error}");
            status(Refused::new(Refusal::BadRequest, text), self.counts)
        })?;
        if dtype != name {
            name.clone_into(dtype);
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl generated::calculator_server::Calculator for Echo {
    async fn echo(
        &self,
        request: Request<generated::NdArray>,
    ) -> Result<Response<generated::NdArray>, Status> {
        let mut message = request.into_inner();
        self.check_echo(&message.buffer, &mut message.dtype, &message.shape)?;
        Ok(Response::new(message))
    }
}

#[tonic::async_trait]
impl bytes_server::Calculator for Echo {
    async fn echo(
        &self,
        request: Request<generated_bytes::NdArray>,
    ) -> Result<Response<generated_bytes::NdArray>, Status> {
        let mut message = request.into_inner();
        self.check_echo(&message.buffer, &mut message.dtype, &message.shape)?;
        Ok(Response::new(message))
    }
}

#[derive(Clone, Debug)]
struct Dispatch {
    generated: Option<Generated>,
    inference: GrpcInferenceServiceServer<Inference>,
    /// The same service for calls that name a coding.
    coded: Option<Generated>,
    codecs: CodecSet,
    message_bytes_max: usize,
    counts: &'static WorkerCounts,
    is_best: bool,
}

/// Generated service, in which `buffer` is a `Vec<u8>` or a `Bytes`.
#[derive(Clone, Debug)]
enum Generated {
    /// A service like the first one, with a delay around its codec.
    Planted(PlacedDelay),
    Vec(CalculatorServer<Echo>),
    Bytes(bytes_server::CalculatorServer<Echo>),
}

/// Codings that tonic has.
const COMPRESSIONS: [CompressionEncoding; 2] =
    [CompressionEncoding::Gzip, CompressionEncoding::Zstd];

const GRPC_ENCODING: &str = "grpc-encoding";

fn names_coding(request: &http::Request<Body>) -> bool {
    let coding = request.headers().get(GRPC_ENCODING);
    coding.is_some_and(|coding| coding != Coding::Identity.token())
}

impl Generated {
    /// Makes the service take and send compressed messages.
    fn compressing(self) -> Generated {
        COMPRESSIONS.into_iter().fold(self, |service, coding| match service {
            Generated::Planted(delay) => Generated::Planted(delay),
            Generated::Vec(server) => {
                Generated::Vec(server.accept_compressed(coding).send_compressed(coding))
            }
            Generated::Bytes(server) => {
                Generated::Bytes(server.accept_compressed(coding).send_compressed(coding))
            }
        })
    }
}

impl Dispatch {
    fn new(codecs: CodecSet, limits: &Limits, shutdown: &Shutdown) -> Dispatch {
        let (message_bytes_max, counts) = (limits.body_bytes_max, limits.counts);
        let echo = Echo { delay: codecs.delay(), counts };
        let planted = codecs.delay().placed_in(Layer::CodecDecode).map(Generated::Planted);
        let generated = match codecs.get(Encoding::Protobuf).map(ArrayCodec::id) {
            Some(axis::Codec::ProtobufProst) => Some(planted.unwrap_or(Generated::Vec(
                CalculatorServer::new(echo).max_decoding_message_size(message_bytes_max),
            ))),
            Some(axis::Codec::ProtobufProstBytes) => Some(Generated::Bytes(
                bytes_server::CalculatorServer::new(echo)
                    .max_decoding_message_size(message_bytes_max),
            )),
            _ => None,
        };
        let inference = Inference { delay: codecs.delay(), counts, shutdown: shutdown.clone() };
        let inference =
            GrpcInferenceServiceServer::new(inference).max_decoding_message_size(message_bytes_max);
        let coded = generated.clone().map(Generated::compressing);
        Dispatch { generated, coded, inference, codecs, message_bytes_max, counts, is_best: false }
    }

    /// Answers a call. Without `health`, the calls of that service are answered elsewhere.
    fn respond(
        &self,
        request: http::Request<Body>,
        health: Option<&HealthServer<HealthService>>,
    ) -> Responding {
        let content_type = request.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
        let method = request.method().as_str().as_bytes();
        let path = request.uri().path().as_bytes();
        let encoding = match routes::grpc(method, path, content_type.unwrap_or_default()) {
            Ok(Target::Echo(encoding)) => encoding,
            Ok(Target::Health) => match health {
                Some(health) => return health.clone().call(request),
                None => return Box::pin(ready(Ok(Status::unimplemented("").into_http()))),
            },
            Ok(Target::Inference(_)) => return self.infer(request),
            Err(refused) => {
                return Box::pin(ready(Ok(status(refused, self.counts).into_http())));
            }
        };
        let codec = self.codecs.get(encoding).map(ArrayCodec::id);
        if codec == Some(axis::Codec::ProtobufPackedProst) {
            return self.call(ProstCodec::<PackedArray, PackedArray>::new(), self.echo(), request);
        }
        let is_planted = self.codecs.delay().placed_in(Layer::CodecDecode).is_some();
        if encoding == Encoding::Kserve && self.infers_with_prost() && !is_planted {
            return self.infer(request);
        }
        let generated = if names_coding(&request) { &self.coded } else { &self.generated };
        let generated = generated.as_ref().filter(|_| encoding == Encoding::Protobuf);
        match generated {
            Some(Generated::Bytes(_)) if self.is_best => {
                self.call(ExactCodec, self.echo(), request)
            }
            Some(Generated::Planted(delay)) => {
                self.call(PlantedCodec { delay: *delay }, self.echo(), request)
            }
            Some(Generated::Vec(server)) => server.clone().call(request),
            Some(Generated::Bytes(server)) => server.clone().call(request),
            None => {
                let codec = EchoCodec { codecs: self.codecs, counts: self.counts, encoding };
                self.call(codec, codec, request)
            }
        }
    }

    fn echo(&self) -> Echo {
        Echo { delay: self.codecs.delay(), counts: self.counts }
    }

    /// Returns whether an inference in one of its two forms is served by generated code, which
    /// serves the other one as well: the message of a call is not known before it is read.
    fn infers_with_prost(&self) -> bool {
        let codec = |encoding| self.codecs.get(encoding).map(ArrayCodec::id);
        codec(Encoding::Kserve) == Some(axis::Codec::KserveProst)
            || codec(Encoding::KserveTyped) == Some(axis::Codec::KserveTypedProst)
    }

    /// Serves a call as generated code does.
    fn infer(&self, request: http::Request<Body>) -> Responding {
        let mut service = self.inference.clone();
        if names_coding(&request) {
            for coding in COMPRESSIONS {
                service = service.accept_compressed(coding).send_compressed(coding);
            }
        }
        service.call(request)
    }

    fn call<C, S>(&self, codec: C, service: S, request: http::Request<Body>) -> Responding
    where
        C: Codec + Send + 'static,
        S: UnaryService<C::Decode, Response = C::Encode, Future: Send> + Send + 'static,
    {
        let mut grpc = Grpc::new(codec).max_decoding_message_size(self.message_bytes_max);
        if names_coding(&request) {
            for coding in COMPRESSIONS {
                grpc = grpc.accept_compressed(coding).send_compressed(coding);
            }
        }
        Box::pin(async move { Ok(grpc.unary(service, request).await) })
    }
}

impl NamedService for Dispatch {
    const NAME: &'static str = SERVICE_NAME;
}

type Responding = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Service<http::Request<Body>> for Dispatch {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Responding {
        self.respond(request, None)
    }
}

fn status(refused: Refused, counts: &WorkerCounts) -> Status {
    let grpc::Status { code, text } = refused.into();
    counts.refused_call(code);
    Status::new(Code::from_i32(code as i32), text)
}

/// Codec of the generated message with `Bytes` that allocates each buffer once and in the right
/// size. Before the first frame the size is not known, so a buffer begins with nothing.
#[derive(Clone, Copy, Debug)]
struct ExactCodec;

impl ExactCodec {
    /// A message leaves whole, however long it is.
    fn settings() -> BufferSettings {
        BufferSettings::new(0, usize::MAX)
    }
}

impl UnaryService<generated_bytes::NdArray> for Echo {
    type Response = generated_bytes::NdArray;
    type Future = std::future::Ready<Result<Response<generated_bytes::NdArray>, Status>>;

    fn call(&mut self, request: Request<generated_bytes::NdArray>) -> Self::Future {
        let mut message = request.into_inner();
        let checked = self.check_echo(&message.buffer, &mut message.dtype, &message.shape);
        ready(checked.map(|()| Response::new(message)))
    }
}

impl Codec for ExactCodec {
    type Encode = generated_bytes::NdArray;
    type Decode = generated_bytes::NdArray;
    type Encoder = ExactCodec;
    type Decoder = ProstDecoder<generated_bytes::NdArray>;

    fn encoder(&mut self) -> ExactCodec {
        *self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(ExactCodec::settings())
    }
}

impl UnaryService<generated::NdArray> for Echo {
    type Response = generated::NdArray;
    type Future = std::future::Ready<Result<Response<generated::NdArray>, Status>>;

    fn call(&mut self, request: Request<generated::NdArray>) -> Self::Future {
        let mut message = request.into_inner();
        let checked = self.check_echo(&message.buffer, &mut message.dtype, &message.shape);
        ready(checked.map(|()| Response::new(message)))
    }
}

impl Encoder for ExactCodec {
    type Item = generated_bytes::NdArray;
    type Error = Status;

    fn encode(
        &mut self,
        message: generated_bytes::NdArray,
        into: &mut EncodeBuf<'_>,
    ) -> Result<(), Status> {
        into.reserve(message.encoded_len());
        message.encode_raw(into);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        ExactCodec::settings()
    }
}
