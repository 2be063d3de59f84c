//! `multipart`: a message of ZeroMQ with two parts, `{"dtype": "<f8", "shape": [2, 3]}` and the
//! bytes of the array, as frames of ZMTP 3 (RFC 23 of ZeroMQ, "Framing").
//!
//! ```text
//! flags  length      JSON      flags  length      bytes of the array
//! 0x01   1 byte      ...       0x00   1 byte      ...
//! 0x03   8 bytes be            0x02   8 bytes be
//! ```
//! Bit 0 says that another frame follows, and bit 1 that the length has eight bytes. The delimiter
//! before the first frame belongs to the connection, not to the message. Members of the JSON may
//! come in any order; others are refused. The data is borrowed in both directions. Only external
//! servers speak this encoding; the load generator reads and writes it.

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::cursor::Cursor;
use super::digits;
use super::error::{CodecError, Result};
use super::json::scan::Members;
use super::json::{read_dims, read_dtype, set};

#[derive(Clone, Copy, Debug)]
pub struct Multipart;

const NAME: &str = "multipart";

const MORE: u8 = 1;
const LONG: u8 = 2;

const BEFORE_DTYPE: &[u8] = b"{\"dtype\": \"";
const BEFORE_SHAPE: &[u8] = b"\", \"shape\": [";
const END: &[u8] = b"]}";

impl ArrayCodec for Multipart {
    fn id(&self) -> Codec {
        Codec::Multipart
    }

    fn decode<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let mut cursor = Cursor::new(NAME, body);
        let len = frame_len(&mut cursor, MORE)?;
        let head = cursor.part(len)?;
        let (dtype, shape) = read_head(head)?;
        let len = frame_len(&mut cursor, 0)?;
        let data_at = cursor.offset();
        let data = cursor.take(len)?;
        if !cursor.is_empty() {
            return Err(cursor.fail("unexpected bytes after the second frame"));
        }
        let view = ArrayView::new(dtype, shape, data);
        view.map_err(|source| CodecError::array(NAME)(source).or_at(data_at))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        let mut head = BEFORE_DTYPE.to_vec();
        head.extend_from_slice(array.dtype().name().as_bytes());
        head.extend_from_slice(BEFORE_SHAPE);
        for (position, &dim) in array.shape().dims().iter().enumerate() {
            if position > 0 {
                head.extend_from_slice(b", ");
            }
            digits::append(false, dim, &mut head);
        }
        head.extend_from_slice(END);
        put_frame_head(MORE, head.len(), out);
        out.extend_from_slice(&head);
        put_frame_head(0, array.data().len(), out);
        Ok(Encoded { head_len: out.len() - start, payload: array.data() })
    }
}

fn put_frame_head(flags: u8, len: usize, out: &mut Vec<u8>) {
    match u8::try_from(len) {
        Ok(len) => out.extend_from_slice(&[flags, len]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Reads the head of a frame with `flags` and any form of the length.
fn frame_len(cursor: &mut Cursor<'_>, flags: u8) -> Result<u64> {
    let at = cursor.offset();
    match cursor.byte()? {
        found if found == flags => cursor.byte().map(u64::from),
        found if found == flags | LONG => cursor.array().map(u64::from_be_bytes),
        _ => Err(cursor.fail_at(at, "expected two frames: JSON with more to come, then the data")),
    }
}

fn read_head(mut cursor: Cursor<'_>) -> Result<(DType, Shape)> {
    let (mut dtype, mut shape) = (None, None);
    let mut members = Members::default();
    while let Some(name) = members.next(&mut cursor)? {
        cursor.skip_space();
        let at = cursor.offset();
        let read = if name.is("dtype") {
            read_dtype(NAME, &mut cursor).and_then(|it| set(NAME, &mut dtype, "dtype", it))
        } else if name.is("shape") {
            read_dims(NAME, "shape", &mut cursor).and_then(|it| set(NAME, &mut shape, "shape", it))
        } else {
            Err(cursor.fail_at(at, "an unknown member: expected dtype and shape"))
        };
        read.map_err(|error| error.or_at(at))?;
    }
    cursor.expect_end("unexpected text after the object")?;
    let missing = |field| move || CodecError::field(NAME, field, "missing");
    let end = cursor.offset();
    let dtype = dtype.ok_or_else(missing("dtype")).map_err(|error| error.or_at(end))?;
    let shape = shape.ok_or_else(missing("shape")).map_err(|error| error.or_at(end))?;
    Ok((dtype, shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::NdArray;
    use crate::codec::{message, tests::decode};

    fn frames(head: &str, data: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        put_frame_head(MORE, head.len(), &mut message);
        message.extend_from_slice(head.as_bytes());
        put_frame_head(0, data.len(), &mut message);
        message.extend_from_slice(data);
        message
    }

    #[test]
    fn every_dtype_shape_and_length_comes_back() {
        let shapes: [&[u64]; 6] = [&[], &[0], &[3], &[2, 0, 3], &[255], &[1; 64]];
        for dtype in DType::all() {
            for dims in shapes {
                let array = NdArray::seeded(dtype, Shape::new(dims).unwrap(), 1).unwrap();
                let body = message(&Multipart, &array.view()).unwrap();
                let mut scratch = Vec::new();
                assert_eq!(Multipart.decode(&body, &mut scratch), Ok(array.view()));
            }
        }
    }

    #[test]
    fn a_message_has_these_bytes() {
        let array = NdArray::new(DType::F8, Shape::new(&[1, 2]).unwrap(), vec![7; 16]).unwrap();
        let mut expected = b"\x01\x21{\"dtype\": \"<f8\", \"shape\": [1, 2]}\x00\x10".to_vec();
        expected.extend_from_slice(&[7; 16]);
        assert_eq!(message(&Multipart, &array.view()), Ok(expected));
        let array = NdArray::seeded(DType::F8, Shape::new(&[32]).unwrap(), 1).unwrap();
        let body = message(&Multipart, &array.view()).unwrap();
        let long = [&[LONG], 256_u64.to_be_bytes().as_slice()].concat();
        assert!(body[..body.len() - 256].ends_with(&long), "{body:?}");
    }

    #[test]
    fn the_json_may_be_spelled_in_other_ways() {
        for head in [
            r#"{"dtype": "|u1", "shape": [2]}"#,
            r#"{"shape":[2],"dtype":"uint8"}"#,
            r#" { "shape" : [ 2 ] , "\u0064type" : "u1" } "#,
        ] {
            let want = Ok(("|u1".to_owned(), vec![2], vec![7, 8]));
            assert_eq!(decode(&Multipart, &frames(head, &[7, 8])), want, "{head}");
        }
        let long =
            b"\x03\0\0\0\0\0\0\0\x1b{\"dtype\":\"|u1\",\"shape\":[1]}\x02\0\0\0\0\0\0\0\x01\x07";
        assert_eq!(decode(&Multipart, long), Ok(("|u1".to_owned(), vec![1], vec![7])));
    }

    #[test]
    fn other_messages_are_refused_at_the_offset_of_the_fault() {
        let good = r#"{"dtype": "|u1", "shape": [1]}"#;
        let whole = frames(good, &[7]);
        let mut cases: Vec<(Vec<u8>, &str)> = vec![
            (frames(r#"{"dtype": "|O", "shape": [1]}"#, &[7]), "at byte 12"),
            (frames(r#"{"dtype": "|u1"}"#, &[7]), r#"at byte 18: field "shape": missing"#),
            (frames(r#"{"shape": [1]}"#, &[7]), r#"field "dtype": missing"#),
            (frames(r#"{"dtype": "|u1", "shape": [-1]}"#, &[7]), "an integer"),
            (frames(r#"{"dtype": "|u1", "dtype": "|u1", "shape": [1]}"#, &[7]), "given twice"),
            (frames(r#"{"dtype": "|u1", "shape": [1], "order": "C"}"#, &[7]), "unknown member"),
            (frames(good, &[7, 8]), "at byte 34"),
            (frames("[1]", &[7]), "expected an object"),
            (frames("", &[7]), "expected an object"),
            ([whole.as_slice(), &[0]].concat(), "after the second frame"),
            (frames(good, &[7])[..33].to_vec(), "ends early"),
            (b"\x00\x02{}".to_vec(), "expected two frames"),
            (b"\x04\x02{}".to_vec(), "expected two frames"),
            (b"\x03\xff\xff\xff\xff\xff\xff\xff\xff{}".to_vec(), "exceeds the rest"),
        ];
        cases.push((Vec::new(), "at byte 0"));
        for (body, why) in cases {
            let error = decode(&Multipart, &body).expect_err(why);
            assert!(error.starts_with("multipart at byte ") && error.contains(why), "{error}");
        }
        for len in 0..whole.len() {
            assert!(decode(&Multipart, &whole[..len]).is_err(), "{len}");
        }
    }
}
