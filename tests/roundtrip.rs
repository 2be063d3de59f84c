//! Every combination of driver, protocol and codec returns each array unchanged, over real sockets.
//!
//! Each stack serves twice: with our codecs and with those of the libraries. Each array is sent in
//! every encoding. The expected reply is the message that the serving codec writes for the same
//! array, so text must be equal, too.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use ndecho::array::{DType, NdArray, Shape};
use ndecho::axis::{Driver, Encoding, Family, Protocol};
use ndecho::codec::{self, ArrayCodec};
use ndecho::service::codecs::CodecSet;
use ndecho::wire::{Limits, json_head};

#[path = "peers/grpc.rs"]
mod grpc;
#[path = "peers/rest.rs"]
mod rest;
#[path = "peers/server.rs"]
mod server;

fn array(dtype: &str, dims: &[u64]) -> NdArray {
    let dtype = DType::parse(dtype).expect("on the list");
    NdArray::seeded(dtype, Shape::new(dims).expect("few dimensions"), 7).expect("small")
}

/// Arrays of 8 B, 2 KiB, 64 KiB and 1 MiB, and empty, 0-d and big-endian ones.
fn arrays() -> Vec<NdArray> {
    let doubles = [1, 256, 8 * 1024, 128 * 1024].map(|items| array("<f8", &[items]));
    let odd = [array("<f8", &[0]), array("<i4", &[]), array(">f8", &[3, 2]), array("|u1", &[5, 0])];
    doubles.into_iter().chain(odd).collect()
}

/// Request and reply that the codec of an encoding writes.
struct Exchange {
    request: Vec<u8>,
    reply: Vec<u8>,
}

/// Encodes `array` with the codec that serves `encoding`; `None` if it cannot carry the array.
fn carried(codecs: &CodecSet, encoding: Encoding, array: &NdArray) -> Option<Exchange> {
    let codec = codec(codecs, encoding);
    codec.check(&array.view()).is_ok().then(|| {
        let reply = codec::reply(codec, &array.view()).expect("the codec carries it");
        Exchange { request: message(codecs, encoding, array), reply }
    })
}

/// Encodes `array` as a request with the codec that serves `encoding`.
fn message(codecs: &CodecSet, encoding: Encoding, array: &NdArray) -> Vec<u8> {
    codec::message(codec(codecs, encoding), &array.view()).expect("the codec carries it")
}

/// Returns the codec that serves `encoding`. A body of `reflect` is a file.
fn codec(codecs: &CodecSet, encoding: Encoding) -> &'static dyn ArrayCodec {
    codecs.get(encoding).or(codecs.get(Encoding::Npy)).expect("npy is always there")
}

/// Connection to a stack of any family.
enum Peer {
    Raw(TcpStream),
    Rest(rest::Rest),
    Grpc(grpc::Grpc),
}

impl Peer {
    fn connect(family: Family, address: SocketAddr) -> Peer {
        match family {
            Family::Raw => Peer::Raw(TcpStream::connect(address).expect("the server listens")),
            Family::Rest => Peer::Rest(rest::Rest::connect(address)),
            Family::Grpc => Peer::Grpc(grpc::Grpc::connect(address)),
            Family::Zmtp => panic!("no server of ours speaks ZMTP"),
        }
    }

    fn echo(&mut self, encoding: Encoding, body: &[u8]) -> Vec<u8> {
        match self {
            Peer::Raw(stream) => raw_echo(stream, encoding, body),
            Peer::Rest(rest) => {
                let head_len = codec::json_head_len(encoding).and_then(|len| len(body));
                let field = head_len.map(|len| format!("{}: {len}\r\n", json_head::FIELD));
                let reply =
                    rest.post_with(encoding.path(), field.as_deref().unwrap_or_default(), body);
                let told = codec::json_head_len(encoding).and_then(|len| len(&reply.body));
                let got = reply.field(json_head::FIELD).map(|len| len.parse().expect("a number"));
                assert_eq!(got, told, "{encoding}");
                let text = String::from_utf8_lossy(&reply.body);
                assert_eq!(reply.status, 200, "{text}");
                assert_eq!(reply.field("content-type"), Some(encoding.content_type()));
                reply.body
            }
            Peer::Grpc(grpc) => {
                let request = grpc::request_to(encoding.grpc_path(), encoding.grpc_content_type());
                let reply = grpc.call(request, &[&grpc::framed(body)]);
                assert_eq!(reply.status, 200);
                assert_eq!(reply.field("grpc-status"), "0", "{}", reply.field("grpc-message"));
                assert_eq!(reply.body[..5], grpc::framed(&reply.body[5..])[..5]);
                reply.body[5..].to_vec()
            }
        }
    }
}

fn raw_echo(stream: &mut TcpStream, encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("below 4 GiB").to_be_bytes();
    stream.write_all(&len).expect("the server reads");
    stream.write_all(&[encoding.id()]).expect("the server reads");
    stream.write_all(body).expect("the server reads");
    let mut head = [0; 5];
    stream.read_exact(&mut head).expect("a reply");
    let [a, b, c, d, codec_id] = head;
    let mut reply = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
    stream.read_exact(&mut reply).expect("a whole reply");
    assert_eq!(codec_id, encoding.id(), "{}", String::from_utf8_lossy(&reply));
    reply
}

/// Lists every driver with every protocol that runs on it.
fn stacks() -> impl Iterator<Item = (Driver, Protocol)> {
    let of = |driver| Protocol::ALL.into_iter().map(move |protocol| (driver, protocol));
    let pairs = Driver::ALL.into_iter().flat_map(of);
    pairs.filter(|(driver, protocol)| protocol.runs_on(*driver))
}

fn stack_gives_back(driver: Driver, protocol: Protocol, codecs: CodecSet) {
    let Some(server) = server::start(driver, protocol, codecs, Limits::default()) else { return };
    let mut peer = Peer::connect(protocol.family(), server.address());
    for encoding in Encoding::ALL {
        let mut echoes = 0;
        for array in arrays() {
            let Some(Exchange { request, reply }) = carried(&codecs, encoding, &array) else {
                continue;
            };
            echoes += 1;
            let got = peer.echo(encoding, &request);
            assert!(
                got == reply,
                "{driver}/{protocol}/{encoding}: {:?} of {} came back as {} bytes, expected {}",
                array.view().shape().dims(),
                array.view().dtype().name(),
                got.len(),
                reply.len()
            );
        }
        // They have no big-endian numbers.
        let left_out = usize::from(matches!(
            encoding,
            Encoding::Safetensors
                | Encoding::Kserve
                | Encoding::KserveTyped
                | Encoding::KserveHttp
                | Encoding::Arrow
        ));
        assert_eq!(echoes, arrays().len() - left_out, "{driver}/{protocol}/{encoding}");
    }
    let sent = b"\x85\xa2nd\xc3\xa4type\xa3|u1\xa4kind\xc4\0\xa5shape\x91\x02\xa4data\xc4\x02ab";
    let got = peer.echo(Encoding::Msgpack, sent);
    assert_eq!(got, sent, "{driver}/{protocol} answers str keys with str keys");
    drop(peer);
    assert_eq!(server.stop().accepted, 1);
}

#[test]
fn every_stack_gives_every_array_back() {
    for (driver, protocol) in stacks() {
        stack_gives_back(driver, protocol, CodecSet::own());
        stack_gives_back(driver, protocol, CodecSet::library());
    }
}

/// Sends all of `bodies` at the same time, one call each, and reads the replies.
fn at_once(peer: &mut grpc::Grpc, bodies: &[Vec<u8>]) -> Vec<grpc::Reply> {
    let calls = bodies.iter().map(|body| {
        let pieces = vec![bytes::Bytes::copy_from_slice(body)];
        grpc::exchange(peer.requests.clone(), grpc::request("application/grpc"), pieces, true)
    });
    let replies = futures_util::future::join_all(calls);
    let replies = peer.runtime.block_on(replies);
    replies.into_iter().map(|reply| reply.expect("no reset")).collect()
}

#[test]
fn a_thousand_calls_at_once_on_one_connection() {
    for (driver, protocol) in stacks().filter(|(_, protocol)| protocol.family() == Family::Grpc) {
        let codecs = CodecSet::own();
        let Some(server) = server::start(driver, protocol, codecs, Limits::default()) else {
            continue;
        };
        let bodies: Vec<Vec<u8>> = (0..1000)
            .map(|seed| NdArray::seeded(DType::F8, Shape::new(&[1 + seed % 300]).unwrap(), seed))
            .map(|array| grpc::framed(&message(&codecs, Encoding::Protobuf, &array.unwrap())))
            .collect();
        let mut peer = grpc::Grpc::connect(server.address());
        // This call brings the server's SETTINGS. hyper allows 200 concurrent calls and refuses
        // more.
        peer.call(grpc::request("application/grpc"), &[&bodies[0]]);
        let replies = at_once(&mut peer, &bodies);
        for (reply, body) in replies.iter().zip(&bodies) {
            assert_eq!(reply.field("grpc-status"), "0", "{driver}/{protocol}");
            assert!(reply.body == *body, "{driver}/{protocol}");
        }
        drop(peer);
        server.stop();
    }
}

#[test]
fn sixty_four_mebibytes_pass() {
    let array = array("<f8", &[8 * 1024 * 1024]);
    for (driver, protocol) in stacks().filter(|(_, protocol)| !protocol.name().ends_with(":tuned"))
    {
        let codecs = CodecSet::own();
        let Some(server) = server::start(driver, protocol, codecs, Limits::default()) else {
            continue;
        };
        let mut peer = Peer::connect(protocol.family(), server.address());
        let sent = message(&codecs, Encoding::Protobuf, &array);
        let back = peer.echo(Encoding::Protobuf, &sent);
        assert!(back == sent, "{driver}/{protocol}");
        drop(peer);
        server.stop();
    }
}
