//! A message on its way out, as far as windows and frame size allow.
//!
//! ```text
//! pieces:   [ prefix, head ][ payload ................................ ][ tail ]
//! frames:   |9|------------ frame size ------------|9|--------------------------|9| trailers
//! outbox:   [ edge ][ payload ......... ][ edge ][ payload ............ ][ edge .......... ]
//! ```
//! Long pieces are sent from their own buffers. All bytes between them are ranges of one buffer for
//! each send (the edge), so a long message costs one small buffer.

use std::borrow::Cow;

use bytes::Buf as _;

use crate::wire::h2::frame::{END_HEADERS, END_STREAM, HEAD_BYTES, Kind, head_bytes};
use crate::wire::{Outbox, Pool, Slice};

/// Shortest part of a frame in its own buffer: a copy of less is cheaper than a write's slot.
const SHARE_BYTES_MIN: usize = 4 * 1024;

const PIECES: usize = 3;

#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Unsent pieces in order; those in front may be empty until the end of a send.
    pieces: Vec<Slice>,
    left: usize,
    end: End,
}

#[derive(Debug)]
enum End {
    Open,
    Data,
    Trailers(Cow<'static, [u8]>),
}

enum Cut<'a> {
    Edge(&'a [u8]),
    /// First bytes of a piece; the receiver of the cut takes them off.
    Piece(&'a mut Slice, usize),
}

impl Outgoing {
    /// Makes an empty message, which `trailers` end, or the last DATA frame without them.
    pub(crate) fn new(trailers: &'static [u8]) -> Outgoing {
        let end = if trailers.is_empty() { End::Data } else { End::Trailers(trailers.into()) };
        Outgoing { pieces: Vec::with_capacity(PIECES), left: 0, end }
    }

    /// Makes an empty stream of messages.
    pub(crate) fn open() -> Outgoing {
        Outgoing { pieces: Vec::new(), left: 0, end: End::Open }
    }

    pub(crate) fn finish(&mut self, trailers: Cow<'static, [u8]>) {
        self.end = End::Trailers(trailers);
    }

    /// Puts `first` in front of the trailers; returns false if there are none.
    pub(super) fn begin_trailers(&mut self, first: u8) -> bool {
        let End::Trailers(trailers) = &mut self.end else { return false };
        trailers.to_mut().insert(0, first);
        true
    }

    /// Returns true if nothing is left to send now, and more may follow.
    pub(crate) fn is_idle(&self) -> bool {
        self.left == 0 && matches!(self.end, End::Open)
    }

    pub(crate) fn push(&mut self, piece: Slice) {
        if !piece.is_empty() {
            self.left += piece.len();
            self.pieces.push(piece);
        }
    }

    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Sends `bytes` in frames of at most `frame_max`, and the stream's end after the last byte.
    pub(crate) fn send(
        &mut self,
        stream: u32,
        bytes: usize,
        frame_max: usize,
        out: &mut Outbox,
        pool: &Pool,
    ) {
        let frames = bytes.div_ceil(frame_max).max(1);
        let edge_hint = (frames + 1) * HEAD_BYTES + self.trailers().len();
        if bytes < SHARE_BYTES_MIN {
            out.compose(edge_hint + bytes, pool, |buffer| {
                self.frames(stream, bytes, frame_max, |cut| cut.copy_to(buffer));
            });
        } else {
            self.send_shared(stream, bytes, frame_max, edge_hint, out, pool);
        }
        let sent = self.pieces.iter().take_while(|piece| piece.is_empty()).count();
        self.pieces.drain(..sent);
    }

    fn send_shared(
        &mut self,
        stream: u32,
        bytes: usize,
        frame_max: usize,
        edge_hint: usize,
        out: &mut Outbox,
        pool: &Pool,
    ) {
        let mut edge = pool.take(edge_hint + 2 * SHARE_BYTES_MIN);
        let mut shares: Vec<(usize, Slice)> = Vec::with_capacity(bytes.div_ceil(frame_max));
        self.frames(stream, bytes, frame_max, |cut| match cut {
            Cut::Piece(piece, count) if count >= SHARE_BYTES_MIN => {
                shares.push((edge.len(), piece.split_to(count)));
            }
            cut => cut.copy_to(&mut edge),
        });
        let (mut edge, mut from) = (Slice::from(edge), 0);
        for (to, share) in shares {
            out.push(edge.split_to(to - from));
            out.push(share);
            from = to;
        }
        out.push(edge);
    }

    fn trailers(&self) -> &[u8] {
        match &self.end {
            End::Open | End::Data => &[],
            End::Trailers(trailers) => trailers,
        }
    }

    fn frames(
        &mut self,
        stream: u32,
        bytes: usize,
        frame_max: usize,
        mut emit: impl FnMut(Cut<'_>),
    ) {
        let mut unframed = bytes;
        let mut pieces = self.pieces.iter_mut();
        let mut piece = pieces.next();
        loop {
            let len = unframed.min(frame_max);
            unframed -= len;
            self.left -= len;
            let flags = match self.end {
                End::Data if self.left == 0 => END_STREAM,
                _ => 0,
            };
            if len > 0 || flags > 0 {
                emit(Cut::Edge(&head_bytes(len, Kind::Data, flags, stream)));
            }
            let mut missing = len;
            while missing > 0
                && let Some(first) = &mut piece
            {
                let taken = missing.min(first.len());
                emit(Cut::Piece(first, taken));
                missing -= taken;
                if first.is_empty() {
                    piece = pieces.next();
                }
            }
            if unframed == 0 {
                if let End::Trailers(trailers) = &self.end
                    && self.left == 0
                {
                    let flags = END_STREAM | END_HEADERS;
                    emit(Cut::Edge(&head_bytes(trailers.len(), Kind::Headers, flags, stream)));
                    emit(Cut::Edge(trailers));
                }
                return;
            }
        }
    }
}

impl Cut<'_> {
    fn copy_to(self, buffer: &mut Vec<u8>) {
        match self {
            Cut::Edge(bytes) => buffer.extend_from_slice(bytes),
            Cut::Piece(piece, count) => {
                buffer.extend_from_slice(&piece.as_ref()[..count]);
                piece.advance(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::wire::Batch;

    fn drained(out: &mut Outbox) -> (Vec<u8>, usize) {
        let (mut batch, mut sent, mut pieces) = (Batch::default(), Vec::new(), 0);
        out.take(&mut batch);
        while !batch.is_empty() {
            let mut slots = [IoSlice::new(&[]); 8];
            let filled = batch.slices(&mut slots);
            let len = slots[..filled].iter().map(|slot| slot.len()).sum();
            slots[..filled].iter().for_each(|slot| sent.extend_from_slice(slot));
            pieces += filled;
            batch.advance(len);
        }
        (sent, pieces)
    }

    fn message(sizes: &[usize], trailers: &'static [u8]) -> (Outgoing, Vec<u8>) {
        let (mut outgoing, mut whole) = (Outgoing::new(trailers), Vec::new());
        for &size in sizes {
            let piece: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            whole.extend_from_slice(&piece);
            let framed = [b"..", &piece[..], b"."].concat();
            outgoing.push(Slice::new(Pool::default().adopt(framed), 2..2 + size));
        }
        (outgoing, whole)
    }

    fn parse(mut bytes: &[u8], frame_max: usize) -> (Vec<u8>, bool) {
        use crate::wire::h2::frame::FrameHead;
        let (mut content, mut ended) = (Vec::new(), false);
        while let Some((head, rest)) = bytes.split_first_chunk() {
            let head = FrameHead::read(head);
            assert!(!ended && head.len <= frame_max && head.stream == 5);
            let (payload, rest) = rest.split_at(head.len);
            if head.kind == Kind::Data {
                content.extend_from_slice(payload);
            } else {
                assert_eq!(payload, b"trailers");
            }
            ended = head.has(END_STREAM);
            bytes = rest;
        }
        (content, ended)
    }

    #[test]
    fn any_cut_of_any_message_arrives_whole() {
        for sizes in [&[][..], &[0, 5], &[7, 100_000, 20], &[3, 5000, 5000], &[50_000]] {
            for (step, frame_max) in
                [(1 << 30, 16_384), (40_000, 16_384), (999, 100), (1 << 30, 1 << 20)]
            {
                for trailers in [&b""[..], b"trailers"] {
                    let (mut outgoing, whole) = message(sizes, trailers);
                    let (mut out, pool) = (Outbox::default(), Pool::default());
                    loop {
                        let bytes = outgoing.left().min(step);
                        outgoing.send(5, bytes, frame_max, &mut out, &pool);
                        if outgoing.left() == 0 {
                            break;
                        }
                    }
                    let (sent, _) = drained(&mut out);
                    assert!(
                        parse(&sent, frame_max) == (whole, true),
                        "{sizes:?} {step} {frame_max}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_long_message_is_not_copied_and_its_buffers_come_back() {
        let (mut out, pool) = (Outbox::default(), Pool::default());
        let mut outgoing = Outgoing::new(b"trailers");
        outgoing.push(Slice::from(vec![1; 10]));
        outgoing.push(Slice::from(pool.adopt(vec![2; 1 << 20])));
        outgoing.push(Slice::from(vec![3; 10]));
        let left = outgoing.left();
        outgoing.send(5, left, 1 << 24, &mut out, &pool);
        drop(outgoing);
        let (_, pieces) = drained(&mut out);
        assert_eq!(pieces, 3);
        assert!(pool.idle_bytes() > 1 << 20, "the payload's buffer is kept");
    }
}
