//! Verification of replies: every byte has to be that of the request's array.
//!
//! A reply in a known form is compared byte by byte with that form, stamped with the request's
//! nonce. Any other reply is decoded with our own codec and compared bit by bit, and its form is
//! remembered, since a server writes all its replies alike. So every byte of every reply is
//! checked, at the cost of a comparison. A reflected body has only one correct form.

use std::fmt;

use crate::array::{ArrayView, Shape};
use crate::codec::{ArrayCodec, CodecError};
use crate::coding::CodingError;

use super::message::{Body, Form, Message};

/// Forms to remember. A server has one form, or two when it is replaced under the same address.
const FORMS_MAX: usize = 4;

/// Distance of the requests whose nonces are searched in a wrong reply, for the message.
const SWAP_SEARCH: u64 = 100_000;

/// Most bytes of a reply, as a multiple of its request, since JSON may contain spaces.
const REPLY_FACTOR_MAX: usize = 4;

/// Bytes that a reply may have in addition, e.g. for the text of an error.
const REPLY_BYTES_MORE: usize = 64 * 1024;

/// Returns the most bytes of a reply, inflated, to the longest request.
pub fn reply_bytes_max(request_len: usize) -> usize {
    request_len.saturating_mul(REPLY_FACTOR_MAX) + REPLY_BYTES_MORE
}

#[derive(Debug)]
pub struct Verifier {
    pub message: Message,
    pub(super) forms: Vec<Form>,
    stamped: Vec<u8>,
    scratch: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongReply {
    #[error("refused: {0}")]
    Refused(String),
    #[error("{0}")]
    Undecodable(#[from] CodecError),
    #[error("{0}")]
    Coding(#[from] CodingError),
    #[error("the reply has no coding, expected {0}")]
    NotCoded(&'static str),
    #[error("{got} bytes, expected {expected}")]
    Length { expected: usize, got: usize },
    #[error("dtype {got}, expected {expected}")]
    DType { expected: &'static str, got: &'static str },
    #[error("shape {got:?}, expected {expected:?}")]
    Shape { expected: Vec<u64>, got: Vec<u64> },
    #[error("byte {at} of the array is {got:#04x}, expected {expected:#04x}{owner}")]
    Byte { at: usize, expected: u8, got: u8, owner: NonceOwner },
}

/// Request whose nonce is in a wrong reply, if found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonceOwner(pub(super) Option<u64>);

impl fmt::Display for NonceOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(request) => write!(f, ": it carries the nonce of request {request}"),
            None => Ok(()),
        }
    }
}

impl Verifier {
    pub fn new(message: Message) -> Verifier {
        let forms = vec![message.reply_form.clone()];
        Verifier { message, forms, stamped: Vec::new(), scratch: Vec::new() }
    }

    pub fn check(&mut self, request: u64, reply: &[u8]) -> Result<(), WrongReply> {
        if let Some(place) = self.known_form(request, reply) {
            self.forms.swap(0, place);
            return Ok(());
        }
        let Body::Codec(codec) = self.message.body else {
            return self.check_data(request, reply);
        };
        self.check_decoded(codec, request, reply)?;
        self.remember(request, reply);
        Ok(())
    }

    fn known_form(&mut self, request: u64, reply: &[u8]) -> Option<usize> {
        let stamped = &mut self.stamped;
        let nonce = &self.message.nonce;
        self.forms.iter().position(|form| {
            if form.bytes.len() != reply.len() {
                return false;
            }
            stamped.clear();
            form.stamp(nonce, request, stamped);
            let (start, rest) = reply.split_at(form.stamped_len);
            start == stamped && rest == &form.bytes[form.stamped_len..]
        })
    }

    fn check_decoded(
        &mut self,
        codec: &dyn ArrayCodec,
        request: u64,
        reply: &[u8],
    ) -> Result<(), WrongReply> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let checked = codec
            .decode_reply(reply, &mut scratch)
            .map_err(WrongReply::from)
            .and_then(|array| self.check_array(request, &array));
        self.scratch = scratch;
        checked
    }

    fn check_array(&self, request: u64, array: &ArrayView<'_>) -> Result<(), WrongReply> {
        let sent = self.message.array();
        if array.dtype() != sent.dtype() {
            let (expected, got) = (sent.dtype().name(), array.dtype().name());
            return Err(WrongReply::DType { expected, got });
        }
        if array.shape() != sent.shape() {
            let dims = |shape: &Shape| shape.dims().to_vec();
            return Err(WrongReply::Shape {
                expected: dims(sent.shape()),
                got: dims(array.shape()),
            });
        }
        self.check_data(request, array.data())
    }

    fn check_data(&self, request: u64, got: &[u8]) -> Result<(), WrongReply> {
        let sent = self.message.array().data();
        if got.len() != sent.len() {
            return Err(WrongReply::Length { expected: sent.len(), got: got.len() });
        }
        let mut expected = Vec::new();
        self.message.nonce.bytes(request, &mut expected);
        let nonce_len = expected.len();
        if got[..nonce_len] == expected && got[nonce_len..] == sent[nonce_len..] {
            return Ok(());
        }
        expected.extend_from_slice(&sent[nonce_len..]);
        let at = expected.iter().zip(got).position(|(expected, got)| expected != got);
        let at = at.expect("they differ somewhere");
        let owner = NonceOwner(if at < nonce_len { self.nonce_of(request, got) } else { None });
        Err(WrongReply::Byte { at, expected: expected[at], got: got[at], owner })
    }

    fn nonce_of(&self, request: u64, data: &[u8]) -> Option<u64> {
        let nonce = &self.message.nonce;
        let mut bytes = Vec::new();
        let mut carries = |candidate: u64| {
            bytes.clear();
            nonce.bytes(candidate, &mut bytes);
            data.starts_with(&bytes)
        };
        (1..=SWAP_SEARCH)
            .flat_map(|distance| [request.checked_sub(distance), request.checked_add(distance)])
            .flatten()
            .find(|&candidate| carries(candidate))
    }

    /// Remembers the form of a correct reply, if stamping the form reproduces the reply.
    fn remember(&mut self, request: u64, reply: &[u8]) {
        let Message { body, nonce, .. } = &self.message;
        let found = Form::of_reply(*body, nonce, &self.message.array(), reply.to_vec());
        let Some(form) = found else { return };
        self.stamped.clear();
        form.stamp(nonce, request, &mut self.stamped);
        if reply.starts_with(&self.stamped) {
            self.forms.truncate(FORMS_MAX - 1);
            self.forms.insert(0, form);
        }
    }
}
