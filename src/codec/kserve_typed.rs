//! `kserve_typed`: `ModelInferRequest` and `ModelInferResponse` with typed contents, in which each
//! item is a number of protobuf, read and written by hand.
//!
//! ```text
//! request  0A "echo"                       2A tensor "input"
//! reply    0A "echo"  12 "1"  [1A id]      2A tensor "output"
//! tensor   0A name    12 datatype          1A shape (packed varints)    2A contents
//! ```
//! Doubles and floats are borrowed in both directions: their list has the bytes of the array. Other
//! numbers are varints, which are converted one by one. The contents may be left out for an array
//! without items. Raw contents are refused here; the rest is as in [`super::kserve`].

use crate::array::ArrayView;
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded};
use super::cursor::Cursor;
use super::error::{CodecError, Result};
use super::kserve::{
    CONTENTS, Half, Message, REPLY, REQUEST, TENSORS, datatype_of, put_tensor, read,
};
use super::kserve_contents::{self, Contents, NAME};
use super::packed_numbers::{List, check as check_numbers, numbers_len, unsupported};
use super::protobuf_wire::{Wire, chunk, put_head, skip, tag, varint, varint_len};

#[derive(Clone, Copy, Debug)]
pub struct KserveTyped;

pub(super) const LEFT_OUT: &str = "halves, big-endian and complex numbers";

impl ArrayCodec for KserveTyped {
    fn id(&self) -> Codec {
        Codec::KserveTyped
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        Ok(read_typed(&REQUEST, body, scratch)?.1)
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        write(&REPLY, b"", array, out)
    }

    fn encode_request<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        write(&REQUEST, b"", array, out)
    }

    fn decode_reply<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        Ok(read_typed(&REPLY, body, scratch)?.1)
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        check(NAME, array).map(|_| ())
    }

    fn left_out(&self) -> &'static str {
        LEFT_OUT
    }

    fn echo<'a>(
        &self,
        body: &'a [u8],
        scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        let (id, array) = read_typed(&REQUEST, body, scratch)?;
        write(&REPLY, id, &array, out)
    }

    /// Looks at the fields of the message and not into the numbers.
    fn effort(&self, body: &[u8]) -> Effort {
        match outline(body) {
            Ok(true) => Effort::Borrows,
            _ => Effort::Converts,
        }
    }
}

/// Returns the list for an array, if it carries every item.
pub(super) fn check(encoding: &'static str, array: &ArrayView<'_>) -> Result<List> {
    datatype_of(encoding, array.dtype())?;
    check_numbers(encoding, array)
}

/// Refuses an array that has items and no contents.
pub(super) fn check_missing(encoding: &'static str, half: &Half, dims: &[u64]) -> Result<()> {
    if dims.contains(&0) {
        return Ok(());
    }
    let what = format!("missing: expected typed contents or {}", half.raw_name);
    Err(CodecError::field(encoding, "contents", what))
}

pub(super) fn raw_refused(encoding: &'static str, half: &Half) -> CodecError {
    let what = format!("{}; send the tensor as typed contents", half.raw_name);
    CodecError::Unsupported { encoding, at: None, what }
}

/// Reads the id and the tensor of a message with typed contents.
fn read_typed<'a>(
    half: &Half,
    body: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<(&'a [u8], ArrayView<'a>)> {
    let mut contents = Contents::default();
    let message = read(half, body, Some(&mut contents))?;
    let Message { id, dtype, dtype_at, shape, raw } = message;
    if let Some((_, at)) = raw {
        return Err(raw_refused(NAME, half).or_at(at));
    }
    let list = List::for_dtype(dtype).ok_or_else(|| unsupported(NAME, dtype).or_at(dtype_at))?;
    let at = contents.at.unwrap_or(body.len());
    if contents.at.is_none() {
        check_missing(NAME, half, shape.dims()).map_err(|error| error.or_at(at))?;
    }
    let data = contents.items(list, dtype, scratch)?;
    let array = ArrayView::new(dtype, shape, data)
        .map_err(|source| CodecError::array(NAME)(source).or_at(at))?;
    Ok((id, array))
}

/// Appends everything up to the payload, which ends the message.
fn write<'a>(
    half: &Half,
    id: &[u8],
    array: &ArrayView<'a>,
    out: &mut Vec<u8>,
) -> Result<Encoded<'a>> {
    let (list, start) = (check(NAME, array)?, out.len());
    let numbers_len = numbers_len(array.dtype(), array.data());
    let len = kserve_contents::len(numbers_len);
    put_tensor(half, id, array, 1 + varint_len(len) + len, out)?;
    put_head(out, CONTENTS, len);
    let payload = if len == 0 { &[] } else { kserve_contents::put(list, array, numbers_len, out) };
    Ok(Encoded { head_len: out.len() - start, payload })
}

/// Returns whether the numbers of a message are borrowed.
fn outline(body: &[u8]) -> Result<bool> {
    let mut cursor = Cursor::new(NAME, body);
    let (mut contents, mut are_bytes) = (0, true);
    while !cursor.is_empty() {
        match tag(&mut cursor)? {
            (TENSORS, Wire::Len) => {
                let len = varint(&mut cursor)?;
                let mut tensor = cursor.part(len)?;
                while !tensor.is_empty() {
                    match tag(&mut tensor)? {
                        (CONTENTS, Wire::Len) => {
                            let len = varint(&mut tensor)?;
                            are_bytes &= kserve_contents::are_bytes(&mut tensor.part(len)?)?;
                            contents += 1;
                        }
                        (_, Wire::Len) => drop(chunk(&mut tensor)?),
                        (field, wire) => skip(&mut tensor, field, wire)?,
                    }
                }
            }
            (_, Wire::Len) => drop(chunk(&mut cursor)?),
            (field, wire) => skip(&mut cursor, field, wire)?,
        }
    }
    Ok(are_bytes && contents < 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a request for two numbers of a datatype.
    fn request(datatype: &[u8], contents: &[u8]) -> Vec<u8> {
        let datatype = [&[0x12, datatype.len() as u8], datatype].concat();
        let tensor = [&b"\x0a\x05input"[..], &datatype, b"\x1a\x01\x02", contents].concat();
        [&b"\x0a\x04echo\x1a\x02id\x2a"[..], &[tensor.len() as u8], &tensor].concat()
    }

    #[test]
    fn a_reply_repeats_the_id_and_borrows_the_floats() {
        let floats = [1.5f32.to_le_bytes(), (-2.5f32).to_le_bytes()].concat();
        let body = request(b"FP32", &[b"\x2a\x0a\x32\x08", &floats[..]].concat());
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        let Encoded { head_len, payload } =
            KserveTyped.echo(&body, &mut scratch, &mut out).unwrap();
        let want = b"\x0a\x04echo\x12\x011\x1a\x02id\x2a\x1d\x0a\x06output\x12\x04FP32\x1a\x01\x02\x2a\x0a\x32\x08";
        assert_eq!((&out[..head_len], payload), (&want[..], &floats[..]));
        assert!(body.as_ptr_range().contains(&payload.as_ptr()));
        assert_eq!(KserveTyped.effort(&body), Effort::Borrows);
    }

    #[test]
    fn a_list_may_be_packed_unpacked_or_in_parts() {
        let minus_one = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        for contents in [
            [&b"\x2a\x0d\x12\x0b"[..], minus_one, b"\x07"].concat(),
            [&b"\x2a\x0d\x10"[..], minus_one, b"\x10\x07"].concat(),
            [&b"\x2a\x10\x10"[..], minus_one, b"\x12\x01\x07\x0a\x00"].concat(),
            [&b"\x2a\x0b\x10"[..], minus_one, b"\x2a\x02\x10\x07"].concat(),
            [&b"\x2a\x0f\x32\x00\x12\x0b"[..], minus_one, b"\x07"].concat(),
        ] {
            let body = request(b"INT8", &contents);
            let want = Ok(("|i1".to_owned(), vec![2], vec![0xff, 7]));
            assert_eq!(crate::codec::tests::decode(&KserveTyped, &body), want, "{contents:x?}");
            assert_eq!(KserveTyped.effort(&body), Effort::Converts);
        }
    }
}
