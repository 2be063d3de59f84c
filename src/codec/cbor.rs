//! `cbor`: a typed array of RFC 8746 in CBOR (RFC 8949).
//!
//! ```text
//! one dimension     d8 56 | 58 18 | 24 bytes                        tag 86: <f8
//! other ranks       d8 28 82 | 82 02 03 | d8 56 | 58 30 | 48 bytes  tag 40: [[2, 3], tag 86 bytes]
//! ```
//! Tags 64 to 86 name number and byte order; there is none for booleans and complex numbers. One
//! dimension may also be written with tag 40. Tag 1040 has columns first, which are transposed into
//! scratch; other data is borrowed in both directions. Lengths may have any width, but each must be
//! given: strings and arrays of indefinite length are refused. Tag 55799 may stand in front.
//!
//! RFC 8746 asks for dimensions other than 0 and does not speak of none. An array with a dimension
//! of 0, or without dimensions, is written in the same form all the same.

use crate::array::{ArrayError, ArrayView, DType, Kind, Order, RANK_MAX, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded};
use super::cursor::Cursor;
use super::error::{CodecError, Result};
use super::transpose::{is_both_orders, to_c_order};

#[derive(Clone, Copy, Debug)]
pub struct Cbor;

const NAME: &str = "cbor";

/// Tags of RFC 8746, and of RFC 8949 for a mark in front of a message.
pub(super) const ROWS_FIRST: u64 = 40;
pub(super) const COLUMNS_FIRST: u64 = 1040;
pub(super) const SELF_DESCRIBED: u64 = 55799;

const UNKNOWN: &str = "an unknown tag: expected one of a typed array, 64 to 86 (RFC 8746)";
const EXPECTED: &str = "expected a typed array: tag 64 to 86, or 40 or 1040 with its dimensions";
pub(super) const LEFT_OUT: &str = "booleans and complex numbers";

impl ArrayCodec for Cbor {
    fn id(&self) -> Codec {
        Codec::Cbor
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let Parts { dtype, shape, data, data_at, is_columns_first } = read(body)?;
        let checked = |data: &'a [u8]| {
            let view = ArrayView::new(dtype, shape.clone(), data);
            view.map_err(|source| CodecError::array(NAME)(source).or_at(data_at))
        };
        let view = checked(data)?;
        if !is_columns_first || is_both_orders(shape.dims()) {
            return Ok(view);
        }
        to_c_order(dtype.item_size(), shape.dims(), data, scratch);
        checked(scratch)
    }

    fn effort(&self, body: &[u8]) -> Effort {
        match read(body) {
            Ok(parts) if parts.is_columns_first => Effort::Copies,
            _ => Effort::Borrows,
        }
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let tag = tag(array.dtype()).ok_or_else(|| unsupported(NAME, array.dtype()))?;
        let (start, dims) = (out.len(), array.shape().dims());
        if dims.len() != 1 {
            put_head(Major::Tag, ROWS_FIRST, out);
            put_head(Major::Array, 2, out);
            put_head(Major::Array, dims.len() as u64, out);
            for &dim in dims {
                put_head(Major::Unsigned, dim, out);
            }
        }
        put_head(Major::Tag, tag, out);
        put_head(Major::Bytes, array.data().len() as u64, out);
        Ok(Encoded { head_len: out.len() - start, payload: array.data() })
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        check(NAME, array)
    }

    fn left_out(&self) -> &'static str {
        LEFT_OUT
    }
}

pub(super) fn check(encoding: &'static str, array: &ArrayView<'_>) -> Result<()> {
    tag(array.dtype()).map(|_| ()).ok_or_else(|| unsupported(encoding, array.dtype()))
}

pub(super) fn unsupported(encoding: &'static str, dtype: DType) -> CodecError {
    let numbers = if dtype.kind() == Kind::Bool { "booleans" } else { "complex numbers" };
    let what = format!("{numbers} (dtype {dtype}): RFC 8746 has no tag for them");
    CodecError::Unsupported { encoding, at: None, what }
}

/// Returns the tag of a dtype. Its bits are `010`, float, signed, little-endian, and two for the
/// power of the size: in bytes of an integer, in pairs of bytes of a float.
pub(super) fn tag(dtype: DType) -> Option<u64> {
    let (is_float, is_signed) = match dtype.kind() {
        Kind::Bool | Kind::Complex => return None,
        Kind::Uint => (0, 0),
        Kind::Int => (0, 1),
        Kind::Float => (1, 0),
    };
    let power = u64::from(dtype.item_size().trailing_zeros()) - is_float;
    let is_little = u64::from(dtype.order() == Order::Little);
    Some(0b010 << 5 | is_float << 4 | is_signed << 3 | is_little << 2 | power)
}

/// Returns the dtype of a tag; clamped bytes (68) are bytes, and numbers of 128 bits are unknown.
pub(super) fn dtype(tag: u64) -> Option<DType> {
    const FIRST: u64 = 64;
    const NAMES: [&[u8]; 23] = [
        b"|u1", b">u2", b">u4", b">u8", b"|u1", b"<u2", b"<u4", b"<u8", // 64 to 71
        b"|i1", b">i2", b">i4", b">i8", b"", b"<i2", b"<i4", b"<i8", // 72 to 79
        b">f2", b">f4", b">f8", b"", b"<f2", b"<f4", b"<f8", // 80 to 86
    ];
    let place = usize::try_from(tag.checked_sub(FIRST)?).ok()?;
    DType::from_bytes(NAMES.get(place)?)
}

struct Parts<'a> {
    dtype: DType,
    shape: Shape,
    data: &'a [u8],
    data_at: usize,
    is_columns_first: bool,
}

fn read(body: &[u8]) -> Result<Parts<'_>> {
    let mut cursor = Cursor::new(NAME, body);
    let mut first = head(&mut cursor)?;
    let (mut dimensions, mut tag_at) = (None, 0);
    if first == (Major::Tag, SELF_DESCRIBED) {
        tag_at = cursor.offset();
        first = head(&mut cursor)?;
    }
    let is_columns_first = first == (Major::Tag, COLUMNS_FIRST);
    if is_columns_first || first == (Major::Tag, ROWS_FIRST) {
        expect(&mut cursor, (Major::Array, 2), "expected an array of dimensions and items")?;
        dimensions = Some(dims(&mut cursor)?);
        tag_at = cursor.offset();
        first = head(&mut cursor)?;
    }
    let (Major::Tag, tag) = first else { return Err(cursor.fail_at(tag_at, EXPECTED)) };
    let dtype = dtype(tag).ok_or_else(|| cursor.fail_at(tag_at, UNKNOWN))?;
    let bytes_at = cursor.offset();
    let (Major::Bytes, len) = head(&mut cursor)? else {
        return Err(cursor.fail_at(bytes_at, "expected a byte string"));
    };
    let data_at = cursor.offset();
    let data = cursor.take(len)?;
    if !cursor.is_empty() {
        return Err(cursor.fail("unexpected bytes after the array"));
    }
    let shape = match dimensions {
        Some(shape) => shape,
        None => one_dimension(NAME, dtype, data.len()).map_err(|error| error.or_at(data_at))?,
    };
    Ok(Parts { dtype, shape, data, data_at, is_columns_first })
}

/// Returns the shape of an array without dimensions of its own.
pub(super) fn one_dimension(encoding: &'static str, dtype: DType, len: usize) -> Result<Shape> {
    let items = len / dtype.item_size();
    let mut shape = Shape::default();
    shape.push(items as u64).map_err(CodecError::array(encoding))?;
    Ok(shape)
}

fn dims(cursor: &mut Cursor<'_>) -> Result<Shape> {
    let at = cursor.offset();
    let (Major::Array, rank) = head(cursor)? else {
        return Err(cursor.fail_at(at, "expected an array of dimensions"));
    };
    let fail = |source| CodecError::array(NAME)(source).or_at(at);
    if rank > RANK_MAX as u64 {
        return Err(fail(ArrayError::Rank { got: usize::try_from(rank).unwrap_or(usize::MAX) }));
    }
    let mut shape = Shape::default();
    for _ in 0..rank {
        let at = cursor.offset();
        let (Major::Unsigned, dim) = head(cursor)? else {
            return Err(cursor.fail_at(at, "expected a dimension: an unsigned integer"));
        };
        shape.push(dim).map_err(fail)?;
    }
    Ok(shape)
}

fn expect(cursor: &mut Cursor<'_>, want: (Major, u64), what: &'static str) -> Result<()> {
    let at = cursor.offset();
    if head(cursor)? == want { Ok(()) } else { Err(cursor.fail_at(at, what)) }
}

/// Kind of an item, the upper three bits of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Major {
    Unsigned = 0,
    Bytes = 2,
    Array = 4,
    Tag = 6,
    /// Kinds that no message contains.
    Other = 7,
}

/// The lower five bits of a first byte hold a value below this, or say where the value stands.
const VALUES_END: u8 = 24;

/// Reads the head of an item: its kind, and its value, length or tag.
#[inline]
fn head(cursor: &mut Cursor<'_>) -> Result<(Major, u64)> {
    let at = cursor.offset();
    let first = cursor.byte()?;
    let major = match first >> 5 {
        0 => Major::Unsigned,
        2 => Major::Bytes,
        4 => Major::Array,
        6 => Major::Tag,
        _ => Major::Other,
    };
    let value = match first & 0x1f {
        value @ 0..VALUES_END => u64::from(value),
        24 => u64::from(cursor.byte()?),
        25 => u64::from(u16::from_be_bytes(cursor.array()?)),
        26 => u64::from(u32::from_be_bytes(cursor.array()?)),
        27 => u64::from_be_bytes(cursor.array()?),
        31 => return Err(cursor.fail_at(at, "an indefinite length: expected a length")),
        _ => return Err(cursor.fail_at(at, "a reserved width of a number")),
    };
    Ok((major, value))
}

/// Writes the shortest head.
#[inline]
fn put_head(major: Major, value: u64, out: &mut Vec<u8>) {
    let major = (major as u8) << 5;
    match value {
        0..0x18 => out.push(major | value as u8),
        0x18..=0xff => out.extend_from_slice(&[major | 24, value as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &[u8]) -> Result<(String, Vec<u64>, Vec<u8>), String> {
        crate::codec::tests::decode(&Cbor, body)
    }

    #[test]
    fn every_tag_has_the_dtype_that_has_this_tag() {
        for dtype in DType::all() {
            let is_known = !matches!(dtype.kind(), Kind::Bool | Kind::Complex);
            assert_eq!(tag(dtype).is_some(), is_known, "{dtype}");
            assert!(tag(dtype).is_none_or(|tag| super::dtype(tag) == Some(dtype)), "{dtype}");
        }
        let known = (0..2000).filter(|&tag| super::dtype(tag).is_some());
        // 76 is reserved, 83 and 87 are floats of 128 bits.
        assert!(known.eq((64..76).chain(77..83).chain(84..87)));
        assert_eq!(super::dtype(u64::MAX), None);
    }

    #[test]
    fn heads_may_have_any_width() {
        for (tag, rank, dim, len) in [
            (&b"\xd8\x40"[..], &b"\x81"[..], &b"\x02"[..], &b"\x42"[..]),
            (b"\xd9\0\x40", b"\x98\x01", b"\x18\x02", b"\x58\x02"),
            (b"\xda\0\0\0\x40", b"\x99\0\x01", b"\x19\0\x02", b"\x59\0\x02"),
            (
                b"\xdb\0\0\0\0\0\0\0\x40",
                b"\x9b\0\0\0\0\0\0\0\x01",
                b"\x1b\0\0\0\0\0\0\0\x02",
                b"\x5b\0\0\0\0\0\0\0\x02",
            ),
        ] {
            let want = Ok(("|u1".to_owned(), vec![2], vec![7, 8]));
            let whole = [b"\xd9\xd9\xf7\xd8\x28\x82", rank, dim, tag, len, b"\x07\x08"].concat();
            assert_eq!(decode(&whole), want);
            assert_eq!(decode(&[tag, len, b"\x07\x08"].concat()), want);
        }
    }

    #[test]
    fn columns_first_are_transposed() {
        let body = b"\xd9\x04\x10\x82\x82\x02\x03\xd8\x40\x46\x01\x02\x03\x04\x05\x06";
        let want = Ok(("|u1".to_owned(), vec![2, 3], vec![1, 3, 5, 2, 4, 6]));
        assert_eq!(decode(body), want);
        assert_eq!(Cbor.effort(body), Effort::Copies);
    }
}
