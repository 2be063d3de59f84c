//! `safetensors`: a file of safetensors with one tensor, called `array`.
//!
//! ```text
//! length of the header | header, padded with spaces to a multiple of 8                 | data
//! u64 le                 {"array":{"dtype":"F64","shape":[2,3],"data_offsets":[0,48]}}
//! ```
//! The format has little-endian numbers only, and complex64 but not complex128. Members of the
//! header may come in any order, with `__metadata__`, an object of strings that is skipped. The
//! data is borrowed in both directions. What is written equals the output of the reference
//! implementation byte for byte. Source: the README of huggingface/safetensors, "Format".

use crate::array::{ArrayView, DType, Kind, Order, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::cursor::Cursor;
use super::digits;
use super::error::{CodecError, Result};
use super::json::scan::{self, Members, Text};
use super::json::{read_dims, set};

#[derive(Clone, Copy, Debug)]
pub struct Safetensors;

const NAME: &str = "safetensors";

/// Name of the only tensor of a message.
pub(super) const TENSOR: &str = "array";
pub(super) const LEFT_OUT: &str = "big-endian numbers and complex128";

const HEADER_BYTES_MAX: u64 = 64 * 1024;
const ALIGN: usize = 8;
const LEN_BYTES: usize = 8;

const BEFORE_DTYPE: &[u8] = b"{\"array\":{\"dtype\":\"";
const BEFORE_SHAPE: &[u8] = b"\",\"shape\":[";
const BEFORE_END: &[u8] = b"],\"data_offsets\":[0,";
const AFTER_END: &[u8] = b"]}}";

impl ArrayCodec for Safetensors {
    fn id(&self) -> Codec {
        Codec::Safetensors
    }

    fn decode<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        plain(body).map_or_else(|| careful(body), Ok)
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let dtype = name(array.dtype()).ok_or_else(|| unsupported(NAME, array.dtype()))?;
        let start = out.len();
        out.extend_from_slice(&[0; LEN_BYTES]);
        out.extend_from_slice(BEFORE_DTYPE);
        out.extend_from_slice(dtype.as_bytes());
        out.extend_from_slice(BEFORE_SHAPE);
        for (position, &dim) in array.shape().dims().iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            digits::append(false, dim, out);
        }
        out.extend_from_slice(BEFORE_END);
        digits::append(false, array.data().len() as u64, out);
        out.extend_from_slice(AFTER_END);
        let len = (out.len() - start - LEN_BYTES).next_multiple_of(ALIGN);
        out.resize(start + LEN_BYTES + len, b' ');
        out[start..start + LEN_BYTES].copy_from_slice(&(len as u64).to_le_bytes());
        Ok(Encoded { head_len: LEN_BYTES + len, payload: array.data() })
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        check(NAME, array)
    }

    fn left_out(&self) -> &'static str {
        LEFT_OUT
    }
}

pub(super) fn check(encoding: &'static str, array: &ArrayView<'_>) -> Result<()> {
    name(array.dtype()).map(|_| ()).ok_or_else(|| unsupported(encoding, array.dtype()))
}

pub(super) fn unsupported(encoding: &'static str, dtype: DType) -> CodecError {
    let kind = if dtype.order() == Order::Big { "big-endian numbers" } else { "complex128" };
    CodecError::Unsupported { encoding, at: None, what: format!("{kind} (dtype {dtype})") }
}

/// Names of the format with the dtypes that have them.
const DTYPES: [(&str, &[u8]); 13] = [
    ("BOOL", b"|b1"),
    ("U8", b"|u1"),
    ("I8", b"|i1"),
    ("U16", b"<u2"),
    ("I16", b"<i2"),
    ("F16", b"<f2"),
    ("U32", b"<u4"),
    ("I32", b"<i4"),
    ("F32", b"<f4"),
    ("U64", b"<u8"),
    ("I64", b"<i8"),
    ("F64", b"<f8"),
    ("C64", b"<c8"),
];

/// Returns the name of a dtype in the format.
pub(super) fn name(dtype: DType) -> Option<&'static str> {
    if dtype.order() == Order::Big {
        return None;
    }
    let place = match (dtype.kind(), dtype.item_size()) {
        (Kind::Bool, _) => 0,
        (Kind::Uint, 1) => 1,
        (Kind::Int, 1) => 2,
        (Kind::Uint, 2) => 3,
        (Kind::Int, 2) => 4,
        (Kind::Float, 2) => 5,
        (Kind::Uint, 4) => 6,
        (Kind::Int, 4) => 7,
        (Kind::Float, 4) => 8,
        (Kind::Uint, _) => 9,
        (Kind::Int, _) => 10,
        (Kind::Float, _) => 11,
        (Kind::Complex, 8) => 12,
        (Kind::Complex, _) => return None,
    };
    Some(DTYPES[place].0)
}

/// Returns the dtype of a name of the format.
pub(super) fn dtype(name: &[u8]) -> Option<DType> {
    let (_, dtype) = DTYPES.iter().find(|(known, _)| known.as_bytes() == name)?;
    DType::from_bytes(dtype)
}

/// Reads a header in the form that we write; `None` leaves others and faults to [`careful`].
fn plain(body: &[u8]) -> Option<ArrayView<'_>> {
    let (len, rest) = body.split_first_chunk()?;
    let len = u64::from_le_bytes(*len);
    let len = usize::try_from(len).ok().filter(|_| len <= HEADER_BYTES_MAX)?;
    let (header, data) = rest.split_at_checked(len)?;
    let text = header.strip_prefix(BEFORE_DTYPE)?;
    let end = text.iter().take(DTYPES[0].0.len() + 1).position(|&byte| byte == b'"')?;
    let dtype = dtype(&text[..end])?;
    let (shape, text) = digits::dims::<false>(text[end..].strip_prefix(BEFORE_SHAPE)?)?;
    let (ends, text) = digits::dims::<false>(text.strip_prefix(BEFORE_END)?)?;
    let blanks = text.strip_prefix(AFTER_END)?;
    let is_whole = ends.dims() == [data.len() as u64] && blanks.iter().all(|&byte| byte == b' ');
    ArrayView::new(dtype, shape, data).ok().filter(|_| is_whole)
}

fn careful(body: &[u8]) -> Result<ArrayView<'_>> {
    let mut cursor = Cursor::new(NAME, body);
    let len = u64::from_le_bytes(cursor.array()?);
    if len > HEADER_BYTES_MAX {
        return Err(cursor.fail_at(0, "the header is longer than 64 KiB"));
    }
    let mut header = cursor.part(len)?;
    let (mut tensor, mut metadata, mut members) = (None, None, Members::default());
    while let Some(name) = members.next(&mut header)? {
        header.skip_space();
        let at = header.offset();
        let read = if name.is(TENSOR) {
            check_first(&tensor, TENSOR).and_then(|()| {
                tensor = Some(Tensor::read(&mut header)?);
                Ok(())
            })
        } else if name.is("__metadata__") {
            skip_strings(&mut header).and_then(|()| set(NAME, &mut metadata, "__metadata__", ()))
        } else {
            Err(header.fail_at(at, "an unknown tensor: expected one, with the name \"array\""))
        };
        read.map_err(|error| error.or_at(at))?;
    }
    header.expect_end("unexpected text after the object")?;
    let missing = || CodecError::field(NAME, TENSOR, "missing").or_at(header.offset());
    let Tensor { dtype, shape, offsets, offsets_at } = tensor.ok_or_else(missing)?;
    let (data, data_at) = (cursor.rest(), cursor.offset());
    if offsets.dims() != [0, data.len() as u64] {
        let what = format!("expected [0, {}]: the tensor is all of the data", data.len());
        return Err(CodecError::field(NAME, "data_offsets", what).or_at(offsets_at));
    }
    ArrayView::new(dtype, shape, data)
        .map_err(|source| CodecError::array(NAME)(source).or_at(data_at))
}

/// Refuses a member that was read before, whatever its value is now.
fn check_first<T>(earlier: &Option<T>, field: &'static str) -> Result<()> {
    match earlier {
        None => Ok(()),
        Some(_) => Err(CodecError::field(NAME, field, "given twice")),
    }
}

/// Skips the value of `__metadata__`: null, or an object of strings.
fn skip_strings(cursor: &mut Cursor<'_>) -> Result<()> {
    const NULL: &[u8] = b"null";
    if cursor.rest().starts_with(NULL) {
        cursor.seek(cursor.offset() + NULL.len());
        return Ok(());
    }
    let mut members = Members::default();
    while members.next(cursor)?.is_some() {
        let text = Text::read(cursor)?;
        text.ok_or_else(|| cursor.fail("expected a string: metadata has no other values"))?
            .check(cursor)?;
    }
    Ok(())
}

struct Tensor {
    dtype: DType,
    shape: Shape,
    /// Begin and end of the data, read as a list of any length.
    offsets: Shape,
    offsets_at: usize,
}

impl Tensor {
    fn read(cursor: &mut Cursor<'_>) -> Result<Tensor> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        let mut members = Members::default();
        while let Some(name) = members.next(cursor)? {
            cursor.skip_space();
            let at = cursor.offset();
            let read = if name.is("dtype") {
                read_dtype(cursor).and_then(|it| set(NAME, &mut dtype, "dtype", it))
            } else if name.is("shape") {
                read_dims(NAME, "shape", cursor).and_then(|it| set(NAME, &mut shape, "shape", it))
            } else if name.is("data_offsets") {
                read_dims(NAME, "data_offsets", cursor)
                    .and_then(|it| set(NAME, &mut offsets, "data_offsets", (it, at)))
            } else {
                Err(cursor.fail_at(at, "an unknown member: expected dtype, shape or data_offsets"))
            };
            read.map_err(|error| error.or_at(at))?;
        }
        let end = cursor.offset();
        let missing = |field| move || CodecError::field(NAME, field, "missing").or_at(end);
        let (offsets, offsets_at) = offsets.ok_or_else(missing("data_offsets"))?;
        Ok(Tensor {
            dtype: dtype.ok_or_else(missing("dtype"))?,
            shape: shape.ok_or_else(missing("shape"))?,
            offsets,
            offsets_at,
        })
    }
}

fn read_dtype(cursor: &mut Cursor<'_>) -> Result<DType> {
    let at = cursor.offset();
    let fail = |what: String| CodecError::field(NAME, "dtype", what).or_at(at);
    let text = Text::read(cursor)?.ok_or_else(|| fail("expected a string".to_owned()))?;
    text.check(cursor)?;
    let mut room = [0; scan::NAME_BYTES_MAX];
    let name = text.unescape(&mut room).unwrap_or(text.raw());
    dtype(name).ok_or_else(|| {
        let shown = name.escape_ascii().take(DTYPE_SHOWN).map(char::from).collect::<String>();
        fail(format!("{shown:?} is not supported: expected one like BOOL, U8, F32 or F64"))
    })
}

const DTYPE_SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::NdArray;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn decode(header: &str, data: &[u8]) -> Result<(String, Vec<u64>, Vec<u8>), String> {
        crate::codec::tests::decode(&Safetensors, &file(header, data))
    }

    #[test]
    fn every_name_has_the_dtype_that_has_this_name() {
        for (known, _) in DTYPES {
            assert_eq!(dtype(known.as_bytes()).and_then(name), Some(known));
        }
        let missing = DType::all().filter(|&dtype| name(dtype).is_none());
        let is_left_out = |dtype: DType| dtype.order() == Order::Big || dtype.name() == "<c16";
        assert!(missing.eq(DType::all().filter(|&dtype| is_left_out(dtype))));
    }

    #[test]
    fn headers_may_be_spelled_in_other_ways() {
        for header in [
            r#"{"array":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#,
            r#"{"array":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}        "#,
            r#" { "array" : {"data_offsets":[ 0 , 2 ], "shape":[2 ] ,"dtype":"U8" } } "#,
            r#"{"__metadata__":{"a":"b","c":""},"array":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#,
            r#"{"\u0061rray":{"dtype":"\u00558","shape":[2],"data_offsets":[0,2]},"__metadata__":null}"#,
        ] {
            let want = Ok(("|u1".to_owned(), vec![2], vec![7, 8]));
            assert_eq!(decode(header, &[7, 8]), want, "{header}");
        }
    }

    #[test]
    fn a_message_that_is_changed_anywhere_means_the_same_to_either_reader() {
        let arrays = [("<f8", &[2, 3][..]), ("|u1", &[1, 1, 0]), ("<c8", &[]), ("<i2", &[300])];
        for (dtype, dims) in arrays {
            let (dtype, shape) = (DType::parse(dtype).unwrap(), Shape::new(dims).unwrap());
            let array = NdArray::seeded(dtype, shape, 1).unwrap();
            let body = crate::codec::message(&Safetensors, &array.view()).unwrap();
            assert_eq!(plain(&body), Some(array.view()));
            for at in 0..body.len().min(100) {
                assert_eq!(plain(&body[..at]), None);
                for byte in 0..=255 {
                    let mut body = body.clone();
                    body[at] = byte;
                    let Some(array) = plain(&body) else { continue };
                    assert_eq!(careful(&body), Ok(array), "{at} {byte}");
                }
            }
        }
    }
}
