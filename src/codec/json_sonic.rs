//! `json:sonic`: sonic-rs through its interface for serde.
//!
//! The library skips unknown members by recursion without a limit, so a message with any other
//! member is refused. It reads `-0.0` as +0.0, so an array with that value is refused, too.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::axis::Codec;

use super::error::{CodecError, Result};
use super::json_library::{JsonLibrary, Message};

#[derive(Clone, Copy, Debug)]
pub struct JsonSonic;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict<T> {
    data: T,
    dtype: String,
}

impl JsonLibrary for JsonSonic {
    const CODEC: Codec = Codec::JsonSonic;

    const HAS_NEGATIVE_ZERO: bool = false;

    fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Message<T>> {
        let message = sonic_rs::from_slice(body);
        let Strict { data, dtype } = message.map_err(CodecError::library(Self::CODEC.name()))?;
        Ok(Message { data, dtype, buffer: None })
    }

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<()> {
        sonic_rs::to_writer(out, value).map_err(CodecError::library(Self::CODEC.name()))
    }
}
