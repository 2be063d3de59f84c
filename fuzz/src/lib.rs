//! The laws that every input has to hold, a function for each target.
//!
//! | target | law |
//! |---|---|
//! | `json` `json_binary` `msgpack` `protobuf` | own and library codec accept the same and read the same from it, but for the listed exceptions; what is accepted is written and read again as it was |
//! | `npy` | what is accepted is written and read again as it was |
//! | `raw` `h1` `h2` `hpack` `grpc` | any cut of the input gives the same output and the same end |

#[path = "../../tests/common/agreement.rs"]
mod agreement;
#[allow(dead_code, reason = "it serves other tests too")]
#[path = "../../tests/common/mod.rs"]
mod common;
mod cuts;

use ndecho::codec::Encoding;

pub use cuts::{grpc, h1, h2, hpack, raw};

/// `json` against serde_json.
pub fn json(body: &[u8]) {
    agreement::hold(Encoding::Json, body);
}

/// `json_binary` against serde_json and base64.
pub fn json_binary(body: &[u8]) {
    agreement::hold(Encoding::JsonBinary, body);
}

/// `msgpack` against rmp-serde.
pub fn msgpack(body: &[u8]) {
    agreement::hold(Encoding::Msgpack, body);
}

/// `protobuf` against prost.
pub fn protobuf(body: &[u8]) {
    agreement::hold(Encoding::Protobuf, body);
}

/// `npy`, which has no library form.
pub fn npy(body: &[u8]) {
    agreement::hold(Encoding::Npy, body);
}
