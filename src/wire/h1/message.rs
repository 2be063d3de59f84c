//! The body of an HTTP/1.1 message on its way in, of a length told at once or chunk by chunk.

use super::chunked::{Chunked, Next};
use super::encode::Status;
use super::fields::{Fault, Framing};
use crate::wire::buffers::body::Body;
use crate::wire::buffers::recv::RecvBuffer;
use crate::wire::{Loan, Pool};

/// A body on its way in.
#[derive(Debug)]
pub(super) struct Message {
    body: Body,
    chunked: Option<Chunked>,
    ended: bool,
    limit: usize,
}

impl Message {
    /// A body framed by `framing`, of no more than `limit` bytes; an announced length is within it already.
    pub(super) fn new(framing: Framing, limit: usize, pool: &mut Pool) -> Message {
        let (len, chunked) = match framing {
            Framing::None => (0, None),
            Framing::Length(len) => (usize::try_from(len).unwrap_or(usize::MAX).min(limit), None),
            Framing::Chunked => (0, Some(Chunked::default())),
        };
        let ended = chunked.is_none() && len == 0;
        Message { body: Body::new(len, pool), chunked, ended, limit }
    }

    /// True once it is whole.
    pub(super) fn is_whole(&self) -> bool {
        self.ended
    }

    /// Takes what belongs to it from the front of `input` and returns what does not.
    pub(super) fn take<'a>(&mut self, mut input: &'a [u8]) -> Result<&'a [u8], Fault> {
        while !self.ended && !input.is_empty() {
            input = &input[self.body.take(input)..];
            if self.body.remaining() > 0 {
                break;
            }
            let Some(chunked) = &mut self.chunked else {
                self.ended = true;
                break;
            };
            let (read, next) = chunked.advance(input)?;
            input = &input[read..];
            match next {
                Next::More => {}
                Next::Data(len) => self.expect(len)?,
                Next::End => self.ended = true,
            }
        }
        Ok(input)
    }

    fn expect(&mut self, len: u64) -> Result<(), Fault> {
        let room = self.limit - self.body.len();
        let len = usize::try_from(len).ok().filter(|len| *len <= room);
        let what = "the body is over the limit";
        self.body.expect(len.ok_or(Fault { status: Status::TooLarge, what })?);
        Ok(())
    }

    /// Offers the buffer for a direct receive.
    pub(super) fn lend(&mut self) -> Option<Loan> {
        self.body.lend()
    }

    /// Takes the lent buffer back; returns how many bytes it gained.
    pub(super) fn repay(&mut self, buffer: Vec<u8>) -> usize {
        let gained = self.body.repay(buffer);
        self.ended = self.chunked.is_none() && self.body.remaining() == 0;
        gained
    }

    /// What has arrived.
    pub(super) fn into_gathered(self) -> RecvBuffer {
        self.body.into_gathered()
    }
}

/// The body of a refused request, swallowed so that the connection stays in step.
#[derive(Debug)]
pub(super) struct Skip {
    /// Bytes to swallow before the framing is read on.
    left: u64,
    chunked: Option<Chunked>,
    /// Bytes that may still be announced.
    allowance: u64,
}

impl Skip {
    /// A body framed by `framing`, or `None` when it is not worth swallowing more than `allowance` bytes.
    pub(super) fn new(framing: Framing, allowance: u64) -> Option<Skip> {
        let (left, chunked) = match framing {
            Framing::None => (0, None),
            Framing::Length(len) => (len, None),
            Framing::Chunked => (0, Some(Chunked::default())),
        };
        Some(Skip { left, chunked, allowance: allowance.checked_sub(left)? })
    }

    /// True once all is swallowed.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.chunked.is_none()
    }

    /// Swallows the front of `input` and returns the rest; a fault when it is more than was allowed.
    pub(super) fn take<'a>(&mut self, mut input: &'a [u8]) -> Result<&'a [u8], Fault> {
        while !self.is_done() && !input.is_empty() {
            let now = input.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            input = &input[now..];
            self.left -= now as u64;
            if let Some(chunked) = &mut self.chunked
                && self.left == 0
            {
                let (read, next) = chunked.advance(input)?;
                input = &input[read..];
                match next {
                    Next::More => {}
                    Next::Data(len) => {
                        let what = "the body of a refused request is too long";
                        let over = Fault { status: Status::TooLarge, what };
                        self.allowance = self.allowance.checked_sub(len).ok_or(over)?;
                        self.left = len;
                    }
                    Next::End => self.chunked = None,
                }
            }
        }
        Ok(input)
    }
}
