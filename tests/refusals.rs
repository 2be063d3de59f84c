//! Error texts for a bad message: our codecs name the byte and the cause of every error.

#[path = "refusals/arrow.rs"]
mod arrow;
#[path = "refusals/kserve.rs"]
mod kserve;

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
            let Ok(body) = codec::message(codec, &array.view()) else { continue };
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

fn cases_of<B: AsRef<[u8]>>(
    encoding: Encoding,
    cases: impl IntoIterator<Item = (B, usize, &'static str)>,
) -> Vec<Case> {
    let case = |(body, at, what): (B, usize, _)| (encoding, body.as_ref().to_vec(), at, what);
    cases.into_iter().map(case).collect()
}

fn lists() -> Vec<Case> {
    let deep = "[".repeat(65);
    let (too_deep, long) = (deep.clone() + "1" + &"]".repeat(65), "1".repeat(400));
    let floats = [
        ("[[1],[2,3]]", 18, "a list whose length differs from the others at its depth"),
        ("[[1,2],[3]]", 18, "length differs"),
        ("[[],[1]]", 15, "length differs"),
        ("[1,[2]]", 12, "a list where a number is expected"),
        ("[[],[[]]]", 14, "a list where a number is expected"),
        ("[[1],2]", 14, "a number where a list is expected"),
        ("[[],1]", 13, "a number where a list is expected"),
        ("[[[]],[]]", 16, "a number where a list is expected"),
        ("[null]", 10, "null is not valid in an array"),
        ("[1, null]", 13, "null is not valid in an array"),
        ("[true]", 10, "true and false are valid in arrays of dtype |b1 only"),
        ("[1, \"2\"]", 13, "a string inside data: expected numbers only"),
        ("\"abc\"", 9, "a string inside data: expected numbers only"),
        ("{\"a\": 1}", 9, "an object inside data: expected numbers only"),
        ("[{}]", 10, "an object inside data: expected numbers only"),
        ("[1,]", 12, "expected a number"),
        ("[1,,2]", 12, "expected a number"),
        ("[,1]", 10, "expected a number"),
        ("[1 2]", 12, "expected a comma or the end of the list"),
        ("[1", 13, "a string inside data: expected numbers only"),
        ("1]", 10, "unexpected text after the list"),
        ("[1]]", 12, "unexpected text after the list"),
        ("", 9, "the list ends early"),
        ("[01]", 10, "a number with a leading zero"),
        ("[-01]", 11, "a number with a leading zero"),
        ("[1.]", 12, "expected a digit after the point"),
        ("[1.e5]", 12, "expected a digit after the point"),
        ("[.5]", 10, "expected a number"),
        ("[+1]", 10, "expected a number"),
        ("[-]", 10, "expected a number"),
        ("[- 1]", 10, "expected a number"),
        ("[1e]", 11, "expected a comma or the end of the list"),
        ("[1e+]", 11, "expected a comma or the end of the list"),
        ("[0x10]", 11, "expected a comma or the end of the list"),
        ("[1_000]", 11, "expected a comma or the end of the list"),
        ("[inf]", 10, "expected a number"),
        ("[nan]", 10, "null is not valid"),
        ("[-NaN]", 10, "expected a number"),
        ("[Infinit]", 10, "NaN and Infinity are valid"),
        ("[NaNN]", 13, "expected a comma or the end of the list"),
        (long.as_str(), 9, "an integer beyond the range of a double"),
        (deep.as_str(), 76, "a string inside data: expected numbers only"),
        (too_deep.as_str(), 73, "lists nest deeper than 64"),
    ];
    let others = [
        ("[1.5]", "<i8", 10, "a fraction in an array of integers"),
        ("[1e-2]", "<i8", 10, "a fraction in an array of integers"),
        ("[1.00000000000000000001]", "<i8", 10, "a fraction in an array of integers"),
        ("[1.]", "<i8", 10, "expected digits after the point or exponent"),
        ("[1e99]", "<i8", 10, "an integer out of range for its dtype"),
        ("[18446744073709551616.0]", "<u8", 10, "an integer out of range for its dtype"),
        ("[true]", "<i8", 10, "true and false are valid in arrays of dtype |b1 only"),
        ("[NaN]", "<i8", 10, "NaN and Infinity are valid in arrays of floats only"),
        ("[null]", "<i8", 10, "null is not valid"),
        ("[0, 128]", "|i1", 13, "out of range"),
        ("[0, -1]", "<u8", 13, "out of range"),
        ("[2]", "|b1", 10, "expected true, false, 0 or 1 in an array of bools"),
        ("[-1]", "|b1", 10, "expected true, false, 0 or 1 in an array of bools"),
        ("[truely]", "|b1", 14, "expected a comma or the end of the list"),
        ("[1]", "|O", 23, "dtype \"|O\" is not supported"),
        ("[[1, 2]]", "<c16", 28, "cannot carry complex numbers (dtype <c16)"),
    ];
    let floats = floats.into_iter().map(|(data, at, what)| (data, "<f8", at, what));
    let cases = floats.chain(others).map(|(data, dtype, at, what)| {
        (format!(r#"{{"data": {data}, "dtype": "{dtype}"}}"#), at, what)
    });
    cases_of(Encoding::Json, cases)
}

fn json() -> Vec<Case> {
    let [deep_list, deep_value] =
        ["data", "x"].map(|name| format!("{{\"{name}\": {}", "[".repeat(65)));
    let texts = [
        ("", 0, "expected an object"),
        ("[1]", 0, "expected an object"),
        ("\u{feff}{}", 0, "expected an object"),
        ("{data: 1}", 1, "expected a name in quotes"),
        (r#"{"data" [1]}"#, 8, "expected a colon after the name"),
        (r#"{"data": [1]"#, 12, "the message ends early"),
        (r#"{"data": [1.0, 2.0"#, 18, "ends early"),
        (r#"{"data": [1.0], "dtype": "<f8""#, 30, "expected a comma or the end of the object"),
        (r#"{"data": [1.0], "dtype": "<f8"}}"#, 31, "unexpected text after the object"),
        (r#"{"data": [1.0], "dtype": "<f8"},"#, 31, "unexpected text after the object"),
        (r#"{"dtype": "<f8", "data": 1,}"#, 26, "unexpected text after the list"),
        (r#"{"data": 1, "dtype": "<f8",}"#, 27, "expected a name in quotes"),
        (r#"{"data": [1.0], "dtype": 8}"#, 25, "field \"dtype\": expected a string"),
        (r#"{"data": [1.0], "data": [1.0]}"#, 24, "field \"data\": given twice"),
        (r#"{"data": [1.0], "buffer": ""}"#, 26, "not allowed together with data"),
        (r#"{"data": [1.0]}"#, 15, "field \"dtype\": missing"),
        (r#"{"dtype": "<f8"}"#, 16, "field \"data\": missing"),
        ("{\"dt\u{1}\": 1}", 4, "a control character"),
        ("{\"x\": \"\n\"}", 7, "a control character in a string"),
        (r#"{"x": "\ud800"}"#, 7, "an unpaired surrogate"),
        (r#"{"x": "\u12g4"}"#, 7, "four hexadecimal digits"),
        (r#"{"x": [1}}"#, 8, "expected a comma or a closing bracket"),
        (r#"{"x": 01}"#, 6, "expected a value"),
        (deep_list.as_str(), 74, "ends early"),
        (deep_value.as_str(), 70, "values nest deeper than 64"),
    ];
    let bytes: [(&[u8], _, _); 2] =
        [(b"{\"\xff\": 1}", 2, "not UTF-8"), (b"{\"x\": \"\xff\"}", 7, "not UTF-8")];
    [cases_of(Encoding::Json, texts), cases_of(Encoding::Json, bytes)].concat()
}

fn json_binary() -> Vec<Case> {
    let message = |buffer: &str, dtype: &str, shape: &str| {
        format!(r#"{{"buffer": "{buffer}", "dtype": "{dtype}", "shape": {shape}}}"#)
    };
    let buffers = [
        ("Bw!=", 14, "not a base64 character, or not at this place"),
        ("Bwg", 15, "the length of the base64 is not a multiple of 4"),
        ("Bwh=", 15, "nonzero bits before the base64 padding"),
        ("Bw==", 11, "need 2 bytes of data, got 1"),
        ("=wgg", 12, "not a base64 character"),
        ("Bwg=Bwg=", 16, "not a base64 character"),
        ("B_8=", 13, "not a base64 character"),
        (r"Bwg=\n", 16, "not a base64 character, or not at this place"),
        (r"Bw\u0068=", 20, "nonzero bits before the base64 padding"),
        (r"B\u0077", 19, "the length of the base64 is not a multiple of 4"),
        ("Bw=", 15, "the length of the base64 is not a multiple of 4"),
        ("Bw=g", 15, "not a base64 character"),
        ("Bx==", 14, "nonzero bits before the base64 padding"),
        ("\u{e9}", 12, "not a base64 character"),
        ("Bwg==", 16, "not a base64 character"),
        (r"Bw\x8=", 14, "an unknown escape sequence"),
    ];
    let many = format!("[{}1]", "1, ".repeat(64));
    let shapes = [
        ("2", 44, "field \"shape\": expected a list of integers"),
        ("[-2]", 45, "expected an integer that is not negative"),
        ("[02]", 45, "expected an integer that is not negative"),
        ("[2,]", 47, "expected an integer that is not negative"),
        ("[2.0]", 46, "expected a comma or the end of the list"),
        ("[1 1]", 47, "expected a comma or the end of the list"),
        ("[18446744073709551616]", 44, "array size overflows"),
        ("[4294967296, 4294967296]", 11, "array size overflows"),
        (many.as_str(), 44, "65 dimensions"),
    ];
    let others = [
        (message("Bwg=", "|V8", "[1]"), 28, "dtype \"|V8\" is not supported"),
        (message("Bwg=", "|u1", "[2]") + "x", 48, "unexpected text after the object"),
        (r#"{"buffer": "AAAA"#.to_owned(), 11, "the string does not end"),
        (r#"{"buffer": 1}"#.to_owned(), 11, "field \"buffer\": expected a string of base64"),
        (r#"{"buffer": "AA==", "dtype": "|u1"}"#.to_owned(), 34, "\"shape\": missing"),
        (r#"{"buffer": "AA==", "shape": [1]}"#.to_owned(), 32, "\"dtype\": missing"),
        (r#"{"dtype": "|u1", "shape": [1]}"#.to_owned(), 30, "\"buffer\": missing"),
        (r#"{"buffer": "", "data": []}"#.to_owned(), 23, "not allowed together with buffer"),
        (r#"{"buffer": "", "buffer": ""}"#.to_owned(), 25, "field \"buffer\": given twice"),
    ];
    let buffers = buffers.map(|(text, at, what)| (message(text, "|u1", "[2]"), at, what));
    let shapes = shapes.map(|(text, at, what)| (message("Bwg=", "|u1", text), at, what));
    cases_of(Encoding::JsonBinary, buffers.into_iter().chain(shapes).chain(others))
}

fn msgpack() -> Vec<Case> {
    let cases: [(&[u8], _, _); 28] = [
        (b"", 0, "the message ends early"),
        (b"\x90", 0, "expected msgpack_numpy's map"),
        (b"\x93\x01\x02\x03", 0, "expected msgpack_numpy's map"),
        (b"\x81\xa2nd", 4, "the message ends early"),
        (b"\xdf\xff\xff\xff\xff", 5, "the message ends early"),
        (b"\x81\xa1x\xdf\xff\xff\xff\xff\x91", 9, "the message ends early"),
        (b"\x81\xa2nd\x01", 1, "field \"nd\": expected true or false"),
        (b"\x81\xa9nd", 2, "a length exceeds the rest of the message"),
        (b"\x81\xa4data\xc6\xff\xff\xff\xff", 11, "a length exceeds the rest of the message"),
        (b"\x81\xa4type\x01", 1, "expected a type string"),
        (b"\x82\xa2nd\xc3\xa4type\x91\x01", 5, "structured dtypes are not supported"),
        (b"\x81\xa4type\xa2|O", 1, "dtype \"|O\" is not supported"),
        (b"\x82\xa2nd\xc3\xa4type\xa3|O8", 5, "dtype \"|O8\" is not supported"),
        (b"\x81\xa4type\xa1\xff", 1, "\"type\": not UTF-8"),
        (b"\x81\xa4kind\xa1V", 1, "\"kind\": \"V\" is not supported"),
        (b"\x82\xa2nd\xc3\xa4kind\xc4\x01O", 5, "\"kind\": \"O\" is not supported"),
        (b"\x81\xa5shape\xa1x", 1, "expected an array of integers"),
        (b"\x81\xa5shape\x91\xff", 1, "field \"shape\": a negative dimension"),
        (b"\x81\xa5shape\xdc\x00\x41", 1, "65 dimensions"),
        (b"\x81\xa5shape\xdd\xff\xff\xff\xff", 1, "4294967295 dimensions"),
        (b"\x82\xa2nd\xc3\xa2nd\xc3", 5, "field \"nd\": given twice"),
        (b"\x81\xa2nd\xc3\x00", 5, "unexpected bytes after the map"),
        (b"\x83\xa2nd\xc2\xa4type\xa3|b1\xa4data\xa1\x01\x00", 21, "unexpected bytes after"),
        (b"\x80", 1, "field \"nd\": missing"),
        (b"\x81\xa2nd\xc3", 5, "field \"type\": missing"),
        (b"\x82\xa2nd\xc3\xa4type\xa3<f8", 14, "field \"shape\": missing"),
        (b"\x82\xa2nd\xc2\xa4type\xa3<f8", 14, "field \"data\": missing"),
        (b"\x83\xa2nd\xc2\xa4type\xa3<f8\xa4data\xa1x", 20, "need 8 bytes of data, got 1"),
    ];
    cases_of(Encoding::Msgpack, cases)
}

fn protobuf() -> Vec<Case> {
    let deep = [[0x23; 101], [0x24; 101]].concat();
    let many = [&b"\x0a\x01\x09\x12\x03|u1\x1a\x41"[..], &[1; 65]].concat();
    let cases: [(&[u8], _, _); 15] = [
        (b"", 0, "field \"dtype\": missing"),
        (b"\x0a", 1, "the message ends early"),
        (b"\x0a\x05abc", 2, "a length exceeds the rest of the message"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "a length exceeds the rest"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 1, "a varint beyond 64 bits"),
        (b"\x00\x01", 0, "expected a field number of at least 1"),
        (b"\x12\x03<f8\x00\x01", 5, "expected a field number of at least 1"),
        (b"\x12\x03<f8\x0e", 5, "expected a wire type from 0 to 5"),
        (b"\x12\x03<f8\x24", 6, "the end of a group that is not open"),
        (b"\x23\x2c", 2, "the end of a group that is not open"),
        (&deep, 101, "groups nest deeper than 100"),
        (&many, 8, "65 dimensions"),
        (b"\x12\x03<x8", 2, "dtype \"<x8\" is not supported"),
        (b"\x12\x01\xff", 0, "field \"dtype\": not UTF-8"),
        (b"\x0a\x01x\x12\x03<f8", 2, "need 8 bytes of data, got 1"),
    ];
    cases_of(Encoding::Protobuf, cases)
}

fn protobuf_packed() -> Vec<Case> {
    let cases: [(&[u8], _, _); 11] = [
        (b"", 0, "field \"dtype\": missing"),
        (b"\x0a\x03<f2", 2, "dtype <f2: protobuf has no such number"),
        (b"\x0a\x03|O8", 2, "dtype \"|O8\" is not supported"),
        (b"\x0a\x03<f8\x2a\x00", 7, "field \"items\": expected doubles for dtype <f8"),
        (b"\x0a\x03<f8\x1a\x05abc", 7, "a length exceeds the rest of the message"),
        (b"\x0a\x03<f8\x1a\x02\x0a\x05", 9, "a length exceeds the rest of the message"),
        (
            b"\x0a\x03<f8\x12\x01\x02\x1a\x0a\x0a\x08\0\0\0\0\0\0\0\0",
            12,
            "need 16 bytes of data, got 8",
        ),
        (b"\x0a\x03>f8\x12\x01\x01\x1a\x03\x0a\x01x", 12, "the list ends inside a number"),
        (b"\x0a\x03<i4\x12\x01\x01\x2a\x03\x0a\x01\x80", 12, "the list ends inside a number"),
        (b"\x0a\x03|i1\x2a\x04\x0a\x02\x80\x01", 9, "an integer out of range of the dtype"),
        (b"\x0a\x03|u1\x12\x01\x02", 0, "need 2 bytes of data, got 0"),
    ];
    cases_of(Encoding::ProtobufPacked, cases)
}

fn npy() -> Vec<Case> {
    let files: [(&[u8], _, _); 6] = [
        (b"", 0, "the message ends early"),
        (b"\x93NUMPX\x01\x00\x00\x00", 0, "expected \\x93NUMPY"),
        (b"\x93NUMPY\x04\x00\x00\x00", 6, "expected format 1.0, 2.0 or 3.0"),
        (b"\x93NUMPY\x01\x00\x09\x00", 10, "a length exceeds the rest"),
        (b"\x93NUMPY\x01\x00\xff\xff{", 10, "a length exceeds the rest"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", 12, "longer than 64 KiB"),
    ];
    let dicts = [
        ("[]", 10, "expected a dict"),
        ("{}", 12, "field \"descr\": missing"),
        ("{'evil': 1}", 11, "unknown key"),
        ("{'descr': '|O'}", 20, "dtype \"|O\" is not supported"),
        ("{'descr': [('a', '<f8')]}", 20, "structured dtypes are not supported"),
        (r"{'descr': '<f\x38'}", 23, "escapes in strings are not supported"),
        ("{'descr': '<f8", 21, "the string does not end"),
        ("{'descr': '<f8', 'descr': '<f8'}", 27, "a key is given twice"),
        ("{'descr': '<f8' 'shape': ()}", 26, "expected a comma or the end of the dict"),
        ("{'fortran_order': 1}", 28, "expected True or False"),
    ];
    let many = format!("({})", "1, ".repeat(65));
    let shapes = [
        ("3", 60, "expected a tuple"),
        ("[1]", 60, "expected a tuple"),
        ("(3)", 62, "a tuple of one item ends with one"),
        ("(-3,)", 61, "expected a dimension"),
        ("(,)", 61, "expected a dimension"),
        ("(99999999999999999999,)", 60, "array size overflows"),
        ("(4294967296, 4294967296)", 85, "array size overflows"),
        (many.as_str(), 60, "65 dimensions"),
        ("(2,)", 65, "need 16 bytes of data, got 8"),
        ("()} x", 64, "unexpected text after the dict"),
    ];
    let dicts = dicts.map(|(dict, at, what)| (file(dict), at, what));
    let shapes = shapes.map(|(shape, at, what)| {
        (file(&format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}")), at, what)
    });
    [cases_of(Encoding::Npy, files), cases_of(Encoding::Npy, dicts.into_iter().chain(shapes))]
        .concat()
}

fn cbor() -> Vec<Case> {
    let cases: [(&[u8], _, _); 18] = [
        (b"", 0, "the message ends early"),
        (b"\x01", 0, "expected a typed array"),
        (b"\x80", 0, "expected a typed array"),
        (b"\xd8\x4c\x40", 0, "an unknown tag"),
        (b"\xd8\x53\x40", 0, "an unknown tag"),
        (b"\xd8\x40", 2, "the message ends early"),
        (b"\xd8\x40\x01", 2, "expected a byte string"),
        (b"\xd8\x40\x5f\x41\x01\xff", 2, "an indefinite length: expected a length"),
        (b"\xd8\x40\x5c", 2, "a reserved width of a number"),
        (b"\xd8\x40\x43\x01", 3, "a length exceeds the rest of the message"),
        (b"\xd8\x40\x5b\xff\xff\xff\xff\xff\xff\xff\xff", 11, "a length exceeds the rest"),
        (b"\xd8\x40\x41\x01\x02", 4, "unexpected bytes after the array"),
        (b"\xd8\x41\x41\x01", 3, "need 0 bytes of data, got 1"),
        (b"\xd8\x28\x81\x80", 2, "expected an array of dimensions and items"),
        (b"\xd8\x28\x82\x01", 3, "expected an array of dimensions"),
        (b"\xd8\x28\x82\x81\x20", 4, "expected a dimension"),
        (b"\xd8\x28\x82\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 3, "dimensions, at most 64"),
        (b"\xd8\x28\x82\x80\x80", 4, "expected a typed array"),
    ];
    cases_of(Encoding::Cbor, cases)
}

fn safetensors() -> Vec<Case> {
    let file = |len: u64, header: &str| [&len.to_le_bytes()[..], header.as_bytes()].concat();
    let files = [
        (b"1234567".to_vec(), 0, "the message ends early"),
        (file(64 * 1024 + 1, "{}"), 0, "the header is longer than 64 KiB"),
        (file(9, "{}"), 8, "a length exceeds the rest of the message"),
    ];
    let headers = [
        ("", 8, "expected an object"),
        ("[]", 8, "expected an object"),
        ("{} x", 11, "unexpected text after the object"),
        ("{}", 10, "field \"array\": missing"),
        (r#"{"x":{}}"#, 13, "an unknown tensor"),
        (r#"{"array":{}}"#, 19, "field \"data_offsets\": missing"),
        (r#"{"array":{"x":1}}"#, 22, "an unknown member"),
        (r#"{"array":{"dtype":"BF16"}}"#, 26, "field \"dtype\": \"BF16\" is not supported"),
        (r#"{"array":{"dtype":8}}"#, 26, "field \"dtype\": expected a string"),
        (r#"{"array":{"shape":2}}"#, 26, "field \"shape\": expected a list"),
        (r#"{"array":{"shape":[-1]}}"#, 27, "expected an integer that is not negative"),
        (r#"{"array":{"shape":[],"shape":[]}}"#, 37, "field \"shape\": given twice"),
        (r#"{"__metadata__":{"a":1}}"#, 29, "expected a string"),
        (
            r#"{"array":{"dtype":"U8","shape":[2],"data_offsets":[0,3]}}"#,
            58,
            "field \"data_offsets\": expected [0, 2]",
        ),
        (
            r#"{"array":{"dtype":"U8","shape":[3],"data_offsets":[0,2]}}"#,
            65,
            "need 3 bytes of data, got 2",
        ),
    ];
    let headers = headers.map(|(header, at, what)| {
        ([file(header.len() as u64, header), vec![7, 8]].concat(), at, what)
    });
    cases_of(Encoding::Safetensors, files.into_iter().chain(headers))
}

#[test]
fn every_cause_has_its_words_and_its_byte() {
    let cases = [
        lists(),
        json(),
        json_binary(),
        msgpack(),
        protobuf(),
        protobuf_packed(),
        kserve::raw(),
        kserve::typed(),
        kserve::http(),
        npy(),
        cbor(),
        safetensors(),
        arrow::cases(),
    ]
    .concat();
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
