//! A message on its way out, as far as windows and frame size allow.
//!
//! ```text
//! pieces:   [ prefix, head ][ payload ................................ ][ tail ]
//! frames:   |9|------------ frame size ------------|9|--------------------------|9| trailers
//! outbox:   [ edge ][ payload ......... ][ edge ][ payload ............ ][ edge .......... ]
//! ```
//! Long pieces are sent from where they lie; frame heads, short pieces and trailers between them are ranges of one
//! buffer for each send (the edge), so that a long message costs one small buffer and not one for each frame.

use std::ops::Range;
use std::rc::Rc;

use crate::wire::h2::frame::{END_STREAM, HEAD_BYTES, Kind, head_bytes};
use crate::wire::{Outbox, Pool};

/// A piece of a frame at least this long is sent from where it lies; copying a shorter one costs less than a slot of
/// its own in the vectored write.
const SHARE_BYTES_MIN: usize = 4 * 1024;

/// A message of which some is not sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// What is not sent, first piece first.
    pieces: Vec<Piece>,
    left: usize,
    /// The frame behind the last DATA frame, which then ends the stream; empty when the last DATA frame does.
    trailers: &'static [u8],
}

#[derive(Debug)]
struct Piece {
    bytes: Rc<Vec<u8>>,
    range: Range<usize>,
}

/// What a send consists of, in order.
enum Cut<'a> {
    Edge(&'a [u8]),
    Piece(&'a Rc<Vec<u8>>, Range<usize>),
}

impl Outgoing {
    /// An empty message. `trailers` is a HEADERS payload that ends the stream, or empty.
    pub(crate) fn new(trailers: &'static [u8]) -> Outgoing {
        Outgoing { pieces: Vec::new(), left: 0, trailers }
    }

    /// Appends a piece, which may be empty.
    pub(crate) fn push(&mut self, bytes: Rc<Vec<u8>>, range: Range<usize>) {
        if !range.is_empty() {
            self.left += range.len();
            self.pieces.push(Piece { bytes, range });
        }
    }

    /// Bytes not sent.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Sends `bytes` of it on `stream`, in frames of at most `frame_max`, and what ends the stream once nothing is
    /// left.
    pub(crate) fn send(
        &mut self,
        stream: u32,
        bytes: usize,
        frame_max: usize,
        out: &mut Outbox,
        pool: &mut Pool,
    ) {
        let frames = bytes.div_ceil(frame_max).max(1);
        let edge_hint = (frames + 1) * HEAD_BYTES + self.trailers.len();
        if bytes < SHARE_BYTES_MIN {
            out.compose(edge_hint + bytes, pool, |buffer| {
                self.frames(stream, bytes, frame_max, |cut| match cut {
                    Cut::Edge(bytes) => buffer.extend_from_slice(bytes),
                    Cut::Piece(bytes, range) => buffer.extend_from_slice(&bytes[range]),
                });
            });
        } else {
            self.send_shared(stream, bytes, frame_max, edge_hint, out, pool);
        }
        self.forget_sent(pool);
    }

    fn send_shared(
        &mut self,
        stream: u32,
        bytes: usize,
        frame_max: usize,
        edge_hint: usize,
        out: &mut Outbox,
        pool: &mut Pool,
    ) {
        let mut edge = pool.take(edge_hint + 2 * SHARE_BYTES_MIN);
        let mut shares: Vec<(usize, Rc<Vec<u8>>, Range<usize>)> = Vec::new();
        self.frames(stream, bytes, frame_max, |cut| match cut {
            Cut::Edge(bytes) => edge.extend_from_slice(bytes),
            Cut::Piece(bytes, range) if range.len() < SHARE_BYTES_MIN => {
                edge.extend_from_slice(&bytes[range]);
            }
            Cut::Piece(bytes, range) => shares.push((edge.len(), Rc::clone(bytes), range)),
        });
        let (edge, mut from) = (Rc::new(edge), 0);
        for (to, bytes, range) in shares {
            out.share(Rc::clone(&edge), from..to, pool);
            out.share(bytes, range, pool);
            from = to;
        }
        let to = edge.len();
        out.share(edge, from..to, pool);
    }

    /// Cuts the next `bytes` into frames.
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
            let last = self.left == 0;
            let flags = if last && self.trailers.is_empty() { END_STREAM } else { 0 };
            emit(Cut::Edge(&head_bytes(len, Kind::Data, flags, stream)));
            let mut missing = len;
            while missing > 0
                && let Some(Piece { bytes, range }) = &mut piece
            {
                let taken = missing.min(range.len());
                emit(Cut::Piece(bytes, range.start..range.start + taken));
                range.start += taken;
                missing -= taken;
                if range.start == range.end {
                    piece = pieces.next();
                }
            }
            if unframed == 0 {
                if last && !self.trailers.is_empty() {
                    let flags = END_STREAM | crate::wire::h2::frame::END_HEADERS;
                    emit(Cut::Edge(&head_bytes(self.trailers.len(), Kind::Headers, flags, stream)));
                    emit(Cut::Edge(self.trailers));
                }
                return;
            }
        }
    }

    fn forget_sent(&mut self, pool: &mut Pool) {
        let sent = self.pieces.iter().take_while(|piece| piece.range.is_empty()).count();
        self.pieces.drain(..sent).for_each(|piece| piece.retire(pool));
    }

    /// Forgets what is not sent.
    pub(crate) fn retire(self, pool: &mut Pool) {
        self.pieces.into_iter().for_each(|piece| piece.retire(pool));
    }
}

impl Piece {
    /// The last holder gives the buffer back.
    fn retire(self, pool: &mut Pool) {
        if let Ok(buffer) = Rc::try_unwrap(self.bytes) {
            pool.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::wire::Batch;

    fn drained(out: &mut Outbox, pool: &mut Pool) -> (Vec<u8>, usize) {
        let (mut batch, mut sent, mut pieces) = (Batch::default(), Vec::new(), 0);
        out.take(&mut batch);
        while !batch.is_empty() {
            let mut slots = [IoSlice::new(&[]); 8];
            let filled = batch.slices(&mut slots);
            let len = slots[..filled].iter().map(|slot| slot.len()).sum();
            slots[..filled].iter().for_each(|slot| sent.extend_from_slice(slot));
            pieces += filled;
            batch.advance(len, pool);
        }
        (sent, pieces)
    }

    fn message(sizes: &[usize], trailers: &'static [u8]) -> (Outgoing, Vec<u8>) {
        let (mut outgoing, mut whole) = (Outgoing::new(trailers), Vec::new());
        for &size in sizes {
            let piece: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            whole.extend_from_slice(&piece);
            let framed = [b"..", &piece[..], b"."].concat();
            outgoing.push(Rc::new(framed), 2..2 + size);
        }
        (outgoing, whole)
    }

    /// Contents of DATA frames, and whether the stream was ended.
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
                    let (mut out, mut pool) = (Outbox::default(), Pool::default());
                    loop {
                        let bytes = outgoing.left().min(step);
                        outgoing.send(5, bytes, frame_max, &mut out, &mut pool);
                        if outgoing.left() == 0 {
                            break;
                        }
                    }
                    let (sent, _) = drained(&mut out, &mut pool);
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
        let (mut outgoing, _) = message(&[10, 1 << 20, 10], b"trailers");
        let (mut out, mut pool) = (Outbox::default(), Pool::default());
        let left = outgoing.left();
        outgoing.send(5, left, 1 << 24, &mut out, &mut pool);
        outgoing.retire(&mut pool);
        let (_, pieces) = drained(&mut out, &mut pool);
        assert_eq!(pieces, 3);
        assert!(pool.idle_bytes() > 1 << 20, "the payload's buffer is kept");
    }
}
