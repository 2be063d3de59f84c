//! Codec with a known cost in front of each message: a control, which a run must find again.

use std::fmt::Debug;

use crate::array::ArrayView;
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded, OwningEcho};
use super::error::Result;

/// Codec that calls `spend` with `cost` for each message, and then does the work of `inner`.
#[derive(Clone, Copy, Debug)]
pub struct Planted<T> {
    pub inner: &'static dyn ArrayCodec,
    pub cost: T,
    /// Spends the cost. The result keeps the call from being the last one of its caller, which
    /// would take this file off the stack.
    pub spend: fn(T) -> u64,
}

impl<T: Copy + Debug + Send + Sync> Planted<T> {
    #[inline(never)]
    fn decode_late(&self) {
        std::hint::black_box((self.spend)(self.cost));
    }
}

impl<T: Copy + Debug + Send + Sync> ArrayCodec for Planted<T> {
    fn id(&self) -> Codec {
        self.inner.id()
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        self.decode_late();
        self.inner.decode(body, scratch)
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        self.inner.encode(array, out)
    }

    fn encode_request<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        self.inner.encode_request(array, out)
    }

    fn decode_reply<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        self.inner.decode_reply(body, scratch)
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        self.inner.check(array)
    }

    fn effort(&self, body: &[u8]) -> Effort {
        self.inner.effort(body)
    }

    fn left_out(&self) -> &'static str {
        self.inner.left_out()
    }

    fn echo<'a>(
        &self,
        body: &'a [u8],
        scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        self.decode_late();
        self.inner.echo(body, scratch, out)
    }

    /// Spends the cost before it returns the function, which takes nothing but the message. The
    /// echo asks for it once for each message.
    fn owning_echo(&self) -> Option<OwningEcho> {
        let echo = self.inner.owning_echo()?;
        self.decode_late();
        Some(echo)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::array::{DType, Shape};
    use crate::codec::{implementations, message};

    #[test]
    fn every_message_is_answered_as_before_and_pays_once() {
        let items = [7; 16];
        let array = ArrayView::new(DType::parse("<f8").unwrap(), Shape::new(&[2]).unwrap(), &items)
            .unwrap();
        for inner in implementations() {
            static SPENT: AtomicU64 = AtomicU64::new(0);
            let spend = |cost: u64| SPENT.fetch_add(cost, Ordering::Relaxed);
            let planted = Planted { inner, cost: 3, spend };
            let body = message(inner, &array).unwrap();
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            let (mut other_scratch, mut other_out) = (Vec::new(), Vec::new());
            let before = SPENT.load(Ordering::Relaxed);
            let echoed = planted.echo(&body, &mut scratch, &mut out).unwrap();
            let wanted = inner.echo(&body, &mut other_scratch, &mut other_out).unwrap();
            assert_eq!((echoed.head_len, echoed.payload), (wanted.head_len, wanted.payload));
            assert_eq!(SPENT.load(Ordering::Relaxed) - before, 3, "{inner:?}");
            assert_eq!(out, other_out);
            assert_eq!(planted.owning_echo().is_some(), inner.owning_echo().is_some());
        }
    }
}
