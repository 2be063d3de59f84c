//! Properties of every codec: an encoded array decodes to the same array, own and library forms
//! agree, and no input does harm. Also the texts that a peer gets for bad input.
//!
//! A JSON list keeps neither the sign nor the payload of a NaN. All its NaNs are compared as the
//! NaN of NumPy.

#[path = "common/agreement.rs"]
mod agreement;

use std::sync::LazyLock;

use ndecho::array::{ArrayView, DType, Kind, NdArray, Order, Shape};
use ndecho::axis::{Codec, Payload};
use ndecho::codec::{self, ArrayCodec, CodecError, Encoded, Encoding, implementations};
use ndecho::service::codecs::CodecSet;
use ndecho::service::echo::{Echoed, echo};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Generates small arrays of every dtype and shape, often empty, sometimes with many dimensions.
fn arrays() -> impl Strategy<Value = NdArray> {
    let dtype = select(DType::all().collect::<Vec<_>>());
    let dims = prop_oneof![
        8 => vec(0u64..5, 0..5),
        2 => vec(0u64..3000, 1),
        1 => vec(1u64..2, 6..64),
    ];
    (dtype, dims, any::<u64>(), any::<bool>()).prop_flat_map(|(dtype, dims, seed, edges)| {
        let shape = Shape::new(&dims).unwrap();
        let array = NdArray::seeded(dtype, shape, seed).unwrap();
        let len = array.view().data().len().min(if edges { 64 } else { 0 });
        (Just(array), vec(any::<u8>(), len)).prop_map(|(mut array, bytes)| {
            // Bits that a generator of numbers never makes: infinities, subnormals, NaNs with a
            // payload.
            let bool = array.view().dtype().kind() == Kind::Bool;
            for (item, byte) in array.data_mut().iter_mut().zip(bytes) {
                *item = if bool { byte & 1 } else { byte };
            }
            array
        })
    })
}

/// Encodes and decodes `array` with `codec`. Returns `None` if the codec refuses it.
fn carried(codec: &dyn ArrayCodec, array: &ArrayView<'_>) -> Option<Vec<u8>> {
    let mut data = array.data().to_vec();
    let dtype = array.dtype();
    let has_tag = !matches!(dtype.kind(), Kind::Bool | Kind::Complex);
    let is_little = dtype.order() != Order::Big;
    let has_name = is_little && dtype.name() != "<c16";
    let has_tensor = has_tag && is_little;
    let has_list = dtype.kind() != Kind::Complex && !dtype.name().ends_with("f2");
    match codec.encoding() {
        Encoding::Json => {}
        Encoding::ProtobufPacked => return has_list.then_some(data),
        Encoding::Kserve | Encoding::KserveHttp => {
            return (is_little && dtype.kind() != Kind::Complex).then_some(data);
        }
        Encoding::KserveTyped => return (is_little && has_list).then_some(data),
        Encoding::Cbor => return has_tag.then_some(data),
        Encoding::Safetensors => return has_name.then_some(data),
        Encoding::Arrow => return has_tensor.then_some(data),
        _ => return Some(data),
    }
    if codec.id() == Codec::JsonSonic && array.dtype().kind() == Kind::Float {
        positive_zeros(&mut data, array.dtype());
    }
    let dims = array.shape().dims();
    let lost = dims.iter().rev().skip(1).any(|&dim| dim == 0);
    let finite = canonical_nans(&mut data, array.dtype());
    let refused = array.dtype().kind() == Kind::Complex || lost;
    (!refused && (finite || codec.id().is_own())).then_some(data)
}

/// Replaces -0.0 by +0.0, as sonic-rs reads it.
fn positive_zeros(data: &mut [u8], dtype: DType) {
    for item in data.chunks_exact_mut(dtype.item_size()) {
        if item.iter().all(|byte| byte & 0x7f == 0) {
            item.fill(0);
        }
    }
}

/// Replaces every NaN by that of NumPy. Returns true if all floats are finite.
fn canonical_nans(data: &mut [u8], dtype: DType) -> bool {
    if dtype.kind() != Kind::Float {
        return true;
    }
    let (infinity, nan) = match dtype.item_size() {
        2 => (0x7c00, 0x7e00),
        4 => (0x7f80_0000, 0x7fc0_0000),
        _ => (0x7ff0_0000_0000_0000, 0x7ff8_0000_0000_0000u64),
    };
    let mut finite = true;
    for item in data.chunks_exact_mut(dtype.item_size()) {
        let turn = |item: &mut [u8]| {
            if dtype.order() == Order::Big {
                item.reverse();
            }
        };
        turn(item);
        let bits = item.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
        let magnitude = bits & !(1 << (8 * item.len() - 1));
        finite &= magnitude < infinity;
        if magnitude > infinity {
            item.copy_from_slice(&nan.to_le_bytes()[..item.len()]);
        }
        turn(item);
    }
    finite
}

/// Echoes with our own codecs and joins the parts of the reply.
fn reply(encoding: Encoding, body: &[u8]) -> Result<Vec<u8>, CodecError> {
    let (mut scratch, mut out) = (Vec::new(), Vec::new());
    let Echoed { head_len, payload, .. } =
        echo(&CodecSet::own(), encoding, body, &mut scratch, &mut out)?;
    Ok([&out[..head_len], &body[payload], &out[head_len..]].concat())
}

proptest! {
    #[test]
    fn decoding_what_was_encoded_gives_the_array_back(array in arrays()) {
        for codec in implementations() {
            let message = codec::message(codec, &array.view());
            let Some(want) = carried(codec, &array.view()) else {
                prop_assert!(message.is_err(), "{}", codec.name());
                continue;
            };
            let message = message.unwrap();
            let mut scratch = Vec::new();
            let got = codec.decode(&message, &mut scratch).unwrap();
            let view = array.view();
            let want = ArrayView::new(view.dtype(), view.shape().clone(), &want).unwrap();
            prop_assert_eq!(got, want, "{}", codec.name());
        }
    }

    #[test]
    fn own_and_library_forms_read_each_other(array in arrays()) {
        for writer in implementations() {
            let Ok(message) = codec::message(writer, &array.view()) else { continue };
            for reader in implementations().filter(|reader| reader.encoding() == writer.encoding()) {
                let Some(want) = carried(reader, &array.view()) else { continue };
                let mut scratch = Vec::new();
                let got = reader.decode(&message, &mut scratch).unwrap();
                let view = array.view();
                prop_assert_eq!(got.data(), want, "{} {}", writer.name(), reader.name());
                prop_assert_eq!(got.shape(), view.shape());
            }
        }
    }

    #[test]
    fn an_echo_of_our_own_request_is_our_reply(array in arrays()) {
        for codec in implementations().filter(|codec| codec.id().is_own()) {
            let Ok(message) = codec::message(codec, &array.view()) else { continue };
            let want = codec::reply(codec, &array.view()).unwrap();
            prop_assert_eq!(reply(codec.encoding(), &message).unwrap(), want);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in vec(any::<u8>(), 0..200)) {
        harmless(&body);
    }

    #[test]
    fn json_like_text_is_read_or_refused(
        text in r#"\{?("(data|dtype|buffer|shape|x|\\u0064ata)" ?: ?([-+.0-9eE]{1,8}|(\[|\]|,|1|-0|NaN|true|"<f8"|"|u1"){1,9}|"[A-Za-z+/=\\]{0,9}"|"<f8"|\{\}|null|\[0?\]) ?[,:}]? ?){0,5}\}?"#
    ) {
        harmless(text.as_bytes());
    }

    #[test]
    fn damaged_messages_are_read_or_refused(
        pick in any::<Index>(),
        damage in vec((any::<Index>(), any::<Index>(), 0..5u8, any::<u8>()), 1..4),
    ) {
        let mut body = pick.get(&MESSAGES).clone();
        for (at, other, kind, byte) in damage {
            hurt(&mut body, at, other, kind, byte);
        }
        harmless(&body);
    }

    #[test]
    fn cut_messages_are_refused(array in arrays(), cut in any::<Index>()) {
        // A prefix of a protobuf message can be a message. Only the length shows the error.
        let is_protobuf = |encoding| {
            matches!(
                encoding,
                Encoding::Protobuf
                    | Encoding::ProtobufPacked
                    | Encoding::Kserve
                    | Encoding::KserveTyped
            )
        };
        for codec in implementations().filter(|codec| !is_protobuf(codec.encoding())) {
            let Ok(message) = codec::message(codec, &array.view()) else { continue };
            let beginning = &message[..cut.index(message.len())];
            prop_assert!(codec.decode(beginning, &mut Vec::new()).is_err(), "{}", codec.name());
        }
    }
}

/// Messages of every encoding from `tests/data`, and one of ours for each codec.
static MESSAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    #[derive(serde::Deserialize)]
    struct Line {
        text: Option<String>,
    }
    let mut messages = Vec::new();
    for name in ["json", "json_binary"] {
        let path = format!("{}/tests/data/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let lines = std::fs::read_to_string(&path).expect(&path);
        for line in lines.lines().filter(|line| line.len() < 1000).step_by(3) {
            let line: Line = serde_json::from_str(line).expect(&path);
            messages.push(line.text.expect("JSON is text").into_bytes());
        }
    }
    for (seed, dtype) in DType::all().enumerate() {
        for dims in [&[][..], &[3], &[2, 0], &[2, 3]] {
            let shape = Shape::new(dims).unwrap();
            let array = NdArray::seeded(dtype, shape, seed as u64).unwrap();
            let written = implementations().map(|codec| codec::message(codec, &array.view()));
            messages.extend(written.filter_map(Result::ok));
        }
    }
    messages
});

/// Changes `body` in one place.
fn hurt(body: &mut Vec<u8>, at: Index, other: Index, kind: u8, byte: u8) {
    if body.is_empty() {
        return;
    }
    let (at, other) = (at.index(body.len()), other.index(body.len()));
    match kind {
        0 => body[at] = byte,
        1 => body[at] ^= 1 << (byte & 7),
        2 => body.insert(at, byte),
        3 => drop(body.drain(at.min(other)..at.max(other))),
        _ => {
            let part = body[at.min(other)..at.max(other)].to_vec();
            body.splice(at..at, part);
        }
    }
}

/// Checks `body`: no codec panics, none allocates out of proportion, and an own codec writes and
/// reads an accepted array again.
fn harmless(body: &[u8]) {
    for codec in implementations() {
        let mut scratch = Vec::new();
        let Ok(array) = codec.decode(body, &mut scratch) else {
            assert!(scratch.capacity() <= 16 * body.len() + 64, "{}", codec.name());
            continue;
        };
        if let Ok(message) = codec::message(codec, &array) {
            let mut again = Vec::new();
            let again = codec.decode(&message, &mut again).expect("what was written is read");
            agreement::assert_same(codec, &array, &again);
        }
        assert!(scratch.capacity() <= 16 * body.len() + 64, "{}", codec.name());
    }
    for encoding in Encoding::ALL {
        let _ = reply(encoding, body);
    }
}

fn refuse_each(cases: Vec<(Encoding, Vec<u8>, &str)>) {
    for (encoding, body, want) in cases {
        assert_eq!(reply(encoding, &body).unwrap_err().to_string(), want);
    }
}

#[test]
fn peers_are_told_what_is_wrong_with_a_text() {
    use Encoding::{Json, JsonBinary};
    let json =
        |data: &str, dtype: &str| format!(r#"{{"data": {data}, "dtype": "{dtype}"}}"#).into_bytes();
    let binary = |shape: &str| {
        format!(r#"{{"buffer": "AAAAAAAAAAA=", "dtype": "<f8", "shape": {shape}}}"#).into_bytes()
    };
    refuse_each(vec![
        (
            Json,
            json("[[1, 2], [3]]", "<f8"),
            "json at byte 20: a list whose length differs from the others at its depth",
        ),
        (Json, json("[1, null]", "<f8"), "json at byte 13: null is not valid in an array"),
        (Json, json("[300]", "|u1"), "json at byte 10: an integer out of range for its dtype"),
        (Json, json("[0.5]", "<i4"), "json at byte 10: a fraction in an array of integers"),
        (Json, json("[0.5]", "|b1"), "json at byte 10: a fraction in an array of bools"),
        (
            Json,
            json("[1, 2]", "<c16"),
            "json at byte 26: cannot carry complex numbers (dtype <c16)",
        ),
        (
            Json,
            json("[1]", "|O"),
            "json at byte 23: dtype \"|O\" is not supported: expected one like |b1, <i4, >u2, <f8 or <c16",
        ),
        (
            Json,
            json("[1, 2", "<f8"),
            "json at byte 16: a string inside data: expected numbers only",
        ),
        (
            Json,
            json(&"[".repeat(100), "<f8"),
            "json at byte 111: a string inside data: expected numbers only",
        ),
        (
            Json,
            b"{\"dtype\": \"<f8\"}".to_vec(),
            "json at byte 16: field \"data\": missing: expected data (a list) or buffer (base64)",
        ),
        (
            Json,
            b"{\"data\": [], \"buffer\": \"\"}".to_vec(),
            "json at byte 23: field \"buffer\": not allowed together with data: expected either data or buffer",
        ),
        (
            JsonBinary,
            binary("[2]"),
            "json_binary at byte 11: shape and dtype need 16 bytes of data, got 8",
        ),
        (
            JsonBinary,
            binary("[4294967296, 4294967296]"),
            "json_binary at byte 11: array size overflows: \
             the dimensions other than 0, times the item size, must fit 63 bits",
        ),
        (
            JsonBinary,
            binary("[2305843009213693953]"),
            "json_binary at byte 11: array size overflows: \
             the dimensions other than 0, times the item size, must fit 63 bits",
        ),
        (
            JsonBinary,
            b"{\"buffer\": \"AA A\", \"dtype\": \"<f8\", \"shape\": []}".to_vec(),
            "json_binary at byte 14: not a base64 character, or not at this place",
        ),
    ]);
}

#[test]
fn peers_are_told_what_is_wrong_with_bytes() {
    use Encoding::{Msgpack, Npy, Protobuf};
    let npy = |header: &str| {
        let len = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), &[0; 8]].concat()
    };
    refuse_each(vec![
        (
            Msgpack,
            b"\x81\xc4\x04data\xc6\xff\xff\xff\xff".to_vec(),
            "msgpack at byte 12: a length exceeds the rest of the message",
        ),
        (
            Msgpack,
            b"\x82\xc4\x02nd\xc3\xc4\x04kind\xc4\x01O".to_vec(),
            "msgpack at byte 6: field \"kind\": \"O\" is not supported",
        ),
        (
            Msgpack,
            b"\x81\xc4\x05shape\xdd\xff\xff\xff\xff".to_vec(),
            "msgpack at byte 1: array has 4294967295 dimensions, at most 64 are supported",
        ),
        (
            Msgpack,
            b"\xcb\0\0\0\0\0\0\0\0".to_vec(),
            "msgpack at byte 0: expected msgpack_numpy's map",
        ),
        (
            Npy,
            npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"),
            "npy at byte 20: dtype \"|O\" is not supported: expected one like |b1, <i4, >u2, <f8 or <c16",
        ),
        (
            Npy,
            npy("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (1,)}"),
            "npy at byte 20: field \"descr\": structured dtypes are not supported",
        ),
        (Npy, b"PK\x03\x04....".to_vec(), "npy at byte 0: expected \\x93NUMPY"),
        (
            Protobuf,
            b"\x0a\xff\xff\xff\xff\x0f".to_vec(),
            "protobuf at byte 6: a length exceeds the rest of the message",
        ),
        (Protobuf, b"\x0a\x01\x00".to_vec(), "protobuf at byte 3: field \"dtype\": missing"),
    ]);
}

/// One list for each exception, with words of its reason.
#[test]
fn own_and_library_lists_differ_where_it_is_listed() {
    let of = |data: &str, dtype: &str| format!(r#"{{"data": {data}, "dtype": "{dtype}"}}"#);
    let with = |member: &str| format!("{{{member}, {}", &of("[1]", "<f8")[1..]);
    let deep = format!("\"x\": {}{}", "[".repeat(70), "]".repeat(70));
    for (body, why) in [
        (of("[NaN, -Infinity]", "<f8"), "Python's json writes and reads it"),
        (of("[1e400]", "<f8"), "infinity"),
        (of("[9007199254740993.0]", "<i8"), "may have been rounded"),
        (of("[1.00000000000000000001]", "<i8"), "reads a double"),
        (of("[1e-324]", "|b1"), "reads a double"),
        (with(r#""x": NaN"#), "skipping it does no harm"),
        (with(&deep), "no message needs more"),
        (with(r#""x": "\ud800""#), "skips"),
        (r#"[[1.5], "<f8", null]"#.to_owned(), "a derived struct"),
    ] {
        let reason = agreement::hold(Encoding::Json, body.as_bytes());
        assert!(reason.is_some_and(|reason| reason.contains(why)), "{body}: {reason:?}");
    }
    assert_eq!(agreement::hold(Encoding::Json, of("[-0.0, 1]", "<f8").as_bytes()), None);
    assert_eq!(agreement::hold(Encoding::Json, of("[-0]", "<f8").as_bytes()), None);
    assert_eq!(agreement::hold(Encoding::Json, of("[-0, 1e3]", "<i8").as_bytes()), None);
}

proptest! {
    /// Generates lists of numbers as text, some of them damaged.
    #[test]
    fn own_and_library_read_the_same_from_a_list(
        rows in vec(vec("-?[0-9]{1,20}(\\.[0-9]{1,18})?([eE][-+]?[0-9]{1,3})?", 1..9), 1..9),
        is_flat in any::<bool>(),
        damage in vec((any::<Index>(), select(b" ,[]-.0e9aN\"{}:\\\xff".to_vec())), 0..3),
        dtype in select(vec!["<f8", ">f8", "<f4", "<i8", ">i4", "|u1", "|b1"]),
    ) {
        let rows: Vec<String> = rows.iter().map(|row| row.join(", ")).collect();
        let data = if is_flat { rows.join(",") } else { format!("[{}]", rows.join("], [")) };
        let mut body = format!(r#"{{"data": [{data}], "dtype": "{dtype}"}}"#).into_bytes();
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        agreement::hold(Encoding::Json, &body);
    }
}

/// One body for each exception, and bodies that resemble one.
#[test]
fn own_and_library_forms_differ_where_it_is_listed() {
    let binary = |more: &str| {
        format!(r#"{{{more} "buffer": "AAAA", "dtype": "|u1", "shape": [3]}}"#).into_bytes()
    };
    let deep = |depth| format!("\"x\": {}{},", "[".repeat(depth), "]".repeat(depth));
    let broken = |text: &[u8]| [b"{\"x\": \"", text, b"\",", &binary("")[1..]].concat();
    for body in [
        br#"["AAAA", "|u1", [3], null]"#.to_vec(),
        binary(r#""data": null,"#),
        binary(r#""x": NaN,"#),
        binary(r#""x": -Infinity,"#),
        binary(&deep(64)),
        binary(&deep(65)),
        binary(&deep(128)),
        broken(b"\xff"),
        broken(b"\\ud800"),
        broken(b"\x01"),
        br#"{"buffer": "AAAA", "dtype": "|u1", "shape": [3.0]}"#.to_vec(),
        br#"{"buffer": "AAAA", "dtype": "|u1", "shape": [-0]}"#.to_vec(),
        br#"{"buffer": "AAA", "dtype": "|u1", "shape": [2]}"#.to_vec(),
    ] {
        agreement::hold(Encoding::JsonBinary, &body);
    }
    let map: &[u8] = b"\xa2nd\xc3\xa4type\xa3|u1\xa5shape\x91\x02\xa4data";
    let scalar: &[u8] = b"\xa2nd\xc2\xa4type\xa3|b1\xa4data\xa1\x01";
    let of = |parts: &[&[u8]]| parts.concat();
    for body in [
        of(&[b"\x95\xc3\xa3|u1\xc4\0\x91\x02\xc4\x02ab"]),
        of(&[b"\x84", map, b"\x92\x07\x08"]),
        of(&[b"\x84", map, b"\xc4\x02ab\xc0"]),
        of(&[b"\x85\x00\xc3", map, b"\xc4\x02ab"]),
        of(&[b"\x85\x00\xa0", map, b"\xc4\x02ab"]),
        of(&[b"\x84\x00\xc3", &map[4..], b"\xc4\x02ab"]),
        of(&[b"\x84\xa5shape\xc0", scalar]),
        of(&[b"\x84\xa5shape\x01", scalar]),
        of(&[b"\x84\xa5shape\x91\xff", scalar]),
        of(&[b"\x84\xa1x\xc1", scalar]),
        of(&[b"\x84\xa1\xff\xc0", scalar]),
        of(&[b"\x84\xa1x", &[0x91; 100], b"\xc0", scalar]),
        of(&[b"\x84\xa4kind\xc0", scalar]),
    ] {
        agreement::hold(Encoding::Msgpack, &body);
    }
    for body in [&b"\x10\x01\x12\x03|u1\x0a\x01a"[..], b"\x12\x03|u1\x0a\x01a\x18\x00"] {
        agreement::hold(Encoding::Protobuf, body);
    }
}

#[test]
fn own_and_library_forms_differ_where_it_is_listed_for_later_encodings() {
    for body in [
        &b"\xd8\x40\x5f\x41\x01\x41\x02\xff"[..],
        b"\xd8\x28\x82\x81\xc2\x41\x02\xd8\x40\x42\x07\x08",
        // Columns first, in which nothing is to be done.
        b"\xd9\x04\x10\x82\x81\x02\xd8\x40\x42\x07\x08",
        b"\xd9\x04\x10\x82\x80\xd8\x40\x41\x07",
        b"\xd9\x04\x10\x82\x83\x00\x02\x03\xd8\x40\x40",
        b"\xd9\xd9\xf7\xd9\x04\x10\x82\x82\x02\x02\xd8\x40\x44\x01\x02\x03\x04",
    ] {
        agreement::hold(Encoding::Cbor, body);
    }
    let array = r#""array":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
    let bf16 = r#""array":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}"#;
    for header in [
        format!("{{{array}}}"),
        format!("{{{array},{array}}}"),
        format!("{{{bf16},{array}}}"),
        format!(r#"{{"__metadata__":{{"a":"b","a":"c"}},{array}}}"#),
        format!(r#"{{"__metadata__":null,{array},"__metadata__":null}}"#),
        r#"{"array":["U8",[2],[0,2]]}"#.to_owned(),
        r#"{"array":{"dtype":{"U8":null},"shape":[2],"data_offsets":[0,2]}}"#.to_owned(),
        r#"{"array":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":1}}"#.to_owned(),
        format!("{{{array}}}{}", " ".repeat(70_000)),
    ] {
        let len = (header.len() as u64).to_le_bytes();
        let body = [&len[..], header.as_bytes(), &[7, 8]].concat();
        agreement::hold(Encoding::Safetensors, &body);
    }
    for body in [
        &b"\x0a\x03<f8\x12\x01\x01\x1a\x0c\x0a\x04\0\0\0\0\x0a\x04\0\0\0\0"[..],
        b"\x0a\x03|u1\x12\x01\x01\x3a\x06\x0a\x01\x80\x0a\x01\x00",
        b"\x32\x03\x0a\x01\x80\x0a\x03|u1\x12\x01\x01\x3a\x03\x0a\x01\x07",
        b"\x32\x0d\x0a\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x0a\x03|u1\x12\x01\x01\x3a\x03\x0a\x01\x07",
        b"\x0a\x03|u1\x12\x01\x01\x3a\x04\x12\x00\x08\x07",
        b"\x0a\x03|u1\x12\x01\x00",
        b"\x0a\x03|u1",
    ] {
        agreement::hold(Encoding::ProtobufPacked, body);
    }
}

/// What typed contents may be besides one packed list: parts, merged messages, several lists,
/// unknown fields, and lists cut inside a number.
#[test]
fn own_and_library_agree_on_unusual_typed_contents() {
    let float = b"\x32\x04\0\0\x80\x3f";
    let contents: [(&str, u8, Vec<u8>, bool); 13] = [
        ("FP32", 2, [b"\x2a\x0c", &float[..], float].concat(), true),
        ("FP32", 2, [b"\x2a\x06", &float[..], b"\x2a\x06", float].concat(), true),
        ("FP32", 1, [b"\x2a\x0a\x0a\x00\x3a\x00", &float[..]].concat(), true),
        ("FP32", 1, [b"\x2a\x09\x0a\x01\x01", &float[..]].concat(), false),
        ("FP32", 1, b"\x2a\x05\x35\0\0\x80\x3f".to_vec(), true),
        ("FP32", 1, b"\x2a\x05\x32\x03\0\0\x80".to_vec(), false),
        ("FP64", 1, [b"\x2a\x06", &float[..]].concat(), false),
        ("FP16", 1, [b"\x2a\x06", &float[..]].concat(), false),
        ("UINT8", 2, b"\x2a\x05\x20\x07\x22\x01\x08".to_vec(), true),
        ("INT32", 1, b"\x2a\x07\x12\x05\x87\x80\x80\x80\x10".to_vec(), true),
        ("BOOL", 1, b"\x2a\x04\x0a\x02\x80\x02".to_vec(), true),
        ("INT8", 0, Vec::new(), true),
        ("INT8", 1, Vec::new(), false),
    ];
    for (datatype, items, contents, is_right) in contents {
        let datatype = [&[0x12, datatype.len() as u8], datatype.as_bytes()].concat();
        let tensor = [b"\x0a\x05input", &datatype[..], &[0x1a, 1, items], &contents].concat();
        let body = [&b"\x0a\x04echo\x2a"[..], &[tensor.len() as u8], &tensor].concat();
        assert_eq!(agreement::hold(Encoding::KserveTyped, &body), None, "{body:x?}");
        let codec = codec::implementation(Codec::KserveTyped).unwrap();
        let read = codec.decode(&body, &mut Vec::new()).map(|_| ());
        assert_eq!(read.is_ok(), is_right, "{body:x?}: {read:?}");
    }
}

/// msgpack_numpy looks for bin keys, readers of other languages for str keys.
#[test]
fn an_echo_has_keys_of_the_requests_kind() {
    let map = |key: fn(&str) -> Vec<u8>| {
        let values = [&b"\xc3"[..], b"\xa3|u1", b"\xc4\0", b"\x91\x02", b"\xc4\x02ab"];
        let names = ["nd", "type", "kind", "shape", "data"].map(key);
        let members = names.iter().zip(values).flat_map(|(name, value)| [&name[..], value]);
        [b"\x85".to_vec(), members.collect::<Vec<_>>().concat()].concat()
    };
    let str_key = |name: &str| [&[0xa0 | name.len() as u8], name.as_bytes()].concat();
    let bin_key = |name: &str| [&[0xc4, name.len() as u8], name.as_bytes()].concat();
    for codec in implementations().filter(|codec| codec.encoding() == Encoding::Msgpack) {
        for body in [map(str_key), map(bin_key)] {
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            let Encoded { head_len, payload } =
                codec.echo(&body, &mut scratch, &mut out).expect("both kinds are read");
            assert_eq!([&out[..head_len], payload, &out[head_len..]].concat(), body);
        }
    }
}

#[test]
fn what_python_accepts_beyond_json_is_echoed() {
    let body = br#"{"data": [NaN, Infinity, -Infinity, 1e400, -0], "dtype": "<f8"}"#;
    let want = br#"{"data": [NaN, Infinity, -Infinity, Infinity, 0.0], "dtype": "<f8"}"#;
    assert_eq!(reply(Encoding::Json, body).unwrap(), want);
}

/// Scratch space of our codecs stays empty for borrowed payloads and grows with the parsed text.
#[test]
fn scratch_follows_the_bytes_that_arrived() {
    let mut scratch = Vec::new();
    let bomb = br#"{"data": [0, x"#;
    let body = [&bomb[..], &vec![b' '; 1 << 20], b"], \"dtype\": \"<f8\"}"].concat();
    let json = codec::json::Json;
    assert!(json.decode(&body, &mut scratch).is_err());
    assert!(scratch.capacity() < 1024);
    let array = NdArray::seeded(DType::F8, Shape::new(&[1000]).unwrap(), 1).unwrap();
    let is_borrowed = |codec: &&dyn ArrayCodec| {
        codec.id().is_own() && codec.encoding().spec().payload == Payload::Bytes
    };
    for codec in implementations().filter(is_borrowed) {
        let message = codec::message(codec, &array.view()).unwrap();
        let mut scratch = Vec::new();
        codec.decode(&message, &mut scratch).unwrap();
        assert_eq!(scratch.capacity(), 0, "{}", codec.name());
    }
}
