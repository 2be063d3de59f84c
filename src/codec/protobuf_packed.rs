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

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded};
use super::cursor::Cursor;
use super::error::{CodecError, Result};
use super::packed_numbers::{List, Parts, check, numbers_len, put_list, unsupported};
use super::protobuf_wire::{
    Wire, chunk, packed, put_head, put_varint, skip, tag, text, varint, varint_len,
};

#[derive(Clone, Copy, Debug)]
pub struct ProtobufPacked;

const NAME: &str = "protobuf_packed";
pub(super) const LEFT_OUT: &str = "halves and complex numbers";

const DTYPE: u32 = 1;
const SHAPE: u32 = 2;
/// Field of the first of [`List::ALL`]; those of the others follow.
const FIRST_LIST: u32 = 3;
/// Field of the numbers in the message of each list.
const VALUES: u32 = 1;

impl ArrayCodec for ProtobufPacked {
    fn id(&self) -> Codec {
        Codec::ProtobufPacked
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let Fields { dtype, shape, items } = Fields::read_all(body)?;
        let (dtype, list) = kind(NAME, dtype, body.len())?;
        let Items { list: given, parts } = items;
        let at = parts.at;
        if given.is_some_and(|given| given != list) {
            return Err(wrong_list(NAME, list, dtype).or_at(at));
        }
        let data = parts.items(NAME, list, dtype, scratch)?;
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
            put_head(out, field(list), 0);
            return Ok(Encoded { head_len: out.len() - start, payload: &[] });
        }
        put_head(out, field(list), 1 + varint_len(len) + len);
        let payload = put_list(list, VALUES, array, len, out);
        Ok(Encoded { head_len: out.len() - start, payload })
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
            (field, Wire::Len) if list_of(field).is_some() => {
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

pub(super) fn wrong_list(encoding: &'static str, list: List, dtype: DType) -> CodecError {
    CodecError::field(encoding, "items", format!("expected {} for dtype {dtype}", list.name()))
}

/// Returns the number of the field of a list.
fn field(list: List) -> u32 {
    FIRST_LIST + list as u32
}

fn list_of(field: u32) -> Option<List> {
    List::ALL.get(field.checked_sub(FIRST_LIST)? as usize).copied()
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
            (field, wire) => match list_of(field) {
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

/// Numbers of the last kind of list in a message.
#[derive(Default)]
struct Items<'a> {
    list: Option<List>,
    parts: Parts<'a>,
}

impl<'a> Items<'a> {
    fn read(&mut self, list: List, cursor: &mut Cursor<'a>) -> Result<()> {
        if self.list != Some(list) {
            *self = Items { list: Some(list), parts: Parts::none_at(cursor.offset()) };
        }
        while !cursor.is_empty() {
            let (field, wire) = tag(cursor)?;
            let part = if field == VALUES { list.part((field, wire), cursor)? } else { None };
            match part {
                Some(part) => self.parts.add(NAME, list, part)?,
                None => skip(cursor, field, wire)?,
            }
        }
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
