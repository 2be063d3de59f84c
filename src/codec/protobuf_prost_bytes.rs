//! `protobuf:prost_bytes`: the generated message with `buffer` as a `Bytes`.
//!
//! A `Bytes` saves prost's growing `Vec` and every copy inside the server. The payload is still
//! copied in and out: a codec gets a slice, which a `Bytes` cannot keep.

use crate::generated_bytes::NdArray;

use super::protobuf_prost::prost_codec;

prost_codec!(ProtobufProstBytes, "protobuf:prost_bytes", NdArray);
