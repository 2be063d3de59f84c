//! `kserve_typed:prost`: the generated messages of `proto/inference.proto` with `Vec`s of numbers.
//!
//! An echo hands the numbers on, as a handler does that computes with a `Vec<f32>`: they are
//! decoded and encoded, but not made into the bytes of an array. [`infer`] also takes raw contents,
//! for a server that answers both forms.

use bytes::Buf;
use prost::Message as _;

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;
use crate::generated_inference::model_infer_request::InferInputTensor;
use crate::generated_inference::model_infer_response::InferOutputTensor;
use crate::generated_inference::{InferTensorContents, ModelInferRequest, ModelInferResponse};
use crate::generated_packed::packed_array::Items;
use crate::generated_packed::{Bools, Doubles, Floats, Int32s, Int64s, UInt32s, UInt64s};

use super::array_codec::{ArrayCodec, Effort, Encoded, OwningEcho};
use super::error::{CodecError, Result};
use super::kserve::{Half, INPUT, MODEL, OUTPUT, REPLY, REQUEST, VERSION, datatype_of};
use super::kserve_contents::{MORE_LISTS, TEXTS_NAME, name, wrong_list};
use super::kserve_prost::{check_reply, check_request, dims, infer_raw, read, write};
use super::kserve_typed::{LEFT_OUT, check, check_missing, raw_refused};
use super::packed_numbers::{List, unsupported};
use super::protobuf_packed_prost::{are_in_range, check_len, items_of, list_of, put_items};

#[derive(Clone, Copy, Debug)]
pub struct KserveTypedProst;

const NAME: &str = "kserve_typed:prost";

impl ArrayCodec for KserveTypedProst {
    fn id(&self) -> Codec {
        Codec::KserveTypedProst
    }

    fn effort(&self, _body: &[u8]) -> Effort {
        Effort::Converts
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let mut message = read(NAME, body)?;
        let (dtype, shape) = check_request(NAME, &message)?;
        refuse_raw(&REQUEST, &message.raw_input_contents)?;
        let contents = message.inputs.swap_remove(0).contents;
        array(items(contents, &REQUEST, dtype, &shape)?, dtype, shape, scratch)
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let list = check(NAME, array)?;
        let output = InferOutputTensor {
            name: OUTPUT.to_owned(),
            datatype: datatype_of(NAME, array.dtype())?.to_owned(),
            shape: dims(array),
            contents: Some(contents_of(items_of(list, array))),
        };
        let message = ModelInferResponse {
            model_name: MODEL.to_owned(),
            model_version: VERSION.to_owned(),
            outputs: vec![output],
            ..ModelInferResponse::default()
        };
        Ok(write(&message, out))
    }

    fn encode_request<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let list = check(NAME, array)?;
        let input = InferInputTensor {
            name: INPUT.to_owned(),
            datatype: datatype_of(NAME, array.dtype())?.to_owned(),
            shape: dims(array),
            contents: Some(contents_of(items_of(list, array))),
        };
        let message = ModelInferRequest {
            model_name: MODEL.to_owned(),
            inputs: vec![input],
            ..ModelInferRequest::default()
        };
        Ok(write(&message, out))
    }

    fn decode_reply<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let mut message = ModelInferResponse::decode(body).map_err(CodecError::library(NAME))?;
        let (dtype, shape) = check_reply(NAME, &message)?;
        refuse_raw(&REPLY, &message.raw_output_contents)?;
        let contents = message.outputs.swap_remove(0).contents;
        array(items(contents, &REPLY, dtype, &shape)?, dtype, shape, scratch)
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
        _scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        Ok(write(&infer_typed(read(NAME, body)?)?, out))
    }

    fn owning_echo(&self) -> Option<OwningEcho> {
        Some(echo)
    }
}

fn echo(body: impl Buf, out: &mut Vec<u8>) -> Result<()> {
    write(&infer_typed(read(NAME, body)?)?, out);
    Ok(())
}

/// Runs the model: the input tensor of a request is the output tensor of its reply. The reply has
/// typed contents if the request has no raw ones.
pub fn infer(request: ModelInferRequest) -> Result<ModelInferResponse> {
    if request.raw_input_contents.is_empty() && !request.inputs.is_empty() {
        infer_typed(request)
    } else {
        infer_raw(request)
    }
}

fn infer_typed(mut request: ModelInferRequest) -> Result<ModelInferResponse> {
    let (dtype, shape) = check_request(NAME, &request)?;
    refuse_raw(&REQUEST, &request.raw_input_contents)?;
    let input = request.inputs.swap_remove(0);
    let items = items(input.contents, &REQUEST, dtype, &shape)?;
    check_len(NAME, items.as_ref(), dtype, &shape)?;
    let output = InferOutputTensor {
        name: OUTPUT.to_owned(),
        datatype: input.datatype,
        shape: input.shape,
        contents: Some(items.map(contents_of).unwrap_or_default()),
    };
    Ok(ModelInferResponse {
        model_name: request.model_name,
        model_version: VERSION.to_owned(),
        id: request.id,
        outputs: vec![output],
        raw_output_contents: Vec::new(),
    })
}

fn refuse_raw(half: &Half, raw: &[Vec<u8>]) -> Result<()> {
    if raw.is_empty() { Ok(()) } else { Err(raw_refused(NAME, half)) }
}

/// Returns the numbers of typed contents, each of which is one of the dtype; `None` for no numbers.
fn items(
    contents: Option<InferTensorContents>,
    half: &Half,
    dtype: DType,
    shape: &Shape,
) -> Result<Option<Items>> {
    let list = List::for_dtype(dtype).ok_or_else(|| unsupported(NAME, dtype))?;
    let Some(contents) = contents else {
        check_missing(NAME, half, shape.dims())?;
        return Ok(None);
    };
    let items = only_list(contents)?;
    if let Some(items) = &items {
        let got = list_of(items);
        if got != list {
            return Err(wrong_list(NAME, dtype, list, name(got)));
        }
        if !are_in_range(items, dtype) {
            return Err(CodecError::library(NAME)("an integer out of range of the dtype"));
        }
    }
    Ok(items)
}

/// Returns the one list that has numbers.
fn only_list(contents: InferTensorContents) -> Result<Option<Items>> {
    fn given<T>(values: Vec<T>, items: impl FnOnce(Vec<T>) -> Items) -> Option<Items> {
        (!values.is_empty()).then(|| items(values))
    }
    if !contents.bytes_contents.is_empty() {
        let what = format!("texts in {TEXTS_NAME}");
        return Err(CodecError::Unsupported { encoding: NAME, at: None, what });
    }
    let lists = [
        given(contents.bool_contents, |values| Items::Bools(Bools { values })),
        given(contents.int_contents, |values| Items::Int32s(Int32s { values })),
        given(contents.int64_contents, |values| Items::Int64s(Int64s { values })),
        given(contents.uint_contents, |values| Items::Uint32s(UInt32s { values })),
        given(contents.uint64_contents, |values| Items::Uint64s(UInt64s { values })),
        given(contents.fp32_contents, |values| Items::Floats(Floats { values })),
        given(contents.fp64_contents, |values| Items::Doubles(Doubles { values })),
    ];
    let mut lists = lists.into_iter().flatten();
    match (lists.next(), lists.next()) {
        (first, None) => Ok(first),
        _ => Err(CodecError::library(NAME)(MORE_LISTS)),
    }
}

fn contents_of(items: Items) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match items {
        Items::Bools(list) => contents.bool_contents = list.values,
        Items::Int32s(list) => contents.int_contents = list.values,
        Items::Int64s(list) => contents.int64_contents = list.values,
        Items::Uint32s(list) => contents.uint_contents = list.values,
        Items::Uint64s(list) => contents.uint64_contents = list.values,
        Items::Floats(list) => contents.fp32_contents = list.values,
        Items::Doubles(list) => contents.fp64_contents = list.values,
    }
    contents
}

/// Returns the array of the numbers, whose bytes `scratch` then holds.
fn array(
    items: Option<Items>,
    dtype: DType,
    shape: Shape,
    scratch: &mut Vec<u8>,
) -> Result<ArrayView<'_>> {
    scratch.clear();
    if let Some(items) = items {
        put_items(&items, dtype, scratch);
    }
    ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
}
