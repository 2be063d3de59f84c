//! `msgpack:serde`: rmp-serde with derived fields and `serde_bytes`, owned.
//!
//! Only the writer is not derived: msgpack_numpy wants keys as bin, a derived struct writes str.
//! An echo has keys of the request's kind.
//!
//! Differences from `msgpack`: bytes after the map are ignored; `shape` is ignored for a NumPy
//! scalar, but must be a list of integers.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

use crate::array::{ArrayView, DType, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Effort, Encoded};
use super::error::{CodecError, Result};
use super::msgpack::{has_str_keys, is_plain_kind};

#[derive(Clone, Copy, Debug)]
pub struct MsgpackSerde;

const NAME: &str = "msgpack:serde";

#[derive(Deserialize)]
struct Message {
    nd: bool,
    #[serde(rename = "type")]
    dtype: String,
    kind: Option<ByteBuf>,
    shape: Option<Vec<u64>>,
    data: ByteBuf,
}

struct Reply<'a> {
    array: &'a ArrayView<'a>,
    has_str_keys: bool,
}

impl Serialize for Reply<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = |name| Key { name, is_str: self.has_str_keys };
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry(&key("nd"), &true)?;
        map.serialize_entry(&key("type"), self.array.dtype().name())?;
        map.serialize_entry(&key("kind"), Bytes::new(b""))?;
        map.serialize_entry(&key("shape"), self.array.shape().dims())?;
        map.serialize_entry(&key("data"), Bytes::new(self.array.data()))?;
        map.end()
    }
}

struct Key {
    name: &'static str,
    is_str: bool,
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_str {
            serializer.serialize_str(self.name)
        } else {
            serializer.serialize_bytes(self.name.as_bytes())
        }
    }
}

fn write<'a>(array: &ArrayView<'a>, has_str_keys: bool, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
    let start = out.len();
    rmp_serde::encode::write(out, &Reply { array, has_str_keys })
        .map_err(CodecError::library(NAME))?;
    Ok(Encoded { head_len: out.len() - start, payload: &[] })
}

impl ArrayCodec for MsgpackSerde {
    fn id(&self) -> Codec {
        Codec::MsgpackSerde
    }

    fn effort(&self, _body: &[u8]) -> Effort {
        Effort::Copies
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let message: Message = rmp_serde::from_slice(body).map_err(CodecError::library(NAME))?;
        if !is_plain_kind(message.kind.as_ref().map_or(b"", |kind| kind)) {
            let what = "expected an empty kind: only plain arrays are supported";
            return Err(CodecError::field(NAME, "kind", what));
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
        write(array, false, out)
    }

    fn echo<'a>(
        &self,
        body: &'a [u8],
        scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        let array = self.decode(body, scratch)?;
        write(&array, has_str_keys(body), out)
    }
}
