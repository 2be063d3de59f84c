//! `json_binary:serde`: serde_json into a `String`, then the base64 crate.
//!
//! Differences from `json_binary`: the output is compact (no space after commas and colons);
//! unknown members may nest 127 deep; errors name a line and a column.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded};
use super::error::{CodecError, Result};

#[derive(Clone, Copy, Debug)]
pub struct JsonBinarySerde;

const NAME: &str = "json_binary:serde";

#[derive(Deserialize)]
struct Message {
    buffer: String,
    dtype: String,
    shape: Vec<u64>,
    data: Option<IgnoredAny>,
}

#[derive(Serialize)]
struct Reply<'a> {
    buffer: String,
    dtype: &'a str,
    shape: &'a [u64],
}

impl ArrayCodec for JsonBinarySerde {
    fn id(&self) -> Codec {
        Codec::JsonBinarySerde
    }

    fn effort(&self, _body: &[u8]) -> Effort {
        Effort::Converts
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let message: Message = serde_json::from_slice(body).map_err(CodecError::library(NAME))?;
        if message.data.is_some() {
            return Err(CodecError::field(NAME, "data", "not allowed together with buffer"));
        }
        let dtype = DType::parse(&message.dtype).map_err(CodecError::array(NAME))?;
        let shape = Shape::new(&message.shape).map_err(CodecError::array(NAME))?;
        *scratch = STANDARD
            .decode(&message.buffer)
            .map_err(|error| CodecError::field(NAME, "buffer", error.to_string()))?;
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        let reply = Reply {
            buffer: STANDARD.encode(array.data()),
            dtype: array.dtype().name(),
            shape: array.shape().dims(),
        };
        serde_json::to_writer(&mut *out, &reply).map_err(CodecError::library(NAME))?;
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }
}
