//! `json:serde_value`: serde_json with a tree (`Value`) in both directions, as a user writes it who
//! wants lists of any shape without a declared type.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::axis::Codec;

use super::error::{CodecError, Result};
use super::json_library::{JsonLibrary, Message};

#[derive(Clone, Copy, Debug)]
pub struct JsonSerdeValue;

impl JsonLibrary for JsonSerdeValue {
    const CODEC: Codec = Codec::JsonSerdeValue;
    const IS_TYPED: bool = false;

    fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Message<T>> {
        serde_json::from_slice(body).map_err(CodecError::library(Self::CODEC.name()))
    }

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<()> {
        let tree = serde_json::to_value(value).map_err(CodecError::library(Self::CODEC.name()))?;
        serde_json::to_writer(out, &tree).map_err(CodecError::library(Self::CODEC.name()))
    }
}
