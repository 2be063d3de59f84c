//! Messages of NumPy, msgpack_numpy, protobuf, json and others are read exactly and written again
//! byte for byte.
//!
//! `tools/goldens.py` and `tools/goldens_kserve.py` write `tests/data`: one file per encoding, one
//! array per line.

use std::collections::BTreeMap;

use ndecho::array::{ArrayView, DType, Shape};
use ndecho::axis::Codec;
use ndecho::codec::{self, ArrayCodec, Encoded, Encoding, implementations};
use serde::Deserialize;

/// Line of `tests/data`.
#[derive(Deserialize)]
struct Golden {
    dtype: String,
    shape: Vec<u64>,
    /// Items in C order, in hex.
    data: String,
    /// The message in hex.
    body: Option<String>,
    /// The message as text.
    text: Option<String>,
    /// The reply in hex, where it differs from the request.
    reply: Option<String>,
    /// True for a message that a peer may write and that we never write.
    #[serde(default)]
    decode_only: bool,
}

impl Golden {
    fn data(&self) -> Vec<u8> {
        unhex(&self.data)
    }

    fn message(&self) -> Vec<u8> {
        let body = self.body.as_deref().map(unhex);
        body.or(self.text.clone().map(String::into_bytes)).expect("a line has a message")
    }

    fn reply(&self) -> Vec<u8> {
        self.reply.as_deref().map_or_else(|| self.message(), unhex)
    }

    fn array<'a>(&self, data: &'a [u8]) -> ArrayView<'a> {
        let shape = Shape::new(&self.shape).unwrap();
        ArrayView::new(DType::parse(&self.dtype).unwrap(), shape, data).unwrap()
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).expect("hex") as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Returns the lines of the file of an encoding, at least one.
fn goldens(encoding: Encoding) -> Vec<Golden> {
    let path = format!("{}/tests/data/{}.jsonl", env!("CARGO_MANIFEST_DIR"), encoding.name());
    let text = std::fs::read_to_string(&path).expect(&path);
    let goldens: Vec<Golden> =
        text.lines().map(|line| serde_json::from_str(line).expect(&path)).collect();
    assert!(goldens.len() > 100, "{path}");
    goldens
}

fn own() -> impl Iterator<Item = &'static dyn ArrayCodec> {
    implementations().filter(|codec| codec.id().is_own())
}

fn library() -> impl Iterator<Item = &'static dyn ArrayCodec> {
    implementations().filter(|codec| !codec.id().is_own())
}

#[test]
fn own_codecs_read_every_golden_exactly() {
    for codec in own() {
        let mut scratch = Vec::new();
        for golden in goldens(codec.encoding()) {
            let (data, message) = (golden.data(), golden.message());
            let got = codec.decode(&message, &mut scratch);
            assert_eq!(got, Ok(golden.array(&data)), "{} {}", codec.name(), golden.data);
        }
    }
}

#[test]
fn own_codecs_write_every_golden_byte_for_byte() {
    for codec in own() {
        for golden in goldens(codec.encoding()).iter().filter(|golden| !golden.decode_only) {
            let data = golden.data();
            let got = codec::message(codec, &golden.array(&data)).unwrap();
            if let Some(text) = &golden.text {
                assert_eq!(str::from_utf8(&got), Ok(text.as_str()));
            }
            assert!(got == golden.message(), "{} {:?}", codec.name(), golden.shape);
            let got = codec::reply(codec, &golden.array(&data)).unwrap();
            assert!(got == golden.reply(), "{} {:?}", codec.name(), golden.shape);
        }
    }
}

#[test]
fn requests_get_the_golden_replies() {
    let mut replies = 0;
    for codec in implementations() {
        let goldens = goldens(codec.encoding());
        for golden in goldens.iter().filter(|golden| golden.reply.is_some()) {
            let (data, body, want) = (golden.data(), golden.message(), golden.reply());
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            let Encoded { head_len, payload } = codec.echo(&body, &mut scratch, &mut out).unwrap();
            let got = [&out[..head_len], payload, &out[head_len..]].concat();
            assert!(got == want, "{} {:?}", codec.name(), golden.shape);
            let array = codec.decode_reply(&want, &mut scratch);
            assert_eq!(array, Ok(golden.array(&data)), "{}", codec.name());
            replies += 1;
        }
    }
    assert!(replies > 200, "{replies}");
}

#[test]
fn library_codecs_read_every_golden_that_their_libraries_can() {
    for codec in library() {
        let mut scratch = Vec::new();
        for golden in goldens(codec.encoding()) {
            let (data, message) = (golden.data(), golden.message());
            let text = golden.text.as_deref().unwrap_or_default();
            let has_any = |words: &[&str]| words.iter().any(|word| text.contains(word));
            let is_sonic = codec.id() == Codec::JsonSonic;
            // sonic-rs loses the sign of -0.0 and gets no unknown members.
            if is_sonic && has_any(&["-0.0"]) {
                continue;
            }
            let beyond = has_any(&["NaN", "Infinity", "1e400"]) || is_sonic && has_any(&["\"id\""]);
            let got = codec.decode(&message, &mut scratch);
            match got {
                Ok(array) => assert_eq!(array, golden.array(&data), "{} {text}", codec.name()),
                Err(error) => assert!(beyond, "{} {error}: {text}", codec.name()),
            }
        }
    }
}

#[test]
fn binary_library_codecs_write_the_same_bytes() {
    for codec in library() {
        if let Encoding::Json | Encoding::JsonBinary = codec.encoding() {
            continue;
        }
        for golden in goldens(codec.encoding()).iter().filter(|golden| !golden.decode_only) {
            let data = golden.data();
            let got = codec::message(codec, &golden.array(&data)).unwrap();
            assert!(got == golden.message(), "{} {:?}", codec.name(), golden.shape);
            let got = codec::reply(codec, &golden.array(&data)).unwrap();
            assert!(got == golden.reply(), "{} {:?}", codec.name(), golden.shape);
        }
    }
}

#[test]
fn dtypes_have_the_spellings_of_numpy() {
    let path = format!("{}/tests/data/dtypes.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let spellings: BTreeMap<String, Option<String>> = serde_json::from_str(&text).expect(&path);
    assert!(spellings.values().flatten().count() > 200 && spellings.len() > 500);
    for (spelling, name) in spellings {
        let got = DType::parse(&spelling).ok().map(DType::name);
        assert_eq!(got, name.as_deref(), "{spelling}");
    }
}

#[test]
fn goldens_cover_every_dtype() {
    for codec in own() {
        let goldens = goldens(codec.encoding());
        let missing: Vec<&str> = DType::all()
            .map(DType::name)
            .filter(|name| !goldens.iter().any(|golden| golden.dtype == *name))
            .collect();
        let is_left_out = |name: &str| match codec.encoding() {
            Encoding::Json => name.contains('c'),
            Encoding::ProtobufPacked => name.contains('c') || name.ends_with("f2"),
            Encoding::Cbor => name.contains('c') || name == "|b1",
            Encoding::Kserve | Encoding::KserveHttp => name.starts_with('>') || name.contains('c'),
            Encoding::KserveTyped => {
                name.starts_with('>') || name.contains('c') || name.ends_with("f2")
            }
            Encoding::Safetensors => name.starts_with('>') || name == "<c16",
            Encoding::Arrow => name.starts_with('>') || name.contains('c') || name == "|b1",
            _ => false,
        };
        assert!(missing.iter().all(|name| is_left_out(name)), "{}: {missing:?}", codec.name());
    }
}
