//! Parser of a nested list, directly into the bytes of its items.
//!
//! The careful reader goes item by item and reports every fault with its place. The quick reader
//! finds the items and reads the plain ones with vector kernels. If it cannot follow a list, it
//! only stops, and the careful reader starts again: such a list is almost always refused. Short
//! lists go directly to the careful reader. The output grows only with items that are present.

use super::error::Fault;
use super::f16;
use super::item;
use super::shape::ShapeTracker;
use crate::array::{DType, Kind, Order, Shape};
use crate::codec::simd::Isa;
use crate::codec::simd::read_floats::read_floats;
use crate::codec::simd::read_integers::{Range, read_integers};
use crate::codec::simd::tokens::{BATCH, Batch, Next, Scanner, Tokens};

/// Length of text from which the quick reader saves more time than its setup takes.
const QUICK_BYTES_MIN: usize = 128;

/// Replaces `out` by the items of the list or number at `at`, which ends with `text`.
pub(super) fn list(
    isa: Isa,
    text: &[u8],
    at: usize,
    dtype: DType,
    out: &mut Vec<u8>,
) -> Result<Shape, Fault> {
    out.clear();
    let list = List { isa, text, at, order: dtype.order() };
    match (dtype.kind(), dtype.item_size()) {
        (Kind::Bool, _) => list.read_carefully(out, |at| {
            item::boolean(text, at).map(|(value, end)| ([u8::from(value)], end))
        }),
        (Kind::Float, 2) => list.floats(out, |value| f16::narrow(value).to_le_bytes()),
        (Kind::Float, 4) => list.floats(out, |value| (value as f32).to_le_bytes()),
        (Kind::Float | Kind::Complex, _) => list.floats(out, f64::to_le_bytes),
        (kind, 1) => list.integers::<1>(kind, out),
        (kind, 2) => list.integers::<2>(kind, out),
        (kind, 4) => list.integers::<4>(kind, out),
        (kind, _) => list.integers::<8>(kind, out),
    }
}

#[derive(Clone, Copy)]
struct List<'a> {
    isa: Isa,
    text: &'a [u8],
    at: usize,
    order: Order,
}

impl List<'_> {
    fn floats<const SIZE: usize>(
        self,
        out: &mut Vec<u8>,
        bytes: impl Fn(f64) -> [u8; SIZE],
    ) -> Result<Shape, Fault> {
        let one = |at| item::float(self.text, at).map(|(value, end)| (bytes(value), end));
        let many = |tokens: Batch<'_>, to: &mut [[u8; SIZE]; BATCH]| {
            let mut values = [[0; 8]; BATCH];
            let read = read_floats(self.isa, self.text, tokens, &mut values);
            for (to, value) in to.iter_mut().zip(values).take(tokens.count) {
                *to = bytes(f64::from_le_bytes(value));
            }
            read
        };
        self.read(out, one, many)
    }

    fn integers<const SIZE: usize>(self, kind: Kind, out: &mut Vec<u8>) -> Result<Shape, Fault> {
        let bits = 8 * SIZE as u32;
        let range = match kind {
            Kind::Int => Range { positive: u64::MAX >> (65 - bits), negative: 1 << (bits - 1) },
            _ => Range { positive: u64::MAX >> (64 - bits), negative: 0 },
        };
        let bytes = |word: u64| {
            let bytes = word.to_le_bytes();
            *bytes.first_chunk::<SIZE>().expect("SIZE is at most 8")
        };
        let one = |at| {
            let (negative, magnitude, end) = item::integer(self.text, at)?;
            if magnitude > if negative { range.negative } else { range.positive } {
                return Err(Fault { at, what: item::OUT_OF_RANGE });
            }
            Ok((bytes(if negative { magnitude.wrapping_neg() } else { magnitude }), end))
        };
        let many = |tokens: Batch<'_>, to: &mut [[u8; SIZE]; BATCH]| {
            let mut words = [0; BATCH];
            let read = read_integers(self.isa, self.text, tokens, range, &mut words);
            for (to, word) in to.iter_mut().zip(words).take(tokens.count) {
                *to = bytes(word);
            }
            read
        };
        self.read(out, one, many)
    }

    fn append<const SIZE: usize>(self, items: &mut [[u8; SIZE]], out: &mut Vec<u8>) {
        if self.order == Order::Big {
            items.iter_mut().for_each(|item| item.reverse());
        }
        out.extend_from_slice(items.as_flattened());
    }

    /// Reads the list with the suitable reader. `one` reads an item, little-endian, and returns its
    /// end. `many` reads a batch and returns a bit for each item read; `one` reads the others.
    fn read<const SIZE: usize>(
        self,
        out: &mut Vec<u8>,
        one: impl Fn(usize) -> Result<([u8; SIZE], usize), Fault>,
        many: impl Fn(Batch<'_>, &mut [[u8; SIZE]; BATCH]) -> u64,
    ) -> Result<Shape, Fault> {
        let is_short = self.text.len() - self.at < QUICK_BYTES_MIN;
        if !is_short && !matches!(self.isa, Isa::Portable) {
            if let Some(shape) = self.read_quickly(out, &one, many) {
                return Ok(shape);
            }
            out.clear();
        }
        self.read_carefully(out, one)
    }

    fn read_quickly<const SIZE: usize>(
        self,
        out: &mut Vec<u8>,
        one: impl Fn(usize) -> Result<([u8; SIZE], usize), Fault>,
        many: impl Fn(Batch<'_>, &mut [[u8; SIZE]; BATCH]) -> u64,
    ) -> Option<Shape> {
        let mut tracker = ShapeTracker::new();
        let Some(first) = tracker.first(self.text, self.at).ok()? else {
            return Some(tracker.shape());
        };
        let mut scanner = Scanner::new(self.text, first)?;
        let (mut tokens, mut values) = (Tokens::new(), [[0; SIZE]; BATCH]);
        while !scanner.is_done() {
            let next = |at, items| match tracker.next(self.text, at, items) {
                Ok(Some(at)) => Next::Token(at),
                Ok(None) => Next::End,
                Err(_) => Next::Fault,
            };
            if !scanner.fill(self.isa, &mut tokens, next) {
                return None;
            }
            for batch in tokens.batches() {
                let mut left = !many(batch, &mut values) & u64::MAX >> (BATCH - batch.count);
                while left != 0 {
                    let place = left.trailing_zeros() as usize;
                    let (value, stop) = one(batch.starts[place] as usize).ok()?;
                    if stop != batch.ends[place] as usize {
                        return None;
                    }
                    values[place] = value;
                    left &= left - 1;
                }
                self.append(&mut values[..batch.count], out);
            }
        }
        Some(tracker.shape())
    }

    fn read_carefully<const SIZE: usize>(
        self,
        out: &mut Vec<u8>,
        one: impl Fn(usize) -> Result<([u8; SIZE], usize), Fault>,
    ) -> Result<Shape, Fault> {
        let mut tracker = ShapeTracker::new();
        let mut next = tracker.first(self.text, self.at)?;
        while let Some(at) = next {
            let (value, end) = one(at)?;
            self.append(&mut [value], out);
            next = tracker.next(self.text, end, 1)?;
        }
        Ok(tracker.shape())
    }
}
