//! `kserve`: `ModelInferRequest` and `ModelInferResponse` of `proto/inference.proto`, with raw
//! contents, read and written by hand.
//!
//! ```text
//! request  0A "echo"                       2A tensor "input"   3A len raw_input_contents[0]
//! reply    0A "echo"  12 "1"  [1A id]      2A tensor "output"  32 len raw_output_contents[0]
//! tensor   0A name    12 datatype          1A shape (packed varints)
//! ```
//! The model is called `echo`, in version `1`. It has one tensor each way, and the reply repeats
//! the request's `id`. The raw contents are borrowed in both directions. Fields come in any order,
//! and unknown ones are skipped, parameters included; a known field of another wire type is
//! refused. Typed contents are refused here: [`form`] sends a request that has no others to
//! [`super::kserve_typed`], which shares the reader of all the other fields.

use crate::array::{ArrayView, DType, Shape};
use crate::axis::{Codec, Encoding};

use super::array_codec::{ArrayCodec, Encoded};
use super::cursor::Cursor;
use super::error::{CodecError, Result};
use super::kserve_contents::{Contents, OTHER_WIRE};
use super::protobuf_wire::{
    Wire, chunk, packed, put_head, put_varint, skip, tag, text, varint, varint_len,
};

#[derive(Clone, Copy, Debug)]
pub struct Kserve;

const NAME: &str = "kserve";

/// Name and only version of the model.
pub const MODEL: &str = "echo";
pub const VERSION: &str = "1";

pub const INPUT: &str = "input";
pub const OUTPUT: &str = "output";

pub(super) const LEFT_OUT: &str = "big-endian and complex numbers";

/// Datatypes of the protocol, with the dtypes that have their bytes.
const DATATYPES: [(&str, &str); 12] = [
    ("FP32", "<f4"),
    ("FP64", "<f8"),
    ("FP16", "<f2"),
    ("UINT8", "|u1"),
    ("INT32", "<i4"),
    ("INT64", "<i8"),
    ("BOOL", "|b1"),
    ("INT8", "|i1"),
    ("INT16", "<i2"),
    ("UINT16", "<u2"),
    ("UINT32", "<u4"),
    ("UINT64", "<u8"),
];

const MODEL_NAME: u32 = 1;
const MODEL_VERSION: u32 = 2;
const ID: u32 = 3;
pub(super) const TENSORS: u32 = 5;

/// Fields of a tensor; a requested output has only the first.
const TENSOR_NAME: u32 = 1;
const DATATYPE: u32 = 2;
const SHAPE: u32 = 3;
pub(super) const CONTENTS: u32 = 5;

/// Letters of a peer's text that an error repeats.
const EXCERPT_CHARS_MAX: usize = 40;

/// Differences between request and reply.
pub(super) struct Half {
    tensor: &'static str,
    /// Field of the requested outputs.
    requested: Option<u32>,
    /// Field of the raw contents, and its name.
    raw: u32,
    pub(super) raw_name: &'static str,
}

pub(super) const REQUEST: Half =
    Half { tensor: INPUT, requested: Some(6), raw: 7, raw_name: "raw_input_contents" };
pub(super) const REPLY: Half =
    Half { tensor: OUTPUT, requested: None, raw: 6, raw_name: "raw_output_contents" };

impl ArrayCodec for Kserve {
    fn id(&self) -> Codec {
        Codec::Kserve
    }

    fn decode<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        Ok(read_raw(&REQUEST, body)?.1)
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        write(&REPLY, b"", array, out)
    }

    fn encode_request<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        write(&REQUEST, b"", array, out)
    }

    fn decode_reply<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        Ok(read_raw(&REPLY, body)?.1)
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        datatype_of(NAME, array.dtype()).map(|_| ())
    }

    fn left_out(&self) -> &'static str {
        LEFT_OUT
    }

    fn echo<'a>(
        &self,
        body: &'a [u8],
        _scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        let (id, array) = read_raw(&REQUEST, body)?;
        write(&REPLY, id, &array, out)
    }
}

/// Returns the encoding of a request: with raw contents, or else with typed ones. A message that
/// cannot be read, or has no tensor, is of the encoding that was asked for.
pub fn form(asked: Encoding, body: &[u8]) -> Encoding {
    outline(body).unwrap_or_default().unwrap_or(asked)
}

/// Looks only at the fields of the message itself.
fn outline(body: &[u8]) -> Result<Option<Encoding>> {
    let mut cursor = Cursor::new(NAME, body);
    let mut found = None;
    while !cursor.is_empty() {
        match tag(&mut cursor)? {
            (field, Wire::Len) => {
                chunk(&mut cursor)?;
                if field == REQUEST.raw {
                    return Ok(Some(Encoding::Kserve));
                }
                if field == TENSORS {
                    found = Some(Encoding::KserveTyped);
                }
            }
            (field, wire) => skip(&mut cursor, field, wire)?,
        }
    }
    Ok(found)
}

/// Returns the name of the datatype that has the bytes of `dtype`.
pub(super) fn datatype_of(encoding: &'static str, dtype: DType) -> Result<&'static str> {
    let known = DATATYPES.iter().find(|(_, name)| *name == dtype.name());
    known.map(|(datatype, _)| *datatype).ok_or_else(|| {
        let what = format!("dtype {dtype}: the protocol has no datatype with these bytes");
        CodecError::Unsupported { encoding, at: None, what }
    })
}

/// Returns the dtype of a datatype that a peer names.
pub(super) fn dtype_of(encoding: &'static str, datatype: &[u8]) -> Result<DType> {
    let known = DATATYPES.iter().find(|(name, _)| name.as_bytes() == datatype);
    known.and_then(|(_, name)| DType::from_bytes(name.as_bytes())).ok_or_else(|| {
        let names = DATATYPES.map(|(name, _)| name).join(", ");
        let what = format!("{} is not one of {names}", excerpt(datatype));
        CodecError::field(encoding, "datatype", what)
    })
}

/// Checks the model that a request or a reply names; an empty version is any version.
pub(super) fn check_model(encoding: &'static str, name: &[u8], version: &[u8]) -> Result<()> {
    if name != MODEL.as_bytes() {
        return Err(expected(encoding, "model_name", MODEL, name));
    }
    if !version.is_empty() && version != VERSION.as_bytes() {
        return Err(expected(encoding, "model_version", VERSION, version));
    }
    Ok(())
}

pub(super) fn expected(
    encoding: &'static str,
    field: &'static str,
    want: &str,
    got: &[u8],
) -> CodecError {
    CodecError::field(encoding, field, format!("expected {want:?}, got {}", excerpt(got)))
}

fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    format!("{:?}", text.chars().take(EXCERPT_CHARS_MAX).collect::<String>())
}

/// Reads the model of a `ModelReadyRequest` or `ModelMetadataRequest`: name and version.
pub fn read_model(body: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut cursor = Cursor::new(NAME, body);
    let (mut name, mut version) = (&body[..0], &body[..0]);
    while !cursor.is_empty() {
        let at = cursor.offset();
        match tag(&mut cursor)? {
            (MODEL_NAME, Wire::Len) => name = text(NAME, "name", &mut cursor)?,
            (MODEL_VERSION, Wire::Len) => version = text(NAME, "version", &mut cursor)?,
            (MODEL_NAME | MODEL_VERSION, _) => return Err(cursor.fail_at(at, OTHER_WIRE)),
            (field, wire) => skip(&mut cursor, field, wire)?,
        }
    }
    Ok((name, version))
}

/// Text and the place where it begins.
type Text<'a> = (&'a [u8], usize);

pub(super) struct Message<'a> {
    pub(super) id: &'a [u8],
    pub(super) dtype: DType,
    /// Place of the name of the datatype.
    pub(super) dtype_at: usize,
    pub(super) shape: Shape,
    /// Raw contents of the tensor.
    pub(super) raw: Option<Text<'a>>,
}

struct Tensor<'a> {
    name: Text<'a>,
    datatype: Text<'a>,
    shape: Shape,
}

struct Fields<'a> {
    model: Text<'a>,
    version: Text<'a>,
    id: &'a [u8],
    tensor: Option<Tensor<'a>>,
    raw: Option<Text<'a>>,
}

/// Reads the id and the tensor of a message with raw contents.
fn read_raw<'a>(half: &Half, body: &'a [u8]) -> Result<(&'a [u8], ArrayView<'a>)> {
    let Message { id, dtype, shape, raw, .. } = read(half, body, None)?;
    let missing = || CodecError::field(NAME, half.raw_name, NONE).or_at(body.len());
    let (raw, raw_at) = raw.ok_or_else(missing)?;
    let array = ArrayView::new(dtype, shape, raw)
        .map_err(|source| CodecError::array(NAME)(source).or_at(raw_at))?;
    Ok((id, array))
}

const NONE: &str = "expected one, got none";

/// Reads a message, and its typed contents into `typed`; without it, they are refused.
pub(super) fn read<'a>(
    half: &Half,
    body: &'a [u8],
    mut typed: Option<&mut Contents<'a>>,
) -> Result<Message<'a>> {
    let mut cursor = Cursor::new(NAME, body);
    let none = (&body[..0], 0);
    let mut fields = Fields { model: none, version: none, id: none.0, tensor: None, raw: None };
    while !cursor.is_empty() {
        let at = cursor.offset();
        let typed = typed.as_deref_mut();
        fields.read(half, &mut cursor, typed).map_err(|error| error.or_at(at))?;
    }
    let Fields { model, version, id, tensor, raw } = fields;
    check_model(NAME, model.0, b"").map_err(|error| error.or_at(model.1))?;
    check_model(NAME, MODEL.as_bytes(), version.0).map_err(|error| error.or_at(version.1))?;
    let missing = || CodecError::field(NAME, "tensors", NONE).or_at(body.len());
    let tensor = tensor.ok_or_else(missing)?;
    if tensor.name.0 != half.tensor.as_bytes() {
        return Err(expected(NAME, "name", half.tensor, tensor.name.0).or_at(tensor.name.1));
    }
    let dtype =
        dtype_of(NAME, tensor.datatype.0).map_err(|error| error.or_at(tensor.datatype.1))?;
    Ok(Message { id, dtype, dtype_at: tensor.datatype.1, shape: tensor.shape, raw })
}

impl<'a> Fields<'a> {
    fn read(
        &mut self,
        half: &Half,
        cursor: &mut Cursor<'a>,
        typed: Option<&mut Contents<'a>>,
    ) -> Result<()> {
        let at = cursor.offset();
        match tag(cursor)? {
            (MODEL_NAME, Wire::Len) => self.model = placed(cursor, "model_name")?,
            (MODEL_VERSION, Wire::Len) => self.version = placed(cursor, "model_version")?,
            (ID, Wire::Len) => self.id = text(NAME, "id", cursor)?,
            (TENSORS, Wire::Len) => {
                let len = varint(cursor)?;
                let tensor = Tensor::read(half, &mut cursor.part(len)?, typed)?;
                if self.tensor.replace(tensor).is_some() {
                    return Err(cursor.fail_at(at, "expected one tensor, got another"));
                }
            }
            (field, Wire::Len) if field == half.raw => {
                let raw = chunk(cursor)?;
                if self.raw.replace((raw, cursor.offset() - raw.len())).is_some() {
                    return Err(cursor.fail_at(at, "expected raw contents of one tensor"));
                }
            }
            (field, Wire::Len) if Some(field) == half.requested => {
                let len = varint(cursor)?;
                check_requested(&mut cursor.part(len)?)?;
            }
            (MODEL_NAME | MODEL_VERSION | ID | TENSORS, _) => {
                return Err(cursor.fail_at(at, OTHER_WIRE));
            }
            (field, _) if field == half.raw || Some(field) == half.requested => {
                return Err(cursor.fail_at(at, OTHER_WIRE));
            }
            (field, wire) => skip(cursor, field, wire)?,
        }
        Ok(())
    }
}

impl<'a> Tensor<'a> {
    fn read(
        half: &Half,
        cursor: &mut Cursor<'a>,
        mut typed: Option<&mut Contents<'a>>,
    ) -> Result<Tensor<'a>> {
        let none = (cursor.between(0..0), cursor.offset());
        let mut tensor = Tensor { name: none, datatype: none, shape: Shape::default() };
        while !cursor.is_empty() {
            let at = cursor.offset();
            match tag(cursor)? {
                (TENSOR_NAME, Wire::Len) => tensor.name = placed(cursor, "name")?,
                (DATATYPE, Wire::Len) => tensor.datatype = placed(cursor, "datatype")?,
                (SHAPE, Wire::Len) => packed(NAME, &mut tensor.shape, cursor)?,
                (SHAPE, Wire::Varint) => {
                    tensor.shape.push(varint(cursor)?).map_err(CodecError::array(NAME))?;
                }
                (CONTENTS, Wire::Len) => match &mut typed {
                    Some(contents) => {
                        let len = varint(cursor)?;
                        contents.read(&mut cursor.part(len)?)?;
                    }
                    None => {
                        let what = format!("typed contents; send the tensor in {}", half.raw_name);
                        return Err(CodecError::Unsupported { encoding: NAME, at: Some(at), what });
                    }
                },
                (TENSOR_NAME | DATATYPE | SHAPE | CONTENTS, _) => {
                    return Err(cursor.fail_at(at, OTHER_WIRE));
                }
                (field, wire) => skip(cursor, field, wire)?,
            }
        }
        if tensor.shape.dims().iter().any(|dim| *dim > i64::MAX as u64) {
            return Err(CodecError::field(NAME, "shape", NEGATIVE).or_at(none.1));
        }
        Ok(tensor)
    }
}

pub(super) const NEGATIVE: &str = "a negative dimension";

/// Checks that a requested output is the one there is.
fn check_requested(cursor: &mut Cursor<'_>) -> Result<()> {
    let start = cursor.offset();
    let mut name = (cursor.between(0..0), start);
    while !cursor.is_empty() {
        let at = cursor.offset();
        match tag(cursor)? {
            (TENSOR_NAME, Wire::Len) => name = placed(cursor, "name")?,
            (TENSOR_NAME, _) => return Err(cursor.fail_at(at, OTHER_WIRE)),
            (field, wire) => skip(cursor, field, wire)?,
        }
    }
    if name.0 == OUTPUT.as_bytes() {
        return Ok(());
    }
    Err(expected(NAME, "outputs", OUTPUT, name.0).or_at(name.1))
}

#[inline(always)]
fn placed<'a>(cursor: &mut Cursor<'a>, name: &'static str) -> Result<Text<'a>> {
    let text = text(NAME, name, cursor)?;
    Ok((text, cursor.offset() - text.len()))
}

/// Appends everything up to the payload, which ends the message.
fn write<'a>(
    half: &Half,
    id: &[u8],
    array: &ArrayView<'a>,
    out: &mut Vec<u8>,
) -> Result<Encoded<'a>> {
    let (start, payload) = (out.len(), array.data());
    put_tensor(half, id, array, 0, out)?;
    put_head(out, half.raw, payload.len() as u64);
    Ok(Encoded { head_len: out.len() - start, payload })
}

/// Appends everything up to the end of the tensor's shape. The tensor has `more_bytes` behind it.
pub(super) fn put_tensor(
    half: &Half,
    id: &[u8],
    array: &ArrayView<'_>,
    more_bytes: u64,
    out: &mut Vec<u8>,
) -> Result<()> {
    let datatype = datatype_of(NAME, array.dtype())?;
    put_text(out, MODEL_NAME, MODEL.as_bytes());
    if half.requested.is_none() {
        put_text(out, MODEL_VERSION, VERSION.as_bytes());
    }
    if !id.is_empty() {
        put_text(out, ID, id);
    }
    let dims = array.shape().dims();
    let dims_len: u64 = dims.iter().map(|&dim| varint_len(dim)).sum();
    let shape_len = if dims.is_empty() { 0 } else { 1 + varint_len(dims_len) + dims_len };
    let names_len = 2 + half.tensor.len() + 2 + datatype.len();
    put_head(out, TENSORS, names_len as u64 + shape_len + more_bytes);
    put_text(out, TENSOR_NAME, half.tensor.as_bytes());
    put_text(out, DATATYPE, datatype.as_bytes());
    if !dims.is_empty() {
        put_head(out, SHAPE, dims_len);
        dims.iter().for_each(|&dim| put_varint(out, dim));
    }
    Ok(())
}

fn put_text(out: &mut Vec<u8>, field: u32, text: &[u8]) {
    put_head(out, field, text.len() as u64);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENSOR: &[u8] = b"\x2a\x11\x0a\x05input\x12\x05UINT8\x1a\x01\x02";
    const RAW: &[u8] = b"\x3a\x02\x07\x08";

    #[test]
    fn a_reply_repeats_the_id_and_borrows_the_payload() {
        let body = [&b"\x0a\x04echo\x12\x011\x1a\x02id"[..], TENSOR, RAW].concat();
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        let Encoded { head_len, payload } = Kserve.echo(&body, &mut scratch, &mut out).unwrap();
        let want =
            b"\x0a\x04echo\x12\x011\x1a\x02id\x2a\x12\x0a\x06output\x12\x05UINT8\x1a\x01\x02\x32\x02";
        assert_eq!((&out[..head_len], payload), (&want[..], &[7, 8][..]));
        assert!(body.as_ptr_range().contains(&payload.as_ptr()));
    }

    #[test]
    fn raw_contents_decide_on_the_form_and_then_typed_ones() {
        let typed = b"\x0a\x04echo\x2a\x02\x2a\x00";
        let both = [RAW, typed].concat();
        for asked in [Encoding::Kserve, Encoding::KserveTyped] {
            assert_eq!(form(asked, typed), Encoding::KserveTyped);
            for body in [&[TENSOR, RAW].concat(), &both, RAW] {
                assert_eq!(form(asked, body), Encoding::Kserve);
            }
            for body in [&b""[..], b"\x0a\x04echo", &TENSOR[..9], b"\x2c"] {
                assert_eq!(form(asked, body), asked, "{body:x?}");
            }
        }
    }

    #[test]
    fn fields_come_in_any_order_and_parameters_are_skipped() {
        let parameters = b"\x22\x05\x0a\x01a\x12\x00";
        let shape = b"\x2a\x10\x18\x02\x12\x05UINT8\x0a\x05input";
        let body = [RAW, parameters, shape, b"\x32\x08\x0a\x06output\x0a\x04echo"].concat();
        let want = Ok(("|u1".to_owned(), vec![2], vec![7, 8]));
        assert_eq!(crate::codec::tests::decode(&Kserve, &body), want);
    }
}
