//! A panic while a request is handled costs that request, and nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ndecho::array::{DType, NdArray, Shape};
use ndecho::axis::{Driver, Encoding, Family, Protocol};
use ndecho::codec::{self, ArrayCodec, planted::Planted};
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;
use ndecho::wire::raw::CODEC_ERROR;

use crate::grpc::{Grpc, framed, request};
use crate::rest::Rest;
use crate::server;

/// Codec of protobuf that panics at the next message while `armed` is true, once.
fn faulty(armed: &'static AtomicBool) -> CodecSet {
    fn spend(armed: &'static AtomicBool) -> u64 {
        assert!(!armed.swap(false, Ordering::SeqCst), "planted by a test");
        0
    }
    let inner = CodecSet::own().get(Encoding::Protobuf).expect("own");
    let planted: &'static Planted<_> = Box::leak(Box::new(Planted { inner, cost: armed, spend }));
    CodecSet::own().with_implementation(planted)
}

pub(crate) fn message() -> Vec<u8> {
    let array = NdArray::seeded(DType::F8, Shape::new(&[3]).expect("small"), 1).expect("small");
    let codec: &dyn ArrayCodec = CodecSet::own().get(Encoding::Protobuf).expect("own");
    codec::message(codec, &array.view()).expect("protobuf carries all")
}

fn rest_fails_once(address: SocketAddr, arm: &AtomicBool, named: &str) {
    let (mut peer, mut bystander) = (Rest::connect(address), Rest::connect(address));
    assert_eq!(bystander.post("/echo_protobuf", &message()).status, 200, "{named}");
    arm.store(true, Ordering::SeqCst);
    let reply = peer.post("/echo_protobuf", &message());
    let text = String::from_utf8(reply.body).expect("text");
    assert_eq!(reply.status, 500, "{named}: {text}");
    assert!(text.contains("this request"), "{named}: {text}");
    for connection in [&mut peer, &mut bystander, &mut Rest::connect(address)] {
        let reply = connection.post("/echo_protobuf", &message());
        assert_eq!((reply.status, reply.body), (200, message()), "{named}");
    }
}

fn raw_fails_once(address: SocketAddr, arm: &AtomicBool, named: &str) {
    let call = |peer: &mut TcpStream| {
        let message = message();
        let head = [&(message.len() as u32).to_be_bytes()[..], &[Encoding::Protobuf.id()]].concat();
        peer.write_all(&[head, message].concat()).expect("the server reads");
        let mut head = [0; 5];
        peer.read_exact(&mut head).expect("the head of a reply");
        let [a, b, c, d, codec] = head;
        let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
        peer.read_exact(&mut body).expect("the whole reply");
        (codec, body)
    };
    let connect = || {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a positive timeout");
        stream
    };
    let (mut peer, mut bystander) = (connect(), connect());
    let good = (Encoding::Protobuf.id(), message());
    assert_eq!(call(&mut bystander), good, "{named}");
    arm.store(true, Ordering::SeqCst);
    let (codec, text) = call(&mut peer);
    let text = String::from_utf8(text).expect("text");
    assert!(codec == CODEC_ERROR && text.contains("this request"), "{named}: {text}");
    for connection in [&mut peer, &mut bystander, &mut connect()] {
        assert_eq!(call(connection), good, "{named}");
    }
}

fn grpc_fails_once(address: SocketAddr, arm: &AtomicBool, named: &str) {
    let (mut peer, mut bystander) = (Grpc::connect(address), Grpc::connect(address));
    let call =
        |peer: &mut Grpc| peer.call(request("application/grpc+proto"), &[&framed(&message())]);
    assert_eq!(call(&mut bystander).field("grpc-status"), "0", "{named}");
    arm.store(true, Ordering::SeqCst);
    let reply = call(&mut peer);
    assert_eq!(reply.field("grpc-status"), "13", "{named}: {reply:?}");
    assert!(reply.field("grpc-message").contains("request"), "{named}: {reply:?}");
    for connection in [&mut peer, &mut bystander, &mut Grpc::connect(address)] {
        assert_eq!(call(connection).body, framed(&message()), "{named}");
    }
}

#[test]
fn a_panic_costs_one_request_and_is_counted() {
    for driver in Driver::ALL {
        for protocol in Protocol::ALL {
            if protocol.only_driver().is_some_and(|only| only != driver) {
                continue;
            }
            let named = format!("{driver}/{protocol}");
            let armed: &'static AtomicBool = Box::leak(Box::default());
            let started = server::start(driver, protocol, faulty(armed), Limits::default());
            let Some(server) = started else { continue };
            match protocol.family() {
                Family::Grpc => grpc_fails_once(server.address(), armed, &named),
                Family::Rest => rest_fails_once(server.address(), armed, &named),
                Family::Raw => raw_fails_once(server.address(), armed, &named),
                Family::Zmtp => panic!("no server of ours speaks ZMTP"),
            }
            assert_eq!(server.stop().panics, 1, "{named}");
        }
    }
}
