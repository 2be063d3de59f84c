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
use super::protobuf_wire::{
    Wire, chunk, packed, put_head, put_varint, skip, tag, text, varint, varint_len,
};

#[derive(Clone, Copy, Debug)]
pub struct Protobuf;

const NAME: &str = "protobuf";
const BUFFER: u32 = 1;
const DTYPE: u32 = 2;
const SHAPE: u32 = 3;

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
                let dtype = text(NAME, "dtype", cursor)?;
                self.dtype = (dtype, cursor.offset() - dtype.len());
            }
            (SHAPE, Wire::Len) => packed(NAME, &mut self.shape, cursor)?,
            (SHAPE, Wire::Varint) => {
                self.shape.push(varint(cursor)?).map_err(CodecError::array(NAME))?;
            }
            (field, wire) => skip(cursor, field, wire)?,
        }
        Ok(())
    }
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
}
