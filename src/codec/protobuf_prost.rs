//! `protobuf:prost`: the generated message with prost's own defaults, `buffer` a `Vec<u8>`.
//!
//! An echo owns its message, as a handler of tonic does: the payload is copied in and copied out,
//! and the shape is handed on. Difference from `protobuf`: a known field of another wire type is
//! refused, not skipped.

/// Implements a codec by a message that prost generated from `NDArray`.
macro_rules! prost_codec {
    ($codec:ident, $name:literal, $message:ident) => {
        use prost::Message as _;

        use crate::array::{ArrayView, DType, Shape};
        use crate::axis::Codec;

        use super::array_codec::{ArrayCodec, Encoded};
        use super::error::{CodecError, Result};

        #[derive(Clone, Copy, Debug)]
        pub struct $codec;

        const NAME: &str = $name;

        fn read(body: &[u8]) -> Result<($message, DType, Shape)> {
            let message = $message::decode(body).map_err(CodecError::library(NAME))?;
            let dtype = DType::parse(&message.dtype).map_err(CodecError::array(NAME))?;
            let shape = Shape::new(&message.shape).map_err(CodecError::array(NAME))?;
            Ok((message, dtype, shape))
        }

        fn write<'a>(message: &$message, out: &mut Vec<u8>) -> Encoded<'a> {
            let start = out.len();
            message.encode(out).expect("a Vec takes all that is written to it");
            Encoded { head_len: out.len() - start, payload: &[] }
        }

        impl ArrayCodec for $codec {
            fn id(&self) -> Codec {
                Codec::$codec
            }

            fn decode<'a>(
                &self,
                body: &'a [u8],
                scratch: &'a mut Vec<u8>,
            ) -> Result<ArrayView<'a>> {
                let (message, dtype, shape) = read(body)?;
                *scratch = message.buffer.into();
                ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
            }

            fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
                let buffer = array.data().to_vec().into();
                let (dtype, shape) = (array.dtype().name().to_owned(), array.shape().dims());
                Ok(write(&$message { buffer, dtype, shape: shape.to_vec() }, out))
            }

            fn echo<'a>(
                &self,
                body: &'a [u8],
                _scratch: &'a mut Vec<u8>,
                out: &mut Vec<u8>,
            ) -> Result<Encoded<'a>> {
                let (mut message, dtype, shape) = read(body)?;
                ArrayView::new(dtype, shape, &message.buffer).map_err(CodecError::array(NAME))?;
                if message.dtype != dtype.name() {
                    message.dtype = dtype.name().to_owned();
                }
                Ok(write(&message, out))
            }
        }
    };
}
pub(super) use prost_codec;

use crate::generated::NdArray;

prost_codec!(ProtobufProst, "protobuf:prost", NdArray);
