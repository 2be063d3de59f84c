//! `cbor:ciborium`: ciborium's tree of values, which owns the bytes, in both directions.
//!
//! Differences from `cbor`: lengths may be indefinite, and a dimension may be a bignum.

use ciborium::Value;
use ciborium::de::from_reader_with_recursion_limit;

use crate::array::{ArrayView, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded};
use super::cbor::{self, COLUMNS_FIRST, LEFT_OUT, ROWS_FIRST, SELF_DESCRIBED};
use super::error::{CodecError, Result};
use super::transpose::{is_both_orders, to_c_order};

#[derive(Clone, Copy, Debug)]
pub struct CborCiborium;

const NAME: &str = "cbor:ciborium";

/// Depth of values: two more than a message has.
const DEPTH_MAX: usize = 8;

impl ArrayCodec for CborCiborium {
    fn id(&self) -> Codec {
        Codec::CborCiborium
    }

    fn effort(&self, _body: &[u8]) -> Effort {
        Effort::Copies
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let mut rest = body;
        let value: Value = from_reader_with_recursion_limit(&mut rest, DEPTH_MAX)
            .map_err(CodecError::library(NAME))?;
        if !rest.is_empty() {
            return Err(refused("unexpected bytes after the array"));
        }
        let (mut tag, mut item) = tagged(value)?;
        if tag == SELF_DESCRIBED {
            (tag, item) = tagged(item)?;
        }
        let (mut shape, is_columns_first) = (None, tag == COLUMNS_FIRST);
        if is_columns_first || tag == ROWS_FIRST {
            let parts = item.into_array().ok().and_then(|parts| parts.try_into().ok());
            let [dims, items]: [Value; 2] =
                parts.ok_or_else(|| refused("expected an array of dimensions and items"))?;
            shape = Some(read_dims(&dims)?);
            (tag, item) = tagged(items)?;
        }
        let dtype = cbor::dtype(tag).ok_or_else(|| refused("unknown tag"))?;
        let data = item.into_bytes().map_err(|_| refused("expected a byte string"))?;
        let shape = match shape {
            Some(shape) => shape,
            None => cbor::one_dimension(NAME, dtype, data.len())?,
        };
        let view = ArrayView::new(dtype, shape.clone(), &data).map_err(CodecError::array(NAME))?;
        if is_columns_first && !is_both_orders(shape.dims()) {
            to_c_order(dtype.item_size(), shape.dims(), view.data(), scratch);
        } else {
            *scratch = data;
        }
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let tag = cbor::tag(array.dtype());
        let tag = tag.ok_or_else(|| cbor::unsupported(NAME, array.dtype()))?;
        let (start, dims) = (out.len(), array.shape().dims());
        let mut value = Value::Tag(tag, Box::new(Value::Bytes(array.data().to_vec())));
        if dims.len() != 1 {
            let dims = dims.iter().map(|&dim| Value::from(dim)).collect();
            value = Value::Tag(ROWS_FIRST, Box::new(Value::Array(vec![Value::Array(dims), value])));
        }
        ciborium::into_writer(&value, &mut *out).map_err(CodecError::library(NAME))?;
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        cbor::check(NAME, array)
    }

    fn left_out(&self) -> &'static str {
        LEFT_OUT
    }
}

fn refused(what: &str) -> CodecError {
    CodecError::library(NAME)(what)
}

fn tagged(value: Value) -> Result<(u64, Value)> {
    let (tag, item) = value.into_tag().map_err(|_| refused("expected a tag"))?;
    Ok((tag, *item))
}

fn read_dims(value: &Value) -> Result<Shape> {
    let dims = value.as_array().ok_or_else(|| refused("expected an array of dimensions"))?;
    let mut shape = Shape::default();
    for dim in dims {
        let dim = dim.as_integer().and_then(|dim| u64::try_from(dim).ok());
        let dim = dim.ok_or_else(|| refused("expected a dimension"))?;
        shape.push(dim).map_err(CodecError::array(NAME))?;
    }
    Ok(shape)
}
