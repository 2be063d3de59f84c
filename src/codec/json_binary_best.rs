//! `json_binary:best`: fields that serde_json borrows, and the SIMD engine of the base64 crate.
//!
//! Differences from `json_binary`: those of `json_binary:serde`.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::Simd;
use base64::engine::general_purpose::PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::error::{CodecError, Result};

#[derive(Clone, Copy, Debug)]
pub struct JsonBinaryBest;

const NAME: &str = "json_binary:best";

static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    buffer: Cow<'a, str>,
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<u64>,
    data: Option<IgnoredAny>,
}

impl ArrayCodec for JsonBinaryBest {
    fn id(&self) -> Codec {
        Codec::JsonBinaryBest
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let message: Message<'_> =
            serde_json::from_slice(body).map_err(CodecError::library(NAME))?;
        if message.data.is_some() {
            return Err(CodecError::field(NAME, "data", "not allowed together with buffer"));
        }
        let dtype = DType::parse(&message.dtype).map_err(CodecError::array(NAME))?;
        let shape = Shape::new(&message.shape).map_err(CodecError::array(NAME))?;
        scratch.clear();
        BASE64
            .decode_vec(&*message.buffer, scratch)
            .map_err(|error| CodecError::field(NAME, "buffer", error.to_string()))?;
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        out.extend_from_slice(b"{\"buffer\":\"");
        let (at, data) = (out.len(), array.data());
        out.resize(at + data.len().div_ceil(3) * 4, 0);
        BASE64.encode_slice(data, &mut out[at..]).expect("the length is that of the base64");
        out.extend_from_slice(b"\",\"dtype\":\"");
        out.extend_from_slice(array.dtype().name().as_bytes());
        out.extend_from_slice(b"\",\"shape\":");
        serde_json::to_writer(&mut *out, array.shape().dims())
            .map_err(CodecError::library(NAME))?;
        out.push(b'}');
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }
}
