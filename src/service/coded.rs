//! Echo of coded messages: each is inflated, echoed, and deflated again.
//!
//! ```text
//! message ─▶ inflate ─┬─ is short ────────────────▶ echo ─▶ deflate      on the worker
//!                     └─ is longer than the bound ─▶ job: inflate anew, echo, deflate
//! ```
//! The length of a message is known only after it is inflated. The worker therefore inflates a
//! short one up to the bound, and leaves a longer one to a job, which begins anew.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use crate::axis::{Coding, Encoding, Family};
use crate::codec::Effort;
use crate::coding::{self, CodingError};
use crate::wire::{
    Codings, Detached, HeldBytes, MemoryBudget, Refusal, Refused, Response, Work, WorkerCounts,
};

use super::codecs::CodecSet;
use super::echo::{self, SharedBody, echo_shared};
use super::panics;
use super::routes::response;

/// A message of more than this part of the bound goes to a job at once, because it is most likely
/// longer than the bound and would be inflated twice.
const ATTEMPT_DIVISOR: usize = 2;

/// Bytes of scratch and response for each byte of a message that is converted.
const CONVERTED_FACTOR: usize = 2;

/// Short message that a worker has inflated, and a buffer for its answer.
#[derive(Debug, Default)]
pub(super) struct Inflated {
    pub(super) body: Body,
    pub(super) plain: Vec<u8>,
    /// Item size of the message in `body`, until it is answered.
    outcome: Option<Result<u8, CodingError>>,
}

impl Inflated {
    /// Inflates a message of at most `bytes_max` bytes; returns false if it is longer, or likely to
    /// be.
    pub(super) fn try_inflate(&mut self, coding: Coding, message: &[u8], bytes_max: usize) -> bool {
        let bytes = &mut self.body.0;
        bytes.clear();
        let outcome = if message.len() > bytes_max / ATTEMPT_DIVISOR {
            Err(CodingError::TooLarge { coding, limit: bytes_max })
        } else {
            coding::inflate(coding, message, bytes_max, bytes, &mut |_| true)
        };
        let is_short = !matches!(outcome, Err(CodingError::TooLarge { .. }));
        self.outcome = Some(outcome);
        is_short
    }

    /// Returns the item size of the message that was inflated last.
    pub(super) fn take(&mut self) -> Result<u8, Refused> {
        self.plain.clear();
        let missing = || Refused::new(Refusal::Internal, "the message was not inflated");
        self.outcome.take().ok_or_else(missing)?.map_err(refused)
    }
}

/// Echo of a long coded message.
pub(super) struct CodedWork {
    pub(super) family: Family,
    pub(super) encoding: Encoding,
    pub(super) codings: Codings,
    pub(super) codecs: CodecSet,
    pub(super) bytes_max: usize,
    pub(super) budget: Arc<MemoryBudget>,
    pub(super) counts: &'static WorkerCounts,
}

/// Inflated message, which can be shared with a library for a while.
#[derive(Debug, Default)]
pub(super) struct Body(Vec<u8>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl SharedBody for Body {
    fn with_bytes<T>(&mut self, work: impl FnOnce(Bytes) -> T) -> T {
        let bytes = Bytes::from(mem::take(&mut self.0));
        let done = work(bytes.clone());
        self.0 = Vec::from(bytes);
        done
    }
}

impl Work for CodedWork {
    fn run(
        &self,
        message: &mut Detached,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        let start = out.len();
        let mut held = Vec::new();
        let done = panics::catch(self.counts, || {
            let mut grow = |more| self.hold(more, &mut held);
            let coding = self.codings.request;
            let inflated =
                coding::inflate(coding, message.as_ref(), self.bytes_max, scratch, &mut grow);
            let item_size = inflated.map_err(refused)?;
            let mut body = Body(mem::take(scratch));
            let echoed = self.echo(&mut body, item_size, &mut held, out);
            *scratch = body.0;
            echoed
        });
        done.inspect_err(|_| out.truncate(start))
    }
}

impl CodedWork {
    fn hold(&self, more: usize, held: &mut Vec<HeldBytes>) -> bool {
        let more = self.budget.try_hold(more);
        let is_held = more.is_some();
        held.extend(more);
        is_held
    }

    fn echo(
        &self,
        body: &mut Body,
        item_size: u8,
        held: &mut Vec<HeldBytes>,
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        let encoding = echo::form(self.encoding, body.as_ref()).map_err(echo::refused)?;
        let codec = self.codecs.get(encoding);
        let converts = codec.is_some_and(|codec| codec.effort(body.as_ref()) != Effort::Borrows);
        if converts && !self.hold(CONVERTED_FACTOR.saturating_mul(body.0.len()), held) {
            return Err(refused(CodingError::NoMemory { coding: self.codings.request }));
        }
        let mut plain = Vec::new();
        let scratch = &mut Vec::new();
        let echoed = echo_shared(&self.codecs, self.encoding, body, scratch, &mut plain);
        let response = response(self.family, echoed.map_err(echo::refused)?);
        Ok(deflate(self.codings.reply, item_size, body.as_ref(), &plain, response, out))
    }
}

/// Appends `response`, cut out of `plain` and `body`, in the coding of the reply.
pub(super) fn deflate(
    coding: Coding,
    item_size: u8,
    body: &[u8],
    plain: &[u8],
    response: Response,
    out: &mut Vec<u8>,
) -> Response {
    let start = out.len();
    let (head, tail) = plain.split_at(response.head_len);
    coding::deflate(coding, item_size, &[head, &body[response.payload], tail], out);
    Response { head_len: out.len() - start, payload: 0..0, ..response }
}

fn refused(error: CodingError) -> Refused {
    let kind = match error {
        CodingError::TooLarge { .. } => Refusal::TooLarge,
        CodingError::NoMemory { .. } => Refusal::Unavailable,
        _ => Refusal::BadCoding,
    };
    Refused::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_likely_to_be_long_is_not_tried() {
        let (mut inflated, bytes_max) = (Inflated::default(), 64);
        let garbage = [0xff; 33];
        assert!(!inflated.try_inflate(Coding::Gzip, &garbage, bytes_max));
        assert!(inflated.try_inflate(Coding::Gzip, &garbage[..32], bytes_max));
        assert!(inflated.take().is_err(), "it was tried, and is no gzip");
        let mut zeros = Vec::new();
        coding::deflate(Coding::Gzip, 1, &[&[0; 65]], &mut zeros);
        assert!(zeros.len() <= bytes_max / ATTEMPT_DIVISOR, "{}", zeros.len());
        assert!(!inflated.try_inflate(Coding::Gzip, &zeros, bytes_max), "65 bytes");
    }
}
