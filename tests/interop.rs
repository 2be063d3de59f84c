//! Our client against every stack, and clients of other projects against our servers.
//!
//! Servers run in this process with one worker each. The client checks every reply bit by bit. A
//! failure names the stack, the encoding and the size.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use ndecho::array::{self, DType, Shape};
use ndecho::axis::{Driver, Encoding, Family, Payload, Protocol, Transport};
use ndecho::codec;
use ndecho::generated::NdArray;
use ndecho::generated::calculator_client::CalculatorClient;
use ndecho::ladder::table::{STACKS, Stack};
use ndecho::load::{self, conformance};
use ndecho::record::trial_spec::{ArraySpec, Length, LoadSpec};
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;

#[path = "peers/ring.rs"]
mod ring;
#[path = "peers/server.rs"]
mod server;

/// Text is slow without optimisation, so the largest size is left to the binary encodings.
fn sizes(encoding: Encoding) -> &'static [u64] {
    match encoding.spec().payload {
        Payload::Numbers | Payload::Base64 | Payload::Packed => &[8, 2048, 65_536],
        Payload::Bytes => &[8, 2048, 65_536, 1 << 20],
    }
}

/// Stacks of the ladder over TCP; `unix_sockets.rs` has the others.
fn stacks() -> impl Iterator<Item = &'static Stack> {
    STACKS.iter().filter(|stack| stack.transport == Transport::Tcp)
}

fn serve(driver: Driver, protocol: Protocol, codecs: CodecSet) -> server::Running {
    server::start(driver, protocol, codecs, Limits::default()).expect("there is a ring")
}

fn spec(address: SocketAddr, family: Family, encoding: Encoding, size: u64) -> LoadSpec {
    let (connections, in_flight) = match family {
        Family::Rest | Family::Zmtp => (4, 4),
        Family::Raw | Family::Grpc => (2, 8),
    };
    let url = format!("{}://{address}", family.scheme()).parse().unwrap();
    LoadSpec {
        array: ArraySpec::float64(size, 1),
        connections,
        in_flight,
        warmup: Length::Requests(0),
        window: Length::Requests(if size >= 65_536 { 12 } else { 60 }),
        ..LoadSpec::new(url, encoding)
    }
}

/// Every stack of `family`, served with `codecs`, answers every encoding at every size.
fn every_stack_answers(family: Family, codecs: impl Fn() -> CodecSet) {
    for stack in stacks().filter(|stack| stack.protocol.family() == family) {
        let server = serve(stack.driver, stack.protocol, codecs());
        for (encoding, size) in
            Encoding::ALL.into_iter().flat_map(|e| sizes(e).iter().map(move |size| (e, *size)))
        {
            let spec = spec(server.address(), family, encoding, size);
            let measured = load::run(&spec);
            let case = format!("{stack} {encoding} {size}");
            let measured = measured.unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(measured.requests > 0, "{case}");
            assert_eq!(measured.server_settings.is_some(), family == Family::Grpc, "{case}");
        }
        for encoding in Encoding::ALL {
            let spec = LoadSpec {
                array: ArraySpec::Conformance { seed: 1, body_bytes_max: None },
                connections: 1,
                in_flight: 1,
                window: Length::Requests(conformance::ARRAYS as u64),
                ..spec(server.address(), family, encoding, 8)
            };
            let case = format!("{stack} {encoding}");
            let measured = load::run(&spec).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(measured.requests, conformance::ARRAYS as u64, "{case}");
        }
        let report = server.stop();
        assert_eq!(report.peer_faults, 0, "{stack}");
    }
}

#[test]
fn raw_stacks_answer_our_client() {
    if ring::is_missing() {
        return;
    }
    every_stack_answers(Family::Raw, CodecSet::own);
}

#[test]
fn rest_stacks_answer_our_client() {
    if ring::is_missing() {
        return;
    }
    every_stack_answers(Family::Rest, CodecSet::own);
    every_stack_answers(Family::Rest, CodecSet::library);
}

#[test]
fn grpc_stacks_answer_our_client() {
    if ring::is_missing() {
        return;
    }
    every_stack_answers(Family::Grpc, CodecSet::own);
    every_stack_answers(Family::Grpc, CodecSet::library);
}

#[test]
fn every_dtype_passes() {
    if ring::is_missing() {
        return;
    }
    let server = serve(Driver::Tokio, Protocol::Raw, CodecSet::own());
    for dtype in DType::all() {
        for encoding in Encoding::ALL {
            let mut spec = spec(server.address(), Family::Raw, encoding, 0);
            spec.array = ArraySpec::vector(16 * dtype.item_size() as u64, dtype, 5).unwrap();
            match load::run(&spec) {
                Ok(measured) => assert_eq!(measured.requests, 60),
                Err(load::LoadError::Codec(error)) => {
                    let codec = codec::implementation(encoding.own()).expect("it refuses");
                    let shape = Shape::new(&[1]).unwrap();
                    let array = array::NdArray::seeded(dtype, shape, 1).unwrap();
                    assert!(codec.check(&array.view()).is_err(), "{error}");
                }
                Err(error) => panic!("{} {}: {error}", encoding.name(), dtype.name()),
            }
        }
    }
    server.stop();
}

#[test]
fn a_thousand_parallel_calls_on_one_connection() {
    if ring::is_missing() {
        return;
    }
    for stack in stacks().filter(|stack| stack.protocol.family() == Family::Grpc) {
        let server = serve(stack.driver, stack.protocol, CodecSet::own());
        let mut spec = spec(server.address(), Family::Grpc, Encoding::Protobuf, 8);
        spec.connections = 1;
        spec.in_flight = 1000;
        spec.window = Length::Requests(10_000);
        let measured = load::run(&spec);
        let measured = measured.unwrap_or_else(|error| panic!("{stack}: {error}"));
        assert_eq!(measured.requests, 10_000);
        server.stop();
    }
}

/// Settings of most clients: frames of 16 KiB, and windows of 64 KiB that grow.
#[test]
fn clients_with_default_settings_are_served() {
    if ring::is_missing() {
        return;
    }
    for protocol in Protocol::ALL.into_iter().filter(|p| p.family() == Family::Grpc) {
        let server = serve(Driver::Tokio, protocol, CodecSet::own());
        for size in [2048, 65_536, 1 << 20] {
            let mut spec = spec(server.address(), Family::Grpc, Encoding::Protobuf, size);
            spec.knobs.h2_window_bytes = 65_535;
            spec.knobs.h2_frame_bytes_max = 1 << 14;
            spec.in_flight = 32;
            let measured = load::run(&spec);
            let measured = measured.unwrap_or_else(|error| panic!("{protocol} {size}: {error}"));
            let ours = measured.client_settings.expect("it is HTTP/2");
            assert_eq!((ours.initial_window_size, ours.max_frame_size), (None, None));
        }
        server.stop();
    }
}

/// Client of tonic, with generated code, against our gRPC servers.
#[test]
fn tonics_client_is_answered_by_our_servers() {
    if ring::is_missing() {
        return;
    }
    let is_ours =
        |protocol: Protocol| protocol.family() == Family::Grpc && protocol.only_driver().is_none();
    for stack in stacks().filter(|stack| is_ours(stack.protocol)) {
        let server = serve(stack.driver, stack.protocol, CodecSet::own());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = format!("http://{}", server.address());
            let mut client = CalculatorClient::connect(url).await.expect("it listens");
            for items in [1_u64, 256, 8192] {
                let buffer: Vec<u8> = (0..items * 8).map(|byte| byte as u8).collect();
                let sent = NdArray { buffer, dtype: "<f8".to_owned(), shape: vec![items] };
                let reply = client.echo(sent.clone()).await.expect("an echo").into_inner();
                assert_eq!(reply, sent);
            }
            let wrong = NdArray { buffer: vec![0; 7], dtype: "<f8".to_owned(), shape: vec![1] };
            let status = client.echo(wrong).await.expect_err("seven bytes are no double");
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
        });
        server.stop();
    }
}

/// Client of hyper against our HTTP/1.1: replies, refusals and a connection that stays open.
#[test]
fn hypers_client_is_answered_by_our_h1() {
    if ring::is_missing() {
        return;
    }
    for stack in stacks().filter(|stack| stack.protocol == Protocol::H1) {
        let server = serve(stack.driver, stack.protocol, CodecSet::own());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream =
                tokio::net::TcpStream::connect(server.address()).await.expect("it listens");
            let (mut send, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .expect("a stream");
            tokio::spawn(connection);
            for (path, len, status) in [
                ("/echo_reflect", 8, 200),
                ("/echo_reflect", 1 << 20, 200),
                ("/echo_npy", 8, 400),
                ("/", 8, 404),
            ] {
                let body = Bytes::from_iter((0..len).map(|at| at as u8));
                let request = Request::post(path).header("host", "ndecho");
                let request = request.body(Full::new(body.clone())).expect("a request");
                let reply = send.send_request(request).await.expect("a reply");
                assert_eq!(reply.status(), status, "{path}");
                let text = reply.into_body().collect().await.expect("a whole body").to_bytes();
                assert_eq!(text == body, status == 200, "{path}");
            }
        });
        server.stop();
    }
}
