//! `safetensors:crate`: the crate of Hugging Face, which borrows the data when it reads a message
//! and copies it into a new vector when it writes one.
//!
//! Differences from `safetensors`: of two tensors with the same name the last one counts, and
//! a header may have 100 MB.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded};
use super::error::{CodecError, Result};
use super::safetensors::{LEFT_OUT, TENSOR, check, dtype, unsupported};

#[derive(Clone, Copy, Debug)]
pub struct SafetensorsCrate;

const NAME: &str = "safetensors:crate";

impl ArrayCodec for SafetensorsCrate {
    fn id(&self) -> Codec {
        Codec::SafetensorsCrate
    }

    fn effort(&self, _body: &[u8]) -> Effort {
        Effort::Copies
    }

    fn decode<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let file = SafeTensors::deserialize(body).map_err(CodecError::library(NAME))?;
        let tensor = file.tensor(TENSOR).map_err(CodecError::library(NAME))?;
        if file.len() > 1 {
            return Err(CodecError::library(NAME)("more than one tensor"));
        }
        let kind = tensor.dtype().to_string();
        let dtype = dtype(kind.as_bytes()).ok_or_else(|| {
            CodecError::field(NAME, "dtype", format!("{kind:?} is not supported"))
        })?;
        let mut shape = Shape::default();
        for &dim in tensor.shape() {
            shape.push(dim as u64).map_err(CodecError::array(NAME))?;
        }
        ArrayView::new(dtype, shape, tensor.data()).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let kind = kind(array.dtype()).ok_or_else(|| unsupported(NAME, array.dtype()))?;
        let dims = array.shape().dims().iter().map(|&dim| dim as usize).collect();
        let view = TensorView::new(kind, dims, array.data()).map_err(CodecError::library(NAME))?;
        let file = safetensors::serialize([(TENSOR, view)], None);
        let file = file.map_err(CodecError::library(NAME))?;
        let head_len = file.len();
        if out.is_empty() {
            *out = file;
        } else {
            out.extend_from_slice(&file);
        }
        Ok(Encoded { head_len, payload: &[] })
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        check(NAME, array)
    }

    fn left_out(&self) -> &'static str {
        LEFT_OUT
    }
}

fn kind(dtype: DType) -> Option<Dtype> {
    Some(match dtype.name() {
        "|b1" => Dtype::BOOL,
        "|u1" => Dtype::U8,
        "|i1" => Dtype::I8,
        "<u2" => Dtype::U16,
        "<i2" => Dtype::I16,
        "<f2" => Dtype::F16,
        "<u4" => Dtype::U32,
        "<i4" => Dtype::I32,
        "<f4" => Dtype::F32,
        "<u8" => Dtype::U64,
        "<i8" => Dtype::I64,
        "<f8" => Dtype::F64,
        "<c8" => Dtype::C64,
        _ => return None,
    })
}
