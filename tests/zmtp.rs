//! The client of ZMTP, and the load generator that uses it: a handshake, one request at a time,
//! replies cut anywhere, and peers that are no ZeroMQ server or a hostile one. `tests/external.rs`
//! has the load generator against pyzmq.

#[allow(dead_code, reason = "a client needs no handler")]
mod common;
#[path = "peers/ring.rs"]
mod ring;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use common::Calling;
use ndecho::axis::Encoding;
use ndecho::load::{self, LoadError};
use ndecho::record::trial_spec::{ArraySpec, Length, LoadSpec};
use ndecho::wire::zmtp::ZmtpClient;
use ndecho::wire::{Client, Limits, Part, PooledBuf};
use proptest::prelude::*;

const READY: &[u8] = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03REP";

fn greeting() -> Vec<u8> {
    let mut greeting = vec![0; 64];
    (greeting[0], greeting[9], greeting[10]) = (0xFF, 0x7F, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

fn hello() -> Vec<u8> {
    [greeting().as_slice(), READY].concat()
}

fn frame(flags: u8, payload: &[u8]) -> Vec<u8> {
    match u8::try_from(payload.len()) {
        Ok(len) => [&[flags, len], payload].concat(),
        Err(_) => [&[flags | 2], &(payload.len() as u64).to_be_bytes()[..], payload].concat(),
    }
}

/// Frames of a message without the delimiter.
fn frames(data: &[u8]) -> Vec<u8> {
    [frame(1, br#"{"dtype": "|u1", "shape": []}"#), frame(0, data)].concat()
}

fn reply(frames: &[u8]) -> Vec<u8> {
    [b"\x01\0", frames].concat()
}

fn client(lending: bool) -> Calling<ZmtpClient> {
    let limits = Limits { body_bytes_max: 300_000, ..Limits::default() };
    Calling::new(ZmtpClient::new(&limits), lending)
}

/// Client after the handshake, with the bytes that it has sent taken out.
fn connected(lending: bool) -> Calling<ZmtpClient> {
    let mut client = client(lending);
    client.feed(&hello()).expect("a handshake");
    client.sent.clear();
    client
}

fn error(input: &[u8]) -> String {
    let mut client = connected(true);
    client.request(0, &[Part::Copy(b"")]);
    client.feed(input).expect_err("it is refused").to_string()
}

#[test]
fn nothing_is_sent_before_the_handshake_has_ended() {
    let mut client = client(true);
    let (sent, hello) = (client.sent.clone(), hello());
    assert_eq!(
        (sent.len(), sent[0], sent[9], &sent[10..16]),
        (64, 0xFF, 0x7F, &b"\x03\x01NULL"[..])
    );
    client.feed(&hello[..63]).expect("most of a greeting");
    assert_eq!((client.sent.len(), client.client.in_flight_max()), (64, 0));
    client.feed(&hello[63..64]).expect("a greeting");
    assert!(client.sent[64..].starts_with(b"\x04\x26\x05READY\x0bSocket-Type\0\0\0\x03REQ"));
    assert_eq!(client.client.in_flight_max(), 0);
    client.feed(&hello[64..]).expect("READY");
    assert_eq!(client.client.in_flight_max(), 1);
}

#[test]
fn requests_and_replies_of_every_length_go_through() {
    for lending in [true, false] {
        let mut client = connected(lending);
        for (id, len) in [0, 1, 255, 256, 16_384, 100_000, 290_000].into_iter().enumerate() {
            let message = frames(&vec![b'x'; len]);
            let shared = Rc::new(PooledBuf::from(message.clone()));
            let parts = [Part::Copy(&message[..2]), Part::Share(&shared, 2..message.len())];
            client.request(id as u32, &parts);
            assert!(std::mem::take(&mut client.sent) == reply(&message), "{len}");
            for chunk in reply(&message).chunks(10_007) {
                client.feed(chunk).expect("a reply");
            }
            let (of, got) = client.replies.pop().expect("a reply");
            assert!(of == id as u32 && got == Ok(message), "{len}");
        }
        assert_eq!(client.client.end(), Ok(()));
    }
}

#[test]
fn a_reply_of_one_frame_is_a_refusal_and_the_next_request_is_answered() {
    let mut client = connected(true);
    for text in ["{\"error\": \"no\"}".to_owned(), "x".repeat(300)] {
        client.request(1, &[Part::Copy(b"")]);
        client.feed(&reply(&frame(0, text.as_bytes()))).expect("a reply");
        assert_eq!(client.replies.pop(), Some((1, Err(text))));
    }
    client.request(2, &[Part::Copy(b"")]);
    client.feed(&reply(&frames(b"7"))).expect("a reply");
    assert_eq!(client.replies.pop(), Some((2, Ok(frames(b"7")))));
}

#[test]
fn a_ping_between_replies_is_answered() {
    let mut client = connected(true);
    client.request(0, &[Part::Copy(b"")]);
    client.sent.clear();
    let input = [b"\x04\x09\x04PING\0\x01ab", reply(&frames(b"7")).as_slice()].concat();
    client.feed(&input).expect("a command and a reply");
    assert_eq!(client.sent, b"\x04\x07\x04PONGab");
    assert_eq!(client.replies.len(), 1);
}

#[test]
fn a_client_refuses_what_it_did_not_ask_for() {
    let unasked = connected(true).feed(&reply(&frames(b"7"))).expect_err("unasked").to_string();
    assert!(unasked.contains("a reply came without a request"), "{unasked}");
    let twice = reply(&frames(b"7")).repeat(2);
    assert!(error(&twice).contains("without a request"), "{}", error(&twice));
    assert!(error(b"\x00\x02no").contains("begin with an empty frame"));
    assert!(error(b"\x04\x05\x04STOP").contains("command \"STOP\""));
    let huge = b"\x01\0\x02\x7f\xff\xff\xff\xff\xff\xff\xff";
    assert!(error(huge).contains("limit of a message is 300000"), "{}", error(huge));
    let early = client(true).feed(&[greeting(), reply(&frames(b"7"))].concat());
    assert!(early.expect_err("too early").to_string().contains("before READY"));
}

#[test]
fn an_end_inside_a_handshake_or_a_reply_is_an_error() {
    let mut client = client(true);
    client.feed(&greeting()).expect("a greeting");
    assert!(client.client.end().expect_err("an end").to_string().contains("handshake"));
    let mut client = connected(true);
    client.request(0, &[Part::Copy(b"")]);
    client.feed(&reply(&frames(b"7"))[..9]).expect("a part of a reply");
    assert!(client.client.end().expect_err("an end").to_string().contains("inside a message"));
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_reply(
        len in 0_usize..40_000,
        steps in prop::collection::vec(1_usize..3000, 1..10),
        lending: bool,
    ) {
        let message = frames(&vec![b'x'; len]);
        let mut client = client(lending);
        let hello = hello();
        let mut steps = steps.iter().cycle();
        let mut feed = |client: &mut Calling<ZmtpClient>, mut rest: &[u8]| {
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*steps.next().unwrap()));
                client.feed(now).unwrap();
                rest = later;
            }
        };
        feed(&mut client, &hello);
        client.request(5, &[Part::Copy(b"")]);
        feed(&mut client, &reply(&message));
        prop_assert_eq!(&client.replies, &[(5, Ok(message))]);
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..500), greeted: bool) {
        let mut client = if greeted { connected(true) } else { client(true) };
        if greeted {
            client.request(0, &[]);
        }
        let _ = client.feed(&noise);
        let _ = client.client.end();
    }
}

/// Greeting and READY of our client.
const HELLO_BYTES: usize = 64 + 40;

/// Starts a server that begins each connection with `hello`, answers the first bytes of a request
/// with `reply`, and then reads until the end.
fn server(hello: Vec<u8>, reply: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let (hello, reply) = (hello.clone(), reply.clone());
            std::thread::spawn(move || {
                let _ = stream.write_all(&hello);
                if stream.read_exact(&mut [0; HELLO_BYTES + 1]).is_ok() {
                    let _ = stream.write_all(&reply);
                }
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    address
}

fn load(address: SocketAddr) -> LoadError {
    let url = format!("zmtp://{address}").parse().expect("a URL");
    let spec = LoadSpec {
        array: ArraySpec::float64(64, 1),
        warmup: Length::Requests(0),
        window: Length::Requests(10),
        timeout: Duration::from_secs(60),
        ..LoadSpec::new(url, Encoding::Multipart)
    };
    load::run(&spec).expect_err("it is no server of arrays")
}

#[test]
fn the_load_generator_names_the_fault_of_a_wrong_or_hostile_server() {
    if ring::is_missing() {
        return;
    }
    let publisher = [&greeting(), &b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB"[..]].concat();
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let huge = b"\x01\0\x02\x7f\xff\xff\xff\xff\xff\xff\xff".to_vec();
    let refusal = reply(&frame(0, br#"{"error": "too many arrays"}"#));
    for (hello, reply, expected) in [
        (http, Vec::new(), "is it a ZeroMQ server"),
        (publisher, Vec::new(), "type \"PUB\", which does not answer requests"),
        (hello(), huge, "announces 9223372036854775807 bytes"),
        (hello(), refusal, "refused: {\"error\": \"too many arrays\"}"),
        (hello(), reply(&frames(b"7")), "wrong reply: dtype |u1, expected <f8"),
    ] {
        let error = load(server(hello, reply)).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_scheme_and_an_encoding_have_to_go_together() {
    for (url, encoding, in_flight, expected) in [
        ("zmtp://127.0.0.1:1", Encoding::Npy, 1, "zmtp:// does not carry npy"),
        ("raw://127.0.0.1:1", Encoding::Multipart, 1, "raw:// does not carry multipart"),
        ("zmtp://127.0.0.1:1", Encoding::Multipart, 2, "one request in flight on each connection"),
    ] {
        let spec = LoadSpec { in_flight, ..LoadSpec::new(url.parse().expect("a URL"), encoding) };
        let error = spec.check().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
