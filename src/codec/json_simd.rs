//! `json:simd`: simd-json through its interface for serde.
//!
//! The library parses in place, so it gets a copy of the body.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::axis::Codec;

use super::error::{CodecError, Result};
use super::json_library::{JsonLibrary, Message};

#[derive(Clone, Copy, Debug)]
pub struct JsonSimd;

impl JsonLibrary for JsonSimd {
    const CODEC: Codec = Codec::JsonSimd;

    fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Message<T>> {
        simd_json::serde::from_slice(&mut body.to_vec())
            .map_err(CodecError::library(Self::CODEC.name()))
    }

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<()> {
        simd_json::serde::to_writer(out, value).map_err(CodecError::library(Self::CODEC.name()))
    }
}
