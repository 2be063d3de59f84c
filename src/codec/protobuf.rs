//! `protobuf`: `NDArray` of `proto/ndecho.proto`, read and written by hand.
//!
//! ```text
//! 0A len buffer...   12 len dtype   1A len shape (packed varints)
//! ```
//! The reader follows the protobuf rules: fields come in any order; the last `buffer` and the last
//! `dtype` win; `shape` may be packed, unpacked or both; unknown fields, and known fields of
//! another wire type, are skipped. The writer gives the bytes of Google's implementation. `buffer`
//! is borrowed in both directions. Source: protobuf.dev, "Encoding".

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::cursor::Cursor;
use super::error::{CodecError, Result};

#[derive(Clone, Copy, Debug)]
pub struct Protobuf;

const NAME: &str = "protobuf";
const BUFFER: u32 = 1;
const DTYPE: u32 = 2;
const SHAPE: u32 = 3;

/// Nesting limit of unknown groups, the same as in Google's implementations.
const GROUP_DEPTH_MAX: usize = 100;

impl ArrayCodec for Protobuf {
    fn id(&self) -> Codec {
        Codec::Protobuf
    }

    fn decode<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let mut cursor = Cursor::new(NAME, body);
        let mut fields =
            Fields { buffer: (&body[..0], 0), dtype: (&[], 0), shape: Shape::default() };
        while !cursor.is_empty() {
            let at = cursor.offset();
            fields.read(&mut cursor).map_err(|error| error.or_at(at))?;
        }
        let Fields { buffer, dtype, shape } = fields;
        if dtype.0.is_empty() {
            return Err(CodecError::field(NAME, "dtype", "missing").or_at(body.len()));
        }
        let fault = |at| move |source| CodecError::array(NAME)(source).or_at(at);
        let kind = DType::from_bytes(dtype.0);
        let unknown = || DType::parse(&String::from_utf8_lossy(dtype.0));
        let kind = kind.map_or_else(unknown, Ok).map_err(fault(dtype.1))?;
        ArrayView::new(kind, shape, buffer.0).map_err(fault(buffer.1))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        let payload = array.data();
        if !payload.is_empty() {
            put_head(out, BUFFER, payload.len() as u64);
        }
        let head_len = out.len() - start;
        let dtype = array.dtype().name().as_bytes();
        put_head(out, DTYPE, dtype.len() as u64);
        out.extend_from_slice(dtype);
        let dims = array.shape().dims();
        if !dims.is_empty() {
            put_head(out, SHAPE, dims.iter().map(|&dim| varint_len(dim)).sum());
            dims.iter().for_each(|&dim| put_varint(out, dim));
        }
        Ok(Encoded { head_len, payload })
    }
}

struct Fields<'a> {
    buffer: (&'a [u8], usize),
    dtype: (&'a [u8], usize),
    shape: Shape,
}

impl<'a> Fields<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        match tag(cursor)? {
            (BUFFER, Wire::Len) => {
                let buffer = chunk(cursor)?;
                self.buffer = (buffer, cursor.offset() - buffer.len());
            }
            (DTYPE, Wire::Len) => {
                let dtype = text(cursor)?;
                self.dtype = (dtype, cursor.offset() - dtype.len());
            }
            (SHAPE, Wire::Len) => packed(cursor, &mut self.shape)?,
            (SHAPE, Wire::Varint) => {
                self.shape.push(varint(cursor)?).map_err(CodecError::array(NAME))?;
            }
            (field, wire) => skip(cursor, field, wire)?,
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Varint,
    Fixed64,
    Len,
    Group,
    EndGroup,
    Fixed32,
}

fn tag(cursor: &mut Cursor<'_>) -> Result<(u32, Wire)> {
    let at = cursor.offset();
    let tag = u32::try_from(varint(cursor)?)
        .map_err(|_| cursor.fail_at(at, "a field number above 2^29 - 1"))?;
    let wire = match tag & 7 {
        0 => Wire::Varint,
        1 => Wire::Fixed64,
        2 => Wire::Len,
        3 => Wire::Group,
        4 => Wire::EndGroup,
        5 => Wire::Fixed32,
        _ => return Err(cursor.fail_at(at, "expected a wire type from 0 to 5")),
    };
    match tag >> 3 {
        0 => Err(cursor.fail_at(at, "expected a field number of at least 1")),
        field => Ok((field, wire)),
    }
}

fn varint(cursor: &mut Cursor<'_>) -> Result<u64> {
    const SHIFT_LAST: u32 = 63;
    let at = cursor.offset();
    let mut value = 0;
    for shift in (0..=SHIFT_LAST).step_by(7) {
        let byte = cursor.byte()?;
        if shift == SHIFT_LAST && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(cursor.fail_at(at, "a varint beyond 64 bits"))
}

fn chunk<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8]> {
    let len = varint(cursor)?;
    cursor.take(len)
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8]> {
    let text = chunk(cursor)?;
    if text.is_ascii() || str::from_utf8(text).is_ok() {
        return Ok(text);
    }
    Err(CodecError::field(NAME, "dtype", "not UTF-8"))
}

fn packed(cursor: &mut Cursor<'_>, shape: &mut Shape) -> Result<()> {
    let len = varint(cursor)?;
    let mut dims = cursor.part(len)?;
    while !dims.is_empty() {
        shape.push(varint(&mut dims)?).map_err(CodecError::array(NAME))?;
    }
    Ok(())
}

/// Skips an unknown value. The numbers of open groups are on a list, not on the call stack.
fn skip(cursor: &mut Cursor<'_>, field: u32, wire: Wire) -> Result<()> {
    let mut open = [0; GROUP_DEPTH_MAX];
    let mut depth = 0;
    let (mut field, mut wire) = (field, wire);
    loop {
        match wire {
            Wire::Varint => drop(varint(cursor)?),
            Wire::Fixed64 => drop(cursor.take(8)?),
            Wire::Len => drop(chunk(cursor)?),
            Wire::Fixed32 => drop(cursor.take(4)?),
            Wire::Group => {
                let slot = open.get_mut(depth);
                *slot.ok_or_else(|| cursor.fail("groups nest deeper than 100"))? = field;
                depth += 1;
            }
            Wire::EndGroup if depth > 0 && open[depth - 1] == field => depth -= 1,
            Wire::EndGroup => return Err(cursor.fail("the end of a group that is not open")),
        }
        if depth == 0 {
            return Ok(());
        }
        (field, wire) = tag(cursor)?;
    }
}

fn put_head(out: &mut Vec<u8>, field: u32, len: u64) {
    const LEN: u64 = 2;
    put_varint(out, u64::from(field) << 3 | LEN);
    put_varint(out, len);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_len(value: u64) -> u64 {
    u64::from((value | 1).ilog2() / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &[u8]) -> Result<(String, Vec<u64>, Vec<u8>), String> {
        crate::codec::tests::decode(&Protobuf, body)
    }

    #[test]
    fn shape_may_be_packed_unpacked_or_both() {
        let want = Ok(("|u1".to_owned(), vec![1, 2], vec![7, 8]));
        for shape in [&b"\x1a\x02\x01\x02"[..], b"\x18\x01\x18\x02", b"\x18\x01\x1a\x01\x02"] {
            let body = [b"\x0a\x02\x07\x08\x12\x03|u1", shape].concat();
            assert_eq!(decode(&body), want);
            let body = [shape, b"\x12\x03|u1\x0a\x02\x07\x08"].concat();
            assert_eq!(decode(&body), want);
        }
    }

    #[test]
    fn the_last_of_several_wins() {
        let body = b"\x0a\x01\x01\x12\x03<f8\x0a\x01\x09\x12\x03|u1";
        assert_eq!(decode(body), Ok(("|u1".to_owned(), vec![], vec![9])));
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let array = b"\x0a\x01\x09\x12\x03|u1";
        for unknown in [
            &b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..],
            b"\x21\0\0\0\0\0\0\0\0",
            b"\x22\x02hi",
            b"\x25\0\0\0\0",
            b"\x23\x24",
            b"\x23\x2b\x08\x01\x2c\x0a\x01x\x24",
            b"\x08\x01",
            b"\x1d\0\0\0\0",
            b"\xf8\xff\xff\xff\x0f\x00",
        ] {
            let want = Ok(("|u1".to_owned(), vec![], vec![9]));
            assert_eq!(decode(&[unknown, array].concat()), want, "{unknown:x?}");
            assert_eq!(decode(&[array, unknown].concat()), want, "{unknown:x?}");
        }
        let deep = [&[0x23; 100][..], &[0x24; 100], array].concat();
        assert!(decode(&deep).is_ok());
    }

    #[test]
    fn varint_lengths_agree_with_what_is_written() {
        for shift in 0..64 {
            for value in [(1u64 << shift) - 1, 1 << shift, (1 << shift) + 1] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len() as u64, varint_len(value));
                assert_eq!(varint(&mut Cursor::new(NAME, &out)), Ok(value));
            }
        }
    }
}
