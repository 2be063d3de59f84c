//! The limits leave room for honest clients, on any driver.

use std::fmt::Display;

use ndecho::axis::{Driver, Family, Protocol};
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;

use crate::grpc::framed;
use crate::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Peer, RST_STREAM, SETTINGS, call_block,
    call_head, frame,
};
use crate::rest::Rest;
use crate::server::{self, Running};

fn each_driver(protocol: Protocol, limits: &Limits, test: impl Fn(&Running, Driver)) {
    for driver in Driver::ALL {
        let started = server::start(driver, protocol, CodecSet::own(), limits.clone());
        let Some(server) = started else { continue };
        test(&server, driver);
        server.stop();
    }
}

/// Runs `test` on every server of gRPC, own and borrowed.
fn each_grpc(limits: &Limits, test: impl Fn(&Running, &str)) {
    for protocol in Protocol::ALL.into_iter().filter(|it| it.family() == Family::Grpc) {
        for driver in Driver::ALL.into_iter().filter(|driver| protocol.runs_on(*driver)) {
            let started = server::start(driver, protocol, CodecSet::own(), limits.clone());
            let Some(server) = started else { continue };
            test(&server, &format!("{driver}/{protocol}"));
            server.stop();
        }
    }
}

/// Makes a call, and returns the first byte of the header block of its response.
fn call(peer: &mut Peer, stream: u32, driver: impl Display) -> u8 {
    peer.send(&[call_head(stream), frame(DATA, END_STREAM, stream, &framed(b"x"))].concat());
    let head = peer.until(HEADERS, stream).unwrap_or_else(|| panic!("{driver}: no response"));
    let data = peer.until(DATA, stream).unwrap_or_else(|| panic!("{driver}: no message"));
    assert_eq!(data.payload, framed(b"x"), "{driver}");
    head.payload[0]
}

#[test]
fn a_thousand_calls_that_are_cancelled_at_once_keep_their_connection() {
    each_driver(Protocol::H2, &Limits::default(), |server, driver| {
        let mut peer = Peer::connect(server.address(), &[]);
        let streams = || (0..1000).map(|at| 2 * at + 1);
        let begun: Vec<u8> = streams().flat_map(call_head).collect();
        let cancel = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        let cancelled: Vec<u8> = streams().flat_map(cancel).collect();
        peer.send(&begun);
        peer.send(&cancelled);
        call(&mut peer, 2001, driver);
    });
}

#[test]
fn a_head_of_a_hundred_fields_is_taken() {
    let fields = |text: &str| (0..100).map(|at| text.replace('N', &at.to_string())).collect();
    each_driver(Protocol::H1, &Limits::default(), |server, driver| {
        let mut peer = Rest::connect(server.address());
        let fields: String = fields("x-N: value\r\n");
        let head = "POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n";
        peer.send(format!("{head}{fields}\r\nx").as_bytes());
        assert_eq!(peer.reply().status, 200, "{driver}");
    });
    each_driver(Protocol::H2, &Limits::default(), |server, driver| {
        let mut peer = Peer::connect(server.address(), &[]);
        let field = |at: u8| [&[0, 4][..], format!("x-{at:02}").as_bytes(), &[1, b'v']].concat();
        let fields: Vec<u8> = (0..96).flat_map(field).collect();
        let block = [call_block(), fields].concat();
        let content = frame(DATA, END_STREAM, 1, &framed(b"x"));
        peer.send(&[frame(HEADERS, END_HEADERS, 1, &block), content].concat());
        let head = peer.until(HEADERS, 1).expect("a response");
        assert_eq!(head.payload[0], 0x88, "{driver}: status 200 as an indexed field");
    });
}

#[test]
fn a_head_over_the_limit_is_refused_alone_and_the_limit_may_be_raised() {
    let large =
        |bytes: usize| [&[0, 1, b'x', 0x7F][..], &length(bytes), &vec![b'v'; bytes]].concat();
    let raised = Limits { head_bytes_max: 100_000, ..Limits::default() };
    for (limits, is_taken) in [(Limits::default(), false), (raised.clone(), true)] {
        each_grpc(&limits, |server, driver| {
            let mut peer = Peer::connect(server.address(), &[]);
            let block = [call_block(), large(50_000)].concat();
            for (at, piece) in block.chunks(16_384).enumerate() {
                let kind = if at == 0 { HEADERS } else { CONTINUATION };
                let is_last = (at + 1) * 16_384 >= block.len();
                peer.send(&frame(kind, if is_last { END_HEADERS } else { 0 }, 1, piece));
            }
            peer.send(&frame(DATA, END_STREAM, 1, &framed(b"x")));
            let head = peer.until(HEADERS, 1).unwrap_or_else(|| panic!("{driver}: it closed"));
            // Status 200 is an indexed field, and the first one.
            let said = head.payload.escape_ascii().to_string();
            assert_eq!(head.payload[0] == 0x88, is_taken, "{driver}: {said}");
            call(&mut peer, 3, driver);
        });
    }
    each_driver(Protocol::H1, &raised, |server, driver| {
        let long = "v".repeat(50_000);
        let mut peer = Rest::connect(server.address());
        let head = "POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n";
        peer.send(format!("{head}x: {long}\r\n\r\nx").as_bytes());
        assert_eq!(peer.reply().status, 200, "{driver}");
    });
}

/// Returns the rest of an integer of HPACK with a prefix of seven ones.
fn length(len: usize) -> Vec<u8> {
    let mut left = len - 0x7F;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

#[test]
fn a_smaller_header_table_is_confirmed_in_the_next_block() {
    const UPDATE: u8 = 0x20;
    each_driver(Protocol::H2, &Limits::default(), |server, driver| {
        let mut peer = Peer::connect(server.address(), &[(1, 0)]);
        assert_eq!(call(&mut peer, 1, driver), UPDATE, "{driver}");
        assert_ne!(call(&mut peer, 3, driver), UPDATE, "{driver}");
        peer.send(&frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 100]));
        assert_eq!(call(&mut peer, 5, driver), UPDATE, "{driver}");
        assert_ne!(call(&mut peer, 7, driver), UPDATE, "{driver}");
    });
}
