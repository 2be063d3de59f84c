//! `protobuf:prost`: the generated message with prost's own defaults, `buffer` a `Vec<u8>`.
//!
//! An echo owns its message, as a handler of tonic does: the payload is copied in and copied out,
//! and the shape is handed on. prost copies it twice on the way in from a slice, once from a
//! `Bytes`, so a stack that has a `Bytes` calls the owning echo. Difference from `protobuf`: a
//! known field of another wire type is refused, not skipped.

/// Implements a codec by a message that prost generated from `NDArray`.
macro_rules! prost_codec {
    ($codec:ident, $name:literal, $message:ident) => {
        use bytes::Buf;
        use prost::Message as _;

        use crate::array::{ArrayView, DType, Shape};
        use crate::axis::Codec;

        use super::array_codec::{ArrayCodec, Effort, Encoded, OwningEcho};
        use super::error::{CodecError, Result};

        #[derive(Clone, Copy, Debug)]
        pub struct $codec;

        const NAME: &str = $name;

        fn read(body: impl Buf) -> Result<($message, DType, Shape)> {
            let message = $message::decode(body).map_err(CodecError::library(NAME))?;
            let dtype = DType::parse(&message.dtype).map_err(CodecError::array(NAME))?;
            let shape = Shape::new(&message.shape).map_err(CodecError::array(NAME))?;
            Ok((message, dtype, shape))
        }

        /// Reserves the length first, as `encode_to_vec` does: a growing vector copies the payload.
        fn write(message: &$message, out: &mut Vec<u8>) {
            out.reserve(message.encoded_len());
            message.encode_raw(out);
        }

        fn echo(body: impl Buf, out: &mut Vec<u8>) -> Result<()> {
            let (mut message, dtype, shape) = read(body)?;
            ArrayView::new(dtype, shape, &message.buffer).map_err(CodecError::array(NAME))?;
            if message.dtype != dtype.name() {
                message.dtype = dtype.name().to_owned();
            }
            write(&message, out);
            Ok(())
        }

        impl ArrayCodec for $codec {
            fn id(&self) -> Codec {
                Codec::$codec
            }

            fn effort(&self, _body: &[u8]) -> Effort {
                Effort::Copies
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
                let start = out.len();
                write(&$message { buffer, dtype, shape: shape.to_vec() }, out);
                Ok(Encoded { head_len: out.len() - start, payload: &[] })
            }

            fn echo<'a>(
                &self,
                body: &'a [u8],
                _scratch: &'a mut Vec<u8>,
                out: &mut Vec<u8>,
            ) -> Result<Encoded<'a>> {
                let start = out.len();
                echo(body, out)?;
                Ok(Encoded { head_len: out.len() - start, payload: &[] })
            }

            fn owning_echo(&self) -> Option<OwningEcho> {
                Some(echo)
            }
        }
    };
}
pub(super) use prost_codec;

use crate::generated::NdArray;

prost_codec!(ProtobufProst, "protobuf:prost", NdArray);
