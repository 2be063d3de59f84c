//! `json_binary`: `{"buffer": base64, "dtype": "<f8", "shape": [2, 3]}`.
//!
//! The base64 text is decoded in place into scratch, up to the first character outside the
//! alphabet. It is strict RFC 4648: padding, no line breaks, no nonzero bits before the padding;
//! JSON escapes in it (PHP writes `\/`) are resolved. Members may come in any order; others are
//! skipped. The output equals Python's `json.dumps`. An echo encodes each block of the array while
//! the block is in the cache.

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::cursor::Cursor;
use super::digits;
use super::error::{CodecError, Result};
use super::json::scan::{self, Members, Text};
use super::json::{read_dims, read_dtype, set};
use super::simd::{Isa, base64};

#[derive(Clone, Copy, Debug)]
pub struct JsonBinary;

const NAME: &str = "json_binary";

/// Characters decoded at a time; text, data and new text fit a first-level cache of 32 KiB. A
/// multiple of 4, so a block ends between groups.
const BLOCK: usize = 8 * 1024;
const HEAD: &[u8] = b"{\"buffer\": \"";
const BEFORE_DTYPE: &[u8] = b", \"dtype\": \"";
const BEFORE_SHAPE: &[u8] = b"\", \"shape\": [";

impl ArrayCodec for JsonBinary {
    fn id(&self) -> Codec {
        Codec::JsonBinary
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        read(body, scratch, |_| ())
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        out.extend_from_slice(HEAD);
        base64::encode(Isa::best(), array.data(), out);
        put_tail(array, out);
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }

    fn echo<'a>(
        &self,
        body: &'a [u8],
        scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        let (start, isa) = (out.len(), Isa::best());
        out.reserve(body.len());
        out.extend_from_slice(HEAD);
        let array = read(body, scratch, |block| base64::encode(isa, block, out))?;
        put_tail(&array, out);
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }
}

/// Reads a message. `block` receives the array's bytes piece by piece, all of them if there is no
/// error; all pieces but the last have a multiple of 3 bytes.
fn read<'a>(
    body: &[u8],
    scratch: &'a mut Vec<u8>,
    mut block: impl FnMut(&[u8]),
) -> Result<ArrayView<'a>> {
    let mut cursor = Cursor::new(NAME, body);
    let (mut fields, mut members) = (Fields::default(), Members::default());
    if body.starts_with(HEAD) {
        let at = HEAD.len() - 1;
        cursor.seek(at);
        read_buffer(&mut cursor, scratch, &mut block).map_err(|error| error.or_at(at))?;
        if let Some((dtype, shape)) = plain_tail(cursor.rest()) {
            return whole(dtype, shape, scratch, at);
        }
        (fields.buffer_at, members) = (Some(at), Members::begun());
    }
    while let Some(name) = members.next(&mut cursor)? {
        cursor.skip_space();
        let at = cursor.offset();
        fields.read(&name, &mut cursor, scratch, &mut block).map_err(|error| error.or_at(at))?;
    }
    cursor.expect_end("unexpected text after the object")?;
    let missing = |field| move || CodecError::field(NAME, field, "missing").or_at(body.len());
    let buffer_at = fields.buffer_at.ok_or_else(missing("buffer"))?;
    let dtype = fields.dtype.ok_or_else(missing("dtype"))?;
    let shape = fields.shape.ok_or_else(missing("shape"))?;
    whole(dtype, shape, scratch, buffer_at)
}

fn whole(dtype: DType, shape: Shape, data: &[u8], buffer_at: usize) -> Result<ArrayView<'_>> {
    let array = ArrayView::new(dtype, shape, data);
    array.map_err(|source| CodecError::array(NAME)(source).or_at(buffer_at))
}

/// Reads the usual text after the buffer; `None` leaves other forms to the complete parser.
fn plain_tail(text: &[u8]) -> Option<(DType, Shape)> {
    let rest = text.strip_prefix(BEFORE_DTYPE)?;
    let (name, rest) = rest.split_at_checked(if rest.get(3)? == &b'"' { 3 } else { 4 })?;
    let dtype = DType::from_bytes(name)?;
    let (shape, rest) = digits::dims::<true>(rest.strip_prefix(BEFORE_SHAPE)?)?;
    (rest == b"]}").then_some((dtype, shape))
}

#[derive(Default)]
struct Fields {
    buffer_at: Option<usize>,
    dtype: Option<DType>,
    shape: Option<Shape>,
}

impl Fields {
    fn read(
        &mut self,
        name: &Text<'_>,
        cursor: &mut Cursor<'_>,
        scratch: &mut Vec<u8>,
        block: &mut impl FnMut(&[u8]),
    ) -> Result<()> {
        if name.is("buffer") {
            set(NAME, &mut self.buffer_at, "buffer", cursor.offset())?;
            read_buffer(cursor, scratch, block)
        } else if name.is("dtype") {
            set(NAME, &mut self.dtype, "dtype", read_dtype(NAME, cursor)?)
        } else if name.is("shape") {
            set(NAME, &mut self.shape, "shape", read_dims(NAME, "shape", cursor)?)
        } else if name.is("data") {
            let what = "not allowed together with buffer: expected either data or buffer";
            Err(CodecError::field(NAME, "data", what))
        } else {
            scan::skip_value(cursor)
        }
    }
}

/// Replaces `scratch` by the decoded base64 string, and passes each piece to `block`.
fn read_buffer(
    cursor: &mut Cursor<'_>,
    scratch: &mut Vec<u8>,
    block: &mut impl FnMut(&[u8]),
) -> Result<()> {
    if !cursor.accept(b'"') {
        return Err(CodecError::field(NAME, "buffer", "expected a string of base64"));
    }
    let (isa, opening) = (Isa::best(), cursor.offset() - 1);
    scratch.clear();
    scratch.reserve(cursor.rest().len() / 4 * 3);
    loop {
        let (rest, shown) = (cursor.rest(), scratch.len());
        let text = &rest[..rest.len().min(BLOCK)];
        let taken = base64::decode(isa, text, scratch);
        cursor.seek(cursor.offset() + taken);
        let more = taken == BLOCK || read_group(cursor, opening, scratch)?;
        block(&scratch[shown..]);
        if !more {
            return Ok(());
        }
    }
}

/// Reads the last group, or one with escapes. Returns false after the closing quote.
fn read_group(cursor: &mut Cursor<'_>, opening: usize, out: &mut Vec<u8>) -> Result<bool> {
    let (mut bits, mut digits) = (0u32, 0);
    while digits < 4 {
        let at = cursor.offset();
        match character(cursor, opening)? {
            None if digits == 0 => return Ok(false),
            None => return Err(cursor.fail_at(at, LENGTH)),
            Some('=') if digits >= 2 => {
                if bits & (0xff >> (2 * digits)) != 0 {
                    return Err(cursor.fail_at(at, "nonzero bits before the base64 padding"));
                }
                read_padding(cursor, opening, 3 - digits)?;
                let bytes = (bits << (24 - 6 * digits)).to_be_bytes();
                out.extend_from_slice(&bytes[1..digits]);
                return Ok(false);
            }
            Some(char) => {
                let value = digit(char).ok_or_else(|| cursor.fail_at(at, CHARACTER))?;
                bits = bits << 6 | value;
                digits += 1;
            }
        }
    }
    out.extend_from_slice(&bits.to_be_bytes()[1..]);
    Ok(true)
}

fn read_padding(cursor: &mut Cursor<'_>, opening: usize, more: usize) -> Result<()> {
    for _ in 0..more {
        let at = cursor.offset();
        match character(cursor, opening)? {
            Some('=') => {}
            Some(_) => return Err(cursor.fail_at(at, CHARACTER)),
            None => return Err(cursor.fail_at(at, LENGTH)),
        }
    }
    let at = cursor.offset();
    match character(cursor, opening)? {
        Some(_) => Err(cursor.fail_at(at, CHARACTER)),
        None => Ok(()),
    }
}

const CHARACTER: &str = "not a base64 character, or not at this place";
const LENGTH: &str = "the length of the base64 is not a multiple of 4";

/// Reads a character of the string that begins at `opening`, or its closing quote.
fn character(cursor: &mut Cursor<'_>, opening: usize) -> Result<Option<char>> {
    let Some(byte) = cursor.peek() else {
        return Err(cursor.fail_at(opening, "the string does not end"));
    };
    let (char, len) = match byte {
        b'\\' => scan::escape(cursor.rest()).map_err(|what| cursor.fail(what))?,
        other => (char::from(other), 1),
    };
    cursor.seek(cursor.offset() + len);
    Ok((byte != b'"').then_some(char))
}

fn digit(char: char) -> Option<u32> {
    let from = |start: char| u32::from(char) - u32::from(start);
    match char {
        'A'..='Z' => Some(from('A')),
        'a'..='z' => Some(from('a') + 26),
        '0'..='9' => Some(from('0') + 52),
        '+' => Some(62),
        '/' => Some(63),
        _ => None,
    }
}

fn put_tail(array: &ArrayView<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(BEFORE_DTYPE);
    out.extend_from_slice(array.dtype().name().as_bytes());
    out.extend_from_slice(BEFORE_SHAPE);
    for (position, &dim) in array.shape().dims().iter().enumerate() {
        if position > 0 {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(itoa::Buffer::new().format(dim).as_bytes());
    }
    out.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str) -> Result<(String, Vec<u64>, Vec<u8>), String> {
        crate::codec::tests::decode(&JsonBinary, body.as_bytes())
    }

    #[test]
    fn members_come_in_any_order_and_spelling() {
        for body in [
            r#"{"buffer": "B/8=", "dtype": "|u1", "shape": [2]}"#,
            r#"{"shape":[2],"dtype":"|u1","buffer":"B/8="}"#,
            "\n{ \"shape\" : [ 2 ] ,\t\"x\": {\"buffer\": [1e5, null]}, \"dtype\" : \"|u1\", \r\n \"buffer\" : \"B/8=\" } \n",
            r#"{"buffer": "B\/8=", "dtype": "|u1", "shape": [2]}"#,
            r#"{"b\u0075ffer": "\u0042\u002f8=", "dtype": "\u007cu1", "shape": [2]}"#,
        ] {
            assert_eq!(decode(body), Ok(("|u1".to_owned(), vec![2], vec![7, 255])), "{body}");
        }
    }

    #[test]
    fn a_message_that_is_changed_anywhere_means_the_same_behind_a_space() {
        let body = r#"{"buffer": "BwhaBwgd", "dtype": "|u1", "shape": [2, 3]}"#;
        let told = |error: CodecError| {
            let text = error.to_string();
            (error.offset(), text.split_once(": ").map(|(_, what)| what.to_owned()))
        };
        let (mut scratch, mut other) = (Vec::new(), Vec::new());
        for at in 0..body.len() {
            for byte in 0..=255 {
                let mut body = body.as_bytes().to_vec();
                body[at] = byte;
                for body in [&body[..], &body[..at]] {
                    let plain = JsonBinary.decode(body, &mut scratch).map_err(told);
                    let plain = plain.map_err(|(at, what)| (at.map(|at| at + 1), what));
                    let behind = [b" ", body].concat();
                    let behind = JsonBinary.decode(&behind, &mut other).map_err(told);
                    assert_eq!(plain, behind, "{at} {byte}");
                }
            }
        }
    }

    #[test]
    fn scratch_may_hold_something_older_and_longer() {
        let mut scratch = vec![0xee; 100];
        let body = br#"{"buffer": "Bwg=", "dtype": "|u1", "shape": [2]}"#;
        assert_eq!(JsonBinary.decode(body, &mut scratch).unwrap().data(), [7, 8]);
        let body = br#"{"buffer": "Bw\u0067=", "dtype": "|u1", "shape": [2]}"#;
        assert_eq!(JsonBinary.decode(body, &mut scratch).unwrap().data(), [7, 8]);
    }

    #[test]
    fn arrays_longer_than_a_block_have_no_padding_inside() {
        const BYTES: usize = BLOCK / 4 * 3;
        for len in [0, 1, BYTES - 1, BYTES, BYTES + 1, 2 * BYTES + 2] {
            let data: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
            let shape = Shape::new(&[len as u64]).unwrap();
            let dtype = crate::array::DType::parse("|u1").unwrap();
            let array = ArrayView::new(dtype, shape, &data).unwrap();
            let mut out = Vec::new();
            JsonBinary.encode(&array, &mut out).unwrap();
            let mut scratch = Vec::new();
            assert_eq!(JsonBinary.decode(&out, &mut scratch).unwrap(), array);
        }
    }
}
