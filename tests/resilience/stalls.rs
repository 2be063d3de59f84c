//! A peer that only seems to get on is given up, on any driver: frames that keep a connection
//! alive, an upload or other replies are no progress of a reply that stands still. Meanwhile the
//! replies of a connection have a bound.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ndecho::axis::{Driver, Family, Protocol};
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;

use crate::grpc::framed;
use crate::hosted;
use crate::http2::{
    ACK, DATA, END_STREAM, Frame, HEADERS, PING, Peer, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    call_head, frame,
};
use crate::server::{self, Running};

const SHORT: Duration = Duration::from_millis(400);

const STEP: Duration = Duration::from_millis(20);

/// Far above the time that a loaded machine needs.
const LONG: Duration = Duration::from_secs(20);

const MIB: usize = 1 << 20;

/// Runs `test` with every stack of gRPC on every driver, all stacks at once.
fn each_stack(limits: &Limits, test: impl Fn(&Running, Protocol, &str) + Sync) {
    std::thread::scope(|scope| {
        for protocol in hosted(Family::Grpc) {
            let test = &test;
            scope.spawn(move || {
                for driver in Driver::ALL {
                    let started = server::start(driver, protocol, CodecSet::own(), limits.clone());
                    let Some(server) = started else { continue };
                    test(&server, protocol, &format!("{driver}/{protocol}"));
                    server.stop();
                }
            });
        }
    });
}

/// Returns limits with a short time of a window.
fn short_window() -> Limits {
    // An own server looks first when the time of a body is over.
    let body_gap_timeout = 4 * SHORT;
    Limits { window_timeout: SHORT, body_gap_timeout, rate_min: 1000, ..Limits::default() }
}

/// Returns a whole call with a message of `len` bytes.
fn call(stream: u32, len: usize) -> Vec<u8> {
    let message = framed(&vec![7; len]);
    let frames = message.chunks(16_384).map(|piece| frame(DATA, 0, stream, piece));
    let content = frames.collect::<Vec<_>>().concat();
    [call_head(stream), content, frame(DATA, END_STREAM, stream, b"")].concat()
}

/// Sends a piece of `pieces` every `pause` until the server has given up stream 1 or closed.
fn assert_given_up(
    mut peer: Peer,
    pause: Duration,
    mut pieces: impl FnMut() -> Vec<u8>,
    named: &str,
) {
    let reader = peer.0.try_clone().expect("a socket");
    let (ended, end) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let _ = Peer(reader).until(RST_STREAM, 1);
        let _ = ended.send(());
    });
    let late = Instant::now() + LONG;
    while end.recv_timeout(pause).is_err() {
        assert!(Instant::now() < late, "{named}: it is kept for ever");
        // The server may have closed.
        let _ = peer.0.write_all(&pieces());
    }
    reading.join().expect("it reads to the end");
}

/// Returns the end of a PING and the first byte of the next one, time and again.
fn split_pings() -> impl FnMut() -> Vec<u8> {
    let ping = frame(PING, 0, 0, b"pingpong");
    let mut sent = 0;
    move || {
        let begin = std::mem::replace(&mut sent, 1);
        [&ping[begin..], &ping[..1]].concat()
    }
}

#[test]
fn split_pings_are_no_progress_of_a_closed_window() {
    each_stack(&short_window(), |server, _, named| {
        let mut peer = Peer::connect(server.address(), &[(4, 10)]);
        peer.send(&call(1, 50_000));
        assert_given_up(peer, SHORT / 2, split_pings(), named);
    });
}

#[test]
fn split_pings_do_not_keep_an_idle_connection_of_a_borrowed_stack() {
    let limits = Limits { idle_timeout: SHORT, ..Limits::default() };
    // An own connection gives up its place only once the places are full.
    each_stack(&limits, |server, protocol, named| {
        if protocol != Protocol::H2 {
            let peer = Peer::connect(server.address(), &[]);
            assert_given_up(peer, SHORT / 2, split_pings(), named);
        }
    });
}

#[test]
fn a_slow_upload_does_not_hide_a_closed_window() {
    each_stack(&short_window(), |server, _, named| {
        let mut peer = Peer::connect(server.address(), &[(4, 10)]);
        let upload = frame(DATA, 0, 3, &framed(&[7; 15_000]));
        let (begin, rest) = upload.split_at(100);
        peer.send(&[&call(1, 40_000), &call_head(3), begin].concat());
        let mut rest = rest.iter().copied();
        // 1500 bytes a second, for ten seconds.
        assert_given_up(peer, STEP, || rest.by_ref().take(30).collect(), named);
    });
}

#[test]
fn other_replies_do_not_hide_one_that_stalls() {
    each_stack(&short_window(), |server, _, named| {
        let mut peer = Peer::connect(server.address(), &[(4, 2000)]);
        peer.send(&call(1, 40_000));
        let window = frame(WINDOW_UPDATE, 0, 0, &2000_u32.to_be_bytes());
        let mut streams = (1..).map(|at| 2 * at + 1);
        let next = || [&window[..], &call(streams.next().expect("a stream"), 1000)].concat();
        assert_given_up(peer, STEP, next, named);
    });
}

#[test]
fn replies_that_no_window_takes_have_a_bound_in_a_borrowed_stack() {
    // The limit of unsent bytes, the largest window, and a message.
    const TAKEN_MAX: usize = (16 + 16 + 1) * MIB;
    each_stack(&Limits::default(), |server, protocol, named| {
        if protocol != Protocol::H2 {
            let mut caller = Caller::connect(server);
            let whole = (0..60).take_while(|at| caller.call(2 * at + 1)).count();
            assert!(caller.taken <= TAKEN_MAX, "{named}: {} MiB were taken", caller.taken / MIB);
            // The calls that wait for room go on with it.
            caller.open_windows();
            let is_end = |said: &Frame| said.kind == HEADERS && said.flags & END_STREAM > 0;
            let said = std::iter::from_fn(|| caller.peer.next());
            let answered = said.filter(is_end).take(whole).count();
            assert_eq!(answered, whole, "{named}: calls that were answered");
        }
    });
}

#[test]
fn an_upload_that_waits_for_room_is_not_given_up_for_that_time() {
    const GAP: Duration = Duration::from_secs(1);
    let limits = Limits { body_gap_timeout: GAP, ..Limits::default() };
    each_stack(&limits, |server, protocol, named| {
        if protocol != Protocol::H2 {
            let mut caller = Caller::connect(server);
            assert!((1..16).all(|at| caller.call(2 * at + 1)), "{named}: 15 MiB have room");
            let begun = &framed(b"message")[..6];
            caller.peer.send(&[call_head(1001), frame(DATA, 0, 1001, begun)].concat());
            caller.of_connection -= begun.len();
            assert!(caller.call(1003), "{named}: 16 MiB have room");
            std::thread::sleep(2 * GAP);
            // A little room, which does not fill the socket.
            caller.peer.send(&frame(WINDOW_UPDATE, 0, 3, &16_384_u32.to_be_bytes()));
            assert!(caller.peer.until(DATA, 3).is_some(), "{named}: a reply");
            caller.peer.send(&frame(DATA, END_STREAM, 1001, b"essage"));
            caller.open_windows();
            let said = std::iter::from_fn(|| caller.peer.next());
            let mut said = said.filter(|said| said.stream == 1001 && said.kind != WINDOW_UPDATE);
            let second = said.nth(1).unwrap_or_else(|| panic!("{named}: it was given up"));
            assert_eq!(second.payload, framed(b"message"), "{named}");
        }
    });
}

/// Peer that makes calls of 1 MiB, at first without a window for their replies.
struct Caller {
    peer: Peer,
    of_streams: usize,
    of_connection: usize,
    taken: usize,
}

impl Caller {
    fn connect(server: &Running) -> Caller {
        let mut peer = Peer::connect(server.address(), &[(4, 0)]);
        let settings = peer.until(SETTINGS, 0).expect("settings").payload;
        let mut of_streams = settings.chunks(6).filter(|pair| pair[..2] == [0, 4]);
        let of_streams = of_streams.next().map_or(65_535, |pair| number(&pair[2..]));
        peer.send(&frame(SETTINGS, ACK, 0, b""));
        peer.0.set_read_timeout(Some(Duration::from_secs(3))).expect("a positive timeout");
        Caller { peer, of_streams, of_connection: 65_535, taken: 0 }
    }

    /// Makes a call. Returns false if the server does not take all of it for a while.
    fn call(&mut self, stream: u32) -> bool {
        let (mut of_stream, message) = (self.of_streams, framed(&vec![7; MIB]));
        let mut rest = &message[..];
        self.peer.send(&call_head(stream));
        while !rest.is_empty() {
            let len = rest.len().min(16_384).min(of_stream).min(self.of_connection);
            if len > 0 {
                let (piece, next) = rest.split_at(len);
                let flags = if next.is_empty() { END_STREAM } else { 0 };
                self.peer.send(&frame(DATA, flags, stream, piece));
                (of_stream, self.of_connection) = (of_stream - len, self.of_connection - len);
                (self.taken, rest) = (self.taken + len, next);
                continue;
            }
            let Some(said) = self.peer.next() else { return false };
            if said.kind == WINDOW_UPDATE && said.stream == 0 {
                self.of_connection += number(&said.payload);
            } else if said.kind == WINDOW_UPDATE && said.stream == stream {
                of_stream += number(&said.payload);
            }
        }
        true
    }

    fn open_windows(&mut self) {
        let room = i32::MAX as u32;
        let of_streams = [&[0, 4][..], &room.to_be_bytes()].concat();
        let of_connection = frame(WINDOW_UPDATE, 0, 0, &(room - 65_535).to_be_bytes());
        self.peer.send(&[frame(SETTINGS, 0, 0, &of_streams), of_connection].concat());
        self.peer.0.set_read_timeout(Some(LONG)).expect("a positive timeout");
    }
}

fn number(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes.try_into().expect("four bytes")) as usize
}

#[test]
fn a_late_preface_is_a_fault_of_the_peer() {
    let limits = Limits { head_timeout: SHORT, ..Limits::default() };
    each_stack(&limits, |server, _, named| {
        let mut silent = TcpStream::connect(server.address()).expect("it listens");
        silent.write_all(b"PRI * HT").expect("room");
        // A reset is an end as well.
        let _ = silent.read_to_end(&mut Vec::new());
        let late = Instant::now() + LONG;
        while server.counts().peer_faults.get() == 0 {
            assert!(Instant::now() < late, "{named}: it is not counted");
            std::thread::sleep(STEP);
        }
    });
}
