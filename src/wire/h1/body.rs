//! Body of an HTTP/1.1 message on its way in, with one length or in chunks.

use http::StatusCode;

use super::chunked::{Chunked, Next};
use super::fields::{Fault, Framing};
use crate::wire::buffers::{Loan, Pool, PooledBuf, SizedBody, Slice};

#[derive(Debug)]
pub(super) struct Body {
    received: SizedBody,
    chunked: Option<Chunked>,
    ended: bool,
    limit: usize,
}

impl Body {
    /// Starts a body of no more than `limit` bytes; an announced length is within it already.
    pub(super) fn new(framing: Framing, limit: usize) -> Body {
        let (len, chunked) = match framing {
            Framing::None => (0, None),
            Framing::Length(len) => (usize::try_from(len).unwrap_or(usize::MAX).min(limit), None),
            Framing::Chunked => (0, Some(Chunked::default())),
        };
        let ended = chunked.is_none() && len == 0;
        Body { received: SizedBody::new(len), chunked, ended, limit }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.ended
    }

    /// Takes the body's part from the front of `input`; returns the rest.
    pub(super) fn take<'a>(&mut self, mut input: &'a [u8], pool: &Pool) -> Result<&'a [u8], Fault> {
        while !self.ended && !input.is_empty() {
            input = &input[self.received.take(input, pool)..];
            if self.received.remaining() > 0 {
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
        let room = self.limit - self.received.len();
        let len = usize::try_from(len).ok().filter(|len| *len <= room);
        let what = "the body is over the limit";
        self.received.expect(len.ok_or(Fault { status: StatusCode::PAYLOAD_TOO_LARGE, what })?);
        Ok(())
    }

    pub(super) fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        self.received.lend(pool)
    }

    pub(super) fn repay(&mut self, buffer: PooledBuf) -> usize {
        let gained = self.received.repay(buffer);
        self.ended = self.chunked.is_none() && self.received.remaining() == 0;
        gained
    }

    pub(super) fn into_slice(self) -> Slice {
        self.received.into_slice()
    }
}

/// Body of a refused request, discarded to keep the connection in step.
#[derive(Debug)]
pub(super) struct SkippedBody {
    left: u64,
    chunked: Option<Chunked>,
    allowance: u64,
}

impl SkippedBody {
    /// Starts a body; `None` when it is longer than `allowance` bytes.
    pub(super) fn new(framing: Framing, allowance: u64) -> Option<SkippedBody> {
        let (left, chunked) = match framing {
            Framing::None => (0, None),
            Framing::Length(len) => (len, None),
            Framing::Chunked => (0, Some(Chunked::default())),
        };
        Some(SkippedBody { left, chunked, allowance: allowance.checked_sub(left)? })
    }

    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.chunked.is_none()
    }

    /// Discards the front of `input`; returns the rest.
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
                        let over = Fault { status: StatusCode::PAYLOAD_TOO_LARGE, what };
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
