//! Properties that hold for every input, one function for each target.
//!
//! - `json`, `json_binary`, `msgpack`, `protobuf`: the own codec and that of a library accept the
//!   same bodies and read the same arrays, except for a list of exceptions. An accepted array is
//!   written and read again unchanged.
//! - `npy`: an accepted array is written and read again unchanged.
//! - `raw`, `h1`, `h2`, `hpack`, `grpc`: the cuts between arrivals change neither the output nor
//!   the end. `hpack` also checks that the last head does not change the meaning of the next one.

#[path = "../../tests/common/agreement.rs"]
mod agreement;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../tests/common/mod.rs"]
mod common;
mod cuts;

use ndecho::codec::Encoding;

pub use cuts::{grpc, h1, h2, hpack, raw};

/// Compares `json` with serde_json.
pub fn json(body: &[u8]) {
    agreement::hold(Encoding::Json, body);
}

/// Compares `json_binary` with serde_json and base64.
pub fn json_binary(body: &[u8]) {
    agreement::hold(Encoding::JsonBinary, body);
}

/// Compares `msgpack` with rmp-serde.
pub fn msgpack(body: &[u8]) {
    agreement::hold(Encoding::Msgpack, body);
}

/// Compares `protobuf` with prost.
pub fn protobuf(body: &[u8]) {
    agreement::hold(Encoding::Protobuf, body);
}

/// Checks `npy`, which has no library form.
pub fn npy(body: &[u8]) {
    agreement::hold(Encoding::Npy, body);
}
