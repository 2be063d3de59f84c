//! No peer holds a request or a response for ever by a stall or a trickle, on any driver.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ndecho::axis::{Driver, Encoding, Family, Protocol};
use ndecho::driver::Options;
use ndecho::service::codecs::CodecSet;
use ndecho::wire::{Limits, Pace};

use crate::hosted;
use crate::http2::{
    CONTINUATION, DATA, HEADERS, PING, Peer, RST_STREAM, WINDOW_UPDATE, call_block, call_head,
    frame,
};
use crate::rest::Rest;
use crate::server::{self, Running};

const SHORT: Duration = Duration::from_millis(400);

/// Time between two bytes of a trickle, well below [`SHORT`] on a slow machine as well.
const STEP: Duration = Duration::from_millis(20);

/// Far above the time that a loaded machine needs.
const LONG: Duration = Duration::from_secs(30);

fn each_driver(protocol: Protocol, test: impl Fn(&Running, Driver)) {
    let limits = Limits {
        head_timeout: SHORT,
        body_gap_timeout: SHORT,
        window_timeout: SHORT,
        rate_min: 1000,
        ..Limits::default()
    };
    let send_pace = Pace { gap: 2 * SHORT, rate_min: 4 << 20 };
    let options = Options { send_pace, ..Options::default() };
    for driver in Driver::ALL {
        let codecs = CodecSet::own();
        let started = server::start_with(driver, protocol, codecs, limits.clone(), options.clone());
        let Some(server) = started else { continue };
        test(&server, driver);
        server.stop();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(STEP)).expect("a positive timeout");
    stream
}

/// Sends `byte` every step until the server says something or closes; returns its words.
fn trickle(stream: &mut TcpStream, byte: &[u8]) -> Vec<u8> {
    let begun = Instant::now();
    let mut said = vec![0; 4096];
    loop {
        // The server may have closed.
        let _ = stream.write_all(byte);
        match stream.read(&mut said) {
            Ok(count) => {
                said.truncate(count);
                return said;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Vec::new(),
        }
        assert!(begun.elapsed() < LONG, "the server waits for ever");
    }
}

/// Runs `test` on every driver with each protocol of a family that runs there.
fn each_stack(family: Family, test: impl Fn(&Running, Protocol, &str)) {
    for protocol in hosted(family) {
        each_driver(protocol, |server, driver| {
            test(server, protocol, &format!("{driver}/{protocol}"));
        });
    }
}

/// Returns the first bytes of what an HTTP/1.1 server says to a peer that it gives up. A borrowed
/// stack closes.
fn farewell(protocol: Protocol) -> &'static [u8] {
    if protocol == Protocol::H1 { b"HTTP/1.1 408" } else { b"" }
}

#[test]
fn a_trickled_head_is_given_up() {
    each_stack(Family::Rest, |server, protocol, named| {
        let mut stream = connect(server.address());
        stream.write_all(b"GET /healthz HTTP/1.1\r\nx: ").expect("the server reads");
        let said = trickle(&mut stream, b"x");
        let is_right = said.starts_with(farewell(protocol)) && said.len() < 1000;
        assert!(is_right, "{named}: {}", said.escape_ascii());
    });
    each_stack(Family::Grpc, |server, _, named| {
        let mut peer = Peer::connect(server.address(), &[]);
        let next = &frame(CONTINUATION, 0, 1, &[0; 10_000])[..9];
        peer.send(&[&frame(HEADERS, 0, 1, &call_block()), next].concat());
        let mut reader = peer.0.try_clone().expect("a socket");
        let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut Vec::new()));
        let late = Instant::now() + LONG;
        while !reading.is_finished() {
            assert!(Instant::now() < late, "{named}: the block is waited for");
            // The server may have closed.
            let _ = peer.0.write_all(b"x");
            std::thread::sleep(STEP);
        }
    });
}

#[test]
fn a_flood_of_pings_that_reads_nothing_is_given_up() {
    each_stack(Family::Grpc, |server, _, named| {
        let peer = Peer::connect(server.address(), &[]);
        let mut stream = peer.0;
        stream.set_write_timeout(Some(LONG)).expect("a positive timeout");
        let pings = frame(PING, 0, 0, b"pingpong").repeat(1000);
        let late = Instant::now() + LONG;
        loop {
            match stream.write_all(&pings) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("{named}: it is kept");
                }
                Err(_) => break,
                Ok(()) => assert!(Instant::now() < late, "{named}: it is read for ever"),
            }
        }
    });
}

#[test]
fn a_trickled_body_is_given_up() {
    each_stack(Family::Rest, |server, protocol, named| {
        for len in [500, 1_000_000] {
            let mut stream = connect(server.address());
            let head =
                format!("POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("the server reads");
            let said = trickle(&mut stream, b"x");
            let is_right = said.starts_with(farewell(protocol)) && said.len() < 1000;
            assert!(is_right, "{named}: {}", said.escape_ascii());
        }
    });
    each_driver(Protocol::Raw, |server, driver| {
        for len in [500_u32, 1_000_000] {
            let mut stream = connect(server.address());
            let head = [&len.to_be_bytes()[..], &[Encoding::Reflect.id()]].concat();
            stream.write_all(&head).expect("the server reads");
            let said = trickle(&mut stream, b"x");
            let text = String::from_utf8_lossy(&said);
            assert!(text.contains("timed out"), "{driver}: {text:?}");
        }
    });
}

#[test]
fn a_message_that_stalls_or_trickles_is_given_up() {
    each_stack(Family::Grpc, |server, protocol, named| {
        for (announced, begin, piece) in [
            (1000_u32, 100, 0),
            (1_000_000, 1000, 0),
            (1_000_000, 100_000, 0),
            (1_000_000, 1000, 1),
        ] {
            let mut peer = Peer::connect(server.address(), &[]);
            let reader = peer.0.try_clone().expect("a socket");
            let prefix = [&[0][..], &announced.to_be_bytes()].concat();
            // The end of a frame is never sent, and a borrowed stack has its usual windows.
            let begin = if protocol == Protocol::H2 { begin } else { begin.min(50_000) };
            let pieces = vec![7; announced as usize];
            let frames = pieces.chunks(16_384).map(|piece| frame(DATA, 0, 1, piece));
            let content = frames.collect::<Vec<_>>().concat();
            peer.send(&[call_head(1), frame(DATA, 0, 1, &prefix)].concat());
            peer.send(&content[..begin]);
            let mut rest = content[begin..].iter();
            let (ended, end) = std::sync::mpsc::channel();
            let reading = std::thread::spawn(move || {
                let status = Peer(reader).until(HEADERS, 1).expect("a status");
                let _ = ended.send(());
                status.payload
            });
            let late = Instant::now() + LONG;
            while end.recv_timeout(STEP).is_err() {
                assert!(Instant::now() < late, "{named}: {announced} bytes, {piece} a time");
                peer.send(&rest.by_ref().take(piece).copied().collect::<Vec<u8>>());
            }
            let said = reading.join().expect("a status");
            // A borrowed stack writes its text in Huffman code.
            let said = String::from_utf8_lossy(&said);
            let is_right = protocol != Protocol::H2 || said.contains("stopped arriving");
            assert!(is_right, "{named}: {said:?}");
        }
    });
}

#[test]
fn a_reply_whose_window_opens_by_the_byte_is_given_up() {
    each_stack(Family::Grpc, |server, protocol, named| {
        let mut peer = Peer::connect(server.address(), &[(4, 10)]);
        let message = [&[0][..], &100_000_u32.to_be_bytes(), &[7; 100_000]].concat();
        let pieces = message.chunks(16_384);
        let content = pieces.map(|piece| frame(DATA, 0, 1, piece)).collect::<Vec<_>>().concat();
        peer.send(&[call_head(1), content, frame(DATA, 1, 1, b"")].concat());
        let reader = peer.0.try_clone().expect("a socket");
        let (ended, end) = std::sync::mpsc::channel();
        let reading = std::thread::spawn(move || {
            let reset = Peer(reader).until(RST_STREAM, 1);
            let _ = ended.send(());
            reset.map(|reset| reset.payload)
        });
        let late = Instant::now() + LONG;
        while end.recv_timeout(STEP).is_err() {
            assert!(Instant::now() < late, "{named}: the reply is held for ever");
            // The server may have closed.
            let _ = peer.0.write_all(&frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()));
        }
        let cancel = Some(8_u32.to_be_bytes().to_vec()).filter(|_| protocol == Protocol::H2);
        assert_eq!(reading.join().expect("it reads to the end"), cancel, "{named}");
    });
}

#[test]
fn a_reader_below_the_least_rate_is_given_up() {
    const REPLY: usize = 48 << 20;
    each_driver(Protocol::H1, |server, driver| {
        let mut peer = Rest::connect(server.address());
        let mut stream = peer.0.try_clone().expect("a socket");
        let head =
            format!("POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: {REPLY}\r\n\r\n");
        let sending = std::thread::spawn(move || {
            peer.send(head.as_bytes());
            peer.send(&vec![7; REPLY]);
        });
        let (mut piece, mut read) = (vec![0; 16 * 1024], 0);
        let late = Instant::now() + LONG;
        // A reader of 800 kB a second at most, where 4 MiB a second are asked for.
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            read += count;
            std::thread::sleep(STEP);
            assert!(Instant::now() < late, "{driver}: {read} bytes, and it goes on");
        }
        assert!(read < REPLY, "{driver}: all of the reply was read");
        sending.join().expect("the server reads the request");
    });
}
