//! `kserve:prost`: the generated messages of `proto/inference.proto`.
//!
//! An echo owns its message: prost copies the raw contents into a vector and out of it, and the
//! shape is handed on. Typed contents are refused here and read by [`super::kserve_typed_prost`].

use bytes::Buf;
use prost::Message;

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;
use crate::generated_inference::model_infer_request::InferInputTensor;
use crate::generated_inference::model_infer_response::InferOutputTensor;
use crate::generated_inference::{InferTensorContents, ModelInferRequest, ModelInferResponse};

use super::array_codec::{ArrayCodec, Effort, Encoded, OwningEcho};
use super::error::{CodecError, Result};
use super::kserve::{
    INPUT, LEFT_OUT, MODEL, NEGATIVE, OUTPUT, VERSION, check_model, datatype_of, dtype_of, expected,
};

#[derive(Clone, Copy, Debug)]
pub struct KserveProst;

const NAME: &str = "kserve:prost";

impl ArrayCodec for KserveProst {
    fn id(&self) -> Codec {
        Codec::KserveProst
    }

    fn effort(&self, _body: &[u8]) -> Effort {
        Effort::Copies
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let mut message = read(NAME, body)?;
        let (dtype, shape) = check_raw_request(&message)?;
        *scratch = message.raw_input_contents.pop().unwrap_or_default();
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let output = InferOutputTensor {
            name: OUTPUT.to_owned(),
            datatype: datatype_of(NAME, array.dtype())?.to_owned(),
            shape: dims(array),
            contents: None,
        };
        let message = ModelInferResponse {
            model_name: MODEL.to_owned(),
            model_version: VERSION.to_owned(),
            id: String::new(),
            outputs: vec![output],
            raw_output_contents: vec![array.data().to_vec()],
        };
        Ok(write(&message, out))
    }

    fn encode_request<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let input = InferInputTensor {
            name: INPUT.to_owned(),
            datatype: datatype_of(NAME, array.dtype())?.to_owned(),
            shape: dims(array),
            contents: None,
        };
        let message = ModelInferRequest {
            model_name: MODEL.to_owned(),
            inputs: vec![input],
            raw_input_contents: vec![array.data().to_vec()],
            ..ModelInferRequest::default()
        };
        Ok(write(&message, out))
    }

    fn decode_reply<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let mut message = ModelInferResponse::decode(body).map_err(CodecError::library(NAME))?;
        let (dtype, shape) = check_reply(NAME, &message)?;
        refuse_typed(message.outputs[0].contents.as_ref())?;
        let raw = &mut message.raw_output_contents;
        check_raw("raw_output_contents", raw)?;
        *scratch = raw.pop().unwrap_or_default();
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
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
        Ok(write(&infer_raw(read(NAME, body)?)?, out))
    }

    fn owning_echo(&self) -> Option<OwningEcho> {
        Some(|body, out| {
            write(&infer_raw(read(NAME, body)?)?, out);
            Ok(())
        })
    }
}

/// Runs the model on raw contents: the input tensor of a request is the output tensor of its reply.
pub(super) fn infer_raw(request: ModelInferRequest) -> Result<ModelInferResponse> {
    let (dtype, shape) = check_raw_request(&request)?;
    let raw = request.raw_input_contents;
    for contents in &raw {
        ArrayView::new(dtype, shape.clone(), contents).map_err(CodecError::array(NAME))?;
    }
    let output = |InferInputTensor { datatype, shape, .. }| InferOutputTensor {
        name: OUTPUT.to_owned(),
        datatype,
        shape,
        contents: None,
    };
    Ok(ModelInferResponse {
        model_name: request.model_name,
        model_version: VERSION.to_owned(),
        id: request.id,
        outputs: request.inputs.into_iter().map(output).collect(),
        raw_output_contents: raw,
    })
}

pub(super) fn read(encoding: &'static str, body: impl Buf) -> Result<ModelInferRequest> {
    ModelInferRequest::decode(body).map_err(CodecError::library(encoding))
}

/// Reserves the length first, as `encode_to_vec` does: a growing vector copies the payload.
pub(super) fn write<'a>(message: &impl Message, out: &mut Vec<u8>) -> Encoded<'a> {
    let start = out.len();
    out.reserve(message.encoded_len());
    message.encode_raw(out);
    Encoded { head_len: out.len() - start, payload: &[] }
}

/// Dimensions of an array, which fit 63 bits.
pub(super) fn dims(array: &ArrayView<'_>) -> Vec<i64> {
    array.shape().dims().iter().map(|&dim| dim as i64).collect()
}

/// Checks all but the length of the raw contents, of which there is exactly one.
fn check_raw_request(message: &ModelInferRequest) -> Result<(DType, Shape)> {
    let checked = check_request(NAME, message)?;
    refuse_typed(message.inputs[0].contents.as_ref())?;
    check_raw("raw_input_contents", &message.raw_input_contents)?;
    Ok(checked)
}

fn check_raw(field: &'static str, raw: &[Vec<u8>]) -> Result<()> {
    if raw.len() == 1 { Ok(()) } else { Err(wrong_count(NAME, field, raw.len())) }
}

fn refuse_typed(contents: Option<&InferTensorContents>) -> Result<()> {
    if contents.is_none() {
        return Ok(());
    }
    let what = "typed contents; send the tensor as raw contents".to_owned();
    Err(CodecError::Unsupported { encoding: NAME, at: None, what })
}

/// Checks all of a request but its contents. It then has one tensor.
pub(super) fn check_request(
    encoding: &'static str,
    message: &ModelInferRequest,
) -> Result<(DType, Shape)> {
    check_model(encoding, message.model_name.as_bytes(), message.model_version.as_bytes())?;
    if let Some(other) = message.outputs.iter().find(|output| output.name != OUTPUT) {
        return Err(expected(encoding, "outputs", OUTPUT, other.name.as_bytes()));
    }
    let [InferInputTensor { name, datatype, shape, .. }] = &message.inputs[..] else {
        return Err(wrong_count(encoding, "inputs", message.inputs.len()));
    };
    check_tensor(encoding, [name, INPUT], datatype, shape)
}

/// Checks all of a reply but its contents. It then has one tensor.
pub(super) fn check_reply(
    encoding: &'static str,
    message: &ModelInferResponse,
) -> Result<(DType, Shape)> {
    check_model(encoding, message.model_name.as_bytes(), message.model_version.as_bytes())?;
    let [InferOutputTensor { name, datatype, shape, .. }] = &message.outputs[..] else {
        return Err(wrong_count(encoding, "outputs", message.outputs.len()));
    };
    check_tensor(encoding, [name, OUTPUT], datatype, shape)
}

fn wrong_count(encoding: &'static str, field: &'static str, got: usize) -> CodecError {
    CodecError::field(encoding, field, format!("expected one, got {got}"))
}

fn check_tensor(
    encoding: &'static str,
    [name, want]: [&str; 2],
    datatype: &str,
    dims: &[i64],
) -> Result<(DType, Shape)> {
    if name != want {
        return Err(expected(encoding, "name", want, name.as_bytes()));
    }
    let dtype = dtype_of(encoding, datatype.as_bytes())?;
    let mut shape = Shape::default();
    for dim in dims {
        let dim = u64::try_from(*dim);
        let dim = dim.map_err(|_| CodecError::field(encoding, "shape", NEGATIVE))?;
        shape.push(dim).map_err(CodecError::array(encoding))?;
    }
    Ok((dtype, shape))
}
