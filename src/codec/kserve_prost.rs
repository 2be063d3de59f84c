//! `kserve:prost`: the generated messages of `proto/inference.proto`.
//!
//! An echo owns its message: prost copies the raw contents into a vector and out of it, and the
//! shape is handed on.

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
        let mut message = read(body)?;
        let (dtype, shape) = check_request(&message)?;
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
        check_model(NAME, message.model_name.as_bytes(), message.model_version.as_bytes())?;
        let [InferOutputTensor { name, datatype, shape, contents }] = &message.outputs[..] else {
            return Err(wrong_count("outputs", message.outputs.len()));
        };
        let tensor = TensorParts { name, datatype, shape, contents: contents.as_ref() };
        let (dtype, shape) = tensor.check(OUTPUT)?;
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
        Ok(write(&infer(read(body)?)?, out))
    }

    fn owning_echo(&self) -> Option<OwningEcho> {
        Some(|body, out| {
            write(&infer(read(body)?)?, out);
            Ok(())
        })
    }
}

/// Runs the model: the input tensor of a request is the output tensor of its reply.
pub fn infer(request: ModelInferRequest) -> Result<ModelInferResponse> {
    let (dtype, shape) = check_request(&request)?;
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

fn read(body: impl Buf) -> Result<ModelInferRequest> {
    ModelInferRequest::decode(body).map_err(CodecError::library(NAME))
}

/// Reserves the length first, as `encode_to_vec` does: a growing vector copies the payload.
fn write<'a>(message: &impl Message, out: &mut Vec<u8>) -> Encoded<'a> {
    let start = out.len();
    out.reserve(message.encoded_len());
    message.encode_raw(out);
    Encoded { head_len: out.len() - start, payload: &[] }
}

/// Dimensions of an array, which fit 63 bits.
fn dims(array: &ArrayView<'_>) -> Vec<i64> {
    array.shape().dims().iter().map(|&dim| dim as i64).collect()
}

/// Checks all but the length of the raw contents, of which there is exactly one.
fn check_request(message: &ModelInferRequest) -> Result<(DType, Shape)> {
    check_model(NAME, message.model_name.as_bytes(), message.model_version.as_bytes())?;
    if let Some(other) = message.outputs.iter().find(|output| output.name != OUTPUT) {
        return Err(expected(NAME, "outputs", OUTPUT, other.name.as_bytes()));
    }
    let [InferInputTensor { name, datatype, shape, contents }] = &message.inputs[..] else {
        return Err(wrong_count("inputs", message.inputs.len()));
    };
    let tensor = TensorParts { name, datatype, shape, contents: contents.as_ref() };
    let checked = tensor.check(INPUT)?;
    check_raw("raw_input_contents", &message.raw_input_contents)?;
    Ok(checked)
}

fn check_raw(field: &'static str, raw: &[Vec<u8>]) -> Result<()> {
    if raw.len() == 1 { Ok(()) } else { Err(wrong_count(field, raw.len())) }
}

fn wrong_count(field: &'static str, got: usize) -> CodecError {
    CodecError::field(NAME, field, format!("expected one, got {got}"))
}

/// Fields of a tensor, which have the same types in both generated messages.
struct TensorParts<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [i64],
    contents: Option<&'a InferTensorContents>,
}

impl TensorParts<'_> {
    fn check(&self, name: &str) -> Result<(DType, Shape)> {
        if self.name != name {
            return Err(expected(NAME, "name", name, self.name.as_bytes()));
        }
        let dtype = dtype_of(NAME, self.datatype.as_bytes())?;
        if self.contents.is_some() {
            let what = "typed contents; send the tensor as raw contents".to_owned();
            return Err(CodecError::Unsupported { encoding: NAME, at: None, what });
        }
        let mut shape = Shape::default();
        for dim in self.shape {
            let dim = u64::try_from(*dim);
            let dim = dim.map_err(|_| CodecError::field(NAME, "shape", NEGATIVE))?;
            shape.push(dim).map_err(CodecError::array(NAME))?;
        }
        Ok((dtype, shape))
    }
}
