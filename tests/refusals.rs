//! Error texts for a bad message: our codecs name the byte and the cause of every error.

use ndecho::array::{DType, NdArray, Shape};
use ndecho::codec::{self, ArrayCodec, CodecError, Encoding, implementations};

fn own() -> impl Iterator<Item = &'static dyn ArrayCodec> {
    implementations().filter(|codec| codec.id().is_own())
}

fn refusal(codec: &dyn ArrayCodec, body: &[u8]) -> Option<CodecError> {
    codec.decode(body, &mut Vec::new()).err()
}

/// Returns an npy file with the header `dict` and eight bytes of data.
fn file(dict: &str) -> Vec<u8> {
    let len = (dict.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &len[..], dict.as_bytes(), &[0; 8]].concat()
}

#[test]
fn what_is_cut_or_changed_anywhere_is_refused_with_a_place() {
    let arrays =
        [("<f8", &[5, 2][..]), ("|u1", &[200]), (">i4", &[]), ("|b1", &[3]), ("<f4", &[0])];
    for (dtype, dims) in arrays {
        let (dtype, shape) = (DType::parse(dtype).unwrap(), Shape::new(dims).unwrap());
        let array = NdArray::seeded(dtype, shape, 1).unwrap();
        for codec in own() {
            let body = codec::message(codec, &array.view()).unwrap();
            let says_where = |body: &[u8]| {
                let Some(error) = refusal(codec, body) else { return };
                let at = error.offset().unwrap_or_else(|| panic!("{error}: {body:x?}"));
                assert!(at <= body.len(), "{error}: {body:x?}");
                assert!(error.to_string().contains(&format!(" at byte {at}: ")), "{error}");
            };
            for at in 0..body.len() {
                says_where(&body[..at]);
                for change in [1, 0x20, 0x7f, 0x80, 0xff] {
                    let mut body = body.clone();
                    body[at] ^= change;
                    says_where(&body);
                }
                says_where(&[&body[..at], &body[at + 1..]].concat());
                says_where(&[&body[..at], b"\"", &body[at..]].concat());
            }
        }
    }
}

/// Encoding, message, byte in the error, and a part of the cause.
type Case = (Encoding, Vec<u8>, usize, &'static str);

fn cases_of<B: AsRef<[u8]> + ?Sized>(
    encoding: Encoding,
    cases: &[(&B, usize, &'static str)],
) -> Vec<Case> {
    cases.iter().map(|(body, at, what)| (encoding, body.as_ref().to_vec(), *at, *what)).collect()
}

fn json() -> Vec<Case> {
    let deep = format!("{{\"data\": {}", "[".repeat(65));
    let cases: &[(&str, usize, &'static str)] = &[
        ("", 0, "expected an object"),
        ("[1]", 0, "expected an object"),
        (r#"{"data" [1]}"#, 8, "expected a colon"),
        (r#"{"data": [1.0], "dtype": "<f8""#, 30, "expected a comma or the end of the object"),
        (r#"{"data": [1.0], "dtype": "<f8"}}"#, 31, "unexpected text after the object"),
        (r#"{"data": [1.0, 2.0"#, 18, "ends early"),
        (r#"{"data": [1.0,, 2.0], "dtype": "<f8"}"#, 14, "expected a number"),
        (r#"{"data": [1.0, 2.0,], "dtype": "<f8"}"#, 19, "expected a number"),
        (r#"{"data": [01.0], "dtype": "<f8"}"#, 10, "leading zero"),
        (r#"{"data": [1.], "dtype": "<f8"}"#, 12, "expected a digit after the point"),
        (r#"{"data": [+1.0], "dtype": "<f8"}"#, 10, "expected a number"),
        (r#"{"data": [.5], "dtype": "<f8"}"#, 10, "expected a number"),
        (r#"{"data": [null], "dtype": "<f8"}"#, 10, "null is not valid"),
        (r#"{"data": [true], "dtype": "<f8"}"#, 10, "true and false"),
        (r#"{"data": ["1"], "dtype": "<f8"}"#, 10, "a string inside data"),
        (r#"{"data": [{}], "dtype": "<f8"}"#, 10, "an object inside data"),
        (r#"{"data": [NaN], "dtype": "<i8"}"#, 10, "NaN and Infinity"),
        (r#"{"data": [1.5], "dtype": "<i8"}"#, 10, "a float in an array of integers"),
        (r#"{"data": [0, 128], "dtype": "|i1"}"#, 13, "out of range"),
        (r#"{"data": [0, -1], "dtype": "<u8"}"#, 13, "out of range"),
        (r#"{"data": [1], "dtype": "|b1"}"#, 10, "expected true or false"),
        (r#"{"data": [[1.0], [2.0, 3.0]], "dtype": "<f8"}"#, 26, "length differs"),
        (r#"{"data": [[1.0], 2.0], "dtype": "<f8"}"#, 17, "different depths"),
        (r#"{"data": [1.0, [2.0]], "dtype": "<f8"}"#, 15, "different depths"),
        (r#"{"data": [1.0], "dtype": "<c8"}"#, 25, "cannot carry complex numbers"),
        (r#"{"data": [1.0], "dtype": "|O"}"#, 25, "dtype \"|O\" is not supported"),
        (r#"{"data": [1.0], "dtype": 8}"#, 25, "\"dtype\": expected a string"),
        (r#"{"data": [1.0], "data": [1.0]}"#, 24, "given twice"),
        (r#"{"data": [1.0], "buffer": ""}"#, 26, "not allowed together with data"),
        (r#"{"data": [1.0]}"#, 15, "\"dtype\": missing"),
        (r#"{"dtype": "<f8"}"#, 16, "\"data\": missing"),
        ("{\"dt\u{1}\": 1}", 4, "a control character"),
        ("{\"x\": \"\\ud800\"}", 7, "an unpaired surrogate"),
    ];
    let mut cases = cases_of(Encoding::Json, cases);
    cases.push((Encoding::Json, deep.into_bytes(), 74, "ends early"));
    cases.push((Encoding::Json, b"{\"x\": \"\xff\"}".to_vec(), 7, "not UTF-8"));
    cases
}

fn json_binary() -> Vec<Case> {
    let cases: &[(&str, usize, &'static str)] = &[
        (r#"{"buffer": "AA!=", "dtype": "|u1", "shape": [1]}"#, 14, "not a base64 character"),
        (r#"{"buffer": "AAA", "dtype": "|u1", "shape": [1]}"#, 15, "not a multiple of 4"),
        (r#"{"buffer": "AB==", "dtype": "|u1", "shape": [1]}"#, 14, "nonzero bits"),
        (r#"{"buffer": "AA==AA==", "dtype": "|u1", "shape": [1]}"#, 16, "not a base64 character"),
        (r#"{"buffer": "AAAA"#, 11, "the string does not end"),
        (r#"{"buffer": 1}"#, 11, "expected a string of base64"),
        (r#"{"buffer": "AA==", "dtype": "<f8", "shape": [1]}"#, 11, "need 8 bytes of data, got 1"),
        (
            r#"{"buffer": "AA==", "dtype": "|V8", "shape": [1]}"#,
            28,
            "dtype \"|V8\" is not supported",
        ),
        (r#"{"buffer": "AA==", "dtype": "|u1", "shape": 1}"#, 44, "expected a list of integers"),
        (r#"{"buffer": "AA==", "dtype": "|u1", "shape": [-1]}"#, 45, "that is not negative"),
        (r#"{"buffer": "AA==", "dtype": "|u1", "shape": [1 1]}"#, 47, "expected a comma"),
        (r#"{"buffer": "AA==", "dtype": "|u1"}"#, 34, "\"shape\": missing"),
        (r#"{"buffer": "AA==", "shape": [1]}"#, 32, "\"dtype\": missing"),
        (r#"{"dtype": "|u1", "shape": [1]}"#, 30, "\"buffer\": missing"),
        (r#"{"buffer": "", "data": []}"#, 23, "not allowed together with buffer"),
        (r#"{"buffer": "", "buffer": ""}"#, 25, "given twice"),
        (
            r#"{"buffer": "", "dtype": "|u1", "shape": [4294967296, 4294967296]}"#,
            11,
            "array size overflows",
        ),
    ];
    cases_of(Encoding::JsonBinary, cases)
}

fn msgpack() -> Vec<Case> {
    let cases: &[(&[u8], usize, &'static str)] = &[
        (b"", 0, "the message ends early"),
        (b"\x90", 0, "expected msgpack_numpy's map"),
        (b"\x81\xa2nd", 4, "the message ends early"),
        (b"\x81\xa2nd\x01", 1, "\"nd\": expected true or false"),
        (b"\x81\xa9nd", 2, "a length exceeds the rest"),
        (b"\x81\xa4type\x01", 1, "expected a type string"),
        (b"\x81\xa4type\xa2|O", 1, "dtype \"|O\" is not supported"),
        (b"\x81\xa4type\xa1\xff", 1, "\"type\": not UTF-8"),
        (b"\x81\xa4kind\xa1V", 1, "\"kind\": \"V\" is not supported"),
        (b"\x81\xa5shape\xa1x", 1, "expected an array of integers"),
        (b"\x81\xa5shape\x91\xff", 1, "a negative dimension"),
        (b"\x81\xa5shape\xdc\x00\x41", 1, "65 dimensions"),
        (b"\x82\xa2nd\xc3\xa2nd\xc3", 5, "given twice"),
        (b"\x81\xa2nd\xc3\x00", 5, "unexpected bytes after the map"),
        (b"\x81\xa2nd\xc3", 5, "\"type\": missing"),
        (b"\x83\xa2nd\xc2\xa4type\xa3<f8\xa4data\xa1x", 20, "need 8 bytes of data, got 1"),
    ];
    cases_of(Encoding::Msgpack, cases)
}

fn protobuf() -> Vec<Case> {
    let cases: &[(&[u8], usize, &'static str)] = &[
        (b"", 0, "\"dtype\": missing"),
        (b"\x0a", 1, "the message ends early"),
        (b"\x0a\x05abc", 2, "a length exceeds the rest"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 1, "a varint beyond 64 bits"),
        (b"\x12\x03<f8\x00\x01", 5, "expected a field number of at least 1"),
        (b"\x12\x03<f8\x0e", 5, "expected a wire type from 0 to 5"),
        (b"\x12\x03<f8\x24", 6, "the end of a group that is not open"),
        (b"\x12\x03<x8", 2, "dtype \"<x8\" is not supported"),
        (b"\x12\x01\xff", 0, "\"dtype\": not UTF-8"),
        (b"\x0a\x01x\x12\x03<f8", 2, "need 8 bytes of data, got 1"),
    ];
    cases_of(Encoding::Protobuf, cases)
}

fn npy() -> Vec<Case> {
    let whole =
        |shape: &str| format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}");
    let mut cases: Vec<Case> = vec![
        (Encoding::Npy, b"\x93NUMPX\x01\x00\x00\x00".to_vec(), 0, "expected \\x93NUMPY"),
        (Encoding::Npy, b"\x93NUMPY\x04\x00".to_vec(), 6, "expected format 1.0, 2.0 or 3.0"),
        (Encoding::Npy, b"\x93NUMPY\x01\x00\x09\x00".to_vec(), 10, "a length exceeds the rest"),
        (Encoding::Npy, b"\x93NUMPY\x02\x00\xff\xff\xff\x00".to_vec(), 12, "longer than 64 KiB"),
    ];
    for (dict, at, what) in [
        ("[]".to_owned(), 10, "expected a dict"),
        ("{'evil': 1}".to_owned(), 11, "unknown key"),
        ("{'descr': '|O'}".to_owned(), 20, "dtype \"|O\" is not supported"),
        ("{'descr': [('a', '<f8')]}".to_owned(), 20, "structured dtypes are not supported"),
        ("{'descr': '\\x3c'}".to_owned(), 21, "escapes in strings are not supported"),
        ("{'fortran_order': 0}".to_owned(), 28, "expected True or False"),
        ("{}".to_owned(), 12, "\"descr\": missing"),
        (whole("(1)"), 62, "a tuple of one item ends with one"),
        (whole("(-1,)"), 61, "expected a dimension"),
        (whole("[1]"), 60, "expected a tuple"),
        (whole("(99999999999999999999,)"), 60, "array size overflows"),
        (whole("(2,)"), 65, "need 16 bytes of data, got 8"),
        (whole("(1,)") + "x", 65, "unexpected text after the dict"),
    ] {
        cases.push((Encoding::Npy, file(&dict), at, what));
    }
    cases
}

#[test]
fn every_cause_has_its_words_and_its_byte() {
    let cases = [json(), json_binary(), msgpack(), protobuf(), npy()].concat();
    let mut wrong = Vec::new();
    for (encoding, body, at, what) in cases {
        let codec = codec::implementation(encoding.own()).unwrap();
        let error = refusal(codec, &body).unwrap_or_else(|| panic!("{body:x?} is accepted"));
        if error.offset() != Some(at) || !error.to_string().contains(what) {
            wrong.push(format!("{error}, not {at}: {what}: {}", String::from_utf8_lossy(&body)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
