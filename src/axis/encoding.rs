//! Axis of codecs: how an array is written. An [`Encoding`] is the form on the wire, a [`Codec`]
//! one implementation of it.
//!
//! `ENCODING:LIBRARY` is the form that a user writes with the usual library.

use super::layer::Layer;
use super::name::axis;

#[derive(Clone, Copy, Debug)]
pub struct EncodingSpec {
    pub name: &'static str,
    pub about: &'static str,
    pub content_type: &'static str,
    /// REST path. Two encodings with the same path are told apart by the body.
    pub path: &'static str,
    pub grpc_content_type: &'static str,
    pub grpc_path: &'static str,
    pub payload: Payload,
}

/// Form in which the array's bytes stand in a message; it decides where a nonce may be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    Bytes,
    Base64,
    /// Each item as a decimal number.
    Numbers,
    /// Each item as a number of protobuf: a varint, or the bytes of a float.
    Packed,
}

const CALCULATOR: &str = "/Calculator/Echo";
const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

axis! {
    /// Form of an array on the wire. The position of a row is the codec byte of a raw frame, so
    /// rows are only ever added at the end. `multipart` stands outside: only external servers
    /// speak it, over ZMTP, which has neither paths nor content types.
    Encoding, "encoding", EncodingSpec;

    Reflect {
        name: "reflect",
        about: "the message back, undecoded",
        content_type: "application/octet-stream",
        path: "/echo_reflect",
        grpc_content_type: "application/grpc+reflect",
        grpc_path: CALCULATOR,
        payload: Payload::Bytes,
    }
    Protobuf {
        name: "protobuf",
        about: "NDArray of proto/ndecho.proto",
        content_type: "application/x-protobuf",
        path: "/echo_protobuf",
        grpc_content_type: "application/grpc+proto",
        grpc_path: CALCULATOR,
        payload: Payload::Bytes,
    }
    Json {
        name: "json",
        about: "nested list of numbers",
        content_type: "application/json",
        path: "/echo_json",
        grpc_content_type: "application/grpc+json",
        grpc_path: CALCULATOR,
        payload: Payload::Numbers,
    }
    JsonBinary {
        name: "json_binary",
        about: "base64 in JSON",
        content_type: "application/json",
        path: "/echo_json",
        grpc_content_type: "application/grpc+json",
        grpc_path: CALCULATOR,
        payload: Payload::Base64,
    }
    Msgpack {
        name: "msgpack",
        about: "the map of msgpack_numpy",
        content_type: "application/x-msgpack",
        path: "/echo_msgpack",
        grpc_content_type: "application/grpc+msgpack",
        grpc_path: CALCULATOR,
        payload: Payload::Bytes,
    }
    Npy {
        name: "npy",
        about: "a .npy file",
        content_type: "application/x-npy",
        path: "/echo_npy",
        grpc_content_type: "application/grpc+npy",
        grpc_path: CALCULATOR,
        payload: Payload::Bytes,
    }
    Cbor {
        name: "cbor",
        about: "a typed array of RFC 8746",
        content_type: "application/cbor",
        path: "/echo_cbor",
        grpc_content_type: "application/grpc+cbor",
        grpc_path: CALCULATOR,
        payload: Payload::Bytes,
    }
    Safetensors {
        name: "safetensors",
        about: "a safetensors file with one tensor",
        content_type: "application/x-safetensors",
        path: "/echo_safetensors",
        grpc_content_type: "application/grpc+safetensors",
        grpc_path: CALCULATOR,
        payload: Payload::Bytes,
    }
    ProtobufPacked {
        name: "protobuf_packed",
        about: "PackedArray of proto/packed.proto, a list of numbers",
        content_type: "application/x-protobuf",
        path: "/echo_protobuf_packed",
        grpc_content_type: "application/grpc+packed",
        grpc_path: CALCULATOR,
        payload: Payload::Packed,
    }
    Kserve {
        name: "kserve",
        about: "ModelInfer of the Open Inference Protocol, raw contents",
        content_type: "application/x-protobuf",
        path: "/echo_kserve",
        grpc_content_type: "application/grpc+proto",
        grpc_path: MODEL_INFER,
        payload: Payload::Bytes,
    }
    KserveHttp {
        name: "kserve_http",
        about: "inference over HTTP by the Open Inference Protocol, JSON and bytes",
        content_type: "application/octet-stream",
        path: "/v2/models/echo/infer",
        grpc_content_type: "application/grpc+kserve-http",
        grpc_path: CALCULATOR,
        payload: Payload::Bytes,
    }
    Arrow {
        name: "arrow",
        about: "a tensor of Arrow IPC",
        content_type: "application/x-arrow-tensor",
        path: "/echo_arrow",
        grpc_content_type: "application/grpc+arrow",
        grpc_path: CALCULATOR,
        payload: Payload::Bytes,
    }
    KserveTyped {
        name: "kserve_typed",
        about: "ModelInfer of the Open Inference Protocol, typed contents",
        content_type: "application/x-protobuf",
        path: "/echo_kserve",
        grpc_content_type: "application/grpc+proto",
        grpc_path: MODEL_INFER,
        payload: Payload::Packed,
    }
    ; outside
    Multipart {
        name: "multipart",
        about: "a message of ZeroMQ: a frame of JSON and a frame of bytes",
        content_type: "",
        path: "",
        grpc_content_type: "",
        grpc_path: "",
        payload: Payload::Bytes,
    }
}

#[derive(Clone, Copy, Debug)]
pub struct CodecSpec {
    pub name: &'static str,
    pub encoding: Encoding,
    /// Form that a library gives the encoding; empty for our own.
    pub form: &'static str,
    pub crates: &'static [&'static str],
}

axis! {
    /// Implementation of an encoding; our own stands first, and the usual library's second.
    /// `reflect` is a point of the axis at which no codec runs.
    Codec, "codec", CodecSpec;

    Reflect { name: "reflect", encoding: Encoding::Reflect, form: "", crates: &[] }
    Protobuf { name: "protobuf", encoding: Encoding::Protobuf, form: "", crates: &[] }
    ProtobufProst {
        name: "protobuf:prost",
        encoding: Encoding::Protobuf,
        form: "by prost",
        crates: &["prost"],
    }
    ProtobufProstBytes {
        name: "protobuf:prost_bytes",
        encoding: Encoding::Protobuf,
        form: "by prost with Bytes",
        crates: &["bytes", "prost"],
    }
    Json { name: "json", encoding: Encoding::Json, form: "", crates: &[] }
    JsonSerde {
        name: "json:serde",
        encoding: Encoding::Json,
        form: "by serde_json with declared types",
        crates: &["serde_json"],
    }
    JsonSerdeValue {
        name: "json:serde_value",
        encoding: Encoding::Json,
        form: "by serde_json as a tree",
        crates: &["serde_json"],
    }
    JsonSonic {
        name: "json:sonic",
        encoding: Encoding::Json,
        form: "by sonic-rs",
        crates: &["sonic-rs"],
    }
    JsonSimd {
        name: "json:simd",
        encoding: Encoding::Json,
        form: "by simd-json",
        crates: &["simd-json"],
    }
    JsonBinary { name: "json_binary", encoding: Encoding::JsonBinary, form: "", crates: &[] }
    JsonBinarySerde {
        name: "json_binary:serde",
        encoding: Encoding::JsonBinary,
        form: "by serde_json and base64",
        crates: &["base64", "serde_json"],
    }
    JsonBinaryBest {
        name: "json_binary:best",
        encoding: Encoding::JsonBinary,
        form: "by serde_json and base64's SIMD engine",
        crates: &["base64", "serde_json"],
    }
    Msgpack { name: "msgpack", encoding: Encoding::Msgpack, form: "", crates: &[] }
    MsgpackSerde {
        name: "msgpack:serde",
        encoding: Encoding::Msgpack,
        form: "by rmp-serde",
        crates: &["rmp-serde"],
    }
    Npy { name: "npy", encoding: Encoding::Npy, form: "", crates: &[] }
    Cbor { name: "cbor", encoding: Encoding::Cbor, form: "", crates: &[] }
    CborCiborium {
        name: "cbor:ciborium",
        encoding: Encoding::Cbor,
        form: "by ciborium as a tree",
        crates: &["ciborium"],
    }
    CborMinicbor {
        name: "cbor:minicbor",
        encoding: Encoding::Cbor,
        form: "by minicbor",
        crates: &["minicbor"],
    }
    Safetensors { name: "safetensors", encoding: Encoding::Safetensors, form: "", crates: &[] }
    SafetensorsCrate {
        name: "safetensors:crate",
        encoding: Encoding::Safetensors,
        form: "by the safetensors crate",
        crates: &["safetensors"],
    }
    ProtobufPacked {
        name: "protobuf_packed",
        encoding: Encoding::ProtobufPacked,
        form: "",
        crates: &[],
    }
    ProtobufPackedProst {
        name: "protobuf_packed:prost",
        encoding: Encoding::ProtobufPacked,
        form: "by prost",
        crates: &["prost"],
    }
    Kserve { name: "kserve", encoding: Encoding::Kserve, form: "", crates: &[] }
    KserveProst {
        name: "kserve:prost",
        encoding: Encoding::Kserve,
        form: "by prost",
        crates: &["prost"],
    }
    KserveHttp { name: "kserve_http", encoding: Encoding::KserveHttp, form: "", crates: &[] }
    KserveHttpSerde {
        name: "kserve_http:serde",
        encoding: Encoding::KserveHttp,
        form: "by serde_json",
        crates: &["serde_json"],
    }
    Arrow { name: "arrow", encoding: Encoding::Arrow, form: "", crates: &[] }
    KserveTyped { name: "kserve_typed", encoding: Encoding::KserveTyped, form: "", crates: &[] }
    KserveTypedProst {
        name: "kserve_typed:prost",
        encoding: Encoding::KserveTyped,
        form: "by prost",
        crates: &["prost"],
    }
    ; outside
    Multipart { name: "multipart", encoding: Encoding::Multipart, form: "", crates: &[] }
}

impl Encoding {
    pub const fn id(self) -> u8 {
        self as u8
    }

    pub fn from_id(id: u8) -> Option<Encoding> {
        Encoding::ALL.get(usize::from(id)).copied()
    }

    pub fn by_path() -> impl Iterator<Item = Encoding> {
        let first = |path| Encoding::ALL.into_iter().find(|encoding| encoding.path() == path);
        Encoding::ALL.into_iter().filter(move |encoding| first(encoding.path()) == Some(*encoding))
    }

    pub const fn content_type(self) -> &'static str {
        self.spec().content_type
    }

    /// Returns the REST path. Both JSON forms share one, and so do both forms of an inference; the
    /// response takes the request's form.
    pub const fn path(self) -> &'static str {
        self.spec().path
    }

    pub const fn grpc_content_type(self) -> &'static str {
        self.spec().grpc_content_type
    }

    /// Returns the path of the gRPC method.
    pub const fn grpc_path(self) -> &'static str {
        self.spec().grpc_path
    }

    pub fn grpc_subtype(self) -> &'static str {
        self.grpc_content_type().rsplit('+').next().unwrap_or_default()
    }

    pub fn own(self) -> Codec {
        self.codecs().next().expect("a test finds a codec for every encoding")
    }

    /// Returns the implementation by the usual library, or our own where there is none.
    pub fn library(self) -> Codec {
        self.codecs().nth(1).unwrap_or(self.own())
    }

    fn codecs(self) -> impl Iterator<Item = Codec> {
        let all = Codec::ALL.into_iter().chain([Codec::Multipart]);
        all.filter(move |codec| codec.encoding() == self)
    }
}

impl Codec {
    /// Layers in which two codecs may differ: their own work, its memory, and the check of the
    /// array, which `reflect` has none of.
    pub const LAYERS: &[Layer] = &[
        Layer::CodecDecode,
        Layer::CodecEncode,
        Layer::Application,
        Layer::Allocator,
        Layer::UserCopies,
        Layer::PageFaults,
    ];

    pub const fn encoding(self) -> Encoding {
        self.spec().encoding
    }

    pub fn is_own(self) -> bool {
        self.library().is_none()
    }

    pub fn library(self) -> Option<&'static str> {
        self.name().split_once(':').map(|(_, library)| library)
    }

    pub fn about(self) -> String {
        let about = self.encoding().spec().about;
        match self.spec().form {
            "" => about.to_owned(),
            form => format!("{about}, {form}"),
        }
    }
}
