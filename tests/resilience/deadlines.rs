//! No peer holds a request or a response for ever by a stall or a trickle, on any driver.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ndecho::axis::{Driver, Encoding, Protocol};
use ndecho::driver::Options;
use ndecho::service::codecs::CodecSet;
use ndecho::wire::{Limits, Pace};

use crate::http2::{DATA, HEADERS, Peer, RST_STREAM, WINDOW_UPDATE, call_head, frame};
use crate::rest::Rest;
use crate::server::{self, Running};

const SHORT: Duration = Duration::from_millis(400);

/// Time between two bytes of a trickle, well below [`SHORT`] on a slow machine as well.
const STEP: Duration = Duration::from_millis(20);

/// Far above the time that a loaded machine needs.
const LONG: Duration = Duration::from_secs(30);

fn each_driver(protocol: Protocol, test: impl Fn(&Running, Driver)) {
    let limits = Limits {
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

#[test]
fn a_trickled_body_is_given_up() {
    each_driver(Protocol::H1, |server, driver| {
        for len in [500, 1_000_000] {
            let mut stream = connect(server.address());
            let head =
                format!("POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("the server reads");
            let said = trickle(&mut stream, b"x");
            assert!(said.starts_with(b"HTTP/1.1 408"), "{driver}: {}", said.escape_ascii());
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
    each_driver(Protocol::H2, |server, driver| {
        for (announced, begin, piece) in [
            (1000_u32, 100, 0),
            (1_000_000, 1000, 0),
            (1_000_000, 100_000, 0),
            (1_000_000, 1000, 1),
        ] {
            let mut peer = Peer::connect(server.address(), &[]);
            let reader = peer.0.try_clone().expect("a socket");
            let prefix = [&[0][..], &announced.to_be_bytes()].concat();
            let head = frame(DATA, 0, 1, &vec![0; announced as usize])[..9].to_vec();
            peer.send(&[call_head(1), frame(DATA, 0, 1, &prefix), head].concat());
            peer.send(&vec![7; begin]);
            let (ended, end) = std::sync::mpsc::channel();
            let reading = std::thread::spawn(move || {
                let status = Peer(reader).until(HEADERS, 1).expect("a status");
                let _ = ended.send(());
                status.payload
            });
            let late = Instant::now() + LONG;
            while end.recv_timeout(STEP).is_err() {
                assert!(Instant::now() < late, "{driver}: {announced} bytes, {piece} a time");
                peer.send(&vec![7; piece]);
            }
            let said = reading.join().expect("a status");
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains("stopped arriving"), "{driver}: {said:?}");
        }
    });
}

#[test]
fn a_reply_whose_window_opens_by_the_byte_is_given_up() {
    each_driver(Protocol::H2, |server, driver| {
        let mut peer = Peer::connect(server.address(), &[(4, 10)]);
        let message = [&[0][..], &100_000_u32.to_be_bytes(), &[7; 100_000]].concat();
        let pieces = message.chunks(16_384);
        let content = pieces.map(|piece| frame(DATA, 0, 1, piece)).collect::<Vec<_>>().concat();
        peer.send(&[call_head(1), content, frame(DATA, 1, 1, b"")].concat());
        let reader = peer.0.try_clone().expect("a socket");
        let (ended, end) = std::sync::mpsc::channel();
        let reading = std::thread::spawn(move || {
            let reset = Peer(reader).until(RST_STREAM, 1).expect("a reset");
            let _ = ended.send(());
            reset.payload
        });
        let late = Instant::now() + LONG;
        while end.recv_timeout(STEP).is_err() {
            assert!(Instant::now() < late, "{driver}: the reply is held for ever");
            peer.send(&frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()));
        }
        assert_eq!(reading.join().expect("a reset"), 8_u32.to_be_bytes(), "{driver}: CANCEL");
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
