//! `json`: `{"data": nested list, "dtype": "<f8"}`, and the parts that both JSON forms share.
//!
//! The text is scanned in place, without a tree and without recursion. The members are read first,
//! then the list is parsed into items of the dtype. The output equals Python's `json.dumps({"data":
//! array.tolist(), "dtype": array.dtype.str})`, byte for byte.
//!
//! | in `data` | result |
//! |---|---|
//! | a number in a float array | the nearest double, rounded to `f4` or `f2`; `1e400` is inf |
//! | `NaN`, `Infinity`, `-Infinity` in a float array | the value; a NaN loses sign and payload |
//! | an integer in an integer array | the exact value; refused if out of range of the dtype |
//! | `1.0`, `1e3` in an integer array | the exact value of the decimal; refused if a fraction |
//! | `true`, `false`, `1`, `0` in a `\|b1` array | 1 and 0; other numbers are refused |
//! | `true`, `false` in an array of numbers | refused |
//! | `null`, a string, an object, lists of different lengths or depths | refused |
//! | an integer beyond all doubles in a float array | refused, as in Python |
//! | `-0` | +0.0, as in Python |
//!
//! Complex arrays have no JSON form, nor has a shape with a 0 before its last dimension: `(0, 3)`
//! would become `[]`. Grammar: RFC 8259 without a byte order mark, plus the three words above.
//! Unknown members are skipped; a repeated name is refused.

use crate::array::{ArrayError, ArrayView, DType, Kind, Shape};
use crate::axis::{Codec, Encoding};

use super::array_codec::{ArrayCodec, Encoded};
use super::cursor::Cursor;
use super::digits;
use super::error::{CodecError, Result};
use super::simd::Isa;

mod error;
pub(super) mod f16;
mod item;
mod read;
pub(super) mod scan;
mod shape;
pub(super) mod write;

use scan::{Members, Text};

#[derive(Clone, Copy, Debug)]
pub struct Json;

const NAME: &str = "json";

impl ArrayCodec for Json {
    fn id(&self) -> Codec {
        Codec::Json
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let mut cursor = Cursor::new(NAME, body);
        let (mut data, mut dtype) = (None, None);
        let mut members = Members::default();
        while let Some(name) = members.next(&mut cursor)? {
            cursor.skip_space();
            let at = cursor.offset();
            let read = if name.is("data") {
                scan::skip_array(&mut cursor).and_then(|place| set(NAME, &mut data, "data", place))
            } else if name.is("dtype") {
                read_dtype(NAME, &mut cursor)
                    .and_then(|value| set(NAME, &mut dtype, "dtype", (value, at)))
            } else if name.is("buffer") {
                Err(CodecError::field(NAME, "buffer", BOTH))
            } else {
                scan::skip_value(&mut cursor)
            };
            read.map_err(|error| error.or_at(at))?;
        }
        cursor.expect_end("unexpected text after the object")?;
        let missing = |field| move || CodecError::field(NAME, field, "missing").or_at(body.len());
        let data = data.ok_or_else(missing("data"))?;
        let (dtype, dtype_at) = dtype.ok_or_else(missing("dtype"))?;
        if dtype.kind() == Kind::Complex {
            let what = format!("complex numbers (dtype {dtype})");
            return Err(CodecError::Unsupported { encoding: NAME, at: Some(dtype_at), what });
        }
        let shape =
            read::list(Isa::best(), cursor.between(0..data.end), data.start, dtype, scratch)
                .map_err(|fault| cursor.fail_at(fault.at, fault.what))?;
        let array = ArrayView::new(dtype, shape, scratch);
        array.map_err(|source| CodecError::array(NAME)(source).or_at(data.start))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        self.check(array)?;
        let start = out.len();
        out.extend_from_slice(b"{\"data\": ");
        write::list(Isa::best(), array, out).map_err(unsupported)?;
        out.extend_from_slice(b", \"dtype\": \"");
        out.extend_from_slice(array.dtype().name().as_bytes());
        out.extend_from_slice(b"\"}");
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        write::check(array).map_err(unsupported)
    }

    fn left_out(&self) -> &'static str {
        "complex numbers and shapes with a 0 before the last dimension"
    }
}

fn unsupported(what: String) -> CodecError {
    CodecError::Unsupported { encoding: NAME, at: None, what }
}

const BOTH: &str = "not allowed together with data: expected either data or buffer";

/// Returns the JSON form of `body`, which the first member called `data` or `buffer` decides.
pub fn form(body: &[u8]) -> Result<Encoding> {
    if body.starts_with(b"{\"data\":") {
        return Ok(Encoding::Json);
    }
    if body.starts_with(b"{\"buffer\":") {
        return Ok(Encoding::JsonBinary);
    }
    let mut cursor = Cursor::new(NAME, body);
    let mut members = Members::default();
    while let Some(name) = members.next(&mut cursor)? {
        if name.is("data") {
            return Ok(Encoding::Json);
        }
        if name.is("buffer") {
            return Ok(Encoding::JsonBinary);
        }
        scan::skip_value(&mut cursor)?;
    }
    let what = "missing: expected data (a list) or buffer (base64)";
    Err(CodecError::field(NAME, "data", what).or_at(cursor.offset()))
}

pub(super) fn set<T>(
    encoding: &'static str,
    slot: &mut Option<T>,
    field: &'static str,
    value: T,
) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(CodecError::field(encoding, field, "given twice")),
    }
}

pub(super) fn read_dtype(encoding: &'static str, cursor: &mut Cursor<'_>) -> Result<DType> {
    let Some(text) = Text::read(cursor)? else {
        return Err(CodecError::field(encoding, "dtype", "expected a string"));
    };
    text.check(cursor)?;
    let mut room = [0; scan::NAME_BYTES_MAX];
    let name = text.unescape(&mut room).unwrap_or(text.raw());
    let name = str::from_utf8(name).expect("the text has been checked");
    DType::parse(name).map_err(CodecError::array(encoding))
}

/// Reads a list of dimensions, or of other integers that are not negative.
pub(super) fn read_dims(
    encoding: &'static str,
    field: &'static str,
    cursor: &mut Cursor<'_>,
) -> Result<Shape> {
    let mut shape = Shape::default();
    if !cursor.accept(b'[') {
        return Err(CodecError::field(encoding, field, "expected a list of integers"));
    }
    if cursor.accept(b']') {
        return Ok(shape);
    }
    loop {
        shape.push(read_dim(encoding, cursor)?).map_err(CodecError::array(encoding))?;
        if cursor.accept(b']') {
            return Ok(shape);
        }
        cursor.expect(b',', "expected a comma or the end of the list")?;
    }
}

/// Reads an integer that is not negative.
pub(super) fn read_dim(encoding: &'static str, cursor: &mut Cursor<'_>) -> Result<u64> {
    cursor.skip_space();
    let at = cursor.offset();
    let len = cursor.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = cursor.take(len as u64)?;
    if text.is_empty() || (text.len() > 1 && text[0] == b'0') {
        return Err(cursor.fail_at(at, "expected an integer that is not negative"));
    }
    digits::value(text).ok_or_else(|| CodecError::array(encoding)(ArrayError::Overflow))
}

#[cfg(test)]
mod tests;
