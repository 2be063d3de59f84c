//! Refusals of an inference, with raw contents, typed contents, and over HTTP.

use ndecho::codec::Encoding;

use super::{Case, cases_of};

/// Raw contents of two bytes.
const RAW: &[u8] = b"\x3a\x02\x07\x08";

/// Returns a request for `input` of two bytes, whose tensor has `more`.
fn infer(datatype: &str, shape: &[u8], more: &[u8]) -> Vec<u8> {
    let dims = [&[0x1a, shape.len() as u8], shape].concat();
    let datatype = [&[0x12, datatype.len() as u8], datatype.as_bytes()].concat();
    let tensor = [&b"\x0a\x05input"[..], &datatype, &dims, more].concat();
    [&b"\x0a\x04echo\x2a"[..], &[tensor.len() as u8], &tensor, RAW].concat()
}

pub(crate) fn raw() -> Vec<Case> {
    let right = || infer("UINT8", &[2], b"");
    let and = |more: &[u8]| [&right()[..], more].concat();
    let negative = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let without_raw = right()[..right().len() - 4].to_vec();
    let cases: Vec<(Vec<u8>, usize, &'static str)> = vec![
        (b"".to_vec(), 0, "field \"model_name\": expected \"echo\", got \"\""),
        (b"\x0a\x05other".to_vec(), 2, "expected \"echo\", got \"other\""),
        (and(b"\x12\x012"), 31, "field \"model_version\": expected \"1\", got \"2\""),
        (b"\x0a\x04echo\x3a\x00".to_vec(), 8, "field \"tensors\": expected one, got none"),
        (without_raw, 25, "field \"raw_input_contents\": expected one, got none"),
        (and(b"\x2a\x00"), 29, "expected one tensor, got another"),
        (and(b"\x3a\x00"), 29, "expected raw contents of one tensor"),
        (b"\x0a\x04echo\x2a\x03\x0a\x01x\x3a\x00".to_vec(), 10, "expected \"input\", got \"x\""),
        (infer("FP8", &[2], b""), 17, "field \"datatype\": \"FP8\" is not one of FP32, FP64"),
        (infer("<f4", &[2], b""), 17, "\"<f4\" is not one of"),
        (infer("BYTES", &[2], b""), 17, "\"BYTES\" is not one of"),
        (infer("UINT8", &[3], b""), 27, "need 3 bytes of data, got 2"),
        (infer("FP32", &[2], b""), 26, "need 8 bytes of data, got 2"),
        (infer("UINT8", negative, b""), 8, "field \"shape\": a negative dimension"),
        (infer("UINT8", &[1; 65], b""), 6, "65 dimensions"),
        (infer("UINT8", &[2], b"\x2a\x00"), 25, "cannot carry typed contents"),
        (infer("UINT8", &[], b"\x1d\0\0\0\0"), 24, "a known field of another wire type"),
        (and(b"\x38\x00"), 29, "a known field of another wire type"),
        (and(b"\x28\x00"), 29, "a known field of another wire type"),
        (and(b"\x32\x03\x0a\x01x"), 33, "field \"outputs\": expected \"output\", got \"x\""),
        (and(b"\x3a\x05abc"), 31, "a length exceeds the rest of the message"),
        (and(b"\x1a\x01\xff"), 29, "field \"id\": not UTF-8"),
    ];
    cases_of(Encoding::Kserve, cases)
}

/// Returns a request for `input` of two items with typed contents.
fn infer_typed(datatype: &str, contents: &[u8]) -> Vec<u8> {
    let contents = [&[0x2a, contents.len() as u8], contents].concat();
    let request = infer(datatype, &[2], &contents);
    request[..request.len() - RAW.len()].to_vec()
}

pub(crate) fn typed() -> Vec<Case> {
    let right = || infer_typed("UINT8", b"\x22\x02\x07\x08");
    let and = |more: &[u8]| [&right()[..], more].concat();
    let without_contents = infer("UINT8", &[2], b"")[..25].to_vec();
    let floats = [&b"\x32\x08"[..], &[0; 8]].concat();
    let minus_129 = b"\x12\x0b\xff\xfe\xff\xff\xff\xff\xff\xff\xff\x01\x00";
    let long = b"\x1a\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00";
    let cases: Vec<(Vec<u8>, usize, &'static str)> = vec![
        (b"".to_vec(), 0, "field \"model_name\": expected \"echo\", got \"\""),
        (b"\x0a\x04echo".to_vec(), 6, "field \"tensors\": expected one, got none"),
        (without_contents, 25, "missing: expected typed contents or raw_input_contents"),
        (and(RAW), 33, "cannot carry raw_input_contents; send the tensor as typed contents"),
        (infer_typed("FP16", &floats), 17, "dtype <f2: protobuf has no such number"),
        (
            infer_typed("FP64", &floats),
            28,
            "expected fp64_contents for dtype <f8, got fp32_contents",
        ),
        (
            infer_typed("INT8", b"\x22\x02\x07\x08"),
            28,
            "expected int_contents for dtype |i1, got uint_",
        ),
        (infer_typed("FP32", b"\x32\x04\0\0\0\0"), 26, "need 8 bytes of data, got 4"),
        (infer_typed("UINT8", b"\x22\x03\x07\x08\x09"), 27, "need 2 bytes of data, got 3"),
        (infer_typed("UINT8", b""), 27, "need 2 bytes of data, got 0"),
        (infer_typed("UINT8", b"\x22\x03\x80\x02\x08"), 29, "an integer out of range of the dtype"),
        (infer_typed("INT8", minus_129), 28, "an integer out of range of the dtype"),
        (infer_typed("INT64", long), 29, "a varint beyond 64 bits"),
        (infer_typed("INT32", b"\x12\x02\x07\x80"), 29, "the list ends inside a number"),
        (infer_typed("FP32", b"\x32\x07\0\0\0\0\0\0\0"), 28, "the list ends inside a number"),
        (infer_typed("INT32", b"\x12\x01\x07\x1a\x01\x08"), 30, "numbers in more than one list"),
        (infer_typed("INT32", b"\x42\x01x"), 27, "cannot carry texts in bytes_contents"),
        (infer_typed("INT32", b"\x40\x01"), 27, "a known field of another wire type"),
        (infer_typed("INT32", b"\x15\0\0\0\0"), 27, "a known field of another wire type"),
        (infer_typed("INT32", b"\x12\x05\x07"), 29, "a length exceeds the rest of the message"),
        (infer("UINT8", &[], b"\x28\x00"), 24, "a known field of another wire type"),
    ];
    cases_of(Encoding::KserveTyped, cases)
}

pub(crate) fn http() -> Vec<Case> {
    let tensor = |members: &str| {
        format!(r#"{{"inputs":[{{{members}}}],"parameters":{{"binary_data_output":true}}}}ab"#)
    };
    let whole =
        r#""name":"input","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}"#;
    let with = |old: &str, new: &str| tensor(&whole.replace(old, new)).into_bytes();
    let right = || with("", "");
    let silent = || format!(r#"{{"inputs":[{{{whole}}}]}}ab"#);
    let named = |name: &str| {
        format!(r#"{{"inputs":[{{{whole}}}],"outputs":[{{"name":"{name}"}}]}}ab"#).into_bytes()
    };
    let early = right()[..40].to_vec();
    let cases: Vec<(Vec<u8>, usize, &'static str)> = vec![
        (b"".to_vec(), 0, "expected an object"),
        (b"{}".to_vec(), 2, "field \"inputs\": missing"),
        (early, 38, "the string does not end"),
        (br#"{"inputs":[]}"#.to_vec(), 10, "expected one tensor, got none"),
        (with("}", "}},{"), 10, "expected one tensor, got more"),
        (with("input", "x"), 19, "field \"name\": expected \"input\", got \"x\""),
        (with("UINT8", "FP8"), 38, "field \"datatype\": \"FP8\" is not one of FP32"),
        (with("UINT8", "BYTES"), 38, "\"BYTES\" is not one of"),
        (with("[2]", "[3]"), 137, "need 3 bytes of data, got 2"),
        (with("[2]", "[-2]"), 55, "expected an integer that is not negative"),
        (with("[2]", "[2.5]"), 56, "expected a comma or the end of the list"),
        (with("size\":2", "size\":1"), 71, "\"binary_data_size\": 1, but 2 bytes follow"),
        (with("size\":2", "size\":3"), 71, "\"binary_data_size\": 3, but 2 bytes follow"),
        (with("size\":2", "size\":99999999999999999999"), 71, "overflow"),
        (with("binary_data_size", "size"), 82, "field \"binary_data_size\": missing"),
        (with("\"parameters\"", "\"data\""), 65, "cannot carry a tensor as data; send its bytes"),
        (with("\"shape\":[2]", "\"shape\":[2],\"shape\":[2]"), 66, "field \"shape\": given twice"),
        (silent().into_bytes(), 96, "\"binary_data_output\": expected true, here or"),
        (named("x"), 106, "field \"outputs\": expected \"output\", got \"x\""),
        (named("output"), 126, "\"binary_data_output\": expected true"),
    ];
    cases_of(Encoding::KserveHttp, cases)
}
