//! The one message of a unary call on its way in, out of DATA frames that cut it anywhere.
//!
//! Short pieces are copied; a long piece is received straight into the message's buffer, which is lent for it.

use crate::wire::buffers::recv::RecvBuffer;
use crate::wire::grpc::{self, PREFIX_BYTES, Status};
use crate::wire::{Loan, Pool};

/// A message of which some has arrived.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    limit: usize,
    /// The head named a compression.
    encoded: bool,
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    /// Bytes of the message as its prefix announces them.
    announced: usize,
    message: RecvBuffer,
}

impl Incoming {
    /// A message of at most `limit` bytes.
    pub(crate) fn new(limit: usize, encoded: bool) -> Incoming {
        Incoming { limit, encoded, ..Incoming::default() }
    }

    /// Bytes of the message, once its prefix has arrived.
    pub(crate) fn announced(&self) -> Option<usize> {
        (self.prefix_len == PREFIX_BYTES).then_some(self.announced)
    }

    /// Nothing of it has arrived.
    pub(crate) fn is_untouched(&self) -> bool {
        self.prefix_len == 0
    }

    /// The head named a compression.
    pub(crate) fn is_encoded(&self) -> bool {
        self.encoded
    }

    /// Bytes still to come, as far as is known.
    pub(crate) fn remaining(&self) -> usize {
        self.announced - self.message.len().min(self.announced)
    }

    /// Takes the next bytes; true when they brought the end of the prefix.
    pub(crate) fn feed(&mut self, mut chunk: &[u8], pool: &mut Pool) -> Result<bool, Status> {
        let mut news = false;
        if self.prefix_len < PREFIX_BYTES {
            let taken = chunk.len().min(PREFIX_BYTES - self.prefix_len);
            self.prefix[self.prefix_len..][..taken].copy_from_slice(&chunk[..taken]);
            self.prefix_len += taken;
            chunk = &chunk[taken..];
            if self.prefix_len < PREFIX_BYTES {
                return Ok(false);
            }
            self.announced = grpc::message_len(&self.prefix, self.encoded, self.limit)?;
            self.message = RecvBuffer::new(self.announced, pool);
            news = true;
        }
        let remaining = self.remaining();
        if chunk.len() > remaining {
            return Err(grpc::second_message());
        }
        self.message.append(chunk, remaining);
        Ok(news)
    }

    /// Offers the buffer for up to `most` bytes, which are sure to belong to the message's frame.
    pub(crate) fn lend(&mut self, most: usize) -> Option<Loan> {
        let remaining = self.remaining();
        if self.prefix_len < PREFIX_BYTES || most > remaining {
            return None;
        }
        self.message.lend(remaining, most)
    }

    /// Takes the lent buffer back.
    pub(crate) fn repay(&mut self, buffer: Vec<u8>) {
        self.message.repay(buffer);
    }

    /// The message, once the body has ended; the buffer of one that is not whole goes to `pool`.
    pub(crate) fn finish(self, pool: &mut Pool) -> Result<RecvBuffer, Status> {
        let got = self.prefix_len + self.message.len();
        if self.prefix_len == PREFIX_BYTES && self.remaining() == 0 {
            return Ok(self.message);
        }
        pool.give(self.message.into_buffer());
        let announced = (self.prefix_len == PREFIX_BYTES).then_some(self.announced);
        Err(grpc::cut_short(got, announced))
    }

    /// Forgets the message.
    pub(crate) fn retire(self, pool: &mut Pool) {
        pool.give(self.message.into_buffer());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::grpc::Code;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&grpc::prefix(message.len() as u32)[..], message].concat()
    }

    #[test]
    fn a_message_may_be_cut_anywhere() {
        let body = framed(b"seven b");
        for cut in 0..=body.len() {
            let (mut message, mut pool) = (Incoming::new(100, false), Pool::default());
            let news = [&body[..cut], &body[cut..], b""].map(|c| message.feed(c, &mut pool));
            assert_eq!(news.iter().filter(|news| **news == Ok(true)).count(), 1);
            assert_eq!(message.announced(), Some(7));
            assert_eq!(message.finish(&mut pool).unwrap().bytes(), b"seven b");
        }
    }

    #[test]
    fn none_part_of_one_and_two_messages_are_internal() {
        let two = [framed(b"one"), framed(b"two")].concat();
        for body in [&b""[..], &[0, 0], &framed(b"one")[..7], &two] {
            let (mut message, mut pool) = (Incoming::new(100, false), Pool::default());
            let fed = message.feed(body, &mut pool).map(|_| ());
            let status = fed.and_then(|()| message.finish(&mut pool).map(|_| ())).unwrap_err();
            assert_eq!(status.code, Code::Internal, "{body:?}");
        }
    }

    #[test]
    fn a_long_piece_is_lent_and_an_announced_length_costs_little() {
        let (mut message, mut pool) = (Incoming::new(usize::MAX, false), Pool::default());
        assert!(message.lend(1).is_none(), "nothing is known yet");
        message.feed(&grpc::prefix(u32::MAX), &mut pool).unwrap();
        assert!(message.message.capacity() <= 64 * 1024);
        let mut got = 0;
        while got < 1_000_000 {
            let Loan { mut buffer, want } = message.lend(300_000).expect("it is long enough");
            assert!(buffer.capacity() - buffer.len() >= want && want <= 300_000);
            assert!(buffer.capacity() <= (2 * buffer.len()).max(64 * 1024) + 4096);
            buffer.resize(buffer.len() + want, 7);
            got += want;
            message.repay(buffer);
        }
        assert_eq!(message.remaining(), u32::MAX as usize - got);
        assert!(message.lend(u32::MAX as usize).is_none(), "a frame longer than the message");
    }
}
