//! `protobuf_packed`: `PackedArray` of `proto/packed.proto`, in which each item is a number of
//! protobuf, read and written by hand.
//!
//! ```text
//! 0A len dtype   12 len shape   1A len [0A len doubles]        or 22 floats, 2A int32s, 32 int64s,
//!                                                              3A uint32s, 42 uint64s, 4A bools
//! ```
//! Little-endian doubles and floats are borrowed in both directions: their list has the bytes of
//! the array. Other numbers are varints, which are converted one by one. A list may be packed,
//! unpacked or in parts; the last kind of list wins; the rest is as in [`super::protobuf`].

use crate::array::{ArrayView, DType, Kind, Order, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded};
use super::cursor::Cursor;
use super::error::{CodecError, Result};
use super::protobuf_wire::{
    Wire, chunk, packed, put_head, put_varint, skip, tag, text, varint, varint_len,
};

#[derive(Clone, Copy, Debug)]
pub struct ProtobufPacked;

const NAME: &str = "protobuf_packed";
pub(super) const LEFT_OUT: &str = "halves and complex numbers";

const DTYPE: u32 = 1;
const SHAPE: u32 = 2;
/// Field of the numbers in the message of each list.
const VALUES: u32 = 1;

impl ArrayCodec for ProtobufPacked {
    fn id(&self) -> Codec {
        Codec::ProtobufPacked
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let Fields { dtype, shape, items } = Fields::read_all(body)?;
        let (dtype, list) = kind(NAME, dtype, body.len())?;
        let Items { list: given, at, part, joined } = items;
        if given.is_some_and(|given| given != list) {
            return Err(wrong_list(NAME, list, dtype).or_at(at));
        }
        let data = if joined.is_empty() && list.is_bytes_of(dtype) {
            part
        } else {
            let numbers = if joined.is_empty() { part } else { &joined };
            let fault = |what| CodecError::Syntax { encoding: NAME, at, what };
            list.read(dtype, numbers, scratch).map_err(fault)?;
            scratch.as_slice()
        };
        ArrayView::new(dtype, shape, data)
            .map_err(|source| CodecError::array(NAME)(source).or_at(at))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let list = check(NAME, array)?;
        let (start, dtype, items) = (out.len(), array.dtype(), array.data());
        put_head(out, DTYPE, dtype.name().len() as u64);
        out.extend_from_slice(dtype.name().as_bytes());
        let dims = array.shape().dims();
        if !dims.is_empty() {
            put_head(out, SHAPE, dims.iter().map(|&dim| varint_len(dim)).sum());
            dims.iter().for_each(|&dim| put_varint(out, dim));
        }
        let len = numbers_len(dtype, items);
        if len == 0 {
            put_head(out, list as u32, 0);
            return Ok(Encoded { head_len: out.len() - start, payload: &[] });
        }
        put_head(out, list as u32, 1 + varint_len(len) + len);
        put_head(out, VALUES, len);
        if list.is_bytes_of(dtype) {
            return Ok(Encoded { head_len: out.len() - start, payload: items });
        }
        out.reserve(len as usize);
        put_numbers(dtype, items, out);
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        check(NAME, array).map(|_| ())
    }

    fn left_out(&self) -> &'static str {
        LEFT_OUT
    }

    /// Looks at the fields of the message and not into the numbers.
    fn effort(&self, body: &[u8]) -> Effort {
        match outline(body) {
            Ok((_, list, _)) if list.is_varints() => Effort::Converts,
            Ok((_, _, false)) => Effort::Converts,
            Ok((dtype, list, true)) if !list.is_bytes_of(dtype) => Effort::Copies,
            _ => Effort::Borrows,
        }
    }
}

/// Returns dtype and list of a message, and whether the numbers are in one part.
fn outline(body: &[u8]) -> Result<(DType, List, bool)> {
    let mut cursor = Cursor::new(NAME, body);
    let (mut dtype, mut parts) = ((&body[..0], 0), 0);
    while !cursor.is_empty() {
        match tag(&mut cursor)? {
            (DTYPE, Wire::Len) => dtype = (text(NAME, "dtype", &mut cursor)?, 0),
            (field, Wire::Len) if List::from_field(field).is_some() => {
                let len = varint(&mut cursor)?;
                let mut list = cursor.part(len)?;
                let is_packed = !list.is_empty() && tag(&mut list)? == (VALUES, Wire::Len);
                let is_one = is_packed && chunk(&mut list).is_ok() && list.is_empty();
                parts += if is_one || len == 0 { 1 } else { 2 };
            }
            (field, wire) => skip(&mut cursor, field, wire)?,
        }
    }
    let (dtype, list) = kind(NAME, dtype, body.len())?;
    Ok((dtype, list, parts < 2))
}

/// Returns the list for an array, if it carries every item.
pub(super) fn check(encoding: &'static str, array: &ArrayView<'_>) -> Result<List> {
    let dtype = array.dtype();
    let list = List::for_dtype(dtype).ok_or_else(|| unsupported(encoding, dtype))?;
    if list == List::Bools && array.data().iter().any(|&item| item > 1) {
        let what = "a boolean that is neither 0 nor 1".to_owned();
        return Err(CodecError::Unsupported { encoding, at: None, what });
    }
    Ok(list)
}

/// Returns the bytes of items as numbers of a packed list.
pub fn numbers_len(dtype: DType, items: &[u8]) -> u64 {
    match List::for_dtype(dtype) {
        Some(list) if list.is_varints() => numbers(dtype, items).map(varint_len).sum(),
        _ => items.len() as u64,
    }
}

/// Appends items as numbers of a packed list.
pub fn put_numbers(dtype: DType, items: &[u8], out: &mut Vec<u8>) {
    if List::for_dtype(dtype).is_some_and(List::is_varints) {
        return numbers(dtype, items).for_each(|number| put_varint(out, number));
    }
    let start = out.len();
    out.extend_from_slice(items);
    if dtype.order() == Order::Big {
        out[start..].chunks_exact_mut(dtype.item_size()).for_each(<[u8]>::reverse);
    }
}

pub(super) fn unsupported(encoding: &'static str, dtype: DType) -> CodecError {
    let what = format!("dtype {dtype}: protobuf has no such number");
    CodecError::Unsupported { encoding, at: None, what }
}

pub(super) fn wrong_list(encoding: &'static str, list: List, dtype: DType) -> CodecError {
    CodecError::field(encoding, "items", format!("expected {} for dtype {dtype}", list.name()))
}

/// Finds the dtype of a text that begins at a place in the message, and its list.
fn kind(encoding: &'static str, dtype: (&[u8], usize), end: usize) -> Result<(DType, List)> {
    let (text, at) = dtype;
    if text.is_empty() {
        return Err(CodecError::field(encoding, "dtype", "missing").or_at(end));
    }
    let known = DType::from_bytes(text);
    let unknown = || DType::parse(&String::from_utf8_lossy(text));
    let fault = |source| CodecError::array(encoding)(source).or_at(at);
    let dtype = known.map_or_else(unknown, Ok).map_err(fault)?;
    let list = List::for_dtype(dtype).ok_or_else(|| unsupported(encoding, dtype).or_at(at))?;
    Ok((dtype, list))
}

/// Kind of list in a message; the value is the number of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Doubles = 3,
    Floats = 4,
    Int32s = 5,
    Int64s = 6,
    UInt32s = 7,
    UInt64s = 8,
    Bools = 9,
}

impl List {
    pub(super) const ALL: [List; 7] = [
        List::Doubles,
        List::Floats,
        List::Int32s,
        List::Int64s,
        List::UInt32s,
        List::UInt64s,
        List::Bools,
    ];

    /// Returns the list for items of `dtype`.
    pub(super) fn for_dtype(dtype: DType) -> Option<List> {
        match (dtype.kind(), dtype.item_size()) {
            (Kind::Float, 8) => Some(List::Doubles),
            (Kind::Float, 4) => Some(List::Floats),
            (Kind::Float, _) | (Kind::Complex, _) => None,
            (Kind::Int, 8) => Some(List::Int64s),
            (Kind::Int, _) => Some(List::Int32s),
            (Kind::Uint, 8) => Some(List::UInt64s),
            (Kind::Uint, _) => Some(List::UInt32s),
            (Kind::Bool, _) => Some(List::Bools),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            List::Doubles => "doubles",
            List::Floats => "floats",
            List::Int32s => "int32s",
            List::Int64s => "int64s",
            List::UInt32s => "uint32s",
            List::UInt64s => "uint64s",
            List::Bools => "bools",
        }
    }

    fn from_field(field: u32) -> Option<List> {
        List::ALL.into_iter().find(|&list| list as u32 == field)
    }

    fn wire(self) -> Wire {
        match self {
            List::Doubles => Wire::Fixed64,
            List::Floats => Wire::Fixed32,
            _ => Wire::Varint,
        }
    }

    fn is_varints(self) -> bool {
        self.wire() == Wire::Varint
    }

    /// Returns whether the numbers of the list are the bytes of the array.
    fn is_bytes_of(self, dtype: DType) -> bool {
        !self.is_varints() && dtype.order() == Order::Little
    }

    /// Replaces `items` by the numbers of a packed list.
    fn read(self, dtype: DType, numbers: &[u8], items: &mut Vec<u8>) -> Result<(), &'static str> {
        items.clear();
        let is_big = dtype.order() == Order::Big;
        if !self.is_varints() {
            items.extend_from_slice(numbers);
            if is_big {
                items.chunks_exact_mut(dtype.item_size()).for_each(<[u8]>::reverse);
            }
            return Ok(());
        }
        match (self, dtype.item_size()) {
            (List::Int32s, 1) => {
                each(numbers, is_big, items, |v| i8::try_from(v as i32).ok().map(i8::to_le_bytes))
            }
            (List::Int32s, 2) => {
                each(numbers, is_big, items, |v| i16::try_from(v as i32).ok().map(i16::to_le_bytes))
            }
            (List::UInt32s, 1) => {
                each(numbers, is_big, items, |v| u8::try_from(v as u32).ok().map(u8::to_le_bytes))
            }
            (List::UInt32s, 2) => {
                each(numbers, is_big, items, |v| u16::try_from(v as u32).ok().map(u16::to_le_bytes))
            }
            (List::Bools, _) => each(numbers, is_big, items, |v| Some([u8::from(v != 0)])),
            (List::Int64s | List::UInt64s, _) => {
                each(numbers, is_big, items, |v| Some(v.to_le_bytes()))
            }
            _ => each(numbers, is_big, items, |v| Some((v as u32).to_le_bytes())),
        }
    }
}

/// Appends an item for each varint; `item` gives its little-endian bytes, if it is in range.
fn each<const SIZE: usize>(
    numbers: &[u8],
    is_big: bool,
    items: &mut Vec<u8>,
    item: impl Fn(u64) -> Option<[u8; SIZE]>,
) -> Result<(), &'static str> {
    items.reserve(SIZE * numbers.iter().filter(|byte| **byte < 0x80).count());
    let mut cursor = Cursor::new(NAME, numbers);
    while !cursor.is_empty() {
        let number = varint(&mut cursor).map_err(|_| "a varint beyond 64 bits")?;
        let mut bytes = item(number).ok_or("an integer out of range of the dtype")?;
        if is_big {
            bytes.reverse();
        }
        items.extend_from_slice(&bytes);
    }
    Ok(())
}

/// Iterates over the varints of integers or booleans; negative ones have all 64 bits.
fn numbers(dtype: DType, items: &[u8]) -> impl Iterator<Item = u64> {
    let size = dtype.item_size();
    let unused = 64 - 8 * size as u32;
    items.chunks_exact(size).map(move |item| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(item);
        if dtype.order() == Order::Big {
            bytes[..size].reverse();
        }
        let number = u64::from_le_bytes(bytes);
        match dtype.kind() {
            Kind::Int => ((number << unused) as i64 >> unused) as u64,
            _ => number,
        }
    })
}

struct Fields<'a> {
    /// Text and the place where it begins.
    dtype: (&'a [u8], usize),
    shape: Shape,
    items: Items<'a>,
}

impl<'a> Fields<'a> {
    fn read_all(body: &'a [u8]) -> Result<Fields<'a>> {
        let mut cursor = Cursor::new(NAME, body);
        let mut fields =
            Fields { dtype: (&[], 0), shape: Shape::default(), items: Items::default() };
        while !cursor.is_empty() {
            let at = cursor.offset();
            fields.read(&mut cursor).map_err(|error| error.or_at(at))?;
        }
        Ok(fields)
    }

    fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        match tag(cursor)? {
            (DTYPE, Wire::Len) => {
                let dtype = text(NAME, "dtype", cursor)?;
                self.dtype = (dtype, cursor.offset() - dtype.len());
            }
            (SHAPE, Wire::Len) => packed(NAME, &mut self.shape, cursor)?,
            (SHAPE, Wire::Varint) => {
                self.shape.push(varint(cursor)?).map_err(CodecError::array(NAME))?;
            }
            (field, wire) => match List::from_field(field) {
                Some(list) if wire == Wire::Len => {
                    let len = varint(cursor)?;
                    self.items.read(list, &mut cursor.part(len)?)?;
                }
                _ => skip(cursor, field, wire)?,
            },
        }
        Ok(())
    }
}

/// Numbers of a list in the form of protobuf. Those of several parts are joined.
#[derive(Default)]
struct Items<'a> {
    list: Option<List>,
    at: usize,
    part: &'a [u8],
    joined: Vec<u8>,
}

impl<'a> Items<'a> {
    fn read(&mut self, list: List, cursor: &mut Cursor<'a>) -> Result<()> {
        if self.list != Some(list) {
            *self = Items { list: Some(list), at: cursor.offset(), ..Items::default() };
        }
        while !cursor.is_empty() {
            match tag(cursor)? {
                (VALUES, Wire::Len) => {
                    let part = chunk(cursor)?;
                    self.add(list, part, cursor.offset() - part.len())?;
                }
                (VALUES, wire) if wire == list.wire() => {
                    let at = cursor.offset();
                    skip(cursor, VALUES, wire)?;
                    self.add(list, cursor.between(at..cursor.offset()), at)?;
                }
                (field, wire) => skip(cursor, field, wire)?,
            }
        }
        Ok(())
    }

    /// Adds a part, which ends with a whole number.
    fn add(&mut self, list: List, part: &'a [u8], at: usize) -> Result<()> {
        let is_whole = match list.wire() {
            Wire::Fixed64 => part.len().is_multiple_of(8),
            Wire::Fixed32 => part.len().is_multiple_of(4),
            _ => part.last().is_none_or(|&byte| byte < 0x80),
        };
        if !is_whole {
            let what = "the list ends inside a number";
            return Err(CodecError::Syntax { encoding: NAME, at, what });
        }
        if self.part.is_empty() {
            (self.part, self.at) = (part, at);
            return Ok(());
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(self.part);
        }
        self.joined.extend_from_slice(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &[u8]) -> Result<(String, Vec<u64>, Vec<u8>), String> {
        crate::codec::tests::decode(&ProtobufPacked, body)
    }

    #[test]
    fn a_list_may_be_packed_unpacked_or_in_parts() {
        let head = b"\x0a\x03|i1\x12\x01\x02";
        let minus_one = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        for list in [
            [&b"\x2a\x0d\x0a\x0b"[..], minus_one, b"\x07"].concat(),
            [&b"\x2a\x0d\x08"[..], minus_one, b"\x08\x07"].concat(),
            [&b"\x2a\x0b\x08"[..], minus_one, b"\x2a\x03\x0a\x01\x07"].concat(),
            [&b"\x32\x03\x0a\x01\x05\x2a\x0d\x0a\x0b"[..], minus_one, b"\x07"].concat(),
        ] {
            let want = Ok(("|i1".to_owned(), vec![2], vec![0xff, 7]));
            assert_eq!(decode(&[head, &list[..]].concat()), want, "{list:x?}");
            assert_eq!(decode(&[&list[..], head].concat()), want, "{list:x?}");
        }
    }

    #[test]
    fn the_bytes_of_doubles_are_borrowed() {
        let doubles = [1.5f64.to_le_bytes(), 2.5f64.to_le_bytes()].concat();
        let body = [&b"\x0a\x03<f8\x12\x01\x02\x1a\x12\x0a\x10"[..], &doubles].concat();
        let mut scratch = Vec::new();
        let array = ProtobufPacked.decode(&body, &mut scratch).unwrap();
        assert!(body.as_ptr_range().contains(&array.data().as_ptr()));
        assert_eq!(array.data(), doubles);
        assert_eq!(ProtobufPacked.effort(&body), Effort::Borrows);
        let mut big = body.clone();
        big[2] = b'>';
        assert_eq!(ProtobufPacked.effort(&big), Effort::Copies);
        let (_, _, data) = decode(&big).unwrap();
        assert_eq!(data[..8], 1.5f64.to_be_bytes());
    }

    #[test]
    fn integers_are_cut_to_the_type_of_the_list_and_must_fit_the_dtype() {
        let body = |dtype: &[u8], list: &[u8]| [b"\x0a\x03", dtype, b"\x12\x01\x01", list].concat();
        // 2^32 + 7 is 7 to an int32, as in Google's implementations.
        let long = b"\x2a\x07\x0a\x05\x87\x80\x80\x80\x10";
        assert_eq!(decode(&body(b"<i4", long)).unwrap().2, [7, 0, 0, 0]);
        let text = decode(&body(b"|u1", b"\x3a\x04\x0a\x02\x80\x02")).unwrap_err();
        assert!(text.contains("an integer out of range of the dtype"), "{text}");
        let text = decode(&body(b"<f8", b"\x3a\x03\x0a\x01\x01")).unwrap_err();
        assert!(text.contains("field \"items\": expected doubles for dtype <f8"), "{text}");
    }
}
