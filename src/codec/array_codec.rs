//! Contract of a codec: from a message body to a checked [`ArrayView`], and back.
//!
//! Request and reply have the same form in most encodings. Where they differ,
//! [`ArrayCodec::decode`] and [`ArrayCodec::encode`] are the server's half,
//! [`ArrayCodec::encode_request`] and [`ArrayCodec::decode_reply`] the client's.
//!
//! A codec borrows the payload if the encoding has it as plain bytes, and returns it borrowed for a
//! vectored write. A codec keeps nothing between calls, and allocates nothing whose size a peer
//! chooses: what it must build goes into the caller's `scratch`, in step with arrived bytes.

use std::fmt;

use bytes::Bytes;

use crate::array::ArrayView;
use crate::axis::{Codec, Encoding};

use super::error::Result;

/// Result of an encoder. The payload belongs between head and tail and was not copied.
///
/// ```text
/// out      [ head ........ | tail ... ]      message = head, payload, tail
///                          ^ head_len
/// payload  [ borrowed bytes ]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// Bytes of the head, counted from the end of `out` before the call.
    pub head_len: usize,
    /// Bytes of the array, or empty for a text codec.
    pub payload: &'a [u8],
}

/// Work of an echo for each byte of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The payload is borrowed, so a longer message is no more work.
    Borrows,
    /// The payload is copied, read and written in another order, or coded as base64: up to 1 ns for
    /// a byte.
    Copies,
    /// Each number is converted: 2 to 9 ns for a byte of text.
    Converts,
}

/// Echo by a library whose message owns its payload. It appends the complete response to the
/// vector, whose new part is undefined after an error.
pub type OwningEcho = fn(Bytes, &mut Vec<u8>) -> Result<()>;

pub trait ArrayCodec: fmt::Debug + Send + Sync {
    fn id(&self) -> Codec;

    fn name(&self) -> &'static str {
        self.id().name()
    }

    fn encoding(&self) -> Encoding {
        self.id().encoding()
    }

    /// Reads a complete request. `scratch` is cleared and gets the parts that are not borrowed.
    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>>;

    /// Appends head and tail of a reply to `out`. Fails if the encoding cannot represent the array.
    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>>;

    /// Appends head and tail of a request to `out`, as [`ArrayCodec::encode`] does for a reply.
    fn encode_request<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        self.encode(array, out)
    }

    /// Reads a complete reply, as [`ArrayCodec::decode`] does a request.
    fn decode_reply<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        self.decode(body, scratch)
    }

    /// Refuses an array that [`ArrayCodec::encode`] would refuse, or that would not come back as it
    /// was.
    fn check(&self, _array: &ArrayView<'_>) -> Result<()> {
        Ok(())
    }

    /// Names the dtypes and shapes that [`ArrayCodec::check`] refuses; empty for none.
    fn left_out(&self) -> &'static str {
        ""
    }

    /// Returns the work of an echo of `body`, which may be no message at all. A codec overrides it
    /// if it copies or converts more than its encoding needs.
    fn effort(&self, _body: &[u8]) -> Effort {
        match self.encoding() {
            Encoding::Json => Effort::Converts,
            Encoding::JsonBinary => Effort::Copies,
            _ => Effort::Borrows,
        }
    }

    /// Does the work of [`ArrayCodec::decode`] and [`ArrayCodec::encode`]; after an error the new
    /// part of `out` is undefined. A codec overrides it to encode a part of the array while it
    /// decodes the next one. The array is complete and checked before this returns.
    fn echo<'a>(
        &self,
        body: &'a [u8],
        scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        let array = self.decode(body, scratch)?;
        self.encode(&array, out)
    }

    /// Returns an echo that does the work of [`ArrayCodec::echo`] and copies less than it, for a
    /// body that is a `Bytes`; `None` for a codec that borrows.
    fn owning_echo(&self) -> Option<OwningEcho> {
        None
    }
}

/// Writes a request in one piece.
pub fn message(codec: &dyn ArrayCodec, array: &ArrayView<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let encoded = codec.encode_request(array, &mut out)?;
    Ok(in_one_piece(encoded, out))
}

/// Writes a reply in one piece.
pub fn reply(codec: &dyn ArrayCodec, array: &ArrayView<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let encoded = codec.encode(array, &mut out)?;
    Ok(in_one_piece(encoded, out))
}

fn in_one_piece(encoded: Encoded<'_>, mut out: Vec<u8>) -> Vec<u8> {
    let Encoded { head_len, payload } = encoded;
    out.extend_from_slice(payload);
    out[head_len..].rotate_right(payload.len());
    out
}
