//! Full places keep nobody out who could be served, on any driver.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ndecho::axis::{Driver, Family, Protocol};
use ndecho::driver::Options;
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;

use crate::grpc::{Grpc, exchange, framed, health_check, request};
use crate::hosted;
use crate::http2::{ACK, DATA, END_STREAM, PING, Peer, SETTINGS, call_head, frame, head_to};
use crate::rest::Rest;
use crate::server::{self, Running};

const PLACES: usize = 8;

fn each_driver(protocol: Protocol, options: &Options, test: impl Fn(&Running, Driver) -> u64) {
    for driver in Driver::ALL {
        let (codecs, limits) = (CodecSet::own(), Limits::default());
        let started = server::start_with(driver, protocol, codecs, limits, options.clone());
        let Some(server) = started else { continue };
        let closed = test(&server, driver);
        let counts = server.stop().limits;
        assert_eq!(counts.get("idle_place").copied().unwrap_or(0), closed, "{driver}: {counts:?}");
    }
}

fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a positive timeout");
    stream.read_to_end(&mut Vec::new()).is_ok()
}

#[test]
fn the_longest_idle_connections_make_room_for_new_ones() {
    let options = Options { connections_max: PLACES, ..Options::default() };
    each_driver(Protocol::H1, &options, |server, driver| {
        let mut idle: Vec<Rest> = (0..PLACES).map(|_| Rest::connect(server.address())).collect();
        for peer in idle.iter_mut().rev() {
            assert_eq!(peer.post("/echo_reflect", b"x").status, 200, "{driver}");
        }
        let mut fresh: Vec<Rest> = (0..2).map(|_| Rest::connect(server.address())).collect();
        for peer in &mut fresh {
            assert_eq!(peer.post("/echo_reflect", b"new").body, b"new", "{driver}");
        }
        // The last two have been served first.
        for mut peer in idle.drain(PLACES - 2..) {
            assert!(is_closed(&mut peer.0), "{driver}");
        }
        for peer in &mut idle {
            assert_eq!(peer.post("/echo_reflect", b"x").status, 200, "{driver}: it stays");
        }
        2
    });
}

#[test]
fn a_connection_with_a_request_in_progress_keeps_its_place() {
    let options = Options { connections_max: 2, ..Options::default() };
    each_driver(Protocol::H1, &options, |server, driver| {
        let mut busy = Rest::connect(server.address());
        busy.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
        let mut idle = Rest::connect(server.address());
        assert_eq!(idle.post("/echo_reflect", b"x").status, 200, "{driver}");
        assert_eq!(Rest::connect(server.address()).post("/echo_reflect", b"y").body, b"y");
        assert!(is_closed(&mut idle.0), "{driver}");
        busy.send(b"cd");
        assert_eq!(busy.reply().body, b"abcd", "{driver}");
        1
    });
}

#[test]
fn pings_do_not_keep_the_place_of_an_idle_connection() {
    let options = Options { connections_max: 2, ..Options::default() };
    each_driver(Protocol::H2, &options, |server, driver| {
        let mut pinging = Peer::connect(server.address(), &[]);
        let mut calling = Peer::connect(server.address(), &[]);
        let call = |peer: &mut Peer, stream| {
            let message = frame(DATA, END_STREAM, stream, &[0, 0, 0, 0, 1, b'x']);
            peer.send(&[call_head(stream), message].concat());
            assert!(peer.until(DATA, stream).is_some(), "{driver}");
        };
        call(&mut calling, 1);
        pinging.send(&[frame(SETTINGS, ACK, 0, b""), frame(PING, 0, 0, b"pingpong")].concat());
        assert!(pinging.until(PING, 0).is_some(), "{driver}");
        call(&mut Peer::connect(server.address(), &[]), 1);
        assert!(is_closed(&mut pinging.0), "{driver}");
        call(&mut calling, 3);
        1
    });
}

#[test]
fn a_part_of_a_frame_does_not_keep_the_place_of_an_idle_connection() {
    let ping = frame(PING, 0, 0, b"pingpong");
    let unknown = frame(0xAA, 0, 0, &[7; 1000]);
    let data = frame(DATA, 0, 1, &[7; 1000]);
    let options = Options { connections_max: 2, ..Options::default() };
    for part in [&ping[..1], &ping[..10], &unknown[..10], &data[..10]] {
        each_driver(Protocol::H2, &options, |server, driver| {
            let named = format!("{driver}, {part:?}");
            let mut idle = Peer::connect(server.address(), &[]);
            let mut calling = Peer::connect(server.address(), &[]);
            // Content of this call may still come after its refusal.
            let refused = head_to(1, "/ndecho.Echo/Other", "application/grpc");
            idle.send(&[refused, ping.clone()].concat());
            assert!(idle.until(PING, 0).is_some(), "{named}");
            let message = frame(DATA, END_STREAM, 1, &[0, 0, 0, 0, 1, b'x']);
            let call = [call_head(1), message].concat();
            calling.send(&call);
            assert!(calling.until(DATA, 1).is_some(), "{named}");
            idle.send(part);
            let mut other = Peer::connect(server.address(), &[]);
            other.send(&call);
            assert!(other.until(DATA, 1).is_some(), "{named}");
            assert!(is_closed(&mut idle.0), "{named}");
            1
        });
    }
}

#[test]
fn one_address_has_no_more_connections_than_it_may() {
    let options = Options { address_connections_max: 2, ..Options::default() };
    for protocol in [Protocol::H1, Protocol::Hyper] {
        for driver in Driver::ALL {
            let (codecs, limits) = (CodecSet::own(), Limits::default());
            let started = server::start_with(driver, protocol, codecs, limits, options.clone());
            let Some(server) = started else { continue };
            let mut first = Rest::connect(server.address());
            let mut second = Rest::connect(server.address());
            for peer in [&mut first, &mut second] {
                assert_eq!(peer.post("/echo_reflect", b"x").status, 200, "{driver}");
            }
            let mut third = TcpStream::connect(server.address()).expect("the server listens");
            // The server may have closed before.
            let _ = third.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
            let mut said = Vec::new();
            third.set_read_timeout(Some(Duration::from_secs(30))).expect("a positive timeout");
            let end = third.read_to_end(&mut said);
            let waits = end.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
            assert!(!waits && said.is_empty(), "{driver}/{protocol}: {}", said.escape_ascii());
            drop(first);
            // Its end is noticed soon.
            let served = (0..500).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                let mut peer = Rest::connect(server.address());
                let request = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
                peer.0.write_all(request).is_ok() && peer.try_reply().is_ok()
            });
            assert!(served, "{driver}/{protocol}: the place is free again");
            drop(second);
            let counts = server.stop().limits;
            assert!(counts["address_connections"] >= 1, "{driver}/{protocol}: {counts:?}");
        }
    }
}

#[test]
fn health_is_answered_while_all_places_are_in_use() {
    let options = Options { connections_max: 3, ..Options::default() };
    let begun = b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab";
    let health = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    for protocol in [Protocol::H1, Protocol::Hyper] {
        for driver in Driver::ALL {
            let (codecs, limits) = (CodecSet::own(), Limits::default());
            let started = server::start_with(driver, protocol, codecs, limits, options.clone());
            let Some(server) = started else { continue };
            let connect = |_| {
                let mut peer = Rest::connect(server.address());
                peer.send(begun);
                peer
            };
            let mut busy: Vec<Rest> = (0..3).map(connect).collect();
            let mut outside: Vec<Rest> = (0..20).map(connect).collect();
            for _ in 0..20 {
                let mut probe = Rest::connect(server.address());
                probe.send(health);
                assert_eq!(probe.reply().status, 200, "{driver}/{protocol}");
            }
            for mut peer in busy.drain(..).chain(outside.drain(..)) {
                peer.send(b"cd");
                assert_eq!(peer.reply().body, b"abcd", "{driver}/{protocol}: the others wait");
            }
            server.stop();
        }
    }
}

#[test]
fn sockets_that_wait_in_silence_keep_no_probe_out() {
    let options = Options { connections_max: 1, ..Options::default() };
    for protocol in [Protocol::H1, Protocol::Hyper] {
        for driver in Driver::ALL {
            let (codecs, limits) = (CodecSet::own(), Limits::default());
            let started = server::start_with(driver, protocol, codecs, limits, options.clone());
            let Some(server) = started else { continue };
            let mut busy = Rest::connect(server.address());
            busy.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
            // More than a worker accepts without a place for them.
            let mut silent: Vec<Rest> = (0..300).map(|_| Rest::connect(server.address())).collect();
            let mut probe = Rest::connect(server.address());
            probe.send(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_eq!(probe.reply().status, 200, "{driver}/{protocol}");
            // While another connection has the place, only the time of its wait can end it.
            assert!(is_closed(&mut silent[0].0), "{driver}/{protocol}");
            busy.send(b"cd");
            assert_eq!(busy.reply().body, b"abcd", "{driver}/{protocol}: it kept its place");
            let counts = server.stop().limits;
            let closed = counts.get("place_time").copied().unwrap_or(0);
            assert!(closed >= 1, "{driver}/{protocol}: {counts:?}");
        }
    }
}

#[test]
fn grpc_health_is_answered_while_all_places_are_in_use_and_other_calls_are_refused() {
    let options = Options { connections_max: 2, ..Options::default() };
    let test = |server: &Running, named: &str| {
        let connect = |_| {
            let peer = Grpc::connect(server.address());
            let open = exchange(peer.requests.clone(), request("application/grpc"), vec![], false);
            let begun = async { tokio::time::timeout(Duration::from_millis(100), open).await };
            assert!(peer.runtime.block_on(begun).is_err(), "{named}: the call stays open");
            peer
        };
        let busy: Vec<Grpc> = (0..2).map(connect).collect();
        let mut probe = Grpc::connect(server.address());
        let reply = probe.call(health_check(), &[&framed(b"")]);
        assert_eq!((reply.field("grpc-status"), &reply.body), ("0", &framed(&[8, 1])), "{named}");
        let reply = probe.call(request("application/grpc+reflect"), &[&framed(b"x")]);
        assert_eq!(reply.field("grpc-status"), "14", "{named}: UNAVAILABLE, {reply:?}");
        drop(busy);
        0
    };
    for protocol in hosted(Family::Grpc) {
        each_driver(protocol, &options, |server, driver| {
            test(server, &format!("{driver}/{protocol}"))
        });
    }
}
