//! AXIS: how an array is written. A file is a point, [`CODECS`] lists them.
//!
//! A codec turns a message body into a checked [`ArrayView`] and an array into a message body. It borrows the
//! payload wherever the encoding has it as plain bytes, and hands it back borrowed for a vectored write, so that
//! the binary codecs copy nothing. It keeps nothing between calls and allocates nothing that a peer can size:
//! whatever it must materialise goes into the caller's `scratch`, in step with bytes that have really arrived.

use std::fmt;

use crate::array::{ArrayError, ArrayView};

mod cursor;
mod digits;
pub mod json;
pub mod json_binary;
pub mod json_binary_serde;
pub mod json_serde;
pub mod msgpack;
pub mod msgpack_serde;
mod multi_index;
pub mod npy;
pub mod protobuf;
pub mod protobuf_prost;
mod simd;
#[cfg(test)]
mod tests;

pub use simd::Level;

/// An encoding on the wire; several codecs (own, library) may speak the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encoding {
    /// The message back byte for byte, undecoded.
    Reflect,
    /// `NDArray` of `proto/ndecho.proto`.
    Protobuf,
    /// `{"data": nested list, "dtype": "<f8"}`
    Json,
    /// `{"buffer": base64, "dtype": "<f8", "shape": [..]}`
    JsonBinary,
    /// The map of Python's msgpack_numpy.
    Msgpack,
    /// A whole `.npy` file, format 1.0 to 3.0 in, the lowest that fits out.
    Npy,
}

impl Encoding {
    /// Every encoding, each once; the position is not the wire id.
    pub const ALL: [Encoding; 6] = [
        Encoding::Reflect,
        Encoding::Protobuf,
        Encoding::Json,
        Encoding::JsonBinary,
        Encoding::Msgpack,
        Encoding::Npy,
    ];

    /// Name as in a rung: `reflect protobuf json json_binary msgpack npy`.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Reflect => "reflect",
            Encoding::Protobuf => "protobuf",
            Encoding::Json => "json",
            Encoding::JsonBinary => "json_binary",
            Encoding::Msgpack => "msgpack",
            Encoding::Npy => "npy",
        }
    }

    /// The codec byte of a raw frame.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The encoding of a raw frame's codec byte.
    pub fn from_id(id: u8) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|encoding| encoding.id() == id)
    }

    /// Content type of a REST reply.
    pub fn content_type(self) -> &'static str {
        match self {
            Encoding::Reflect => "application/octet-stream",
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json | Encoding::JsonBinary => "application/json",
            Encoding::Msgpack => "application/x-msgpack",
            Encoding::Npy => "application/x-npy",
        }
    }

    /// REST path; both JSON forms share one, and the reply takes the request's form.
    pub fn path(self) -> &'static str {
        match self {
            Encoding::Reflect => "/echo_reflect",
            Encoding::Protobuf => "/echo_protobuf",
            Encoding::Json | Encoding::JsonBinary => "/echo_json",
            Encoding::Msgpack => "/echo_msgpack",
            Encoding::Npy => "/echo_npy",
        }
    }

    /// gRPC content type: `application/grpc+proto`, `+json` (both forms), `+msgpack`, `+npy`, `+reflect`.
    pub fn grpc_content_type(self) -> &'static str {
        match self {
            Encoding::Reflect => "application/grpc+reflect",
            Encoding::Protobuf => "application/grpc+proto",
            Encoding::Json | Encoding::JsonBinary => "application/grpc+json",
            Encoding::Msgpack => "application/grpc+msgpack",
            Encoding::Npy => "application/grpc+npy",
        }
    }
}

/// What an encoder wrote: `out` holds head then tail, the payload stands between them and was not copied.
///
/// ```text
/// out      [ head ........ | tail ... ]      message = head, payload, tail
///                          ^ head_len
/// payload  [ borrowed bytes ]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// Bytes of `out`, counted from where it ended before the call, that precede the payload.
    pub head_len: usize,
    /// The array's own bytes, or empty for a text codec.
    pub payload: &'a [u8],
}

/// One way to write an array.
pub trait Codec: fmt::Debug + Send + Sync {
    /// Name as in a rung: the encoding's, with `:library` behind it for the form a user would write.
    fn name(&self) -> &'static str;

    /// What it speaks on the wire.
    fn encoding(&self) -> Encoding;

    /// Reads a whole message. What cannot be borrowed from `body` is built in `scratch`, whose old content is
    /// dropped and whose capacity is reused.
    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>>;

    /// Appends head and tail of a message to `out`. Refuses only what the encoding cannot carry exactly.
    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>>;

    /// Reads a whole message and appends head and tail of the reply to `out`, which after an error holds anything
    /// behind what it held before. It is [`Codec::decode`], then [`Codec::encode`]; a codec has its own form where
    /// it can encode one part of the array while it decodes the next. The array is whole in memory and checked
    /// all the same before a byte of the reply is handed over.
    fn echo<'a>(
        &self,
        body: &'a [u8],
        scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        let array = self.decode(body, scratch)?;
        self.encode(&array, out)
    }
}

/// Every codec, own forms first. The CLI, the golden and round-trip tests and the benches iterate this table.
/// `reflect` is not in it: no codec runs there.
pub static CODECS: &[&dyn Codec] = &[
    &protobuf::Protobuf,
    &json::Json,
    &json_binary::JsonBinary,
    &msgpack::Msgpack,
    &npy::Npy,
    &protobuf_prost::ProtobufProst,
    &json_serde::JsonSerde,
    &json_binary_serde::JsonBinarySerde,
    &msgpack_serde::MsgpackSerde,
];

/// The codec called `name`, or `None`.
pub fn find(name: &str) -> Option<&'static dyn Codec> {
    CODECS.iter().copied().find(|codec| codec.name() == name)
}

/// A whole message in one piece, for those who do not send it in parts.
pub fn message(codec: &dyn Codec, array: &ArrayView<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let Encoded { head_len, payload } = codec.encode(array, &mut out)?;
    out.extend_from_slice(payload);
    out[head_len..].rotate_right(payload.len());
    Ok(out)
}

/// Result of reading or writing a message.
pub type Result<T, E = CodecError> = std::result::Result<T, E>;

/// Why a body is not an array, or an array has no body in this encoding. Always the peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The text or bytes break the encoding's grammar.
    #[error("{encoding} at byte {at}: {what}")]
    Syntax {
        /// Encoding being read.
        encoding: &'static str,
        /// Offset in the body.
        at: usize,
        /// What was found or expected.
        what: &'static str,
    },
    /// A library refuses it.
    #[error("{encoding}: {what}")]
    Library {
        /// Encoding being read.
        encoding: &'static str,
        /// What the library says.
        what: String,
    },
    /// Well-formed, but a field is missing, of the wrong type or of an impossible value.
    #[error("{encoding}{}: field {field:?}: {what}", Place(*at))]
    Field {
        /// Encoding being read.
        encoding: &'static str,
        /// Offset in the body of the field, or of the end where it is missing; a library does not tell.
        at: Option<usize>,
        /// Field concerned.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Dtype, shape and length do not fit each other.
    #[error("{encoding}{}: {source}", Place(*at))]
    Array {
        /// Encoding being read.
        encoding: &'static str,
        /// Offset in the body of the part that does not fit; a library does not tell.
        at: Option<usize>,
        /// What does not fit.
        source: ArrayError,
    },
    /// The encoding cannot carry this array exactly (complex numbers in a JSON list).
    #[error("{encoding}{}: cannot carry {what}", Place(*at))]
    Unsupported {
        /// Encoding being written or read.
        encoding: &'static str,
        /// Offset in the body of what asks for it; an array that is written has none, and a library does not tell.
        at: Option<usize>,
        /// What it cannot carry.
        what: String,
    },
}

impl CodecError {
    /// Offset in the body at which it is wrong; `None` for an array that is written and where a library refuses.
    pub fn at(&self) -> Option<usize> {
        match self {
            CodecError::Syntax { at, .. } => Some(*at),
            CodecError::Field { at, .. }
            | CodecError::Array { at, .. }
            | CodecError::Unsupported { at, .. } => *at,
            CodecError::Library { .. } => None,
        }
    }

    /// A field is not what it has to be.
    fn field(encoding: &'static str, field: &'static str, what: impl Into<String>) -> CodecError {
        CodecError::Field { encoding, at: None, field, what: what.into() }
    }

    /// The same error, which is about what stands at `place` unless it says so itself.
    fn or_at(mut self, place: usize) -> CodecError {
        if let CodecError::Field { at, .. }
        | CodecError::Array { at, .. }
        | CodecError::Unsupported { at, .. } = &mut self
        {
            at.get_or_insert(place);
        }
        self
    }

    /// A library's own words, cut short: they may repeat what the peer sent.
    fn library<E: fmt::Display>(encoding: &'static str) -> impl Fn(E) -> CodecError {
        const CHARS_MAX: usize = 200;
        move |error| {
            let what = error.to_string().chars().take(CHARS_MAX).collect();
            CodecError::Library { encoding, what }
        }
    }

    /// Names the encoding whose parts do not make an array.
    fn array(encoding: &'static str) -> impl Fn(ArrayError) -> CodecError {
        move |source| CodecError::Array { encoding, at: None, source }
    }
}

/// An offset as it stands in a message, if there is one.
struct Place(Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |at| write!(f, " at byte {at}"))
    }
}
