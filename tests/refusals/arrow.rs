//! Refusals of an Arrow tensor, whose metadata is a flatbuffer.

use ndecho::array::{DType, NdArray, Shape};
use ndecho::codec::{self, Encoding};

use super::{Case, cases_of};

/// Returns the message of an Arrow tensor with `bytes` at `at`.
fn tensor(dtype: &str, dims: &[u64], at: usize, bytes: &[u8]) -> Vec<u8> {
    let (dtype, shape) = (DType::parse(dtype).unwrap(), Shape::new(dims).unwrap());
    let array = NdArray::seeded(dtype, shape, 1).unwrap();
    let codec = codec::implementation(Encoding::Arrow.own()).unwrap();
    let mut body = codec::message(codec, &array.view()).unwrap();
    body[at..at + bytes.len()].copy_from_slice(bytes);
    body
}

/// The flatbuffer has a message at 28 (vtable 16), a tensor at 68 (vtable 54), strides at 108, a
/// shape at 132, dimensions at 184 and 152, and a type at 216; the body begins at 256.
pub(crate) fn cases() -> Vec<Case> {
    let is_cut = tensor("<f8", &[2, 3], 0, b"").split_off(4);
    let is_longer = [&tensor("<f8", &[2, 3], 0, b"")[..], b"x"].concat();
    let messages = [
        (vec![], 0, "the message ends early"),
        (is_cut, 0, "expected ff ff ff ff"),
        (b"\xff\xff\xff\xff\0\0\0\0".to_vec(), 4, "the end of a stream"),
        (is_longer, 40, "field \"bodyLength\": 48 bytes, but 49 follow"),
        (tensor("<i2", &[3], 180, b"\x0c"), 75, "integers of 12 bits: expected 8, 16, 32 or 64"),
    ];
    let words: [(usize, &[u8], usize, &str); 29] = [
        (4, b"\x01\0\x01\0", 4, "the metadata is longer than 64 KiB"),
        (4, b"\0\x02", 8, "a length exceeds the rest of the message"),
        (8, b"\0", 8, "an offset that leaves the metadata"),
        (8, b"\xff\xff\xff\xff", 8, "an offset that leaves the metadata"),
        (28, b"\0\0\0\x80", 28, "a vtable that leaves the metadata"),
        (28, b"\xff\xff\xff\x7f", 28, "a vtable that leaves the metadata"),
        (16, b"\xff\xff", 28, "a vtable that leaves the metadata"),
        (16, b"\x02\0", 28, "a vtable that leaves the metadata"),
        (18, b"\xff\xff", 28, "a table that leaves the metadata"),
        (18, b"\x08\0", 28, "a field that leaves its table"),
        (20, b"\x02\0", 28, "a field that leaves its table"),
        (34, b"\x02", 34, "field \"version\": metadata version 3: expected V4 or V5"),
        (33, b"\x03", 33, "field \"header_type\": RecordBatch: expected Tensor"),
        (33, b"\x09", 33, "field \"header_type\": type 9: expected Tensor"),
        (40, b"\xff\xff\xff\xff\xff\xff\xff\xff", 40, "-1 bytes, but 48 follow"),
        (24, b"\0\0", 28, "field \"header\": missing"),
        (75, b"\x06", 75, "field \"type\": Bool: expected Int or FloatingPoint"),
        (60, b"\0\0", 75, "field \"type\": missing"),
        (222, b"\x03", 75, "field \"type\": precision 3"),
        (62, b"\0\0", 68, "field \"shape\": missing"),
        (132, b"\xff\xff\xff\xff", 132, "a vector that leaves the metadata"),
        (192, &[0xff; 8], 192, "field \"shape\": dimension 0 has the size -1"),
        (199, b"\x40", 256, "array size overflows"),
        (108, b"\x01", 84, "field \"strides\": 1 for 2 dimensions"),
        (112, b"\x10", 112, "field \"strides\": 16 bytes for dimension 0, expected 24"),
        (112, b"\x08\0\0\0\0\0\0\0\x10", 120, "columns first: 16 bytes for dimension 1"),
        (66, b"\0\0", 68, "field \"data\": missing"),
        (88, b"\x08", 88, "field \"data\": offset 8 in the body: expected 0"),
        (96, b"\x31", 88, "field \"data\": 49 bytes in a body of 48"),
    ];
    let words =
        words.map(|(at, bytes, place, what)| (tensor("<f8", &[2, 3], at, bytes), place, what));
    let short = (tensor("<f8", &[2, 3], 96, b"\x28"), 256, "need 48 bytes of data, got 40");
    let ones = tensor("|u1", &[1; 64], 0, b"");
    let count_at = 80 + usize::from(u16::from_le_bytes([ones[80], ones[81]]));
    let many = (tensor("|u1", &[1; 64], count_at, b"\x41"), 80, "65 dimensions, at most 64");
    cases_of(Encoding::Arrow, messages.into_iter().chain(words).chain([short, many]))
}
