//! `kserve_http`: inference over HTTP with the binary tensor extension of the Open Inference
//! Protocol: a JSON object, and behind it the bytes of the tensor.
//!
//! ```text
//! request  {"inputs":[{"name":"input","shape":[2],"datatype":"FP32","parameters":
//!           {"binary_data_size":8}}],"parameters":{"binary_data_output":true}}      8 bytes
//! reply    {[id]"model_name":"echo","model_version":"1","outputs":[{"name":"output",
//!           "datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]}    8 bytes
//! ```
//! `binary_data_size` tells where the tensor begins, since the tensor ends the message; a field of
//! HTTP repeats it ([`crate::wire::json_head`]). The model and the tensors are those of
//! [`super::kserve`]. The bytes are borrowed in both directions, and stand at any address. The
//! reply repeats the request's `id`. Members come in any order, and unknown ones are skipped. A
//! request must ask for bytes in the reply. Tensors as lists of numbers are refused.

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::cursor::Cursor;
use super::digits;
use super::error::{CodecError, Result};
use super::json::scan::{Members, NAME_BYTES_MAX, Text, skip_value};
use super::json::{read_dim, read_dims, set};
use super::kserve::{
    INPUT, LEFT_OUT, MODEL, OUTPUT, VERSION, check_model, datatype_of, dtype_of, expected,
};

#[derive(Clone, Copy, Debug)]
pub struct KserveHttp;

const NAME: &str = "kserve_http";

/// Differences between request and reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Request,
    Reply,
}

impl Half {
    fn tensors(self) -> &'static str {
        if self == Half::Request { "inputs" } else { "outputs" }
    }

    fn tensor(self) -> &'static str {
        if self == Half::Request { INPUT } else { OUTPUT }
    }
}

impl ArrayCodec for KserveHttp {
    fn id(&self) -> Codec {
        Codec::KserveHttp
    }

    fn decode<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        Ok(read(Half::Request, body)?.array)
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        write(Half::Reply, None, array, out)
    }

    fn encode_request<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        write(Half::Request, None, array, out)
    }

    fn decode_reply<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        Ok(read(Half::Reply, body)?.array)
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
        let Message { id, array } = read(Half::Request, body)?;
        write(Half::Reply, id, &array, out)
    }
}

/// Returns the length of the JSON object that a message begins with.
pub fn head_len(message: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(NAME, message);
    skip_value(&mut cursor).ok()?;
    Some(cursor.offset())
}

struct Message<'a> {
    /// Text of the `id` between its quotes.
    id: Option<&'a [u8]>,
    array: ArrayView<'a>,
}

#[derive(Debug, Default)]
struct Head<'a> {
    id: Option<Option<Text<'a>>>,
    model: Option<()>,
    version: Option<()>,
    tensor: Option<Tensor>,
    /// Parameters of the only output that the request names, if it does.
    requested: Option<Option<Parameters>>,
    parameters: Option<Parameters>,
}

#[derive(Debug)]
struct Tensor {
    dtype: DType,
    shape: Shape,
    data_len: u64,
    at: usize,
}

/// Parameters that matter, of a message, a tensor, or a requested output.
#[derive(Debug, Default)]
struct Parameters {
    data_size: Option<Option<u64>>,
    is_binary: Option<Option<bool>>,
    has_binary_output: Option<Option<bool>>,
}

fn read(half: Half, body: &[u8]) -> Result<Message<'_>> {
    let mut cursor = Cursor::new(NAME, body);
    let (mut head, mut members) = (Head::default(), Members::default());
    while let Some(name) = members.next(&mut cursor)? {
        cursor.skip_space();
        let at = cursor.offset();
        head.read(half, &name, &mut cursor).map_err(|error| error.or_at(at))?;
    }
    let (end, rest) = (cursor.offset(), cursor.rest());
    let missing = |field| CodecError::field(NAME, field, "missing").or_at(end);
    let tensor = head.tensor.take().ok_or_else(|| missing(half.tensors()))?;
    if half == Half::Reply {
        head.model.ok_or_else(|| missing("model_name"))?;
    } else if !head.asks_for_bytes() {
        let what = "expected true, here or as binary_data of the output: replies are binary";
        return Err(CodecError::field(NAME, "binary_data_output", what).or_at(end));
    }
    let data = data(rest, tensor.data_len).ok_or_else(|| {
        let (size, got) = (tensor.data_len, rest.len());
        let what = format!("{size}, but {got} bytes follow the JSON object");
        CodecError::field(NAME, "binary_data_size", what).or_at(tensor.at)
    })?;
    let array = ArrayView::new(tensor.dtype, tensor.shape, data)
        .map_err(|source| CodecError::array(NAME)(source).or_at(body.len() - data.len()))?;
    Ok(Message { id: head.id.flatten().map(|id| id.raw()), array })
}

/// Returns the last `len` bytes behind a JSON object, before which only white space may stand.
pub(super) fn data(rest: &[u8], len: u64) -> Option<&[u8]> {
    let blank_len = rest.len().checked_sub(usize::try_from(len).ok()?)?;
    let (blank, data) = rest.split_at(blank_len);
    blank.iter().all(|byte| b" \n\t\r".contains(byte)).then_some(data)
}

impl<'a> Head<'a> {
    fn read(&mut self, half: Half, name: &Text<'a>, cursor: &mut Cursor<'a>) -> Result<()> {
        if name.is("id") {
            set(NAME, &mut self.id, "id", nullable(cursor, |cursor| text("id", cursor))?)
        } else if name.is(half.tensors()) {
            let tensor = one(half.tensors(), cursor, |cursor| Tensor::read(half, cursor))?;
            let tensor = tensor.ok_or_else(|| {
                CodecError::field(NAME, half.tensors(), "expected one tensor, got none")
            })?;
            set(NAME, &mut self.tensor, half.tensors(), tensor)
        } else if name.is("outputs") {
            let requested = one("outputs", cursor, requested)?;
            set(NAME, &mut self.requested, "outputs", requested)
        } else if name.is("parameters") {
            set(NAME, &mut self.parameters, "parameters", Parameters::read(cursor)?)
        } else if half == Half::Reply && name.is("model_name") {
            let name = text("model_name", cursor)?;
            check_model(NAME, name.raw(), b"")?;
            set(NAME, &mut self.model, "model_name", ())
        } else if half == Half::Reply && name.is("model_version") {
            let version = text("model_version", cursor)?.raw();
            check_model(NAME, MODEL.as_bytes(), version)?;
            set(NAME, &mut self.version, "model_version", ())
        } else {
            skip_value(cursor)
        }
    }

    fn asks_for_bytes(&self) -> bool {
        let of_output = self.requested.as_ref().and_then(Option::as_ref);
        let of_output = of_output.and_then(|parameters| parameters.is_binary.flatten());
        let of_all = self.parameters.as_ref().and_then(|all| all.has_binary_output.flatten());
        of_output.or(of_all).unwrap_or(false)
    }
}

impl Tensor {
    fn read(half: Half, cursor: &mut Cursor<'_>) -> Result<Tensor> {
        let (mut name, mut dtype, mut shape, mut parameters) = (None, None, None, None);
        let mut members = Members::default();
        while let Some(member) = members.next(cursor)? {
            cursor.skip_space();
            let at = cursor.offset();
            let read = if member.is("name") {
                check_name("name", half.tensor(), cursor)
                    .and_then(|checked| set(NAME, &mut name, "name", checked))
            } else if member.is("datatype") {
                datatype(cursor).and_then(|read| set(NAME, &mut dtype, "datatype", read))
            } else if member.is("shape") {
                read_dims(NAME, "shape", cursor)
                    .and_then(|read| set(NAME, &mut shape, "shape", read))
            } else if member.is("parameters") {
                Parameters::read(cursor)
                    .and_then(|read| set(NAME, &mut parameters, "parameters", (read, at)))
            } else if member.is("data") {
                Err(numbers(NAME))
            } else {
                skip_value(cursor)
            };
            read.map_err(|error| error.or_at(at))?;
        }
        let end = cursor.offset();
        let missing = |field| CodecError::field(NAME, field, "missing").or_at(end);
        name.ok_or_else(|| missing("name"))?;
        let (parameters, at) = parameters.ok_or_else(|| missing("parameters"))?;
        Ok(Tensor {
            dtype: dtype.ok_or_else(|| missing("datatype"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
            data_len: parameters.data_size.flatten().ok_or_else(|| missing("binary_data_size"))?,
            at,
        })
    }
}

impl Parameters {
    fn read(cursor: &mut Cursor<'_>) -> Result<Parameters> {
        let (mut read, mut members) = (Parameters::default(), Members::default());
        while let Some(name) = members.next(cursor)? {
            if name.is("binary_data_size") {
                let size = nullable(cursor, |cursor| read_dim(NAME, cursor))?;
                set(NAME, &mut read.data_size, "binary_data_size", size)?;
            } else if name.is("binary_data") {
                let is_binary = nullable(cursor, boolean)?;
                set(NAME, &mut read.is_binary, "binary_data", is_binary)?;
            } else if name.is("binary_data_output") {
                let has_output = nullable(cursor, boolean)?;
                set(NAME, &mut read.has_binary_output, "binary_data_output", has_output)?;
            } else {
                skip_value(cursor)?;
            }
        }
        Ok(read)
    }
}

/// Refuses a tensor that is a list of numbers.
pub(super) fn numbers(encoding: &'static str) -> CodecError {
    let what = "a tensor as data; send its bytes, with their number as binary_data_size";
    CodecError::Unsupported { encoding, at: None, what: what.to_owned() }
}

/// Reads a list of at most one object.
fn one<'a, T>(
    field: &'static str,
    cursor: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if !cursor.accept(b'[') {
        return Err(CodecError::field(NAME, field, "expected a list"));
    }
    if cursor.accept(b']') {
        return Ok(None);
    }
    let value = read(cursor)?;
    if !cursor.accept(b']') {
        return Err(CodecError::field(NAME, field, "expected one tensor, got more"));
    }
    Ok(Some(value))
}

/// Reads an output that the request names.
fn requested(cursor: &mut Cursor<'_>) -> Result<Parameters> {
    let (mut name, mut parameters, mut members) = (None, None, Members::default());
    while let Some(member) = members.next(cursor)? {
        if member.is("name") {
            set(NAME, &mut name, "name", check_name("outputs", OUTPUT, cursor)?)?;
        } else if member.is("parameters") {
            set(NAME, &mut parameters, "parameters", Parameters::read(cursor)?)?;
        } else {
            skip_value(cursor)?;
        }
    }
    name.ok_or_else(|| CodecError::field(NAME, "name", "missing"))?;
    Ok(parameters.unwrap_or_default())
}

fn text<'a>(field: &'static str, cursor: &mut Cursor<'a>) -> Result<Text<'a>> {
    let Some(text) = Text::read(cursor)? else {
        return Err(CodecError::field(NAME, field, "expected a string"));
    };
    text.check(cursor)?;
    Ok(text)
}

fn check_name(field: &'static str, want: &str, cursor: &mut Cursor<'_>) -> Result<()> {
    let name = text(field, cursor)?;
    if name.is(want) { Ok(()) } else { Err(expected(NAME, field, want, name.raw())) }
}

fn datatype(cursor: &mut Cursor<'_>) -> Result<DType> {
    let name = text("datatype", cursor)?;
    let mut room = [0; NAME_BYTES_MAX];
    dtype_of(NAME, name.unescape(&mut room).unwrap_or(name.raw()))
}

/// Reads a value that may also be `null`.
fn nullable<'a, T>(
    cursor: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if word(cursor, b"null") { Ok(None) } else { read(cursor).map(Some) }
}

fn word(cursor: &mut Cursor<'_>, word: &[u8]) -> bool {
    cursor.skip_space();
    let is_word = cursor.rest().starts_with(word);
    if is_word {
        cursor.seek(cursor.offset() + word.len());
    }
    is_word
}

fn boolean(cursor: &mut Cursor<'_>) -> Result<bool> {
    match word(cursor, b"true") {
        true => Ok(true),
        false if word(cursor, b"false") => Ok(false),
        false => Err(cursor.fail("expected true or false")),
    }
}

/// Appends the JSON object; the payload ends the message.
fn write<'a>(
    half: Half,
    id: Option<&[u8]>,
    array: &ArrayView<'a>,
    out: &mut Vec<u8>,
) -> Result<Encoded<'a>> {
    let (start, payload) = (out.len(), array.data());
    let datatype = datatype_of(NAME, array.dtype())?;
    out.push(b'{');
    if let Some(id) = id {
        put(out, &[b"\"id\":\"", id, b"\","]);
    }
    if half == Half::Reply {
        let [model, version] = [MODEL, VERSION].map(str::as_bytes);
        put(out, &[b"\"model_name\":\"", model, b"\",\"model_version\":\"", version, b"\","]);
    }
    put(
        out,
        &[b"\"", half.tensors().as_bytes(), b"\":[{\"name\":\"", half.tensor().as_bytes(), b"\""],
    );
    // The order of tritonclient and that of Triton.
    if half == Half::Request {
        put_shape(out, array);
        put(out, &[b",\"datatype\":\"", datatype.as_bytes(), b"\""]);
    } else {
        put(out, &[b",\"datatype\":\"", datatype.as_bytes(), b"\""]);
        put_shape(out, array);
    }
    put(out, &[b",\"parameters\":{\"binary_data_size\":"]);
    digits::append(false, payload.len() as u64, out);
    put(out, &[b"}}]"]);
    if half == Half::Request {
        put(out, &[b",\"parameters\":{\"binary_data_output\":true}"]);
    }
    out.push(b'}');
    Ok(Encoded { head_len: out.len() - start, payload })
}

fn put_shape(out: &mut Vec<u8>, array: &ArrayView<'_>) {
    put(out, &[b",\"shape\":["]);
    for (position, &dim) in array.shape().dims().iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        digits::append(false, dim, out);
    }
    out.push(b']');
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_repeats_the_id_and_borrows_bytes_at_any_address() {
        let head = br#"{"id":"\u0061 1","inputs":[{"name":"input","shape":[2],"datatype":"UINT8","parameters":{"binary_data_size":2}}],"parameters":{"binary_data_output":true}}"#;
        let body = [&head[..], b"\x07\x08"].concat();
        assert_eq!(head_len(&body), Some(head.len()));
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        let echoed = KserveHttp.echo(&body, &mut scratch, &mut out).unwrap();
        let want = br#"{"id":"\u0061 1","model_name":"echo","model_version":"1","outputs":[{"name":"output","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}}]}"#;
        assert_eq!((&out[..], echoed.head_len), (&want[..], want.len()));
        assert_eq!(echoed.payload.as_ptr(), body[head.len()..].as_ptr());
    }

    #[test]
    fn white_space_ends_the_object_and_bytes_like_it_are_data() {
        let head = br#"{"outputs":[{"parameters":{"binary_data":true},"name":"output"}],"inputs":[{"data_set":[{}],"parameters":{"binary_data_size":2},"datatype":"UINT8","shape":[2],"name":"input"}]}"#;
        let body = [&head[..], b" \n  "].concat();
        let want = Ok(("|u1".to_owned(), vec![2], b"  ".to_vec()));
        assert_eq!(crate::codec::tests::decode(&KserveHttp, &body), want);
    }
}
