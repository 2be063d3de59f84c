//! Borders of the frames that an HTTP/2 peer sends: whether it has begun a preface, a frame or a
//! header block that it owes the end of. Contents are not looked at, and errors are the stack's.

use crate::wire::h2::frame::{END_HEADERS, FrameHead, HEAD_BYTES, Kind, PREFACE};

#[derive(Debug)]
pub(super) struct Frames {
    preface_left: usize,
    /// Head of a frame as far as it has come.
    head: [u8; HEAD_BYTES],
    head_len: usize,
    payload_left: usize,
    /// The payload belongs to a message, which has a deadline of its own.
    is_data: bool,
    is_block: bool,
    /// Number of frames, where a header block counts as one.
    number: u64,
    bytes: u64,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            preface_left: PREFACE.len(),
            head: [0; HEAD_BYTES],
            head_len: 0,
            payload_left: 0,
            is_data: false,
            is_block: false,
            number: 0,
            bytes: 0,
        }
    }
}

impl Frames {
    pub(super) fn receive(&mut self, mut input: &[u8]) {
        self.bytes += input.len() as u64;
        input = skip(input, &mut self.preface_left);
        loop {
            input = skip(input, &mut self.payload_left);
            if input.is_empty() {
                return;
            }
            let taken = input.len().min(HEAD_BYTES - self.head_len);
            self.head[self.head_len..self.head_len + taken].copy_from_slice(&input[..taken]);
            self.head_len += taken;
            input = &input[taken..];
            if self.head_len == HEAD_BYTES {
                self.begin();
            }
        }
    }

    /// Returns the number of the frame or block of which the end has not come. The preface has 0.
    pub(super) fn head(&self) -> Option<u64> {
        if self.preface_left > 0 {
            return Some(0);
        }
        if self.is_block {
            return Some(self.number);
        }
        if self.head_len > 0 {
            return Some(self.number + 1);
        }
        (self.payload_left > 0 && !self.is_data).then_some(self.number)
    }

    /// Returns the number of all bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn begin(&mut self) {
        let head = FrameHead::read(&self.head);
        self.head_len = 0;
        self.payload_left = head.len;
        self.number += u64::from(!self.is_block);
        self.is_data = head.kind == Kind::Data;
        if matches!(head.kind, Kind::Headers | Kind::Continuation) {
            self.is_block = !head.has(END_HEADERS);
        }
    }
}

fn skip<'a>(input: &'a [u8], left: &mut usize) -> &'a [u8] {
    let skipped = input.len().min(*left);
    *left -= skipped;
    &input[skipped..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::h2::frame::head_bytes;

    fn frame(len: usize, kind: Kind, flags: u8) -> Vec<u8> {
        [&head_bytes(len, kind, flags, 1)[..], &vec![7; len]].concat()
    }

    /// Returns what is owed after each byte of `input`, without repetitions.
    fn owed(input: &[u8]) -> Vec<Option<u64>> {
        let mut frames = Frames::default();
        let mut owed: Vec<_> = input
            .iter()
            .map(|byte| {
                frames.receive(&[*byte]);
                frames.head()
            })
            .collect();
        owed.dedup();
        let mut whole = Frames::default();
        whole.receive(input);
        assert_eq!(Some(&whole.head()), owed.last(), "the cuts do not matter");
        assert_eq!(whole.bytes(), input.len() as u64);
        owed
    }

    #[test]
    fn each_frame_is_owed_until_its_end() {
        let pings = [frame(8, Kind::Ping, 0), frame(0, Kind::Settings, 1)].concat();
        let input = [PREFACE, &pings].concat();
        assert_eq!(owed(&input), [Some(0), None, Some(1), None, Some(2), None]);
    }

    #[test]
    fn a_header_block_is_owed_as_one() {
        let block = [
            frame(5, Kind::Headers, 0),
            frame(0, Kind::Continuation, 0),
            frame(3, Kind::Continuation, END_HEADERS),
        ];
        let input = [PREFACE, &block.concat(), &frame(2, Kind::Headers, END_HEADERS)].concat();
        assert_eq!(owed(&input), [Some(0), None, Some(1), None, Some(2), None]);
        let cut = [PREFACE, &block[..2].concat()].concat();
        assert_eq!(owed(&cut), [Some(0), None, Some(1)]);
    }

    #[test]
    fn content_is_not_owed_as_a_head() {
        let input = [PREFACE, &frame(1000, Kind::Data, 0)[..500]].concat();
        assert_eq!(owed(&input), [Some(0), None, Some(1), None]);
    }
}
