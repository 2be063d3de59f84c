//! Honest peers that are slow keep their connection, on any driver.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ndecho::axis::{Driver, Encoding, Family, Protocol};
use ndecho::codec::{ArrayCodec, planted::Planted};
use ndecho::driver::Options;
use ndecho::service::codecs::CodecSet;
use ndecho::wire::{Limits, Pace};

use crate::grpc::{Grpc, framed, request};
use crate::hosted;
use crate::http2::{ACK, DATA, END_STREAM, PING, Peer, call_head, frame, head_to};
use crate::panics::message;
use crate::rest::Rest;
use crate::server::{self, Running};

/// A timeout that an honest peer of a slow machine keeps as well.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An idle timeout that passes within a test.
const SHORT: Duration = Duration::from_millis(500);

/// A pause of a reader, longer than any timeout but that of a send.
const PAUSE: Duration = Duration::from_secs(5);

fn each_driver(protocol: Protocol, test: impl Fn(&Running, Driver)) {
    let limits = Limits {
        head_timeout: TIMEOUT,
        body_gap_timeout: TIMEOUT,
        idle_timeout: TIMEOUT,
        ..Limits::default()
    };
    let options = Options { outbox_bytes_max: 1 << 20, ..Options::default() };
    for driver in Driver::ALL {
        let codecs = CodecSet::own();
        let started = server::start_with(driver, protocol, codecs, limits.clone(), options.clone());
        let Some(server) = started else { continue };
        test(&server, driver);
        server.stop();
    }
}

/// Runs `test` with each protocol of HTTP/1.1, own and borrowed, all at once.
fn each_rest(test: impl Fn(&Running, &str) + Sync) {
    std::thread::scope(|scope| {
        for protocol in hosted(Family::Rest) {
            let test = &test;
            scope.spawn(move || {
                each_driver(protocol, |server, driver| {
                    test(server, &format!("{driver}/{protocol}"));
                });
            });
        }
    });
}

#[test]
fn a_pipeline_that_is_read_late_is_answered_whole() {
    const REQUESTS: usize = 400;
    let body = vec![7; 60_001];
    let head =
        format!("POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    let request = [head.as_bytes(), &body].concat();
    each_rest(|server, driver| {
        let mut peer = Rest::connect(server.address());
        let mut sender = peer.0.try_clone().expect("a socket");
        let request = request.clone();
        let sending = std::thread::spawn(move || {
            (0..REQUESTS).try_for_each(|_| sender.write_all(&request)).expect("the server reads");
        });
        std::thread::sleep(PAUSE);
        for at in 0..REQUESTS {
            let reply = peer.reply();
            assert_eq!(reply.status, 200, "{driver}: reply {at}");
            assert!(reply.body == body, "{driver}: reply {at}");
        }
        sending.join().expect("all was sent");
    });
}

#[test]
fn the_time_of_a_reply_is_no_idle_time() {
    const REPLY: usize = 48 << 20;
    each_rest(|server, driver| {
        let mut peer = Rest::connect(server.address());
        let mut sender = peer.0.try_clone().expect("a socket");
        let head =
            format!("POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: {REPLY}\r\n\r\n");
        sender.write_all(&[head.as_bytes(), &vec![7; REPLY]].concat()).expect("the server reads");
        std::thread::sleep(PAUSE);
        assert_eq!(peer.reply().body.len(), REPLY, "{driver}");
        assert_eq!(peer.post("/echo_reflect", b"next").body, b"next", "{driver}");
    });
    each_driver(Protocol::Raw, |server, driver| {
        let mut peer = Rest::connect(server.address()).0;
        let head = [&(REPLY as u32).to_be_bytes()[..], &[Encoding::Reflect.id()]].concat();
        peer.write_all(&[head, vec![7; REPLY]].concat()).expect("the server reads");
        std::thread::sleep(PAUSE);
        let mut reply = vec![0; 5 + REPLY];
        peer.read_exact(&mut reply).expect("the whole reply");
        peer.write_all(&[0, 0, 0, 1, Encoding::Reflect.id(), b'x']).expect("the server reads");
        peer.read_exact(&mut reply[..6]).unwrap_or_else(|error| panic!("{driver}: {error}"));
    });
}

#[test]
fn an_idle_connection_is_closed_in_time_after_its_reply() {
    std::thread::scope(|scope| {
        for protocol in Family::ALL.into_iter().flat_map(hosted) {
            scope.spawn(move || {
                each_driver(protocol, |server, driver| {
                    let mut idle = served_once(protocol.family(), server);
                    let end = idle.read_to_end(&mut Vec::new());
                    assert!(end.is_ok(), "{driver}/{protocol}: it stays");
                });
            });
        }
    });
}

/// Returns a connection that is idle after a request, or after its preface.
fn served_once(family: Family, server: &Running) -> TcpStream {
    match family {
        Family::Rest => {
            let mut peer = Rest::connect(server.address());
            assert_eq!(peer.post("/echo_reflect", b"x").status, 200);
            peer.0
        }
        Family::Raw => {
            let mut peer = Rest::connect(server.address()).0;
            peer.write_all(&[0, 0, 0, 1, Encoding::Reflect.id(), b'x']).expect("room");
            peer
        }
        Family::Grpc => Peer::connect(server.address(), &[]).0,
        Family::Zmtp => panic!("no server of ours speaks ZMTP"),
    }
}

/// Codec of protobuf that takes longer than the idle timeout for each message.
fn slow() -> CodecSet {
    fn spend(time: Duration) -> u64 {
        std::thread::sleep(time);
        0
    }
    let inner: &dyn ArrayCodec = CodecSet::own().get(Encoding::Protobuf).expect("own");
    let planted = Planted { inner, cost: 2 * SHORT, spend };
    CodecSet::own().with_implementation(Box::leak(Box::new(planted)))
}

#[test]
fn a_call_that_came_while_the_server_was_busy_keeps_its_connection() {
    let limits = Limits { idle_timeout: SHORT, ..Limits::default() };
    for driver in Driver::ALL {
        for protocol in [Protocol::H2, Protocol::H2Crate, Protocol::H2CrateTuned] {
            let started = server::start(driver, protocol, slow(), limits.clone());
            let Some(server) = started else { continue };
            let (mut long, mut short) =
                (Grpc::connect(server.address()), Grpc::connect(server.address()));
            let reflect = || request("application/grpc+reflect");
            assert_eq!(short.call(reflect(), &[&framed(b"x")]).field("grpc-status"), "0");
            let busy = std::thread::spawn(move || {
                long.call(request("application/grpc+proto"), &[&framed(&message())])
            });
            // In the middle of the long call.
            std::thread::sleep(SHORT / 2);
            for _ in 0..2 {
                let reply = short.call(reflect(), &[&framed(b"x")]);
                assert_eq!(reply.field("grpc-status"), "0", "{driver}/{protocol}: {reply:?}");
            }
            let reply = busy.join().expect("a reply");
            assert_eq!(reply.field("grpc-status"), "0", "{driver}/{protocol}: {reply:?}");
            server.stop();
        }
    }
}

#[test]
fn the_time_of_a_handler_is_not_the_time_of_a_peer() {
    let limits = Limits { body_gap_timeout: SHORT, head_timeout: SHORT, ..Limits::default() };
    let whole = |stream, content: &[u8]| frame(DATA, END_STREAM, stream, &framed(content));
    for driver in Driver::ALL {
        let started = server::start(driver, Protocol::H2, slow(), limits.clone());
        let Some(server) = started else { continue };
        let mut peer = Peer::connect(server.address(), &[]);
        // The handler of the first call takes longer than the second one may pause.
        let begun = frame(DATA, 0, 3, &framed(b"message")[..6]);
        let slow = [head_to(1, "/Calculator/Echo", "application/grpc+proto"), whole(1, &message())]
            .concat();
        peer.send(&[slow, call_head(3), begun].concat());
        assert!(peer.until(DATA, 1).is_some(), "{driver}: the first call");
        peer.send(&frame(DATA, END_STREAM, 3, b"essage"));
        let reply = peer.until(DATA, 3).unwrap_or_else(|| panic!("{driver}: it was given up"));
        assert_eq!(reply.payload, framed(b"message"), "{driver}");
        drop(peer);
        server.stop();
    }
}

#[test]
fn frames_that_each_come_in_time_keep_a_connection() {
    each_driver(Protocol::H2, |server, driver| {
        let mut peer = Peer::connect(server.address(), &[]);
        let ping = frame(PING, 0, 0, b"pingpong");
        peer.send(&ping[..1]);
        // Every piece ends inside of a frame, and each frame is whole long before its timeout.
        for at in 0..12 {
            std::thread::sleep(TIMEOUT / 4);
            peer.send(&[&ping[1..], &ping[..1]].concat());
            let pong = std::iter::from_fn(|| peer.next()).find(|frame| frame.kind == PING);
            let pong = pong.unwrap_or_else(|| panic!("{driver}: closed after {at} frames"));
            assert_eq!((pong.flags, &pong.payload[..]), (ACK, &b"pingpong"[..]), "{driver}");
        }
    });
}

#[test]
fn a_slow_reader_of_a_long_reply_gets_all_of_it() {
    const REPLY: usize = 24 << 20;
    let send_pace = Pace { gap: Duration::from_secs(3), rate_min: 1024 };
    let options = Options { send_pace, ..Options::default() };
    for driver in Driver::ALL {
        let (codecs, limits) = (CodecSet::own(), Limits::default());
        let started = server::start_with(driver, Protocol::H1, codecs, limits, options.clone());
        let Some(server) = started else { continue };
        let mut peer = Rest::connect(server.address()).0;
        let head =
            format!("POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: {REPLY}\r\n\r\n");
        peer.write_all(&[head.as_bytes(), &vec![7; REPLY]].concat()).expect("the server reads");
        let (mut piece, mut read) = (vec![0; 128 * 1024], 0);
        // About 1 MB a second at first, so that 4 MiB take longer than the longest gap.
        for _ in 0..80 {
            std::thread::sleep(Duration::from_millis(100));
            read += peer.read(&mut piece).expect("the server sends");
        }
        while let Ok(count @ 1..) = peer.read(&mut piece) {
            read += count;
            if read > REPLY {
                break;
            }
        }
        assert!(read > REPLY, "{driver}: {read} bytes");
        drop(peer);
        server.stop();
    }
}
