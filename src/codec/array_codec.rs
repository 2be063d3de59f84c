//! Contract of a codec: a message body becomes a checked [`ArrayView`], and an array a message body.
//!
//! A codec borrows the payload wherever the encoding has it as plain bytes, and hands it back
//! borrowed for a vectored write, so the binary codecs copy nothing. It keeps nothing between
//! calls. It allocates nothing whose size a peer chooses: all that it must build goes into the
//! caller's `scratch`, in step with bytes that have really arrived.

use std::fmt;

use crate::array::ArrayView;
use crate::axis::{Codec, Encoding};

use super::error::Result;

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
pub trait ArrayCodec: fmt::Debug + Send + Sync {
    /// Its point on the axis.
    fn id(&self) -> Codec;

    /// Name as in a rung.
    fn name(&self) -> &'static str {
        self.id().name()
    }

    fn encoding(&self) -> Encoding {
        self.id().encoding()
    }

    /// Reads a whole message. What cannot be borrowed from `body` is built in `scratch`, whose old content is
    /// dropped and whose capacity is reused.
    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>>;

    /// Appends head and tail of a message to `out`. Refuses only what the encoding cannot carry exactly.
    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>>;

    /// Reads a whole message and appends head and tail of the reply to `out`, which after an error holds anything
    /// behind what it held before. It is [`ArrayCodec::decode`], then [`ArrayCodec::encode`]; a codec has its own form where
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

/// A whole message in one piece, for those who do not send it in parts.
pub fn message(codec: &dyn ArrayCodec, array: &ArrayView<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let Encoded { head_len, payload } = codec.encode(array, &mut out)?;
    out.extend_from_slice(payload);
    out[head_len..].rotate_right(payload.len());
    Ok(out)
}
