//! The work every rung does: decode a message into a checked array, then encode a fresh reply from that array.
//!
//! It knows codecs and nothing of protocols or drivers. Nothing about a request is remembered for the next one:
//! the buffers it keeps are capacity, not content.

use std::ops::Range;

use crate::codec::{Codec, CodecError, Encoding};

/// Largest message body accepted by default, in bytes: a 64 MiB array as base64 is 86 MiB.
pub const BODY_BYTES_MAX: usize = 96 * 1024 * 1024;

/// Which codec serves each encoding: our own, or the libraries' forms, chosen once per server.
#[derive(Clone, Copy, Debug)]
pub struct CodecSet {
    json: &'static dyn Codec,
}

/// A reply cut for a vectored write: `out[..head_len]`, `body[payload]`, `out[head_len..]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echoed {
    /// The reply's encoding; for JSON it is the form the request had.
    pub encoding: Encoding,
    /// Bytes of `out`, counted from where it ended before the call, before the payload.
    pub head_len: usize,
    /// The part of the request body that is the reply's payload; empty when the codec wrote everything itself.
    pub payload: Range<usize>,
}

impl CodecSet {
    /// Own codecs throughout.
    pub fn own() -> CodecSet {
        todo!()
    }

    /// The forms a user would write with the usual libraries where there is one, own codecs elsewhere (npy).
    pub fn library() -> CodecSet {
        todo!()
    }

    /// The same set with `codec` serving its encoding.
    pub fn with(self, codec: &'static dyn Codec) -> CodecSet {
        let _ = codec;
        todo!()
    }

    /// The codec that serves `encoding`; `None` for [`Encoding::Reflect`], where none runs.
    pub fn get(&self, encoding: Encoding) -> Option<&'static dyn Codec> {
        let _ = (encoding, self.json);
        todo!()
    }
}

/// Echoes one message. `Encoding::Json` and `Encoding::JsonBinary` both mean "either form, reply alike".
/// Appends head and tail to `out`; `scratch` is for the codec's own use.
pub fn echo(
    codecs: &CodecSet,
    encoding: Encoding,
    body: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Echoed, CodecError> {
    let _ = (codecs, encoding, body, scratch, out);
    todo!()
}
