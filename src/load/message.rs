//! The message that every request of a run carries, written once and stamped with a nonce for each.
//!
//! A [`Form`] is a whole message with known places for the nonce. Its beginning, up to the last of them, is copied
//! and stamped; the rest is sent from where it lies. The request has one form; replies are compared with the forms
//! that right replies have had, which is a comparison of bytes and no decoding (see [`super::verify`]).
//!
//! ```text
//! | head | nonce | rest of the payload, tail |
//!  ◀── stamped ─▶ ◀──────── shared ─────────▶
//! ```

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use crate::array::{ArrayView, NdArray};
use crate::axis::{Encoding, Payload};
use crate::codec::{self, ArrayCodec, CodecError};
use crate::wire::PooledBuf;

use super::nonce::Nonce;

/// What a message body is.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// The array's own bytes, sent as `reflect`.
    Reflect,
    /// The array as this codec of our own writes it.
    Codec(&'static dyn ArrayCodec),
}

/// What is sent: the array, how it is written, and where requests differ.
#[derive(Debug)]
pub struct Message {
    body: Body,
    array: NdArray,
    nonce: Nonce,
    form: Form,
}

/// A whole message and the places of the nonce in it.
#[derive(Clone, Debug)]
pub struct Form {
    bytes: Rc<PooledBuf>,
    places: Places,
    /// Bytes up to the end of the last place.
    stamped_len: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Places {
    /// The array is empty.
    None,
    /// As it lies in the array, from here.
    Bytes { at: usize },
    /// As base64 from here; `padding` are the bytes behind the nonce that complete its last group of three.
    Base64 { at: usize, padding: Vec<u8>, text_len: usize },
    /// Each number as text at its place.
    Text { at: Vec<usize> },
}

impl From<Encoding> for Body {
    /// Whatever form the server uses, our own codec does the client's work: the same cost for every rung.
    fn from(encoding: Encoding) -> Body {
        codec::implementation(encoding.own()).map_or(Body::Reflect, Body::Codec)
    }
}

impl Body {
    /// What it is on the wire.
    pub fn encoding(self) -> Encoding {
        match self {
            Body::Reflect => Encoding::Reflect,
            Body::Codec(codec) => codec.encoding(),
        }
    }
}

impl Message {
    /// Writes `array` as `body` says and finds where its nonce goes.
    pub fn new(body: Body, array: NdArray, nonce_base: u64) -> Result<Message, CodecError> {
        let nonce = Nonce::new(&array.view(), nonce_base);
        let mut array = array;
        let mut least = Vec::new();
        nonce.least(&mut least);
        array.data_mut()[..least.len()].copy_from_slice(&least);
        let bytes = write(body, &array.view())?;
        let form = Form::find(body, &nonce, &array.view(), bytes);
        let form = form.expect("our own codecs write the nonce as this module expects it");
        Ok(Message { body, array, nonce, form })
    }

    /// What the request's bytes are.
    pub fn body(&self) -> Body {
        self.body
    }

    /// The array, with the nonce of some request in it.
    pub fn array(&self) -> ArrayView<'_> {
        self.array.view()
    }

    /// Where requests differ.
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// The request.
    pub fn form(&self) -> &Form {
        &self.form
    }
}

impl Form {
    /// The form of `bytes`, a message that holds `array`; `None` where the nonce is not to be found.
    pub fn find(body: Body, nonce: &Nonce, array: &ArrayView<'_>, bytes: Vec<u8>) -> Option<Form> {
        let (places, stamped_len) = match body.encoding().spec().payload {
            _ if nonce.byte_len() == 0 => (Places::None, 0),
            Payload::Numbers => text_places(&bytes, nonce)?,
            Payload::Base64 => base64_place(&bytes, nonce, array)?,
            Payload::Bytes => {
                let at = payload_at(body, &bytes)?;
                (Places::Bytes { at }, at + nonce.byte_len())
            }
        };
        Some(Form { bytes: Rc::new(bytes.into()), places, stamped_len })
    }

    /// Bytes of the message.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True for a message of no bytes (an empty array, reflected).
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that [`Form::stamp`] appends; what follows is the same for every request.
    pub fn stamped_len(&self) -> usize {
        self.stamped_len
    }

    /// The message of some request.
    pub fn bytes(&self) -> &Rc<PooledBuf> {
        &self.bytes
    }

    /// Appends the beginning of the message of `request`.
    pub fn stamp(&self, nonce: &Nonce, request: u64, out: &mut Vec<u8>) {
        let start = out.len();
        match &self.places {
            Places::None => {}
            Places::Bytes { at } => {
                out.extend_from_slice(&self.bytes[..*at]);
                nonce.bytes(request, out);
            }
            Places::Base64 { at, padding, text_len } => {
                out.extend_from_slice(&self.bytes[..*at]);
                stamp_base64(nonce, request, padding, *text_len, out);
            }
            Places::Text { at } => {
                out.extend_from_slice(&self.bytes[..self.stamped_len]);
                nonce.text(request, &mut out[start..], at);
            }
        }
        debug_assert_eq!(out.len() - start, self.stamped_len);
    }
}

/// Appends the nonce and its padding as base64. The raw bytes stand behind the text for a moment.
fn stamp_base64(nonce: &Nonce, request: u64, padding: &[u8], text_len: usize, out: &mut Vec<u8>) {
    let text_at = out.len();
    let raw_at = text_at + text_len;
    out.resize(raw_at, 0);
    nonce.bytes(request, out);
    out.extend_from_slice(padding);
    let (text, raw) = out.split_at_mut(raw_at);
    let written = STANDARD.encode_slice(raw, &mut text[text_at..]);
    debug_assert_eq!(written, Ok(text_len));
    out.truncate(raw_at);
}

/// The whole message of `array`.
fn write(body: Body, array: &ArrayView<'_>) -> Result<Vec<u8>, CodecError> {
    match body {
        Body::Reflect => Ok(array.data().to_vec()),
        Body::Codec(codec) => codec::message(codec, array),
    }
}

/// Where the array's bytes lie in a message that holds them as they are.
fn payload_at(body: Body, message: &[u8]) -> Option<usize> {
    let Body::Codec(codec) = body else {
        return Some(0);
    };
    let mut scratch = Vec::new();
    let array = codec.decode(message, &mut scratch).ok()?;
    let at = array.data().as_ptr().addr().checked_sub(message.as_ptr().addr())?;
    let end = at.checked_add(array.data().len())?;
    (end <= message.len()).then_some(at)
}

/// Where the base64 of the nonce's bytes lies: the nonce, filled up to whole groups of three if the array goes on.
fn base64_place(message: &[u8], nonce: &Nonce, array: &ArrayView<'_>) -> Option<(Places, usize)> {
    let at = value_at(message, b"\"buffer\"")?;
    let at = (message.get(at) == Some(&b'"')).then_some(at + 1)?;
    let raw_len = nonce.byte_len().next_multiple_of(3).min(array.data().len());
    let text_len = raw_len.div_ceil(3) * 4;
    let padding = array.data()[nonce.byte_len()..raw_len].to_vec();
    message.get(at..at + text_len)?;
    Some((Places::Base64 { at, padding, text_len }, at + text_len))
}

/// Where the first numbers of a nested list stand, if each is as wide as the nonce's.
pub(super) fn text_places(message: &[u8], nonce: &Nonce) -> Option<(Places, usize)> {
    let width = nonce.text_width();
    let mut at = value_at(message, b"\"data\"")?;
    let mut places = Vec::with_capacity(nonce.scalars());
    while places.len() < nonce.scalars() {
        at += message[at..].iter().position(|byte| !b" \t\r\n[],".contains(byte))?;
        let end = message[at..].iter().position(|byte| b" \t\r\n],}".contains(byte))?;
        let padded = message.get(at..at + width)?;
        let blank = padded.get(end..)?.iter().all(|&byte| byte == b' ');
        blank.then(|| places.push(at))?;
        at += width;
    }
    Some((Places::Text { at: places }, at))
}

/// Where the value of `key` begins. A key of the same name can only stand before it inside a string, which none of
/// the fields of a message can hold.
pub(super) fn value_at(message: &[u8], key: &[u8]) -> Option<usize> {
    let after_key = memmem::find(message, key)? + key.len();
    let is_space = |byte: &u8| byte.is_ascii_whitespace();
    let colon = after_key + message[after_key..].iter().position(|byte| !is_space(byte))?;
    if message[colon] != b':' {
        return None;
    }
    let start = colon + 1;
    Some(start + message[start..].iter().position(|byte| !is_space(byte))?)
}
