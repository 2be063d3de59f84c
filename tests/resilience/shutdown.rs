//! A shutdown loses no request that was sent before it, on any driver.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ndecho::axis::{Driver, Encoding, Family, Protocol};
use ndecho::codec::{ArrayCodec, planted::Planted};
use ndecho::driver::Options;
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;

use crate::grpc::framed;
use crate::http2::{DATA, END_STREAM, HEADERS, Peer, call_head, frame, head_to};
use crate::panics::message;
use crate::rest::Rest;
use crate::server::{self, Running};

/// Longer than a test needs between a stop and its last request, on a slow machine as well.
const GRACE: Duration = Duration::from_secs(5);

fn each_driver(
    protocol: Protocol,
    limits: &Limits,
    options: &Options,
    test: impl Fn(Running, Driver),
) {
    for driver in Driver::ALL {
        let (codecs, limits, options) = (slow(), limits.clone(), options.clone());
        let Some(server) = server::start_with(driver, protocol, codecs, limits, options) else {
            continue;
        };
        test(server, driver);
    }
}

/// Codec of protobuf that takes a millisecond for each message.
fn slow() -> CodecSet {
    fn spend(time: Duration) -> u64 {
        std::thread::sleep(time);
        0
    }
    let inner: &dyn ArrayCodec = CodecSet::own().get(Encoding::Protobuf).expect("own");
    let cost = Duration::from_millis(1);
    CodecSet::own().with_implementation(Box::leak(Box::new(Planted { inner, cost, spend })))
}

fn request() -> Vec<u8> {
    let message = message();
    let head = format!(
        "POST /echo_protobuf HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        message.len()
    );
    [head.as_bytes(), &message].concat()
}

#[test]
fn requests_that_were_sent_before_a_stop_are_answered() {
    // Both ends of 300 connections are in this process.
    ndecho::server::raise_descriptor_limit().expect("a soft limit may be raised");
    each_driver(Protocol::H1, &Limits::default(), &Options::default(), |server, driver| {
        let mut peers: Vec<Rest> = (0..300).map(|_| Rest::connect(server.address())).collect();
        for peer in &mut peers {
            assert_eq!(peer.post("/echo_reflect", b"x").status, 200, "{driver}");
        }
        peers.iter_mut().for_each(|peer| peer.send(&request()));
        let stopping = std::thread::spawn(move || server.stop());
        for (at, mut peer) in peers.into_iter().enumerate() {
            let reply = peer.try_reply();
            let reply = reply.unwrap_or_else(|error| panic!("{driver}: request {at}: {error}"));
            assert_eq!((reply.status, reply.body), (200, message()), "{driver}: request {at}");
        }
        stopping.join().expect("it ends");
    });
}

#[test]
fn a_pipeline_that_was_sent_before_a_stop_is_answered_to_its_end() {
    const REQUESTS: usize = 200;
    each_driver(Protocol::H1, &Limits::default(), &Options::default(), |server, driver| {
        let mut peer = Rest::connect(server.address());
        assert_eq!(peer.post("/echo_reflect", b"x").status, 200, "{driver}");
        (0..REQUESTS).for_each(|_| peer.send(&request()));
        let stopping = std::thread::spawn(move || server.stop());
        for at in 0..REQUESTS {
            let reply = peer.try_reply();
            let reply = reply.unwrap_or_else(|error| panic!("{driver}: request {at}: {error}"));
            assert_eq!(reply.status, 200, "{driver}: request {at}");
        }
        drop(peer);
        stopping.join().expect("it ends");
    });
    each_driver(Protocol::Raw, &Limits::default(), &Options::default(), |server, driver| {
        let mut peer = TcpStream::connect(server.address()).expect("the server listens");
        peer.set_read_timeout(Some(Duration::from_secs(30))).expect("a positive timeout");
        let head = [&(message().len() as u32).to_be_bytes()[..], &[Encoding::Protobuf.id()]];
        let frame = [head.concat(), message()].concat();
        peer.write_all(&frame.repeat(REQUESTS)).expect("the server reads");
        let mut reply = vec![0; frame.len()];
        peer.read_exact(&mut reply).expect("the first reply");
        let stopping = std::thread::spawn(move || server.stop());
        for at in 1..REQUESTS {
            peer.read_exact(&mut reply).unwrap_or_else(|e| panic!("{driver}: frame {at}: {e}"));
            assert_eq!(reply, frame, "{driver}: frame {at}");
        }
        drop(peer);
        stopping.join().expect("it ends");
    });
}

#[test]
fn connections_that_wait_for_room_are_served_after_a_stop() {
    let options = Options {
        connections_max: 1,
        drain_timeout: Duration::from_secs(30),
        ..Options::default()
    };
    each_driver(Protocol::H1, &Limits::default(), &options, |server, driver| {
        let mut inside = Rest::connect(server.address());
        assert_eq!(inside.post("/echo_reflect", b"x").status, 200, "{driver}");
        inside.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
        let mut outside: Vec<Rest> = (0..5).map(|_| Rest::connect(server.address())).collect();
        outside.iter_mut().for_each(|peer| peer.send(&request()));
        let stopping = std::thread::spawn(move || server.stop());
        std::thread::sleep(Duration::from_millis(50));
        inside.send(b"cd");
        assert_eq!(inside.reply().body, b"abcd", "{driver}");
        drop(inside);
        for (at, mut peer) in outside.into_iter().enumerate() {
            let reply = peer.try_reply();
            let reply = reply.unwrap_or_else(|error| panic!("{driver}: peer {at}: {error}"));
            assert_eq!(reply.status, 200, "{driver}: peer {at}");
        }
        assert_eq!(stopping.join().expect("it ends").accepted, 6, "{driver}");
    });
}

/// Runs `test` on every server of a family, own and borrowed, all at once.
fn each_server(family: Family, test: impl Fn(Running, &str) + Sync) {
    let options = Options { drain_timeout: 4 * GRACE, ..Options::default() };
    let protocols = Protocol::ALL.into_iter().filter(|protocol| protocol.family() == family);
    std::thread::scope(|scope| {
        for (protocol, driver) in protocols.flat_map(|it| Driver::ALL.map(|driver| (it, driver))) {
            if !protocol.runs_on(driver) {
                continue;
            }
            let (test, options) = (&test, options.clone());
            scope.spawn(move || {
                let limits = Limits { drain_grace: GRACE, ..Limits::default() };
                let server = server::start_with(driver, protocol, slow(), limits, options);
                if let Some(server) = server {
                    test(server, &format!("{driver}/{protocol}"));
                }
            });
        }
    });
}

/// Asks until health turns.
fn await_turn<T: PartialEq + std::fmt::Debug>(named: &str, ready: &T, ask: impl FnMut() -> T) -> T {
    let late = Instant::now() + GRACE;
    let mut said = std::iter::repeat_with(ask);
    let turned = said.find(|said| {
        assert!(Instant::now() < late, "{named}: it still says {said:?}");
        std::thread::sleep(Duration::from_millis(10));
        said != ready
    });
    turned.expect("it is asked again and again")
}

#[test]
fn health_turns_when_a_stop_begins() {
    let health = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    each_server(Family::Rest, |server, named| {
        let mut open = Rest::connect(server.address());
        open.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
        let mut probe = Rest::connect(server.address());
        let mut ask = || {
            probe.send(health);
            let reply = probe.reply();
            (reply.status, String::from_utf8(reply.body).expect("text"))
        };
        let ready = (200, "ok\n".to_owned());
        assert_eq!(ask(), ready, "{named}");
        let stopping = std::thread::spawn(move || server.stop());
        let turned = await_turn(named, &ready, ask);
        assert_eq!(turned, (503, "the server shuts down\n".to_owned()), "{named}");
        open.send(b"cd");
        assert_eq!(open.reply().body, b"abcd", "{named}");
        drop((open, probe));
        stopping.join().expect("it ends");
    });
}

#[test]
fn hyper_says_during_a_stop_that_a_connection_ends() {
    each_server(Family::Rest, |server, named| {
        // Own servers and axum say it only after the grace.
        if !named.contains("hyper") {
            return;
        }
        let (mut held, mut peer) =
            (Rest::connect(server.address()), Rest::connect(server.address()));
        held.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
        assert_eq!(peer.post("/echo_reflect", b"x").field("connection"), None, "{named}");
        let stopping = std::thread::spawn(move || server.stop());
        let late = Instant::now() + GRACE;
        loop {
            let reply = peer.post("/echo_reflect", b"x");
            assert_eq!(reply.body, b"x", "{named}");
            if reply.field("connection") == Some("close") {
                break;
            }
            assert!(Instant::now() < late, "{named}: no response says so");
        }
        assert!(peer.try_reply().is_err(), "{named}: the connection ends");
        assert!(Instant::now() < late, "{named}: it ends only after the grace");
        held.send(b"cd");
        assert_eq!(held.reply().body, b"abcd", "{named}");
        drop((held, peer));
        stopping.join().expect("it ends");
    });
}

#[test]
fn grpc_health_turns_when_a_stop_begins() {
    const SERVING: [u8; 2] = [8, 1];
    const NOT_SERVING: [u8; 2] = [8, 2];
    each_server(Family::Grpc, |server, named| {
        // Unlike a real client, it goes on with its calls after the first GOAWAY.
        let (mut peer, mut streams) = (Peer::connect(server.address(), &[]), (1..).step_by(2));
        let mut ask = |service: &[u8]| {
            let stream = streams.next().expect("there are many");
            let head = head_to(stream, "/grpc.health.v1.Health/Check", "application/grpc");
            peer.send(&[head, frame(DATA, END_STREAM, stream, &framed(service))].concat());
            peer.until(DATA, stream).unwrap_or_else(|| panic!("{named}: no answer")).payload
        };
        let ready = framed(&SERVING);
        for service in [&b""[..], b"\x0a\x0aCalculator"] {
            assert_eq!(ask(service), ready, "{named}");
        }
        let stopping = std::thread::spawn(move || server.stop());
        assert_eq!(await_turn(named, &ready, || ask(b"")), framed(&NOT_SERVING), "{named}");
        assert_eq!(ask(b"\x0a\x0aCalculator"), framed(&NOT_SERVING), "{named}");
        drop(peer);
        stopping.join().expect("it ends");
    });
}

#[test]
fn an_http2_call_that_was_sent_before_a_stop_is_answered() {
    each_driver(Protocol::H2, &Limits::default(), &Options::default(), |server, driver| {
        let mut peers: Vec<Peer> = (0..100).map(|_| Peer::connect(server.address(), &[])).collect();
        let content = frame(DATA, END_STREAM, 1, &[&[0, 0, 0, 0, 1][..], b"x"].concat());
        peers.iter_mut().for_each(|peer| peer.send(&[call_head(1), content.clone()].concat()));
        let stopping = std::thread::spawn(move || server.stop());
        for (at, mut peer) in peers.into_iter().enumerate() {
            assert!(peer.until(HEADERS, 1).is_some(), "{driver}: call {at}");
        }
        stopping.join().expect("it ends");
    });
}

#[test]
fn a_health_check_beyond_the_places_is_answered_in_a_shutdown() {
    let limits = Limits { drain_grace: GRACE, ..Limits::default() };
    let options = Options { connections_max: 1, ..Options::default() };
    each_driver(Protocol::H1, &limits, &options, |server, driver| {
        let mut busy = Rest::connect(server.address());
        busy.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na");
        let mut probe = Rest::connect(server.address());
        probe.send(b"GET /healthz HTTP/1.1\r\nhost: a\r\n");
        // Time to get the place that is kept for it.
        std::thread::sleep(Duration::from_millis(300));
        let stopping = std::thread::spawn(move || server.stop());
        std::thread::sleep(Duration::from_millis(100));
        busy.send(b"b");
        assert_eq!(busy.reply().body, b"ab", "{driver}");
        drop(busy);
        std::thread::sleep(Duration::from_millis(300));
        probe.send(b"\r\n");
        let reply = probe.try_reply();
        let reply = reply.unwrap_or_else(|error| panic!("{driver}: the health check: {error}"));
        assert_eq!(reply.status, 503, "{driver}");
        stopping.join().expect("it ends");
    });
}
