//! AXIS: forms in which an array is written. A file is a point; [`implementation`] is the table.
//!
//! [`ArrayCodec`] is the contract; the axis enums in [`crate::axis`] hold names and content types.

use crate::axis::Codec;

mod array_codec;
pub mod arrow;
pub mod bound;
pub mod cbor;
pub mod cbor_ciborium;
pub mod cbor_minicbor;
mod cursor;
mod digits;
mod error;
pub mod json;
pub mod json_binary;
pub mod json_binary_best;
pub mod json_binary_serde;
mod json_item;
mod json_library;
pub mod json_serde;
pub mod json_serde_value;
pub mod json_simd;
pub mod json_sonic;
pub mod kserve;
mod kserve_contents;
pub mod kserve_http;
pub mod kserve_http_serde;
pub mod kserve_prost;
pub mod kserve_typed;
pub mod kserve_typed_prost;
pub mod msgpack;
pub mod msgpack_serde;
mod multi_index;
pub mod multipart;
pub mod npy;
pub mod packed_numbers;
pub mod planted;
pub mod protobuf;
pub mod protobuf_packed;
pub mod protobuf_packed_prost;
pub mod protobuf_prost;
pub mod protobuf_prost_bytes;
mod protobuf_wire;
pub mod safetensors;
pub mod safetensors_crate;
mod simd;
#[cfg(test)]
mod tests;
mod transpose;

pub use crate::axis::Encoding;
pub use array_codec::{ArrayCodec, Effort, Encoded, OwningEcho, message, reply};
pub use error::{CodecError, Result};
pub use simd::Level;

pub fn implementation(codec: Codec) -> Option<&'static dyn ArrayCodec> {
    match codec {
        Codec::Reflect => None,
        Codec::Protobuf => Some(&protobuf::Protobuf),
        Codec::ProtobufProst => Some(&protobuf_prost::ProtobufProst),
        Codec::ProtobufProstBytes => Some(&protobuf_prost_bytes::ProtobufProstBytes),
        Codec::Json => Some(&json::Json),
        Codec::JsonSerde => Some(&json_serde::JsonSerde),
        Codec::JsonSerdeValue => Some(&json_serde_value::JsonSerdeValue),
        Codec::JsonSonic => Some(&json_sonic::JsonSonic),
        Codec::JsonSimd => Some(&json_simd::JsonSimd),
        Codec::JsonBinary => Some(&json_binary::JsonBinary),
        Codec::JsonBinarySerde => Some(&json_binary_serde::JsonBinarySerde),
        Codec::JsonBinaryBest => Some(&json_binary_best::JsonBinaryBest),
        Codec::Msgpack => Some(&msgpack::Msgpack),
        Codec::MsgpackSerde => Some(&msgpack_serde::MsgpackSerde),
        Codec::Npy => Some(&npy::Npy),
        Codec::Cbor => Some(&cbor::Cbor),
        Codec::CborCiborium => Some(&cbor_ciborium::CborCiborium),
        Codec::CborMinicbor => Some(&cbor_minicbor::CborMinicbor),
        Codec::Safetensors => Some(&safetensors::Safetensors),
        Codec::SafetensorsCrate => Some(&safetensors_crate::SafetensorsCrate),
        Codec::ProtobufPacked => Some(&protobuf_packed::ProtobufPacked),
        Codec::ProtobufPackedProst => Some(&protobuf_packed_prost::ProtobufPackedProst),
        Codec::Kserve => Some(&kserve::Kserve),
        Codec::KserveProst => Some(&kserve_prost::KserveProst),
        Codec::KserveHttp => Some(&kserve_http::KserveHttp),
        Codec::KserveHttpSerde => Some(&kserve_http_serde::KserveHttpSerde),
        Codec::Arrow => Some(&arrow::Arrow),
        Codec::KserveTyped => Some(&kserve_typed::KserveTyped),
        Codec::KserveTypedProst => Some(&kserve_typed_prost::KserveTypedProst),
        Codec::Multipart => Some(&multipart::Multipart),
    }
}

/// Finds the length of the JSON that a message begins with.
pub type JsonHeadLen = fn(&[u8]) -> Option<usize>;

/// Returns a function that tells the length of the JSON at the start of a message, if `encoding`
/// has bytes behind it that HTTP/1.1 must tell apart.
pub fn json_head_len(encoding: Encoding) -> Option<JsonHeadLen> {
    (encoding == Encoding::KserveHttp).then_some(kserve_http::head_len)
}

pub fn implementations() -> impl Iterator<Item = &'static dyn ArrayCodec> {
    Codec::ALL.into_iter().filter_map(implementation)
}
