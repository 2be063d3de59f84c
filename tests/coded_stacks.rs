//! Every stack answers in the codings that its table has, refuses all others, and serves plain
//! requests as before.

use ndecho::axis::{Coding, DataSet, Encoding, Family, Protocol};
use ndecho::coding::deflate;
use ndecho::load;
use ndecho::record::trial_spec::{ArraySpec, Length, LoadSpec};
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;

#[path = "peers/grpc.rs"]
mod grpc;
#[path = "peers/rest.rs"]
mod rest;
#[path = "peers/server.rs"]
mod server;

use grpc::{Grpc, framed, request};
use rest::Rest;
use server::Running;

/// Largest message of the servers.
const LIMIT: usize = 200_000;

fn stacks() -> impl Iterator<Item = Protocol> {
    Protocol::ALL.into_iter().filter(|protocol| protocol.family() != Family::Raw)
}

fn serve(protocol: Protocol, codecs: CodecSet) -> Running {
    let limits = Limits { body_bytes_max: LIMIT, ..Limits::default() };
    server::start(ndecho::axis::Driver::Tokio, protocol, codecs, limits).expect("epoll is there")
}

/// Encodings for the codings of a stack; tonic serves an inference by code of its own.
fn encodings(protocol: Protocol) -> &'static [Encoding] {
    match protocol.family() {
        Family::Grpc => &[Encoding::Protobuf, Encoding::Kserve, Encoding::KserveTyped],
        _ => &[Encoding::Npy],
    }
}

fn load(running: &Running, protocol: Protocol, encoding: Encoding) -> LoadSpec {
    let family = protocol.family();
    let url = format!("{}://{}", family.scheme(), running.address());
    LoadSpec {
        connections: 2,
        in_flight: 2,
        warmup: Length::Requests(0),
        window: Length::Requests(6),
        ..LoadSpec::new(url.parse().expect("a URL"), encoding)
    }
}

#[test]
fn a_stack_has_the_codings_of_its_table_and_refuses_the_others() {
    for protocol in stacks() {
        for codecs in [CodecSet::own(), CodecSet::library()] {
            let running = serve(protocol, codecs);
            for (encoding, coding) in
                encodings(protocol).iter().flat_map(|it| Coding::ALL.map(|coding| (*it, coding)))
            {
                for bytes in [8, 40_000, 150_000] {
                    let array = ArraySpec::DataSet { name: DataSet::Smooth, bytes, seed: 1 };
                    let spec = LoadSpec { coding, array, ..load(&running, protocol, encoding) };
                    let case = format!("{protocol} {encoding} {coding} {bytes}");
                    match load::run(&spec) {
                        Ok(measured) => {
                            assert!(protocol.has_coding(coding), "{case}: an echo");
                            assert_eq!(measured.requests, 6, "{case}");
                        }
                        Err(error) => assert!(!protocol.has_coding(coding), "{case}: {error}"),
                    }
                }
            }
            running.stop();
        }
    }
}

#[test]
fn a_plain_request_has_a_plain_reply_even_if_its_client_accepts_codings() {
    let message = b"0123456789".repeat(1000);
    for protocol in stacks() {
        let running = serve(protocol, CodecSet::own());
        match protocol.family() {
            Family::Grpc => {
                let mut peer = Grpc::connect(running.address());
                let mut head = request("application/grpc+reflect");
                let accepted = "identity, gzip, zstd".parse().expect("a value");
                head.headers_mut().insert("grpc-accept-encoding", accepted);
                let reply = peer.call(head, &[&framed(&message)]);
                assert_eq!(reply.field("grpc-encoding"), "", "{protocol}");
                assert_eq!((reply.body[0], &reply.body[5..]), (0, &message[..]), "{protocol}");
            }
            Family::Rest | Family::Raw | Family::Zmtp => {
                let mut peer = Rest::connect(running.address());
                for field in ["accept-encoding: gzip, zstd", "content-encoding: identity"] {
                    let len = message.len();
                    let head = format!(
                        "POST /echo_reflect HTTP/1.1\r\nhost: a\r\n{field}\r\n\
                         content-length: {len}\r\n\r\n"
                    );
                    peer.send(&[head.as_bytes(), &message].concat());
                    let reply = peer.reply();
                    assert_eq!(reply.field("content-encoding"), None, "{protocol} {field}");
                    assert_eq!((reply.status, &reply.body), (200, &message), "{protocol} {field}");
                }
            }
        }
        running.stop();
    }
}

#[test]
fn the_limit_holds_for_the_inflated_message() {
    for protocol in stacks() {
        let running = serve(protocol, CodecSet::own());
        for coding in Coding::ALL.into_iter().filter(|coding| protocol.has_coding(*coding)) {
            if coding.is_identity() {
                continue;
            }
            let mut bomb = Vec::new();
            deflate(coding, 1, &[&vec![0; 50 * LIMIT]], &mut bomb);
            assert!(bomb.len() < LIMIT, "{coding}");
            let token = coding.token();
            if protocol.family() == Family::Grpc {
                let mut head = request("application/grpc+reflect");
                head.headers_mut().insert("grpc-encoding", token.parse().expect("a value"));
                let mut flagged = framed(&bomb);
                flagged[0] = 1;
                let reply = Grpc::connect(running.address()).call(head, &[&flagged]);
                assert_eq!(reply.field("grpc-status"), "8", "{protocol} {coding}: {reply:?}");
            } else {
                let len = bomb.len();
                let head = format!(
                    "POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-encoding: {token}\r\n\
                     content-length: {len}\r\n\r\n"
                );
                let mut peer = Rest::connect(running.address());
                peer.send(&[head.as_bytes(), &bomb].concat());
                assert_eq!(peer.reply().status, 413, "{protocol} {coding}");
            }
        }
        running.stop();
    }
}
