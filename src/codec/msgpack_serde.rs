//! `msgpack:serde`: rmp-serde with derived fields and `serde_bytes`, owned.
//!
//! Only the writer is not derived: msgpack_numpy wants keys as bin, a derived struct writes str.
//!
//! Differences from `msgpack`: bytes after the map are ignored; `shape` is ignored for a NumPy
//! scalar, but must be a list of integers.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::error::{CodecError, Result};

#[derive(Clone, Copy, Debug)]
pub struct MsgpackSerde;

const NAME: &str = "msgpack:serde";

#[derive(Deserialize)]
struct Message {
    nd: bool,
    #[serde(rename = "type")]
    dtype: String,
    #[serde(default)]
    kind: ByteBuf,
    shape: Option<Vec<u64>>,
    data: ByteBuf,
}

struct Reply<'a>(&'a ArrayView<'a>);

impl Serialize for Reply<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry(Bytes::new(b"nd"), &true)?;
        map.serialize_entry(Bytes::new(b"type"), self.0.dtype().name())?;
        map.serialize_entry(Bytes::new(b"kind"), Bytes::new(b""))?;
        map.serialize_entry(Bytes::new(b"shape"), self.0.shape().dims())?;
        map.serialize_entry(Bytes::new(b"data"), Bytes::new(self.0.data()))?;
        map.end()
    }
}

impl ArrayCodec for MsgpackSerde {
    fn id(&self) -> Codec {
        Codec::MsgpackSerde
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let message: Message = rmp_serde::from_slice(body).map_err(CodecError::library(NAME))?;
        if !message.kind.is_empty() {
            return Err(CodecError::field(
                NAME,
                "kind",
                "expected an empty kind: only plain arrays are supported",
            ));
        }
        let dtype = DType::parse(&message.dtype).map_err(CodecError::array(NAME))?;
        let dims = match message.shape {
            Some(dims) if message.nd => dims,
            None if message.nd => return Err(CodecError::field(NAME, "shape", "missing")),
            _ => Vec::new(),
        };
        let shape = Shape::new(&dims).map_err(CodecError::array(NAME))?;
        *scratch = message.data.into_vec();
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        rmp_serde::encode::write(out, &Reply(array)).map_err(CodecError::library(NAME))?;
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }
}
