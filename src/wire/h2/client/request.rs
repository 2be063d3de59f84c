//! Requests: each opens a stream and sends its message.
//!
//! A request that fits its windows leaves as one HEADERS and one DATA frame, and nothing of it is
//! kept. The send queue sends the rest of a longer one as windows open. RFC 9113 section 8.1.

use std::rc::Rc;

use super::H2Client;
use super::state::Call;
use crate::axis::Coding;
use crate::wire::grpc::{self, COMPRESSED, PREFIX_BYTES};
use crate::wire::h2::connection::outgoing::Outgoing;
use crate::wire::h2::frame::{END_HEADERS, END_STREAM, HEAD_BYTES, Kind, head_bytes};
use crate::wire::progress::Progress;
use crate::wire::{Context, Part, Slice};

const AROUND_BYTES: usize = 256;

impl H2Client {
    pub(super) fn start(&mut self, id: u32, parts: &[Part<'_>], cx: &mut Context<'_>) {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.connection.history.open(stream);
        let window = self.connection.peer.initial_window_size;
        let progress = Progress::start(self.connection.limits.body_pace(), cx.now);
        let opened = self.connection.streams.open(stream, progress);
        opened.inbound.open(self.window, None, None);
        opened.outbound.open(window);
        opened.data = Call { id, has_head: false, failure: None };
        let len = PREFIX_BYTES + parts.iter().map(Part::len).sum::<usize>();
        let bytes_max = self.connection.send.available().min(window as usize);
        if len > bytes_max.min(self.connection.peer.max_frame_size as usize) {
            self.write_head(stream, 0, cx, |_| {});
            self.connection.enqueue(stream, outgoing(parts, self.coding), cx);
            return self.flush(cx);
        }
        let prefix = prefix(len - PREFIX_BYTES, self.coding);
        let (first, rest) = match parts {
            [Part::Copy(first), rest @ ..] => (*first, rest),
            _ => (&[][..], parts),
        };
        self.write_head(stream, first.len(), cx, |out| {
            out.extend_from_slice(&head_bytes(len, Kind::Data, END_STREAM, stream));
            out.extend_from_slice(&prefix);
            out.extend_from_slice(first);
        });
        cx.out.parts(rest, cx.pool);
        self.connection.send.spend(len);
    }

    /// Writes the HEADERS frame and what `more` appends, about `bytes` in all.
    fn write_head(
        &mut self,
        stream: u32,
        bytes: usize,
        cx: &mut Context<'_>,
        more: impl FnOnce(&mut Vec<u8>),
    ) {
        let block = &mut self.block;
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

    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        while self.connection.send_next(cx).is_some() {}
    }
}

/// Returns the prefix of a message of `len` bytes, as far as HTTP/2 can frame it.
fn prefix(len: usize, coding: Coding) -> [u8; PREFIX_BYTES] {
    let mut prefix = grpc::prefix(len as u32);
    if coding != Coding::Identity {
        prefix[0] = COMPRESSED;
    }
    prefix
}

fn outgoing(parts: &[Part<'_>], coding: Coding) -> Outgoing {
    let len: usize = parts.iter().map(Part::len).sum();
    let mut outgoing = Outgoing::new(b"");
    let mut copied = prefix(len, coding).to_vec();
    for part in parts {
        match part {
            Part::Copy(bytes) => copied.extend_from_slice(bytes),
            Part::Share(bytes, range) => {
                outgoing.push(Slice::from(std::mem::take(&mut copied)));
                outgoing.push(Slice::shared(Rc::clone(bytes), range.clone()));
            }
        }
    }
    outgoing.push(Slice::from(copied));
    outgoing
}
