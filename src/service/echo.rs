//! The work every rung does: decode a message into a checked array, then encode a fresh reply from that array.
//!
//! It knows codecs and nothing of protocols or drivers. Nothing about a request is remembered for the next one:
//! the buffers it keeps are capacity, not content.

use std::ops::Range;

use crate::axis::{Codec, Encoding};
use crate::codec::{self, ArrayCodec, CodecError, Encoded, json};

use super::spin::Spin;

/// Which codec serves each encoding: our own, or the libraries' forms, chosen once per server.
#[derive(Clone, Copy, Debug)]
pub struct CodecSet {
    /// Indexed by [`Encoding::id`].
    codecs: [Option<&'static dyn ArrayCodec>; Encoding::ALL.len()],
    spin: Spin,
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
        Encoding::ALL.map(Encoding::own).into_iter().fold(CodecSet::none(), CodecSet::with)
    }

    /// The forms a user would write with the usual libraries where there is one, own codecs elsewhere (npy).
    pub fn library() -> CodecSet {
        Encoding::ALL.map(Encoding::library).into_iter().fold(CodecSet::none(), CodecSet::with)
    }

    /// No codec at all: bytes are sent back as they came.
    pub fn none() -> CodecSet {
        CodecSet { codecs: [None; Encoding::ALL.len()], spin: Spin::default() }
    }

    /// The same set with `spin` for every message.
    pub fn spinning(self, spin: Spin) -> CodecSet {
        CodecSet { spin, ..self }
    }

    /// The same set for another thread.
    pub fn of_another_thread(self) -> CodecSet {
        CodecSet { spin: self.spin.another(), ..self }
    }

    /// What every message costs beside its echo.
    pub fn spin(&self) -> Spin {
        self.spin
    }

    /// The same set with `codec` serving its encoding.
    pub fn with(mut self, codec: Codec) -> CodecSet {
        self.codecs[usize::from(codec.encoding().id())] = codec::implementation(codec);
        self
    }

    /// The codec that serves `encoding`; `None` for [`Encoding::Reflect`], where none runs.
    pub fn get(&self, encoding: Encoding) -> Option<&'static dyn ArrayCodec> {
        self.codecs[usize::from(encoding.id())]
    }
}

/// Echoes one message. `Encoding::Json` and `Encoding::JsonBinary` both mean "either form, reply alike".
/// Appends head and tail to `out`, which is as before after an error; `scratch` is for the codec's own use.
pub fn echo(
    codecs: &CodecSet,
    encoding: Encoding,
    body: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Echoed, CodecError> {
    codecs.spin.run();
    let encoding = match encoding {
        Encoding::Json | Encoding::JsonBinary => json::form(body)?,
        other => other,
    };
    let Some(codec) = codecs.get(encoding) else {
        return Ok(Echoed { encoding, head_len: 0, payload: 0..body.len() });
    };
    let start = out.len();
    let echoed = exchange(codec, body, scratch, out);
    if echoed.is_err() {
        out.truncate(start);
    }
    echoed
}

/// Decodes and encodes with one codec.
fn exchange(
    codec: &dyn ArrayCodec,
    body: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Echoed, CodecError> {
    let start = out.len();
    let Encoded { head_len, payload } = codec.echo(body, scratch, out)?;
    let encoding = codec.encoding();
    if payload.is_empty() {
        return Ok(Echoed { encoding, head_len, payload: 0..0 });
    }
    if let Some(payload) = place(payload, body) {
        return Ok(Echoed { encoding, head_len, payload });
    }
    // Built in scratch (a transposed .npy), which the next request overwrites: it has to be copied.
    out.extend_from_slice(payload);
    out[start + head_len..].rotate_right(payload.len());
    Ok(Echoed { encoding, head_len: out.len() - start, payload: 0..0 })
}

/// Where in `body` the bytes of `part` lie, if it is a part of it. `part` is not empty.
fn place(part: &[u8], body: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= body.len()).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{ArrayView, DType, NdArray, Shape};

    /// The reply as it goes out, with bytes already in `out` left alone.
    fn reply(encoding: Encoding, body: &[u8]) -> Result<Vec<u8>, CodecError> {
        let (mut scratch, mut out) = (b"scratch".to_vec(), b"before".to_vec());
        let echoed = echo(&CodecSet::own(), encoding, body, &mut scratch, &mut out);
        let written = out.strip_prefix(b"before").unwrap();
        let Echoed { head_len, payload, .. } =
            echoed.inspect_err(|_| assert!(written.is_empty()))?;
        Ok([&written[..head_len], &body[payload], &written[head_len..]].concat())
    }

    fn encoded(encoding: Encoding, array: &ArrayView<'_>) -> Vec<u8> {
        codec::message(CodecSet::own().get(encoding).unwrap(), array).unwrap()
    }

    #[test]
    fn own_codecs_write_what_they_have_read() {
        for dims in [&[][..], &[0], &[3, 2]] {
            let array = NdArray::seeded(DType::F8, Shape::new(dims).unwrap(), 1).unwrap();
            for encoding in Encoding::ALL.into_iter().filter(|&e| e != Encoding::Reflect) {
                let body = encoded(encoding, &array.view());
                assert_eq!(reply(encoding, &body), Ok(body), "{encoding:?}");
            }
        }
    }

    #[test]
    fn binary_payloads_are_borrowed_from_the_request() {
        let array = NdArray::seeded(DType::F8, Shape::new(&[4]).unwrap(), 1).unwrap();
        for encoding in [Encoding::Protobuf, Encoding::Msgpack, Encoding::Npy] {
            let body = encoded(encoding, &array.view());
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            let echoed = echo(&CodecSet::own(), encoding, &body, &mut scratch, &mut out).unwrap();
            assert_eq!(echoed.payload.len(), 32);
            assert_eq!(body[echoed.payload], *array.view().data());
            assert!(scratch.is_empty() && out.len() < body.len());
        }
    }

    #[test]
    fn either_json_form_is_answered_alike() {
        let bodies = [
            (Encoding::Json, r#"{"data": [1.0], "dtype": "<f8"}"#),
            (Encoding::JsonBinary, r#"{"buffer": "AAAAAAAA8D8=", "dtype": "<f8", "shape": [1]}"#),
        ];
        for (form, body) in bodies {
            for asked in [Encoding::Json, Encoding::JsonBinary] {
                assert_eq!(reply(asked, body.as_bytes()).unwrap(), body.as_bytes());
                let (mut scratch, mut out) = (Vec::new(), Vec::new());
                let echoed = echo(&CodecSet::own(), asked, body.as_bytes(), &mut scratch, &mut out);
                assert_eq!(echoed.unwrap().encoding, form);
            }
        }
    }

    #[test]
    fn reflect_sends_the_whole_body_back() {
        assert_eq!(reply(Encoding::Reflect, b"anything"), Ok(b"anything".to_vec()));
        assert_eq!(reply(Encoding::Reflect, b""), Ok(Vec::new()));
    }

    #[test]
    fn without_codecs_every_message_comes_back_as_it_is() {
        for encoding in Encoding::ALL {
            // A JSON text needs a key that says which of the two forms it is.
            let body = br#"{"data": what, "shape" "buffer": x"#;
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            let echoed = echo(&CodecSet::none(), encoding, body, &mut scratch, &mut out);
            assert_eq!(echoed.map(|echoed| echoed.payload), Ok(0..body.len()), "{encoding:?}");
            assert!(out.is_empty());
        }
    }

    #[test]
    fn a_transposed_file_is_copied_behind_its_head() {
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2)}";
        let len = (header.len() as u16).to_le_bytes();
        let body = [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), &[1, 2, 3, 4]].concat();
        let array = [1, 3, 2, 4];
        let view =
            ArrayView::new(DType::parse("|u1").unwrap(), Shape::new(&[2, 2]).unwrap(), &array);
        assert_eq!(reply(Encoding::Npy, &body).unwrap(), encoded(Encoding::Npy, &view.unwrap()));
    }

    #[test]
    fn a_refused_request_leaves_nothing_behind() {
        for encoding in Encoding::ALL.into_iter().filter(|&e| e != Encoding::Reflect) {
            assert!(reply(encoding, b"\x93nonsense").is_err());
        }
    }

    #[test]
    fn every_encoding_has_a_codec_in_either_set() {
        for encoding in Encoding::ALL {
            for set in [CodecSet::own(), CodecSet::library()] {
                let served = set.get(encoding).map(ArrayCodec::encoding);
                assert_eq!(served, Some(encoding).filter(|&e| e != Encoding::Reflect));
            }
            let own = CodecSet::own().get(encoding);
            assert!(own.is_none_or(|codec| codec.name() == encoding.name()));
        }
    }
}
