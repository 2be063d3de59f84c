//! Attackers: sockets that write anything, and say how the server took it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::frames::{ACK, HEADERS, PING, Peer, RST_STREAM, frame};

pub(crate) const GOAWAY: u8 = 7;

/// Time for a server to end what it does not bear; its timeouts are far shorter.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Pause between the bytes of a trickle.
pub(crate) const STEP: Duration = Duration::from_millis(50);

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(LONG)).expect("a positive timeout");
    stream.set_write_timeout(Some(LONG)).expect("a positive timeout");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// Closes with a reset, whatever has not been read.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
}

/// Reads until the end of the connection, and returns the beginning.
pub(crate) fn drain(stream: &mut TcpStream) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), [0; 64 * 1024]);
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        kept.extend_from_slice(&piece[..count.min(4096 - kept.len().min(4096))]);
    }
    kept
}

/// Sends a byte each step on every connection, until each has ended. Returns what was said.
pub(crate) fn trickle(mut streams: Vec<TcpStream>, byte: &[u8]) -> Vec<Vec<u8>> {
    let begun = Instant::now();
    let mut said = Vec::new();
    for stream in &streams {
        stream.set_nonblocking(true).expect("a socket");
    }
    while !streams.is_empty() && begun.elapsed() < LONG {
        streams.retain_mut(|stream| {
            // It fails once the server has closed.
            let _ = stream.write(byte);
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => true,
                result => {
                    said.push(piece[..result.unwrap_or(0)].to_vec());
                    false
                }
            }
        });
        std::thread::sleep(STEP);
    }
    said
}

/// Event of an HTTP/2 connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    GoAway(u32),
    Reset(u32),
    /// HEADERS, with their block.
    Head(Vec<u8>),
    Pong,
    Closed,
}

/// HTTP/2 attacker, whose reader is a thread.
pub(crate) struct Attacker {
    stream: TcpStream,
    said: Receiver<Said>,
}

impl Attacker {
    pub(crate) fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Attacker {
        let mut peer = Peer::connect(address, settings);
        let stream = peer.0.try_clone().expect("a socket");
        stream.set_write_timeout(Some(LONG)).expect("a positive timeout");
        let (told, said) = channel();
        std::thread::spawn(move || {
            while let Some(frame) = peer.next() {
                let word = |at: usize| {
                    let bytes = frame.payload.get(at..at + 4).map(|bytes| bytes.try_into());
                    u32::from_be_bytes(bytes.and_then(Result::ok).unwrap_or_default())
                };
                let event = match frame.kind {
                    GOAWAY => Said::GoAway(word(4)),
                    RST_STREAM => Said::Reset(word(0)),
                    HEADERS => Said::Head(frame.payload.clone()),
                    PING if frame.flags & ACK != 0 => Said::Pong,
                    _ => continue,
                };
                if told.send(event).is_err() {
                    return;
                }
            }
            let _ = told.send(Said::Closed);
        });
        Attacker { stream, said }
    }

    /// Returns false once the connection is gone.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends up to `count` pieces, until the server ends the connection.
    pub(crate) fn flood(mut self, count: usize, piece: impl Fn(u32) -> Vec<u8>) -> String {
        const PIECES_AT_ONCE: usize = 64;
        let mut at = 0;
        while at < count {
            let pieces = (at..count.min(at + PIECES_AT_ONCE)).map(|at| piece(at as u32));
            if !self.send(&pieces.collect::<Vec<_>>().concat()) {
                break;
            }
            at += PIECES_AT_ONCE;
        }
        self.send(&frame(PING, 0, 0, b"the last"));
        self.end(|said| *said == Said::Pong)
    }

    /// Returns an event that has come already.
    pub(crate) fn said_now(&self) -> Option<Said> {
        self.said.try_recv().ok()
    }

    /// Waits for the end of the connection or for a wanted event, and names it.
    pub(crate) fn end(&mut self, is_wanted: impl Fn(&Said) -> bool) -> String {
        let late = Instant::now() + LONG;
        loop {
            let left = late.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok(Said::GoAway(code)) => return format!("GOAWAY {code}"),
                Ok(Said::Closed) => return "closed".to_owned(),
                Ok(said) if is_wanted(&said) => return named(&said),
                Ok(_) => {}
                Err(_) => return format!("nothing in {} s", LONG.as_secs()),
            }
        }
    }
}

pub(crate) fn named(said: &Said) -> String {
    match said {
        Said::GoAway(code) => format!("GOAWAY {code}"),
        Said::Reset(code) => format!("RST_STREAM {code}"),
        Said::Head(block) => status(block),
        Said::Pong => "served on".to_owned(),
        Said::Closed => "closed".to_owned(),
    }
}

/// Names the status of a block of literals.
fn status(block: &[u8]) -> String {
    const NAME: &[u8] = b"grpc-status";
    let place = block.windows(NAME.len()).position(|window| window == NAME);
    let value = place.and_then(|at| {
        let rest = &block[at + NAME.len()..];
        let len = usize::from(rest.first()? & 0x7F);
        rest.get(1..=len)
    });
    match value {
        Some(value) => format!("status {}", String::from_utf8_lossy(value)),
        None => "a status in Huffman code".to_owned(),
    }
}
