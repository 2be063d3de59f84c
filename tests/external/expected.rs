//! What the tests expect of each server: that it is in the list, how it is built, and how it
//! answers messages that are not arrays.

use ndecho::axis::Encoding;

pub(crate) const NAMES: [&str; 29] = [
    "aiohttp",
    "aiohttp-uvloop",
    "connectrpc-pyvoy",
    "cpp-grpc",
    "dotnet-grpc",
    "fastapi-granian",
    "fastapi-uvicorn",
    "go-grpc",
    "grpcio",
    "grpcio-aio",
    "h2o",
    "java-grpc",
    "nginx-echo",
    "node-fastify",
    "node-grpc-js",
    "purerpc",
    "py-pyzmq",
    "rust-compio-hyper",
    "rust-connectrpc",
    "rust-may-minihttp",
    "rust-monoio-http",
    "rust-ntex-grpc",
    "rust-pajamax",
    "rust-pajamax-tuned",
    "rust-volo-grpc",
    "rust-wtx-grpc",
    "rust-xitca-http",
    "tornado-async",
    "tornado-sync",
];

/// Servers that are built and tested only if [`BY_HAND_VARIABLE`] is set. The Rust servers compile
/// a framework for minutes; the others in Rust are the cheapest ones for gRPC and for REST.
/// `cpp-grpc` missed the time limit of SIGTERM once, as its manifest says. CI has no
/// packages for `java-grpc`, and no toolchain for `go-grpc` and `dotnet-grpc`. `connectrpc-pyvoy`
/// downloads Envoy, which needs up to half of the ten seconds that pyvoy gives it to start.
pub(crate) const BY_HAND: [&str; 12] = [
    "connectrpc-pyvoy",
    "cpp-grpc",
    "dotnet-grpc",
    "go-grpc",
    "java-grpc",
    "rust-compio-hyper",
    "rust-connectrpc",
    "rust-monoio-http",
    "rust-ntex-grpc",
    "rust-volo-grpc",
    "rust-wtx-grpc",
    "rust-xitca-http",
];

pub(crate) const BY_HAND_VARIABLE: &str = "NDECHO_EVERY_EXTERNAL";

/// Status of frameworks that answer bytes that are not protobuf otherwise than the contract, as the
/// `faults` of the manifest say. The callback API of C++ gRPC has UNIMPLEMENTED in its own code
/// (`CallbackUnaryHandler::RunHandler`), because no handler runs without a message.
pub(crate) const MALFORMED: [(&str, &str); 9] = [
    ("cpp-grpc", "UNIMPLEMENTED"),
    ("dotnet-grpc", "UNKNOWN"),
    ("go-grpc", "INTERNAL"),
    ("grpcio", "INTERNAL"),
    ("grpcio-aio", "UNKNOWN"),
    ("java-grpc", "UNKNOWN"),
    ("node-grpc-js", "INTERNAL"),
    ("purerpc", "CANCELLED"),
    ("rust-volo-grpc", "INTERNAL"),
];

/// Messages that the contract refuses and that a Python library accepts or fails on.
pub(crate) const REFUSED: [(Encoding, &[u8]); 29] = [
    (Encoding::Json, br#"{"data": [1, [2]], "dtype": "<f8"}"#),
    (Encoding::Json, br#"{"data": [null], "dtype": "<f8"}"#),
    (Encoding::Json, br#"{"data": ["3"], "dtype": "<f8"}"#),
    (Encoding::Json, br#"{"data": [true, 1.5], "dtype": "<f8"}"#),
    (Encoding::Json, br#"{"data": [1.5], "dtype": "<i8"}"#),
    (Encoding::Json, br#"{"data": [300], "dtype": "|u1"}"#),
    (Encoding::Json, br#"{"data": [1], "dtype": "|b1"}"#),
    (Encoding::Json, br#"{"data": [1], "dtype": "|O"}"#),
    (Encoding::Json, br#"{"data": [1], "dtype": "float64"}"#),
    (Encoding::Json, br#"{"data": [1], "dtype": 8}"#),
    (Encoding::Json, br#"{"dtype": "<f8"}"#),
    (Encoding::Json, br#"{"data": [1], "#),
    (Encoding::Json, b"[1]"),
    (Encoding::Json, b""),
    (Encoding::JsonBinary, br#"{"buffer": "AAAA", "dtype": "<f8", "shape": [1]}"#),
    (Encoding::JsonBinary, br#"{"buffer": "AAA*", "dtype": "|u1", "shape": [3]}"#),
    (Encoding::JsonBinary, br#"{"buffer": "AAAA", "dtype": "|u1", "shape": [-1]}"#),
    (Encoding::JsonBinary, br#"{"buffer": "AAAAAAAAAAA=", "dtype": "|O", "shape": [1]}"#),
    (Encoding::JsonBinary, br#"{"buffer": "", "dtype": "<f8", "shape": [4294967296, 4294967296]}"#),
    (Encoding::JsonBinary, br#"{"buffer": "", "data": [], "dtype": "<f8", "shape": [0]}"#),
    (Encoding::Msgpack, b"\xc1"),
    (Encoding::Msgpack, b"\x91\x01"),
    (Encoding::Msgpack, b"\x85\xc4\x02nd\xc3\xc4\x04type\xa3|u1\xc4\x04kind\xc4\x01O\xc4\x05shape\x91\x01\xc4\x04data\xc4\x01."),
    (Encoding::Msgpack, b"\x85\xc4\x02nd\xc3\xc4\x04type\xa3|u1\xc4\x04kind\xc4\x00\xc4\x05shape\x91\xff\xc4\x04data\xc4\x01."),
    (Encoding::Msgpack, b"\x85\xc4\x02nd\xc3\xc4\x04type\xa3|u1\xc4\x04kind\xc4\x00\xc4\x05shape\x91\x00\xc4\x04data\xc4\x01."),
    (Encoding::Msgpack, b"\x85\xc4\x02nd\xc3\xc4\x04type\xa2|O\xc4\x04kind\xc4\x00\xc4\x05shape\x91\x01\xc4\x04data\xc4\x01."),
    (Encoding::Npy, b"\x93NUMPY"),
    (Encoding::Npy, b"\x93NUMPY\x01\x00\x3e\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }    .."),
    (Encoding::Npy, b"\x93NUMPY\x01\x00\x3e\x00{'descr': '|u1', 'fortran_order': False, 'shape': (9,), }    \n1"),
];
