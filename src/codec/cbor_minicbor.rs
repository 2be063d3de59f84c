//! `cbor:minicbor`: minicbor's decoder borrows the bytes, and its encoder copies them.
//!
//! The differences from `cbor` are texts of errors only.

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};

use crate::array::{ArrayView, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded};
use super::cbor::{self, COLUMNS_FIRST, LEFT_OUT, ROWS_FIRST, SELF_DESCRIBED};
use super::error::{CodecError, Result};
use super::transpose::{is_both_orders, to_c_order};

#[derive(Clone, Copy, Debug)]
pub struct CborMinicbor;

const NAME: &str = "cbor:minicbor";

impl ArrayCodec for CborMinicbor {
    fn id(&self) -> Codec {
        Codec::CborMinicbor
    }

    fn effort(&self, _body: &[u8]) -> Effort {
        Effort::Copies
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let fail = CodecError::library(NAME);
        let mut decoder = Decoder::new(body);
        let mut tag = decoder.tag().map_err(&fail)?.as_u64();
        if tag == SELF_DESCRIBED {
            tag = decoder.tag().map_err(&fail)?.as_u64();
        }
        let (mut shape, is_columns_first) = (None, tag == COLUMNS_FIRST);
        if is_columns_first || tag == ROWS_FIRST {
            if decoder.array().map_err(&fail)? != Some(2) {
                return Err(refused("expected an array of dimensions and items"));
            }
            shape = Some(dims(&mut decoder)?);
            tag = decoder.tag().map_err(&fail)?.as_u64();
        }
        let dtype = cbor::dtype(tag).ok_or_else(|| refused("unknown tag"))?;
        let data = decoder.bytes().map_err(&fail)?;
        if decoder.position() < body.len() {
            return Err(refused("unexpected bytes after the array"));
        }
        let shape = match shape {
            Some(shape) => shape,
            None => cbor::one_dimension(NAME, dtype, data.len())?,
        };
        let view = ArrayView::new(dtype, shape.clone(), data).map_err(CodecError::array(NAME))?;
        if !is_columns_first || is_both_orders(shape.dims()) {
            return Ok(view);
        }
        to_c_order(dtype.item_size(), shape.dims(), data, scratch);
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        out.reserve(array.data().len());
        write(array, &mut Encoder::new(&mut *out))?;
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

fn dims(decoder: &mut Decoder<'_>) -> Result<Shape> {
    let fail = CodecError::library(NAME);
    let rank = decoder.array().map_err(&fail)?;
    let mut shape = Shape::default();
    for _ in 0..rank.ok_or_else(|| refused("an indefinite length: expected a length"))? {
        shape.push(decoder.u64().map_err(&fail)?).map_err(CodecError::array(NAME))?;
    }
    Ok(shape)
}

fn write(array: &ArrayView<'_>, encoder: &mut Encoder<&mut Vec<u8>>) -> Result<()> {
    let fail = CodecError::library(NAME);
    let dims = array.shape().dims();
    if dims.len() != 1 {
        let encoder = encoder.tag(Tag::new(ROWS_FIRST)).map_err(&fail)?;
        encoder.array(2).map_err(&fail)?.array(dims.len() as u64).map_err(&fail)?;
        for &dim in dims {
            encoder.u64(dim).map_err(&fail)?;
        }
    }
    let tag = cbor::tag(array.dtype()).ok_or_else(|| cbor::unsupported(NAME, array.dtype()))?;
    encoder.tag(Tag::new(tag)).map_err(&fail)?.bytes(array.data()).map_err(&fail)?;
    Ok(())
}
