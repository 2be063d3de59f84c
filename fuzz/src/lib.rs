//! Properties that hold for every input, one function for each target.
//!
//! - `json`, `json_binary`, `msgpack`, `protobuf`, `protobuf_packed`, `kserve`, `kserve_typed`,
//!   `kserve_http`, `cbor`, `safetensors`: the own codec and those of libraries accept the same
//!   bodies and read the same arrays, except for a list of exceptions. An accepted array is written
//!   and read again unchanged. Decoding takes memory in proportion to the body.
//! - `npy`, `arrow`, `multipart`: an accepted array is written and read again unchanged; the same
//!   for memory.
//! - `raw`, `h1`, `h2`, `hpack`, `grpc`: the cuts between arrivals change neither the output nor
//!   the end. `hpack` also checks that the last head does not change the meaning of the next one.
//! - `raw_events`, `h1_events`, `h2_events`: any events of a connection, with time (`events.rs`).
//! - `h1_client`, `h2_client`, `zmtp_client`: any bytes of a server (`clients.rs`).
//! - `h1_heads`, `h2_calls`: agreement with httparse and with the h2 crate.

#[path = "../../tests/common/agreement.rs"]
mod agreement;
mod clients;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../tests/common/mod.rs"]
mod common;
mod cuts;
mod events;
mod h1_heads;
mod h2_calls;
mod input;
mod memory;
mod script;
mod streams;

use ndecho::axis::Codec;
use ndecho::codec::{ArrayCodec, Encoding, implementation, implementations, message};

pub use clients::{h1_client, h2_client, zmtp_client};
pub use cuts::{grpc, h1, h2, hpack, raw};
pub use events::{h1_events, h2_events, raw_events};
pub use h1_heads::h1_heads;
pub use h2_calls::h2_calls;

use memory::{Allowance, Meter};

/// Memory of an own codec. A list of JSON spends two bytes on an item of eight, in a scratch that
/// doubles as it grows.
const OWN: Allowance = Allowance { base: 4096, per_byte: 16 };

/// Memory of a codec of a library. Its own tree of values takes up to 72 bytes for a `0,` of JSON.
const LIBRARY: Allowance = Allowance { base: 64 * 1024, per_byte: 128 };

/// Memory of a codec of serde for an encoding with announced lengths: serde trusts a length up to
/// 1 MiB.
const ANNOUNCED: Allowance = Allowance { base: 1024 * 1024 + 64 * 1024, per_byte: 128 };

fn allowance(codec: &dyn ArrayCodec) -> Allowance {
    match codec.encoding() {
        _ if codec.id().is_own() => OWN,
        Encoding::Msgpack => ANNOUNCED,
        _ => LIBRARY,
    }
}

fn codecs(encoding: Encoding, body: &[u8]) {
    for codec in implementations().filter(|codec| codec.encoding() == encoding) {
        let mut scratch = Vec::new();
        let mut meter = Meter::new(allowance(codec));
        meter.run(|| {
            let _ = codec.decode(body, &mut scratch);
            body.len()
        });
    }
    agreement::hold(encoding, body);
}

/// Compares `json` with its libraries.
pub fn json(body: &[u8]) {
    codecs(Encoding::Json, body);
}

/// Compares `json_binary` with serde_json and base64.
pub fn json_binary(body: &[u8]) {
    codecs(Encoding::JsonBinary, body);
}

/// Compares `msgpack` with rmp-serde.
pub fn msgpack(body: &[u8]) {
    codecs(Encoding::Msgpack, body);
}

/// Compares `protobuf` with prost.
pub fn protobuf(body: &[u8]) {
    codecs(Encoding::Protobuf, body);
}

/// Compares `cbor` with ciborium and minicbor.
pub fn cbor(body: &[u8]) {
    codecs(Encoding::Cbor, body);
}

/// Compares `safetensors` with the crate of that name.
pub fn safetensors(body: &[u8]) {
    codecs(Encoding::Safetensors, body);
}

/// Compares `protobuf_packed` with prost.
pub fn protobuf_packed(body: &[u8]) {
    codecs(Encoding::ProtobufPacked, body);
}

/// Compares `kserve` with prost.
pub fn kserve(body: &[u8]) {
    codecs(Encoding::Kserve, body);
}

/// Compares `kserve_typed` with prost.
pub fn kserve_typed(body: &[u8]) {
    codecs(Encoding::KserveTyped, body);
}

/// Compares `kserve_http` with serde_json.
pub fn kserve_http(body: &[u8]) {
    codecs(Encoding::KserveHttp, body);
}

/// Checks `multipart`, which no server of ours speaks.
pub fn multipart(body: &[u8]) {
    let codec = implementation(Codec::Multipart).expect("a codec runs");
    let mut scratch = Vec::new();
    Meter::new(allowance(codec)).run(|| {
        let _ = codec.decode(body, &mut scratch);
        body.len()
    });
    if let Ok(array) = codec.decode(body, &mut scratch) {
        let again = message(codec, &array).expect("it can be written");
        assert_eq!(codec.decode(&again, &mut Vec::new()), Ok(array));
    }
}

/// Checks `npy`, which has no library form.
pub fn npy(body: &[u8]) {
    codecs(Encoding::Npy, body);
}

/// Checks `arrow`, which has no library form.
pub fn arrow(body: &[u8]) {
    codecs(Encoding::Arrow, body);
}
