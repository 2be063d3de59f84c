//! Parses a nested list straight into the bytes of its items.
//!
//! The list's shape is found on the way: the first innermost list fixes the rank, the first list of each depth
//! fixes that dimension, and every later one has to agree. Depth is a counter, never a call. The bytes grow with
//! the items that were really there.

use super::half;
use crate::array::{DType, Kind, Order, RANK_MAX, Shape};

/// What is wrong with a list, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Offset in the message.
    pub(super) at: usize,
    /// What was found or expected.
    pub(super) what: &'static str,
}

/// Replaces `out` by the items of the list or number that begins at `at` and ends with `text`. `dtype` is not
/// complex.
pub(super) fn list(
    text: &[u8],
    at: usize,
    dtype: DType,
    out: &mut Vec<u8>,
) -> Result<Shape, Fault> {
    out.clear();
    let order = dtype.order();
    match (dtype.kind(), dtype.item_size()) {
        (Kind::Bool, _) => walk(text, at, |at| boolean(text, at, out)),
        (Kind::Float, 2) => floats(text, at, order, out, |value| half::narrow(value).to_le_bytes()),
        (Kind::Float, 4) => floats(text, at, order, out, |value| (value as f32).to_le_bytes()),
        (Kind::Float | Kind::Complex, _) => floats(text, at, order, out, f64::to_le_bytes),
        (kind, 1) => integers::<1>(text, at, kind, order, out),
        (kind, 2) => integers::<2>(text, at, kind, order, out),
        (kind, 4) => integers::<4>(text, at, kind, order, out),
        (kind, _) => integers::<8>(text, at, kind, order, out),
    }
}

fn floats<const SIZE: usize>(
    text: &[u8],
    at: usize,
    order: Order,
    out: &mut Vec<u8>,
    bytes: impl Fn(f64) -> [u8; SIZE],
) -> Result<Shape, Fault> {
    walk(text, at, |at| {
        let (value, end) = float(text, at)?;
        put(bytes(value), order, out);
        Ok(end)
    })
}

fn integers<const SIZE: usize>(
    text: &[u8],
    at: usize,
    kind: Kind,
    order: Order,
    out: &mut Vec<u8>,
) -> Result<Shape, Fault> {
    let bits = 8 * SIZE as u32;
    let (most, least) = match kind {
        Kind::Int => (u64::MAX >> (65 - bits), 1 << (bits - 1)),
        _ => (u64::MAX >> (64 - bits), 0),
    };
    walk(text, at, |at| {
        let (negative, magnitude, end) = integer(text, at)?;
        if magnitude > if negative { least } else { most } {
            return Err(Fault { at, what: "an integer out of range for its dtype" });
        }
        let value = if negative { magnitude.wrapping_neg() } else { magnitude };
        put(*value.to_le_bytes().first_chunk::<SIZE>().expect("SIZE is at most 8"), order, out);
        Ok(end)
    })
}

fn put<const SIZE: usize>(mut little: [u8; SIZE], order: Order, out: &mut Vec<u8>) {
    if order == Order::Big {
        little.reverse();
    }
    out.extend_from_slice(&little);
}

/// What is known of a list's shape while it is read.
struct Walk {
    depth: usize,
    rank: Option<usize>,
    dims: [Option<u64>; RANK_MAX],
    counts: [u64; RANK_MAX],
}

impl Walk {
    fn open(&mut self) -> Result<(), &'static str> {
        if self.depth == RANK_MAX {
            return Err("lists nest deeper than 64");
        }
        if self.rank.is_some_and(|rank| self.depth >= rank) {
            return Err("a list where others have a number: lists of different depths");
        }
        self.counts[self.depth] = 0;
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), &'static str> {
        let count = self.counts[self.depth - 1];
        if count == 0 {
            self.innermost()?;
        }
        if *self.dims[self.depth - 1].get_or_insert(count) != count {
            return Err("a list of another length than those beside it");
        }
        self.depth -= 1;
        self.count();
        Ok(())
    }

    /// A number stands at this depth, or nothing at all.
    fn innermost(&mut self) -> Result<(), &'static str> {
        if *self.rank.get_or_insert(self.depth) != self.depth {
            return Err("a number where others have a list: lists of different depths");
        }
        Ok(())
    }

    /// The list around counts one element more.
    fn count(&mut self) {
        if let Some(around) = self.depth.checked_sub(1) {
            self.counts[around] += 1;
        }
    }

    fn shape(&self) -> Shape {
        let mut shape = Shape::default();
        for dim in self.dims.iter().map_while(|dim| *dim) {
            shape.push(dim).expect("lists nest no deeper than a shape");
        }
        shape
    }
}

/// Goes through a list; `item` reads the number at an offset and returns where it ends.
fn walk(
    text: &[u8],
    mut at: usize,
    mut item: impl FnMut(usize) -> Result<usize, Fault>,
) -> Result<Shape, Fault> {
    let mut walk = Walk { depth: 0, rank: None, dims: [None; RANK_MAX], counts: [0; RANK_MAX] };
    let fault = |at| move |what| Fault { at, what };
    loop {
        at = skip_space(text, at);
        if text.get(at) == Some(&b'[') {
            walk.open().map_err(fault(at))?;
            at = skip_space(text, at + 1);
            if text.get(at) != Some(&b']') {
                continue;
            }
        } else {
            walk.innermost().map_err(fault(at))?;
            at = item(at)?;
            walk.count();
            at = skip_space(text, at);
        }
        while walk.depth > 0 && text.get(at) == Some(&b']') {
            walk.close().map_err(fault(at))?;
            at = skip_space(text, at + 1);
        }
        match (walk.depth, text.get(at)) {
            (0, None) => return Ok(walk.shape()),
            (0, Some(_)) => return Err(Fault { at, what: "expected nothing after the list" }),
            (_, Some(b',')) => at += 1,
            _ => return Err(Fault { at, what: "expected a comma or the end of the list" }),
        }
    }
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

/// Length of the run of digits at `at`.
fn digits(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Offset of the digits of the number at `at`, and how many are before a point or exponent. 0 if it is no number.
fn whole(text: &[u8], at: usize) -> Result<(usize, usize), Fault> {
    let first = at + usize::from(text.get(at) == Some(&b'-'));
    let len = digits(text, first);
    if len > 1 && text[first] == b'0' {
        return Err(Fault { at: first, what: "a number with a leading zero" });
    }
    Ok((first, len))
}

/// Reads a float. The parser behind it takes more than JSON has (`1.`, `.5`, `01`, `inf`), so the grammar is
/// checked here.
fn float(text: &[u8], at: usize) -> Result<(f64, usize), Fault> {
    let (first, len) = whole(text, at)?;
    if len == 0 {
        return named_float(text, at);
    }
    let integer = match text.get(first + len) {
        Some(b'.') if !text.get(first + len + 1).is_some_and(u8::is_ascii_digit) => {
            return Err(Fault { at: first + len + 1, what: "expected a digit after the point" });
        }
        Some(b'.' | b'e' | b'E') => false,
        _ => true,
    };
    let parsed = fast_float2::parse_partial::<f64, _>(&text[at..]);
    let (value, taken) = parsed.expect("a number begins with a digit");
    match integer {
        true if value.is_infinite() => {
            Err(Fault { at, what: "an integer beyond the range of a double" })
        }
        // Python reads -0 as the integer 0.
        true => Ok((value + 0.0, at + taken)),
        false => Ok((value, at + taken)),
    }
}

fn named_float(text: &[u8], at: usize) -> Result<(f64, usize), Fault> {
    let words: [(&[u8], f64); 3] =
        [(b"NaN", f64::NAN), (b"Infinity", f64::INFINITY), (b"-Infinity", f64::NEG_INFINITY)];
    let rest = text.get(at..).unwrap_or_default();
    for (word, value) in words {
        if rest.starts_with(word) {
            return Ok((value, at + word.len()));
        }
    }
    Err(no_item(rest, at, "expected a number"))
}

/// Reads an integer: whether it is negative, its magnitude, and where it ends.
fn integer(text: &[u8], at: usize) -> Result<(bool, u64, usize), Fault> {
    let (first, len) = whole(text, at)?;
    let end = first + len;
    if len == 0 {
        return Err(no_item(text.get(at..).unwrap_or_default(), at, "expected an integer"));
    }
    if let Some(b'.' | b'e' | b'E') = text.get(end) {
        return Err(Fault { at, what: "a float in an array of integers" });
    }
    let mut magnitude = 0u64;
    for digit in &text[first..end] {
        let next = magnitude.checked_mul(10);
        magnitude = next
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .ok_or(Fault { at, what: "an integer out of range for its dtype" })?;
    }
    Ok((first > at, magnitude, end))
}

fn boolean(text: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    let rest = text.get(at..).unwrap_or_default();
    for (word, value) in [(&b"true"[..], 1), (b"false", 0)] {
        if rest.starts_with(word) {
            out.push(value);
            return Ok(at + word.len());
        }
    }
    Err(no_item(rest, at, "expected true or false in an array of bools"))
}

/// Says what stands where an item is due.
fn no_item(rest: &[u8], at: usize, expected: &'static str) -> Fault {
    let what = match rest.first() {
        None => "the list ends early",
        Some(b'n') => "null has no place in an array",
        Some(b't' | b'f') => "true and false belong into an array of dtype |b1 alone",
        Some(b'N' | b'I') => "NaN and Infinity belong into an array of floats",
        _ => expected,
    };
    Fault { at, what }
}
