//! HTTP/2 peer that writes its frames by hand, each byte when the test says so.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Peer(pub(crate) TcpStream);

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Returns the HEADERS of a call with content.
pub(crate) fn call_head(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &call_block())
}

/// Returns the HEADERS of a call of the method at `path`, with content of this type.
pub(crate) fn head_to(stream: u32, path: &str, content_type: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(path, content_type))
}

/// Returns the header block of a call.
pub(crate) fn call_block() -> Vec<u8> {
    block("/Calculator/Echo", "application/grpc+reflect")
}

fn block(path: &str, content_type: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (index, value) in [(0x04, path), (0x01, "test")] {
        block.extend([&[index, value.len() as u8], value.as_bytes()].concat());
    }
    let value = [&[0x0F, 0x10, content_type.len() as u8][..], content_type.as_bytes()];
    block.extend(value.concat());
    block
}

impl Peer {
    /// Connects with these settings.
    pub(crate) fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Peer {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a positive timeout");
        stream.set_nodelay(true).expect("a TCP socket");
        let pairs = settings.iter();
        let pairs =
            pairs.flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        let mut peer = Peer(stream);
        peer.send(PREFACE);
        peer.send(&frame(SETTINGS, 0, 0, &pairs.collect::<Vec<u8>>()));
        peer
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server reads");
    }

    /// Reads the next frame; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads up to the first frame of `kind` on `stream`.
    pub(crate) fn until(&mut self, kind: u8, stream: u32) -> Option<Frame> {
        std::iter::from_fn(|| self.next())
            .find(|frame| frame.kind == kind && frame.stream == stream)
    }
}
