//! `json_binary`: `{"buffer": base64, "dtype": "<f8", "shape": [2, 3]}`.
//!
//! The base64 text is decoded from where it lies into scratch; nothing else of it is looked at. It is strict
//! RFC 4648: the standard alphabet, padded, no line breaks, no stray bits at the end. Escapes in it (`\/`, as PHP
//! writes it) are honoured on a slower path. Members come in any order, others than these three are skipped. Text
//! out is what Python's `json.dumps` gives with these members in this order.

use super::cursor::Cursor;
use super::json::scan::{self, Members, Text};
use super::json::{read_dtype, set};
use super::{Codec, CodecError, Encoded, Encoding};
use crate::array::{ArrayError, ArrayView, Shape};

/// The hand-written codec.
#[derive(Clone, Copy, Debug)]
pub struct JsonBinary;

const NAME: &str = "json_binary";

/// Bytes encoded at a time, so that the text's room is zeroed in cache: a multiple of 3, hence no padding inside.
const BLOCK: usize = 6 * 1024;

impl Codec for JsonBinary {
    fn name(&self) -> &'static str {
        NAME
    }

    fn encoding(&self) -> Encoding {
        Encoding::JsonBinary
    }

    fn decode<'a>(
        &self,
        body: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<ArrayView<'a>, CodecError> {
        let mut cursor = Cursor::new(NAME, body);
        let (mut buffer, mut dtype, mut shape) = (None, None, None);
        let mut members = Members::default();
        while let Some(name) = members.next(&mut cursor)? {
            if name.is("buffer") {
                set(NAME, &mut buffer, "buffer", read_text(&mut cursor)?)?;
            } else if name.is("dtype") {
                set(NAME, &mut dtype, "dtype", read_dtype(NAME, &mut cursor)?)?;
            } else if name.is("shape") {
                set(NAME, &mut shape, "shape", read_shape(&mut cursor)?)?;
            } else if name.is("data") {
                let what = "given beside buffer: a message has either a list or a buffer";
                return Err(CodecError::field(NAME, "data", what));
            } else {
                scan::skip_value(&mut cursor)?;
            }
        }
        cursor.expect_end("expected nothing after the object")?;
        let missing = |field| move || CodecError::field(NAME, field, "missing");
        let buffer = buffer.ok_or_else(missing("buffer"))?;
        let dtype = dtype.ok_or_else(missing("dtype"))?;
        let shape = shape.ok_or_else(missing("shape"))?;
        let data = decode_base64(&buffer, &cursor, scratch)?;
        ArrayView::new(dtype, shape, data).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(
        &self,
        array: &ArrayView<'a>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>, CodecError> {
        let start = out.len();
        out.extend_from_slice(b"{\"buffer\": \"");
        for block in array.data().chunks(BLOCK) {
            let at = out.len();
            out.resize(at + base64_turbo::STANDARD.encoded_len(block.len()), 0);
            base64_turbo::STANDARD
                .encode_slice(block, &mut out[at..])
                .expect("the text has the room that it needs");
        }
        out.extend_from_slice(b"\", \"dtype\": \"");
        out.extend_from_slice(array.dtype().name().as_bytes());
        out.extend_from_slice(b"\", \"shape\": [");
        for (position, &dim) in array.shape().dims().iter().enumerate() {
            if position > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(itoa::Buffer::new().format(dim).as_bytes());
        }
        out.extend_from_slice(b"]}");
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }
}

fn read_text<'a>(cursor: &mut Cursor<'a>) -> Result<Text<'a>, CodecError> {
    let text = Text::read(cursor)?;
    text.ok_or_else(|| CodecError::field(NAME, "buffer", "expected a string of base64"))
}

/// Reads a list of integers that are not negative.
fn read_shape(cursor: &mut Cursor<'_>) -> Result<Shape, CodecError> {
    const LIST: &str = "expected a list of integers";
    let mut shape = Shape::default();
    if !cursor.accept(b'[') {
        return Err(CodecError::field(NAME, "shape", LIST));
    }
    if cursor.accept(b']') {
        return Ok(shape);
    }
    loop {
        shape.push(read_dim(cursor)?).map_err(CodecError::array(NAME))?;
        if cursor.accept(b']') {
            return Ok(shape);
        }
        cursor.expect(b',', "expected a comma or the end of the shape")?;
    }
}

fn read_dim(cursor: &mut Cursor<'_>) -> Result<u64, CodecError> {
    cursor.skip_space();
    let at = cursor.at();
    let digits = cursor.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = cursor.take(digits as u64)?;
    if text.is_empty() || (text.len() > 1 && text[0] == b'0') {
        return Err(cursor.fail_at(at, "expected an integer that is not negative"));
    }
    let mut dim = 0u64;
    for digit in text {
        let next = dim.checked_mul(10).and_then(|dim| dim.checked_add(u64::from(digit - b'0')));
        dim = next.ok_or_else(|| CodecError::array(NAME)(ArrayError::Overflow))?;
    }
    Ok(dim)
}

/// Decodes `text` into `scratch` and returns the bytes.
fn decode_base64<'a>(
    text: &Text<'_>,
    cursor: &Cursor<'_>,
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], CodecError> {
    if text.escaped() {
        return decode_escaped(text, cursor, scratch);
    }
    let room = base64_turbo::STANDARD.decoded_len_estimate(text.raw().len());
    // Only growth is zeroed: every byte that is returned has been written by the decoder.
    scratch.resize(room.max(scratch.len()), 0);
    match base64_turbo::STANDARD.decode_slice(text.raw(), &mut scratch[..room]) {
        Ok(len) => Ok(&scratch[..len]),
        Err(_) => Err(bad_base64(text.raw(), text.at(), cursor)),
    }
}

/// The same for text with escapes, which are resolved first, at the start of `scratch`.
fn decode_escaped<'a>(
    text: &Text<'_>,
    cursor: &Cursor<'_>,
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], CodecError> {
    text.check(cursor)?;
    scratch.clear();
    scratch.resize(text.raw().len(), 0);
    let plain = text.unescape(scratch).expect("the text has been checked").len();
    let room = base64_turbo::STANDARD.decoded_len_estimate(plain);
    scratch.truncate(plain);
    scratch.resize(plain + room, 0);
    let (plain, bytes) = scratch.split_at_mut(plain);
    match base64_turbo::STANDARD.decode_slice(plain, bytes) {
        Ok(len) => Ok(&bytes[..len]),
        Err(_) => {
            Err(CodecError::field(NAME, "buffer", "not base64 once its escapes are resolved"))
        }
    }
}

/// Finds what is wrong with text that the decoder has refused without saying where.
fn bad_base64(text: &[u8], at: usize, cursor: &Cursor<'_>) -> CodecError {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let digits = text.iter().take_while(|byte| is_digit(byte)).count();
    let what = match &text[digits..] {
        b"" | b"=" | b"==" if !text.len().is_multiple_of(4) => {
            "base64 whose length is no multiple of 4"
        }
        b"=" | b"==" => "base64 with stray bits before its padding",
        _ => "a character that base64 does not have here",
    };
    cursor.fail_at(at + digits, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str) -> Result<(String, Vec<u64>, Vec<u8>), String> {
        let mut scratch = Vec::new();
        let array = JsonBinary.decode(body.as_bytes(), &mut scratch);
        let array = array.map_err(|error| error.to_string())?;
        let dims = array.shape().dims().to_vec();
        Ok((array.dtype().name().to_owned(), dims, array.data().to_vec()))
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
    fn scratch_may_hold_something_older_and_longer() {
        let mut scratch = vec![0xee; 100];
        let body = br#"{"buffer": "Bwg=", "dtype": "|u1", "shape": [2]}"#;
        assert_eq!(JsonBinary.decode(body, &mut scratch).unwrap().data(), [7, 8]);
        let body = br#"{"buffer": "Bw\u0067=", "dtype": "|u1", "shape": [2]}"#;
        assert_eq!(JsonBinary.decode(body, &mut scratch).unwrap().data(), [7, 8]);
    }

    #[test]
    fn bad_messages_are_refused_with_the_place() {
        let of =
            |buffer: &str| format!(r#"{{"buffer": "{buffer}", "dtype": "|u1", "shape": [2]}}"#);
        let shaped =
            |shape: &str| format!(r#"{{"buffer": "Bwg=", "dtype": "|u1", "shape": {shape}}}"#);
        let cases = [
            (of("Bw!="), "at byte 14: a character that base64 does not have here"),
            (of("Bwg"), "at byte 15: base64 whose length is no multiple of 4"),
            (of("Bwh="), "stray bits before its padding"),
            (of("Bw=="), "need 2 bytes of data, got 1"),
            (of("=wgg"), "at byte 12: a character"),
            (of("Bwg=Bwg="), "at byte 15: a character"),
            (of("B_8="), "at byte 13: a character"),
            (of("Bwg=\\n"), "not base64 once its escapes are resolved"),
            (of("Bw\\x8="), "at byte 14: an escape that JSON does not have"),
            (of("Bwg=") + "x", "expected nothing after the object"),
            (shaped("2"), "field \"shape\": expected a list of integers"),
            (shaped("[-2]"), "expected an integer that is not negative"),
            (shaped("[02]"), "expected an integer that is not negative"),
            (shaped("[2.0]"), "expected a comma or the end of the shape"),
            (shaped("[2,]"), "expected an integer that is not negative"),
            (shaped("[18446744073709551616]"), "array size overflows"),
            (shaped("[4294967296, 4294967296]"), "array size overflows"),
            (shaped(&format!("[{}1]", "1, ".repeat(64))), "65 dimensions"),
            (r#"{"buffer": 1}"#.to_owned(), "field \"buffer\": expected a string of base64"),
            (r#"{"buffer": "", "buffer": ""}"#.to_owned(), "field \"buffer\": given twice"),
            (r#"{"buffer": "", "data": []}"#.to_owned(), "field \"data\": given beside buffer"),
            (r#"{"buffer": "", "shape": []}"#.to_owned(), "field \"dtype\": missing"),
            (r#"{"dtype": "|O"}"#.to_owned(), "dtype \"|O\" is not supported"),
            (r#"{"buffer": "AAAA"#.to_owned(), "at byte 11: the string does not end"),
        ];
        for (body, want) in cases {
            let error = decode(&body).unwrap_err();
            assert!(
                error.starts_with("json_binary") && error.contains(want),
                "{error}, not {want}"
            );
        }
    }

    #[test]
    fn arrays_longer_than_a_block_have_no_padding_inside() {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 2] {
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
