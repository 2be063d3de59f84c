//! Opening a stream of the client half and sending its request.
//!
//! A request that fits its windows leaves as one HEADERS and one DATA frame behind what is in the outbox, and nothing
//! of it is kept; of a longer one the stream keeps the rest, and `send.rs` sends it as windows open.
//!
//! RFC 9113 section 8.1; `doc/PROTOCOL-HTTP2.md` of the gRPC project.

use std::rc::Rc;

use crate::wire::grpc::{self, PREFIX_BYTES};
use crate::wire::h2::client::{Call, Caller};
use crate::wire::h2::connection::Connection;
use crate::wire::h2::connection::outgoing::Outgoing;
use crate::wire::h2::connection::streams::Stream;
use crate::wire::h2::flow::{ReceiveWindow, SendWindow};
use crate::wire::h2::frame::{END_HEADERS, END_STREAM, HEAD_BYTES, Kind, head_bytes};
use crate::wire::{Context, Part};

/// Bytes of a request around its message, about.
const AROUND_BYTES: usize = 256;

impl Connection<Caller> {
    /// Opens a stream and sends as much of a request as the windows allow.
    pub(crate) fn start(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>) {
        let stream = self.open_stream(id, cx);
        let len = PREFIX_BYTES + parts.iter().map(Part::len).sum::<usize>();
        let window = SendWindow::new(self.peer.initial_window_size).available();
        let window = window.min(self.send.available()).min(self.peer.max_frame_size as usize);
        if len > window {
            self.write_head(stream, 0, cx, |_| {});
            self.queue(stream, outgoing(parts), cx);
            return;
        }
        let (first, rest) = match parts {
            [Part::Copy(first), rest @ ..] => (*first, rest),
            _ => (&[][..], parts),
        };
        self.write_head(stream, first.len(), cx, |out| {
            out.extend_from_slice(&head_bytes(len, Kind::Data, END_STREAM, stream));
            out.extend_from_slice(&grpc::prefix((len - PREFIX_BYTES) as u32));
            out.extend_from_slice(first);
        });
        cx.out.parts(rest, cx.pool);
        self.send.spend(len);
    }

    fn open_stream(&mut self, id: u32, cx: &Context<'_>) -> u32 {
        let stream = self.side.next;
        self.side.next += 2;
        self.closed.opened(stream);
        self.streams.insert(Stream {
            id: stream,
            remote_open: true,
            incoming: None,
            outgoing: None,
            queued: false,
            send: SendWindow::new(self.peer.initial_window_size),
            receive: ReceiveWindow::new(self.side.window),
            content_length: None,
            content: 0,
            reserved: 0,
            charge: 0,
            deadline: None,
            touched: cx.now,
            data: Call { id, answered: false, failure: None },
        });
        stream
    }

    /// Writes the HEADERS frame of a request and what `more` appends, which are `bytes` and what stands around them.
    fn write_head(
        &mut self,
        stream: u32,
        bytes: usize,
        cx: &mut Context<'_>,
        more: impl FnOnce(&mut Vec<u8>),
    ) {
        let block = &mut self.side.block;
        cx.out.compose(AROUND_BYTES + bytes, cx.pool, |out| {
            let at = out.len();
            out.extend_from_slice(&[0; HEAD_BYTES]);
            block.write(out);
            let len = out.len() - at - HEAD_BYTES;
            let head = head_bytes(len, Kind::Headers, END_HEADERS, stream);
            out[at..at + HEAD_BYTES].copy_from_slice(&head);
            more(out);
        });
    }

    /// Gives a stream its request, to be sent as windows open.
    fn queue(&mut self, stream: u32, outgoing: Outgoing, cx: &mut Context<'_>) {
        self.hold(stream, outgoing, cx);
        while self.send_ready(cx).is_some() {}
    }
}

/// A request's message to be sent in pieces.
fn outgoing(parts: &[Part<'_>]) -> Outgoing {
    let len: usize = parts.iter().map(Part::len).sum();
    let mut outgoing = Outgoing::new(b"");
    let mut copied = grpc::prefix(len as u32).to_vec();
    for part in parts {
        match part {
            Part::Copy(bytes) => copied.extend_from_slice(bytes),
            Part::Share(bytes, range) => {
                let before = std::mem::take(&mut copied);
                let all = 0..before.len();
                outgoing.push(Rc::new(before), all);
                outgoing.push(Rc::clone(bytes), range.clone());
            }
        }
    }
    let all = 0..copied.len();
    outgoing.push(Rc::new(copied), all);
    outgoing
}
