//! Writer of the nested list that Python's `json.dumps(array.tolist())` gives, byte for byte.
//!
//! `f2` and `f4` are widened to a double first, as `tolist` does. A number is the shortest text
//! that reads back as the same double.

use super::f16;
use crate::array::{ArrayView, Kind, Order};
use crate::codec::digits;
use crate::codec::multi_index::MultiIndex;
use crate::codec::simd::Isa;
use crate::codec::simd::write_floats::write_floats;
use crate::codec::simd::write_integers::write_integers;

/// Limit of empty lists in the output: no bytes of the message pay for their number.
const EMPTY_LISTS_MAX: u64 = 1 << 20;

pub(crate) fn check(array: &ArrayView<'_>) -> Result<(), String> {
    let dims = array.shape().dims();
    let outer = dims.split_last().map_or(&[][..], |(_, outer)| outer);
    let lists = outer.iter().fold(1, |lists: u64, &dim| lists.saturating_mul(dim));
    if array.dtype().kind() == Kind::Complex {
        Err(format!("complex numbers (dtype {})", array.dtype()))
    } else if lists == 0 {
        Err(format!("the shape {dims:?}: a list loses all dimensions after the first 0"))
    } else if array.data().is_empty() && lists > EMPTY_LISTS_MAX {
        Err(format!("the shape {dims:?}: more than {EMPTY_LISTS_MAX} empty lists"))
    } else {
        Ok(())
    }
}

/// Appends the list of a [checked](check) array. Refuses a bool that is neither 0 nor 1.
pub(super) fn list(isa: Isa, array: &ArrayView<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    match (array.dtype().kind(), array.dtype().item_size()) {
        (Kind::Bool, _) => return bools(array, out),
        (Kind::Float, 2) => {
            floats(isa, array, out, |item| f16::widen(u16::from_le_bytes(item)));
        }
        (Kind::Float, 4) => floats(isa, array, out, |item| f32::from_le_bytes(item).into()),
        (Kind::Float | Kind::Complex, _) => floats(isa, array, out, f64::from_le_bytes),
        (Kind::Int, 1) => integers(isa, array, out, |item| i64::from(i8::from_le_bytes(item))),
        (Kind::Int, 2) => integers(isa, array, out, |item| i64::from(i16::from_le_bytes(item))),
        (Kind::Int, 4) => integers(isa, array, out, |item| i64::from(i32::from_le_bytes(item))),
        (Kind::Int, _) => integers(isa, array, out, i64::from_le_bytes),
        (Kind::Uint, 1) => integers(isa, array, out, |item| u64::from(u8::from_le_bytes(item))),
        (Kind::Uint, 2) => integers(isa, array, out, |item| u64::from(u16::from_le_bytes(item))),
        (Kind::Uint, 4) => integers(isa, array, out, |item| u64::from(u32::from_le_bytes(item))),
        (Kind::Uint, _) => integers(isa, array, out, u64::from_le_bytes),
    }
    Ok(())
}

fn in_order<const SIZE: usize, T>(
    array: &ArrayView<'_>,
    read: impl Fn([u8; SIZE]) -> T,
) -> impl Fn(&[u8; SIZE]) -> T {
    let is_big = array.dtype().order() == Order::Big;
    move |item| {
        let mut item = *item;
        if is_big {
            item.reverse();
        }
        read(item)
    }
}

struct Rows<'a, const SIZE: usize> {
    items: &'a [[u8; SIZE]],
    len: usize,
    count: usize,
}

impl<const SIZE: usize> Rows<'_, SIZE> {
    /// Writes each row with `put`, which adds `", "` to each item and [`ROW_END`] to the row.
    fn put_each(&self, out: &mut Vec<u8>, put: impl Fn(&[[u8; SIZE]], &mut Vec<u8>)) {
        for row in 0..self.count {
            put(&self.items[row * self.len..][..self.len], out);
            out.truncate(out.len() - if self.len == 0 { 0 } else { 2 });
            out.extend_from_slice(ROW_END);
        }
    }
}

const ROW_END: &[u8; 4] = b"], [";

/// Writes brackets around each innermost matrix, and the matrix with `put`.
fn nest<const SIZE: usize>(
    array: &ArrayView<'_>,
    out: &mut Vec<u8>,
    put: impl Fn(Rows<'_, SIZE>, &mut Vec<u8>),
) {
    let dims = array.shape().dims();
    let (outer, [count, len]) = match dims {
        [] => (dims, [1, 1]),
        [len] => (&dims[..0], [1, *len]),
        [outer @ .., count, len] => (outer, [*count, *len]),
    };
    let (count, len) = (count as usize, len as usize);
    let mut items = array.data().as_chunks::<SIZE>().0;
    let mut index = MultiIndex::new(outer);
    out.extend(std::iter::repeat_n(b'[', dims.len()));
    loop {
        let (matrix, rest) = items.split_at(count * len);
        items = rest;
        put(Rows { items: matrix, len, count }, out);
        out.truncate(out.len() - ROW_END.len());
        let Some(moved) = index.advance() else {
            return out.extend(std::iter::repeat_n(b']', dims.len()));
        };
        let ended = outer.len() - moved + 1;
        out.extend(std::iter::repeat_n(b']', ended));
        out.extend_from_slice(b", ");
        out.extend(std::iter::repeat_n(b'[', ended));
    }
}

fn bools(array: &ArrayView<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    if array.data().iter().any(|&byte| byte > 1) {
        return Err("a bool that is neither 0 nor 1".to_owned());
    }
    nest(array, out, |rows, out| {
        rows.put_each(out, |row, out| {
            for &[item] in row {
                out.extend_from_slice(if item == 1 { b"true, " } else { b"false, " });
            }
        });
    });
    Ok(())
}

const BATCH: usize = 64;

/// Least number of items for a kernel; its fixed work for eight takes the time of three.
const KERNEL_ITEMS_MIN: usize = 4;

/// Rows up to this length get a small buffer, since zeroing takes the time of two numbers.
const SHORT_ROW: usize = 8;

/// Writes the doubles that `widen` returns, with a kernel where one applies.
fn floats<const SIZE: usize>(
    isa: Isa,
    array: &ArrayView<'_>,
    out: &mut Vec<u8>,
    widen: impl Fn([u8; SIZE]) -> f64,
) {
    let widen = in_order(array, widen);
    nest(array, out, |rows, out| {
        if rows.items.len() < KERNEL_ITEMS_MIN || matches!(isa, Isa::Portable) {
            return rows.put_each(out, |row, out| {
                for item in row {
                    float(widen(item), out);
                    out.extend_from_slice(b", ");
                }
            });
        }
        let mut values = [0.0; BATCH];
        let mut row_end = rows.len;
        for items in rows.items.chunks(BATCH) {
            for (value, item) in values.iter_mut().zip(items) {
                *value = widen(item);
            }
            let mut ends = 0;
            while row_end <= items.len() {
                ends |= 1 << (row_end - 1);
                row_end += rows.len;
            }
            row_end -= items.len();
            float_batch(isa, &values[..items.len()], ends, out);
        }
    });
}

/// Writes floats, and [`ROW_END`] after those with a bit in `ends`.
fn float_batch(isa: Isa, values: &[f64], mut ends: u64, out: &mut Vec<u8>) {
    let mut left = values;
    // Numbers that the kernel refuses come in runs, so the number of skipped ones doubles.
    let mut others = 1;
    while !left.is_empty() {
        let written = write_floats(isa, left, ends, out);
        left = &left[written..];
        ends = ends.unbounded_shr(written as u32);
        others = if written == 0 { 2 * others } else { 1 };
        let (odd, rest) = left.split_at(others.min(left.len()));
        for value in odd {
            float(*value, out);
            out.extend_from_slice(if ends & 1 == 1 { ROW_END } else { b", " });
            ends >>= 1;
        }
        left = rest;
    }
}

fn integers<const SIZE: usize, T: Integer>(
    isa: Isa,
    array: &ArrayView<'_>,
    out: &mut Vec<u8>,
    widen: impl Fn([u8; SIZE]) -> T,
) {
    let widen = in_order(array, widen);
    let by_kernel = |values: &mut [u64], items: &[[u8; SIZE]], out: &mut Vec<u8>| {
        for (value, item) in values.iter_mut().zip(items) {
            *value = widen(item).word();
        }
        write_integers(isa, &values[..items.len()], T::IS_SIGNED, out)
    };
    let put_row = |row: &[[u8; SIZE]], out: &mut Vec<u8>| {
        for items in row.chunks(BATCH) {
            let written = match items.len() {
                ..KERNEL_ITEMS_MIN => 0,
                KERNEL_ITEMS_MIN..=SHORT_ROW => by_kernel(&mut [0; SHORT_ROW], items, out),
                _ => by_kernel(&mut [0; BATCH], items, out),
            };
            for item in &items[written..] {
                let item = widen(item);
                digits::append(item.is_negative(), item.magnitude(), out);
                out.extend_from_slice(b", ");
            }
        }
    };
    nest(array, out, |rows, out| rows.put_each(out, put_row));
}

trait Integer: Copy {
    const IS_SIGNED: bool;
    fn word(self) -> u64;
    fn is_negative(self) -> bool;
    fn magnitude(self) -> u64;
}

impl Integer for i64 {
    const IS_SIGNED: bool = true;

    fn word(self) -> u64 {
        self.cast_unsigned()
    }

    fn is_negative(self) -> bool {
        self < 0
    }

    fn magnitude(self) -> u64 {
        self.unsigned_abs()
    }
}

impl Integer for u64 {
    const IS_SIGNED: bool = false;

    fn word(self) -> u64 {
        self
    }

    fn is_negative(self) -> bool {
        false
    }

    fn magnitude(self) -> u64 {
        self
    }
}

/// Writes a double as Python does. Inlined by force: a call takes twice the time (41 ns, not 20).
#[inline(always)]
fn float(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        out.extend_from_slice(match value {
            f64::INFINITY => b"Infinity",
            f64::NEG_INFINITY => b"-Infinity",
            _ => b"NaN",
        });
        return;
    }
    let start = out.len();
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    if value.abs() < 1e-4 && value != 0.0 {
        respell_small(out, start);
    }
}

/// Changes the number below 1e-4 at `start` from zmij's `1e-7` to Python's `1e-07`, `1e-05`.
fn respell_small(out: &mut Vec<u8>, start: usize) {
    const FIXED: &[u8] = b"0.0000";
    if let [.., b'e', b'-', exponent] = out[start..] {
        out.extend_from_slice(&[exponent]);
        let at = out.len() - 2;
        out[at] = b'0';
        return;
    }
    let start = start + usize::from(out[start] == b'-');
    if out[start..].starts_with(FIXED) {
        out.drain(start..start + FIXED.len());
        if out.len() > start + 1 {
            out.insert(start + 1, b'.');
        }
        out.extend_from_slice(b"e-05");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_as_python_writes_them() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (9999999999999998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (-1.5e16, "-1.5e+16"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e22, "1e+22"),
            (1e100, "1e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1e-4, "0.0001"),
            (0.00012345, "0.00012345"),
            (1e-5, "1e-05"),
            (-1.25e-5, "-1.25e-05"),
            (9.999999999999999e-5, "9.999999999999999e-05"),
            (1e-6, "1e-06"),
            (1.5e-7, "1.5e-07"),
            (1e-9, "1e-09"),
            (1e-10, "1e-10"),
            (-1e-100, "-1e-100"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (-f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            let mut out = Vec::new();
            float(value, &mut out);
            assert_eq!(str::from_utf8(&out), Ok(text));
        }
    }
}
