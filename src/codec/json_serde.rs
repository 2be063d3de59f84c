//! `json:serde`: serde_json with `float_roundtrip`, without which every tenth number changes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::axis::Codec;

use super::error::{CodecError, Result};
use super::json_library::{JsonLibrary, Message};

#[derive(Clone, Copy, Debug)]
pub struct JsonSerde;

impl JsonLibrary for JsonSerde {
    const CODEC: Codec = Codec::JsonSerde;

    fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Message<T>> {
        serde_json::from_slice(body).map_err(CodecError::library(Self::CODEC.name()))
    }

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<()> {
        serde_json::to_writer(out, value).map_err(CodecError::library(Self::CODEC.name()))
    }
}
