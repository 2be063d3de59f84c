//! `npy`: a complete `.npy` file, as `numpy.save` writes it.
//!
//! ```text
//! 93 NUMPY | major minor | header length | header | data
//!            1.0: u16 le, 2.0 and 3.0: u32 le      ^ at a multiple of 64
//! header: {'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), } ... \n
//! ```
//! Formats 1.0 to 3.0 are read; 1.0 is written, byte for byte as NumPy does. The header, a literal
//! of a Python dict, is parsed, not evaluated: three known keys in any order, plain strings,
//! booleans and a tuple of integers (also Python 2's `3L`). Data in Fortran order is transposed
//! into scratch; other data is borrowed in both directions. Source: `numpy.lib.format`.

use std::io::Write;

use crate::array::{ArrayError, ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded};
use super::cursor::Cursor;
use super::digits;
use super::error::{CodecError, Result};
use super::transpose::{is_both_orders, to_c_order};

#[derive(Clone, Copy, Debug)]
pub struct Npy;

const NAME: &str = "npy";
const MAGIC: &[u8; 6] = b"\x93NUMPY";
const HEADER_BYTES_MAX: u32 = 64 * 1024;
const ALIGN: usize = 64;

/// Digits that NumPy reserves for the first dimension, so that it can grow in place.
const GROWTH_DIGITS: usize = 21;

impl ArrayCodec for Npy {
    fn id(&self) -> Codec {
        Codec::Npy
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let mut cursor = Cursor::new(NAME, body);
        let header = match Header::read_plain(body) {
            Some((header, len)) => {
                cursor.seek(len);
                header
            }
            None => Header::read(&mut cursor)?,
        };
        let (data, at) = (cursor.rest(), cursor.offset());
        let view = ArrayView::new(header.dtype, header.shape, data);
        let view = view.map_err(|source| CodecError::array(NAME)(source).or_at(at))?;
        if !header.fortran_order || is_both_orders(view.shape().dims()) {
            return Ok(view);
        }
        to_c_order(view.dtype().item_size(), view.shape().dims(), data, scratch);
        let (dtype, shape) = (view.dtype(), view.shape().clone());
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
    }

    fn effort(&self, body: &[u8]) -> Effort {
        if Header::read_plain(body).is_some() {
            return Effort::Borrows;
        }
        match Header::read(&mut Cursor::new(NAME, body)) {
            Ok(header) if header.fortran_order => Effort::Copies,
            _ => Effort::Borrows,
        }
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        if put_plain_header(array, out).is_none() {
            out.truncate(start);
            put_any_header(array, out);
        }
        Ok(Encoded { head_len: out.len() - start, payload: array.data() })
    }
}

/// Bytes before and after the dtype in a header of NumPy, for dtypes with names of three bytes.
const BEFORE_DTYPE: &[u8] = b"\x93NUMPY\x01\x00v\x00{'descr': '";
const BEFORE_SHAPE: &[u8] = b"', 'fortran_order': False, 'shape': (";
const PLAIN_BYTES: usize = 2 * ALIGN;

/// Header of 128 bytes with blanks for the shape. [`BEFORE_DTYPE`] contains its length.
static PLAIN: [u8; PLAIN_BYTES] = {
    let mut header = [b' '; PLAIN_BYTES];
    let (before, rest) = header.split_at_mut(BEFORE_DTYPE.len());
    before.copy_from_slice(BEFORE_DTYPE);
    rest.split_at_mut(3).1.split_at_mut(BEFORE_SHAPE.len()).0.copy_from_slice(BEFORE_SHAPE);
    header[PLAIN_BYTES - 1] = b'\n';
    header
};

/// Writes the header if it has 128 bytes and the dtype's name has three; `None` leaves a partial
/// header in `out`. A copy of bytes just stored one by one would wait for the store buffer, so the
/// header is completed in place.
fn put_plain_header(array: &ArrayView<'_>, out: &mut Vec<u8>) -> Option<()> {
    const SHAPE_AT: usize = BEFORE_DTYPE.len() + 3 + BEFORE_SHAPE.len();
    let name = array.dtype().name().as_bytes().as_array::<3>()?;
    out.extend_from_slice(&PLAIN);
    let header = out.last_chunk_mut::<PLAIN_BYTES>()?;
    header[BEFORE_DTYPE.len()..][..3].copy_from_slice(name);
    let (&first, more) = array.shape().dims().split_first()?;
    let mut at = SHAPE_AT;
    let first_len = digits::put(first, &mut header[at..])?;
    at += first_len;
    for &dim in more {
        header.get_mut(at..at + 2)?.copy_from_slice(b", ");
        at += 2 + digits::put(dim, header.get_mut(at + 2..)?)?;
    }
    let end = if more.is_empty() { &b",), }"[..] } else { b"), }" };
    // Includes growth and newline; NumPy pads a header of exactly 128 bytes further.
    let len = at + end.len() + GROWTH_DIGITS - first_len + 1;
    header.get_mut(at..at + end.len())?.copy_from_slice(end);
    (PLAIN_BYTES - ALIGN..PLAIN_BYTES).contains(&len).then_some(())
}

fn put_any_header(array: &ArrayView<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[1, 0, 0, 0]);
    let text = out.len();
    put_dict(array, out).expect("a Vec takes all that is written to it");
    let padding = ALIGN - (out.len() - start + 1) % ALIGN;
    out.resize(out.len() + padding, b' ');
    out.push(b'\n');
    let len = u16::try_from(out.len() - text).expect("64 dimensions fit 64 KiB");
    out[text - 2..text].copy_from_slice(&len.to_le_bytes());
}

fn put_dict(array: &ArrayView<'_>, out: &mut Vec<u8>) -> std::io::Result<()> {
    let dtype = array.dtype().name();
    write!(out, "{{'descr': '{dtype}', 'fortran_order': False, 'shape': (")?;
    let dims = array.shape().dims();
    for (position, dim) in dims.iter().enumerate() {
        let separator = if position > 0 { ", " } else { "" };
        write!(out, "{separator}{dim}")?;
    }
    out.extend_from_slice(if dims.len() == 1 { b",), }" } else { b"), }" });
    if let Some(&first) = dims.first() {
        let digits = first.checked_ilog10().unwrap_or(0) as usize + 1;
        out.resize(out.len() + GROWTH_DIGITS - digits, b' ');
    }
    Ok(())
}

struct Header {
    dtype: DType,
    fortran_order: bool,
    shape: Shape,
}

impl Header {
    /// Reads a header in the form of NumPy and returns its length; `None` leaves it to `read`.
    fn read_plain(body: &[u8]) -> Option<(Header, usize)> {
        const BEFORE_LEN: usize = MAGIC.len() + 2;
        let (before, rest) = body.split_at_checked(BEFORE_DTYPE.len())?;
        let (start, text) = before.split_first_chunk::<BEFORE_LEN>()?;
        let (len, text) = text.split_first_chunk()?;
        let end = BEFORE_LEN + len.len() + usize::from(u16::from_le_bytes(*len));
        if start != &BEFORE_DTYPE[..BEFORE_LEN] || text != &BEFORE_DTYPE[BEFORE_LEN + len.len()..] {
            return None;
        }
        let rest = rest.get(..end.checked_sub(before.len())?)?;
        let (name, rest) = rest.split_at_checked(if rest.get(3)? == &b'\'' { 3 } else { 4 })?;
        let dtype = DType::from_bytes(name)?;
        let (shape, rest) = digits::dims::<true>(rest.strip_prefix(BEFORE_SHAPE)?)?;
        let rest =
            rest.strip_prefix(if shape.dims().len() == 1 { &b",), }"[..] } else { b"), }" })?;
        let (b'\n', blanks) = rest.split_last()? else { return None };
        let other = blanks.iter().fold(0, |other, &byte| other | (byte ^ b' '));
        (other == 0).then_some((Header { dtype, fortran_order: false, shape }, end))
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Header> {
        if cursor.array()? != *MAGIC {
            return Err(cursor.fail_at(0, "expected \\x93NUMPY"));
        }
        let len = match cursor.array()? {
            [1, 0] => u32::from(u16::from_le_bytes(cursor.array()?)),
            [2 | 3, 0] => u32::from_le_bytes(cursor.array()?),
            _ => return Err(cursor.fail_at(MAGIC.len(), "expected format 1.0, 2.0 or 3.0")),
        };
        if len > HEADER_BYTES_MAX {
            return Err(cursor.fail("the header is longer than 64 KiB"));
        }
        Header::parse(&mut cursor.part(u64::from(len))?)
    }

    fn parse(text: &mut Cursor<'_>) -> Result<Header> {
        let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
        text.expect(b'{', "expected a dict")?;
        while !text.accept(b'}') {
            let at = text.offset();
            let key = string(text)?;
            text.expect(b':', "expected a colon after the key")?;
            text.skip_space();
            let value_at = text.offset();
            let fault = |error: CodecError| error.or_at(value_at);
            let twice = match key {
                b"descr" => dtype.replace(descr(text).map_err(fault)?).is_some(),
                b"fortran_order" => fortran_order.replace(boolean(text)?).is_some(),
                b"shape" => shape.replace(tuple(text).map_err(fault)?).is_some(),
                _ => {
                    return Err(
                        text.fail_at(at, "unknown key: expected descr, fortran_order or shape")
                    );
                }
            };
            if twice {
                return Err(text.fail_at(at, "a key is given twice"));
            }
            if !text.accept(b',') {
                text.expect(b'}', "expected a comma or the end of the dict")?;
                break;
            }
        }
        text.expect_end("unexpected text after the dict")?;
        let end = text.offset();
        let missing = |field| move || CodecError::field(NAME, field, "missing").or_at(end);
        Ok(Header {
            dtype: dtype.ok_or_else(missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(missing("fortran_order"))?,
            shape: shape.ok_or_else(missing("shape"))?,
        })
    }
}

fn string<'a>(text: &mut Cursor<'a>) -> Result<&'a [u8]> {
    text.skip_space();
    let Some(quote @ (b'\'' | b'"')) = text.peek() else {
        return Err(text.fail("expected a quoted string"));
    };
    text.seek(text.offset() + 1);
    let rest = text.rest();
    let len = memchr::memchr(quote, rest).ok_or_else(|| text.fail("the string does not end"))?;
    let string = &rest[..len];
    if let Some(bad) = string.iter().position(|&byte| byte == b'\\' || byte == b'\n') {
        return Err(text.fail_at(text.offset() + bad, "escapes in strings are not supported"));
    }
    text.seek(text.offset() + len + 1);
    Ok(string)
}

fn descr(text: &mut Cursor<'_>) -> Result<DType> {
    text.skip_space();
    if let Some(b'[' | b'(') = text.peek() {
        return Err(CodecError::field(NAME, "descr", "structured dtypes are not supported"));
    }
    let name =
        str::from_utf8(string(text)?).map_err(|_| CodecError::field(NAME, "descr", "not UTF-8"))?;
    DType::parse(name).map_err(CodecError::array(NAME))
}

fn boolean(text: &mut Cursor<'_>) -> Result<bool> {
    text.skip_space();
    for (word, value) in [(&b"True"[..], true), (b"False", false)] {
        if text.rest().starts_with(word) {
            text.seek(text.offset() + word.len());
            return Ok(value);
        }
    }
    Err(text.fail("expected True or False"))
}

/// Reads a tuple of integers; `(3)` is not a tuple, as in Python.
fn tuple(text: &mut Cursor<'_>) -> Result<Shape> {
    let mut shape = Shape::default();
    text.expect(b'(', "expected a tuple")?;
    while !text.accept(b')') {
        shape.push(integer(text)?).map_err(CodecError::array(NAME))?;
        if !text.accept(b',') {
            if shape.dims().len() == 1 {
                return Err(text.fail("expected a comma: a tuple of one item ends with one"));
            }
            text.expect(b')', "expected a comma or the end of the tuple")?;
            break;
        }
    }
    Ok(shape)
}

fn integer(text: &mut Cursor<'_>) -> Result<u64> {
    text.skip_space();
    let len = text.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 {
        return Err(text.fail("expected a dimension"));
    }
    let value = digits::value(text.take(len as u64)?);
    // Python 2 writes a long integer as `3L`.
    if text.peek() == Some(b'L') {
        text.seek(text.offset() + 1);
    }
    value.ok_or_else(|| CodecError::array(NAME)(ArrayError::Overflow))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{NdArray, RANK_MAX};

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let len = (header.len() as u16).to_le_bytes();
        [&b"\x93NUMPY\x01\x00"[..], &len, header.as_bytes(), data].concat()
    }

    fn decode(body: &[u8]) -> Result<(String, Vec<u64>, Vec<u8>), String> {
        crate::codec::tests::decode(&Npy, body)
    }

    #[test]
    fn headers_may_be_spelled_in_other_ways() {
        for header in [
            "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }\n",
            "{\"shape\":(2 ,),\"fortran_order\":True,\"descr\":\"|u1\"}",
            "  { 'shape' : ( 2, ) , 'descr' : '>u1' ,\n 'fortran_order' : False }   \n",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (2L,), }\n",
            "{'descr': 'uint8', 'fortran_order': False, 'shape': (2,), }\n",
        ] {
            let want = Ok(("|u1".to_owned(), vec![2], vec![7, 8]));
            assert_eq!(decode(&file(header, &[7, 8])), want, "{header}");
        }
    }

    #[test]
    fn headers_as_numpy_writes_them_are_read_as_any_other() {
        let plain = |descr: &str, shape: &str| {
            let dict =
                format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
            format!("{dict:117}\n")
        };
        for shape in ["()", "(0,)", "(3,)", "(3, 4)", "(1, 20, 300, 4000)", "(123456789012345678,)"]
        {
            for descr in ["|u1", "<f8", ">c16"] {
                let body = file(&plain(descr, shape), &[]);
                let careful = Header::read(&mut Cursor::new(NAME, &body)).unwrap();
                let (header, len) = Header::read_plain(&body).expect(shape);
                assert_eq!((header.dtype, header.shape, len), (careful.dtype, careful.shape, 128));
                assert!(!header.fortran_order);
                for cut in 0..body.len() {
                    assert!(Header::read_plain(&body[..cut]).is_none(), "{cut}");
                }
            }
        }
    }

    #[test]
    fn a_header_that_is_changed_anywhere_means_the_same_to_either_reader() {
        let array = NdArray::seeded(DType::F8, Shape::new(&[12, 30]).unwrap(), 1).unwrap();
        let body = crate::codec::message(&Npy, &array.view()).unwrap();
        assert!(Header::read_plain(&body).is_some());
        for at in 0..128 {
            for byte in 0..=255 {
                let mut body = body.clone();
                body[at] = byte;
                let mut cursor = Cursor::new(NAME, &body);
                let careful = Header::read(&mut cursor);
                let Some((header, len)) = Header::read_plain(&body) else { continue };
                let careful = careful.expect("what is plain is right");
                assert_eq!(
                    (header.dtype, header.shape),
                    (careful.dtype, careful.shape),
                    "{at} {byte}"
                );
                assert_eq!((header.fortran_order, len), (careful.fortran_order, cursor.offset()));
            }
        }
    }

    #[test]
    fn plain_headers_are_written_as_others_are() {
        let most = u64::MAX >> 1;
        let mut shapes = vec![vec![], vec![0, most]];
        for rank in 1..=RANK_MAX {
            for (first, last) in [(1, 1), (0, 10), (10, 1), (99, 100), (0, 12345)] {
                let mut dims = vec![1; rank];
                dims[rank - 1] = last;
                dims[0] = first;
                shapes.push(dims);
            }
        }
        for dims in shapes {
            for dtype in [DType::F8, DType::parse("|u1").unwrap(), DType::parse("<c16").unwrap()] {
                let shape = Shape::new(&dims).unwrap();
                let Ok(len) = shape.byte_len(dtype) else { continue };
                let data = vec![0; len as usize];
                let array = ArrayView::new(dtype, shape, &data).unwrap();
                let (mut plain, mut out) = (b"old".to_vec(), b"old".to_vec());
                Npy.encode(&array, &mut plain).unwrap();
                put_any_header(&array, &mut out);
                assert_eq!(plain, out, "{dims:?}");
            }
        }
    }

    #[test]
    fn every_item_of_a_transposed_array_finds_its_place() {
        for (descr, size) in [("|u1", 1), ("<i2", 2), ("<f4", 4), ("<f8", 8), ("<c16", 16)] {
            for dims in [&[2, 3][..], &[200, 70], &[1, 33, 1, 130], &[5, 3, 2, 7], &[17, 16, 9]] {
                let text: String = dims.iter().map(|dim| format!("{dim}, ")).collect();
                let header =
                    format!("{{'descr': '{descr}', 'fortran_order': True, 'shape': ({text})}}");
                let count: usize = dims.iter().product();
                let item = |at: usize| (0..size).map(move |byte| (at * 7 + byte * 31) as u8);
                let data: Vec<u8> = (0..count).flat_map(item).collect();
                let mut want = Vec::new();
                for c_place in 0..count {
                    let (mut rest, mut stride, mut place) = (c_place, count, 0);
                    for (axis, dim) in dims.iter().enumerate() {
                        stride /= dim;
                        place += rest / stride * dims[..axis].iter().product::<usize>();
                        rest %= stride;
                    }
                    want.extend(item(place));
                }
                let mut scratch = vec![0xee; 5];
                let body = file(&header, &data);
                assert!(Npy.decode(&body, &mut scratch).unwrap().data() == want, "{header}");
            }
        }
    }
}
