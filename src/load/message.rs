//! The message that every request carries, encoded once and stamped with a nonce for each request.
//!
//! A [`Form`] is a complete message with known places of the nonce. The bytes up to the last place
//! are copied and stamped; the other bytes are shared. Replies are compared with the form that our
//! own codec writes and with those of earlier correct replies, which decodes nothing (see
//! [`super::verify`]).
//!
//! ```text
//! | head | nonce | rest of the payload, tail |
//!  ◀── stamped ─▶ ◀──────── shared ─────────▶
//! ```

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use crate::array::{ArrayView, DType, NdArray};
use crate::axis::{Encoding, Payload};
use crate::codec::{self, ArrayCodec, CodecError, packed_numbers};
use crate::wire::PooledBuf;

use super::nonce::Nonce;

#[derive(Clone, Copy, Debug)]
pub enum Body {
    Reflect,
    Codec(&'static dyn ArrayCodec),
}

#[derive(Debug)]
pub struct Message {
    pub body: Body,
    array: NdArray,
    pub nonce: Nonce,
    /// Form of the request.
    pub form: Form,
    /// Form of a reply by our own codec.
    pub reply_form: Form,
}

#[derive(Clone, Debug)]
pub struct Form {
    pub bytes: Rc<PooledBuf>,
    places: Places,
    /// Length of the output of [`Form::stamp`]. All later bytes never differ.
    pub stamped_len: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Places {
    /// Empty array.
    None,
    /// Bytes of the array, from here.
    Bytes { at: usize },
    /// Base64 from here. `padding` completes the last group of three of the nonce.
    Base64 { at: usize, padding: Vec<u8>, text_len: usize },
    /// Text of each number at its place.
    Text { at: Vec<usize> },
    /// Numbers of protobuf, from here.
    Packed { at: usize, dtype: DType },
}

impl From<Encoding> for Body {
    /// Selects our own codec, so that the cost of the client is the same for every rung.
    fn from(encoding: Encoding) -> Body {
        codec::implementation(encoding.own()).map_or(Body::Reflect, Body::Codec)
    }
}

impl Body {
    pub fn encoding(self) -> Encoding {
        match self {
            Body::Reflect => Encoding::Reflect,
            Body::Codec(codec) => codec.encoding(),
        }
    }
}

impl Message {
    pub fn new(body: Body, array: NdArray, nonce_base: u64) -> Result<Message, CodecError> {
        let nonce = Nonce::new(&array.view(), nonce_base);
        let mut array = array;
        let mut least = Vec::new();
        nonce.least(&mut least);
        array.data_mut()[..least.len()].copy_from_slice(&least);
        let (request, reply) = match body {
            Body::Reflect => (array.view().data().to_vec(), None),
            Body::Codec(codec) => {
                let request = codec::message(codec, &array.view())?;
                let reply = codec::reply(codec, &array.view())?;
                let differs = reply != request;
                (request, differs.then_some(reply))
            }
        };
        let own = "our own codecs write the nonce as this module expects it";
        let form = Form::of_request(body, &nonce, &array.view(), request).expect(own);
        let reply = reply.map(|reply| Form::of_reply(body, &nonce, &array.view(), reply));
        let reply_form = reply.map_or_else(|| form.clone(), |reply| reply.expect(own));
        Ok(Message { body, array, nonce, form, reply_form })
    }

    pub fn array(&self) -> ArrayView<'_> {
        self.array.view()
    }
}

impl Form {
    /// Finds the form of a request that holds `array`; `None` if the nonce is not found.
    fn of_request(
        body: Body,
        nonce: &Nonce,
        array: &ArrayView<'_>,
        bytes: Vec<u8>,
    ) -> Option<Form> {
        Form::find(body, nonce, array, bytes, |codec, bytes| {
            place(codec.decode(bytes, &mut Vec::new()).ok()?.data(), bytes)
        })
    }

    /// Finds the form of a reply that holds `array`; `None` if the nonce is not found.
    pub fn of_reply(
        body: Body,
        nonce: &Nonce,
        array: &ArrayView<'_>,
        bytes: Vec<u8>,
    ) -> Option<Form> {
        Form::find(body, nonce, array, bytes, |codec, bytes| {
            place(codec.decode_reply(bytes, &mut Vec::new()).ok()?.data(), bytes)
        })
    }

    /// Finds the form of a message. `payload_at` returns the place of its plain bytes.
    fn find(
        body: Body,
        nonce: &Nonce,
        array: &ArrayView<'_>,
        bytes: Vec<u8>,
        payload_at: impl Fn(&dyn ArrayCodec, &[u8]) -> Option<usize>,
    ) -> Option<Form> {
        let (places, stamped_len) = match body.encoding().spec().payload {
            _ if nonce.byte_len() == 0 => (Places::None, 0),
            Payload::Numbers => text_places(&bytes, nonce)?,
            Payload::Base64 => base64_place(&bytes, nonce, array)?,
            Payload::Bytes => {
                let at = match body {
                    Body::Reflect => 0,
                    Body::Codec(codec) => payload_at(codec, &bytes)?,
                };
                (Places::Bytes { at }, at + nonce.byte_len())
            }
            Payload::Packed => packed_place(&bytes, nonce, array)?,
        };
        Some(Form { bytes: Rc::new(bytes.into()), places, stamped_len })
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
            Places::Packed { at, dtype } => {
                out.extend_from_slice(&self.bytes[..*at]);
                let mut items = Vec::with_capacity(nonce.byte_len());
                nonce.bytes(request, &mut items);
                packed_numbers::put_numbers(*dtype, &items, out);
            }
            Places::Text { at } => {
                out.extend_from_slice(&self.bytes[..self.stamped_len]);
                nonce.text(request, &mut out[start..], at);
            }
        }
        debug_assert_eq!(out.len() - start, self.stamped_len);
    }
}

/// Appends the nonce and its padding as base64. The raw bytes are behind the text for a moment.
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

/// Returns the place of `part` in `message`, if it is a part of it.
fn place(part: &[u8], message: &[u8]) -> Option<usize> {
    let at = part.as_ptr().addr().checked_sub(message.as_ptr().addr())?;
    let end = at.checked_add(part.len())?;
    (end <= message.len()).then_some(at)
}

/// Finds the base64 of the nonce, completed to whole groups of three if the array is longer.
fn base64_place(message: &[u8], nonce: &Nonce, array: &ArrayView<'_>) -> Option<(Places, usize)> {
    let at = value_at(message, b"\"buffer\"")?;
    let at = (message.get(at) == Some(&b'"')).then_some(at + 1)?;
    let raw_len = nonce.byte_len().next_multiple_of(3).min(array.data().len());
    let text_len = raw_len.div_ceil(3) * 4;
    let padding = array.data()[nonce.byte_len()..raw_len].to_vec();
    message.get(at..at + text_len)?;
    Some((Places::Base64 { at, padding, text_len }, at + text_len))
}

/// Finds the numbers of a packed list that ends the message, and begins with the nonce of `array`.
fn packed_place(message: &[u8], nonce: &Nonce, array: &ArrayView<'_>) -> Option<(Places, usize)> {
    let (dtype, items) = (array.dtype(), array.data());
    let len = usize::try_from(packed_numbers::numbers_len(dtype, items)).ok()?;
    let at = message.len().checked_sub(len)?;
    let mut numbers = Vec::new();
    packed_numbers::put_numbers(dtype, &items[..nonce.byte_len()], &mut numbers);
    let is_it = message[at..].starts_with(&numbers);
    is_it.then_some((Places::Packed { at, dtype }, at + numbers.len()))
}

/// Finds the first numbers of a nested list, if each is as wide as those of the nonce.
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

/// Finds the value of `key`. No field before it holds a string with the same text.
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
