//! `kserve_http:serde`: serde_json for the JSON object of the binary tensor extension.
//!
//! The bytes of the tensor are borrowed, as a user slices them from the body. Differences from
//! `kserve_http`: a struct is also read from a list of its fields, and errors name a line and a
//! column.

use serde::{Deserialize, Serialize};

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::error::{CodecError, Result};
use super::kserve::{
    INPUT, LEFT_OUT, MODEL, OUTPUT, VERSION, check_model, datatype_of, dtype_of, expected,
};
use super::kserve_http::{data, numbers};

#[derive(Clone, Copy, Debug)]
pub struct KserveHttpSerde;

const NAME: &str = "kserve_http:serde";

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Parameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_data_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_data: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_data_output: Option<bool>,
}

#[derive(Deserialize, Serialize)]
struct Tensor {
    name: String,
    datatype: String,
    shape: Vec<u64>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(default, skip_serializing)]
    data: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Requested {
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    id: Option<String>,
    inputs: Vec<Tensor>,
    #[serde(default)]
    outputs: Vec<Requested>,
    #[serde(default)]
    parameters: Parameters,
}

/// Tensor of a request, in the order of tritonclient.
#[derive(Serialize)]
struct Input {
    name: String,
    shape: Vec<u64>,
    datatype: String,
    parameters: Parameters,
}

#[derive(Serialize)]
struct RequestOut {
    inputs: [Input; 1],
    parameters: Parameters,
}

#[derive(Deserialize, Serialize)]
struct Reply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    model_name: String,
    #[serde(default)]
    model_version: String,
    outputs: Vec<Tensor>,
}

impl ArrayCodec for KserveHttpSerde {
    fn id(&self) -> Codec {
        Codec::KserveHttpSerde
    }

    fn decode<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let (request, rest) = split::<Request>(body)?;
        array(INPUT, check_request(&request)?, rest)
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        reply(None, array, out)
    }

    fn encode_request<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let parameters = Parameters { binary_data_output: Some(true), ..Parameters::default() };
        let Tensor { name, datatype, shape, parameters: of_input, .. } = tensor(INPUT, array)?;
        let input = Input { name, shape, datatype, parameters: of_input };
        write(&RequestOut { inputs: [input], parameters }, array, out)
    }

    fn decode_reply<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let (reply, rest) = split::<Reply>(body)?;
        check_model(NAME, reply.model_name.as_bytes(), reply.model_version.as_bytes())?;
        array(OUTPUT, only("outputs", &reply.outputs)?, rest)
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
        let (request, rest) = split::<Request>(body)?;
        let array = array(INPUT, check_request(&request)?, rest)?;
        reply(request.id, &array, out)
    }
}

/// Reads the JSON object; returns it and the bytes behind it.
fn split<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<(T, &'a [u8])> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<T>();
    let missing = || CodecError::library(NAME)("expected an object, got nothing");
    let head = values.next().ok_or_else(missing)?.map_err(CodecError::library(NAME))?;
    Ok((head, &body[values.byte_offset()..]))
}

fn check_request(request: &Request) -> Result<&Tensor> {
    let of_output = match &request.outputs[..] {
        [] => None,
        [Requested { name, parameters }] if name == OUTPUT => parameters.binary_data,
        [other] => return Err(expected(NAME, "outputs", OUTPUT, other.name.as_bytes())),
        more => return Err(wrong_count("outputs", more.len())),
    };
    if !of_output.or(request.parameters.binary_data_output).unwrap_or(false) {
        let what = "expected true, here or as binary_data of the output: replies are binary";
        return Err(CodecError::field(NAME, "binary_data_output", what));
    }
    only("inputs", &request.inputs)
}

fn only<'a>(field: &'static str, tensors: &'a [Tensor]) -> Result<&'a Tensor> {
    match tensors {
        [tensor] => Ok(tensor),
        more => Err(wrong_count(field, more.len())),
    }
}

fn wrong_count(field: &'static str, got: usize) -> CodecError {
    CodecError::field(NAME, field, format!("expected one, got {got}"))
}

fn array<'a>(name: &str, tensor: &Tensor, rest: &'a [u8]) -> Result<ArrayView<'a>> {
    if tensor.name != name {
        return Err(expected(NAME, "name", name, tensor.name.as_bytes()));
    }
    if tensor.data.is_some() {
        return Err(numbers(NAME));
    }
    let dtype: DType = dtype_of(NAME, tensor.datatype.as_bytes())?;
    let shape = Shape::new(&tensor.shape).map_err(CodecError::array(NAME))?;
    let size = |what: String| CodecError::field(NAME, "binary_data_size", what);
    let len = tensor.parameters.binary_data_size.ok_or_else(|| size("missing".to_owned()))?;
    let got = rest.len();
    let data = data(rest, len)
        .ok_or_else(|| size(format!("{len}, but {got} bytes follow the JSON object")))?;
    ArrayView::new(dtype, shape, data).map_err(CodecError::array(NAME))
}

fn tensor(name: &str, array: &ArrayView<'_>) -> Result<Tensor> {
    let size = Some(array.data().len() as u64);
    Ok(Tensor {
        name: name.to_owned(),
        datatype: datatype_of(NAME, array.dtype())?.to_owned(),
        shape: array.shape().dims().to_vec(),
        parameters: Parameters { binary_data_size: size, ..Parameters::default() },
        data: None,
    })
}

fn reply<'a>(id: Option<String>, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
    let reply = Reply {
        id,
        model_name: MODEL.to_owned(),
        model_version: VERSION.to_owned(),
        outputs: vec![tensor(OUTPUT, array)?],
    };
    write(&reply, array, out)
}

fn write<'a>(
    head: &impl Serialize,
    array: &ArrayView<'a>,
    out: &mut Vec<u8>,
) -> Result<Encoded<'a>> {
    let start = out.len();
    serde_json::to_writer(&mut *out, head).map_err(CodecError::library(NAME))?;
    Ok(Encoded { head_len: out.len() - start, payload: array.data() })
}
