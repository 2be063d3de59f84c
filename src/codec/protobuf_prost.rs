//! `protobuf:prost`: the generated message with prost's own defaults, `buffer` a `Vec<u8>`.
//!
//! The work equals that of a handler that keeps its data in an array: the payload is copied in,
//! copied into the reply's message, and copied out. A service that owns its message can save the
//! second copy; the tonic rung does.
//!
//! Difference from `protobuf`: a known field of another wire type is refused, not skipped.

use prost::Message as _;

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;
use crate::generated::NdArray;

use super::array_codec::{ArrayCodec, Encoded};
use super::error::{CodecError, Result};

#[derive(Clone, Copy, Debug)]
pub struct ProtobufProst;

const NAME: &str = "protobuf:prost";

impl ArrayCodec for ProtobufProst {
    fn id(&self) -> Codec {
        Codec::ProtobufProst
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let message = NdArray::decode(body).map_err(CodecError::library(NAME))?;
        let dtype = DType::parse(&message.dtype).map_err(CodecError::array(NAME))?;
        let shape = Shape::new(&message.shape).map_err(CodecError::array(NAME))?;
        *scratch = message.buffer;
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        let message = NdArray {
            buffer: array.data().to_vec(),
            dtype: array.dtype().name().to_owned(),
            shape: array.shape().dims().to_vec(),
        };
        message.encode(out).expect("a Vec takes all that is written to it");
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }
}
