//! `json:serde`: serde_json with `float_roundtrip`, without which every tenth number changes.
//!
//! A user who wants speed writes `data: Vec<f64>`, so this form reads and writes 1-d arrays of
//! floats. For other ranks and dtypes the same message is read again with `data: Value`, as a user
//! writes it for arrays of any shape. A 1-d list of floats pays nothing for the second form.
//!
//! Differences from `json`: NaN, Infinity and `1e400` are refused; `-0` is -0.0 in a float array
//! and refused in an integer array; the output is compact, with small numbers as `1e-7`. A tree
//! takes 16 times the memory of its shortest text.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::array::{ArrayView, DType, Kind, Order, RANK_MAX, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::error::{CodecError, Result};
use super::json::f16;
use super::json::write::check as check_lists;

#[derive(Clone, Copy, Debug)]
pub struct JsonSerde;

const NAME: &str = "json:serde";

#[derive(Deserialize)]
struct Message<T> {
    data: T,
    dtype: String,
    buffer: Option<IgnoredAny>,
}

#[derive(Serialize)]
struct Reply<'a, T> {
    data: T,
    dtype: &'a str,
}

impl ArrayCodec for JsonSerde {
    fn id(&self) -> Codec {
        Codec::JsonSerde
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        scratch.clear();
        if let Ok(message) = serde_json::from_slice::<Message<Vec<f64>>>(body) {
            let dtype = check(&message)?;
            if dtype.kind() == Kind::Float {
                let shape = Shape::new(&[message.data.len() as u64]);
                message.data.iter().for_each(|&value| put_float(value, dtype, scratch));
                let shape = shape.map_err(CodecError::array(NAME))?;
                return ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME));
            }
        }
        let message: Message<Value> =
            serde_json::from_slice(body).map_err(CodecError::library(NAME))?;
        let dtype = check(&message)?;
        let mut list = List { dims: [None; RANK_MAX], rank: None, dtype, bytes: scratch };
        list.read(&message.data, 0)?;
        let dims: Vec<u64> = list.dims.iter().map_while(|dim| *dim).collect();
        let shape = Shape::new(&dims).map_err(CodecError::array(NAME))?;
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        let dtype = array.dtype().name();
        check_lists(array).map_err(unsupported)?;
        let written = match (array.dtype().kind(), array.shape().dims()) {
            (Kind::Float, [_]) => {
                let data = floats(array)?;
                serde_json::to_writer(&mut *out, &Reply { data, dtype })
            }
            (_, dims) => {
                let data = tree(array, dims, &mut array.data())?;
                serde_json::to_writer(&mut *out, &Reply { data, dtype })
            }
        };
        written.map_err(CodecError::library(NAME))?;
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }
}

fn unsupported(what: String) -> CodecError {
    CodecError::Unsupported { encoding: NAME, at: None, what }
}

fn bad(what: &str) -> CodecError {
    CodecError::field(NAME, "data", what)
}

fn check<T>(message: &Message<T>) -> Result<DType> {
    if message.buffer.is_some() {
        return Err(CodecError::field(NAME, "buffer", "not allowed together with data"));
    }
    let dtype = DType::parse(&message.dtype).map_err(CodecError::array(NAME))?;
    match dtype.kind() {
        Kind::Complex => Err(unsupported(format!("complex numbers ({dtype})"))),
        _ => Ok(dtype),
    }
}

struct List<'a> {
    dims: [Option<u64>; RANK_MAX],
    rank: Option<usize>,
    dtype: DType,
    bytes: &'a mut Vec<u8>,
}

impl List<'_> {
    fn read(&mut self, value: &Value, depth: usize) -> Result<()> {
        let Value::Array(list) = value else {
            self.innermost(depth)?;
            return self.item(value);
        };
        let dim = self.dims.get_mut(depth).ok_or_else(|| bad("lists nest deeper than 64"))?;
        let len = list.len() as u64;
        if *dim.get_or_insert(len) != len || self.rank.is_some_and(|rank| depth >= rank) {
            return Err(bad("lists of different lengths or depths"));
        }
        if list.is_empty() {
            self.innermost(depth + 1)?;
        }
        list.iter().try_for_each(|value| self.read(value, depth + 1))
    }

    fn innermost(&mut self, depth: usize) -> Result<()> {
        if *self.rank.get_or_insert(depth) != depth {
            return Err(bad("lists of different lengths or depths"));
        }
        Ok(())
    }

    fn item(&mut self, value: &Value) -> Result<()> {
        let (kind, size) = (self.dtype.kind(), self.dtype.item_size());
        match (kind, value) {
            (Kind::Bool, Value::Bool(value)) => self.bytes.push(u8::from(*value)),
            (Kind::Float, Value::Number(number)) => {
                let value =
                    number.as_f64().ok_or_else(|| bad("a number beyond the range of a double"))?;
                put_float(value, self.dtype, self.bytes);
            }
            (Kind::Int, Value::Number(number)) => {
                let spare = 64 - 8 * size as u32;
                let fits = |value: &i64| value << spare >> spare == *value;
                let value = number.as_i64().filter(fits).ok_or_else(|| bad(OUT_OF_RANGE))?;
                put(&value.to_le_bytes()[..size], self.dtype, self.bytes);
            }
            (Kind::Uint, Value::Number(number)) => {
                let fits = |value: &u64| value.leading_zeros() >= 64 - 8 * size as u32;
                let value = number.as_u64().filter(fits).ok_or_else(|| bad(OUT_OF_RANGE))?;
                put(&value.to_le_bytes()[..size], self.dtype, self.bytes);
            }
            _ => return Err(bad("an item whose type does not match the dtype")),
        }
        Ok(())
    }
}

const OUT_OF_RANGE: &str = "not an integer, or out of range for its dtype";

fn put_float(value: f64, dtype: DType, out: &mut Vec<u8>) {
    match dtype.item_size() {
        2 => put(&f16::narrow(value).to_le_bytes(), dtype, out),
        4 => put(&(value as f32).to_le_bytes(), dtype, out),
        _ => put(&value.to_le_bytes(), dtype, out),
    }
}

fn put(little: &[u8], dtype: DType, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(little);
    if dtype.order() == Order::Big {
        out[at..].reverse();
    }
}

fn floats(array: &ArrayView<'_>) -> Result<Vec<f64>> {
    let items = array.data().chunks_exact(array.dtype().item_size());
    items.map(|item| finite(get_float(item, array.dtype()))).collect()
}

fn finite(value: f64) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(unsupported(format!("{value}"))) }
}

fn get(item: &[u8], dtype: DType) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..item.len()].copy_from_slice(item);
    if dtype.order() == Order::Big {
        bytes[..item.len()].reverse();
    }
    bytes
}

fn get_float(item: &[u8], dtype: DType) -> f64 {
    let bytes = get(item, dtype);
    let [a, b, c, d, ..] = bytes;
    match item.len() {
        2 => f16::widen(u16::from_le_bytes([a, b])),
        4 => f64::from(f32::from_le_bytes([a, b, c, d])),
        _ => f64::from_le_bytes(bytes),
    }
}

fn tree(array: &ArrayView<'_>, dims: &[u64], data: &mut &[u8]) -> Result<Value> {
    if let Some((&dim, inner)) = dims.split_first() {
        return (0..dim).map(|_| tree(array, inner, data)).collect();
    }
    let dtype = array.dtype();
    let size = dtype.item_size();
    let (item, rest) = data.split_at(size);
    *data = rest;
    let spare = 64 - 8 * size as u32;
    Ok(match dtype.kind() {
        Kind::Bool => match item {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return Err(unsupported("a bool that is neither 0 nor 1".to_owned())),
        },
        Kind::Int => Value::from(i64::from_le_bytes(get(item, dtype)) << spare >> spare),
        Kind::Uint => Value::from(u64::from_le_bytes(get(item, dtype))),
        Kind::Float | Kind::Complex => {
            let value = finite(get_float(item, dtype))?;
            Value::Number(Number::from_f64(value).expect("the value is finite"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(data: &str, dtype: &str) -> Result<(Vec<u64>, Vec<u8>), String> {
        let body = format!(r#"{{"data": {data}, "dtype": "{dtype}"}}"#);
        let mut scratch = b"old".to_vec();
        let array = JsonSerde.decode(body.as_bytes(), &mut scratch);
        let array = array.map_err(|error| error.to_string())?;
        Ok((array.shape().dims().to_vec(), array.data().to_vec()))
    }

    #[test]
    fn lists_of_any_rank_and_type_are_read() {
        assert_eq!(decode("[1, 2.5]", "<f4"), Ok((vec![2], b"\0\0\x80\x3f\0\0\x20\x40".to_vec())));
        assert_eq!(decode("[[1], [-2]]", ">i2"), Ok((vec![2, 1], vec![0, 1, 255, 254])));
        assert_eq!(decode("[255, 0]", "|u1"), Ok((vec![2], vec![255, 0])));
        assert_eq!(decode("[[], []]", "<f8"), Ok((vec![2, 0], vec![])));
        assert_eq!(decode("true", "|b1"), Ok((vec![], vec![1])));
    }

    #[test]
    fn bad_lists_are_refused() {
        let deep = "[".repeat(65) + &"]".repeat(65);
        for (data, dtype, want) in [
            ("[[1], [2, 3]]", "<f8", "different lengths or depths"),
            ("[[1], 2]", "<f8", "different lengths or depths"),
            ("[1, [2]]", "<f8", "different lengths or depths"),
            ("[[], [[]]]", "<f8", "different lengths or depths"),
            ("[null]", "<f8", "type does not match the dtype"),
            ("[1e400]", "<f8", "number out of range"),
            ("[NaN]", "<f8", "expected value"),
            ("[1.0]", "<i8", "not an integer"),
            ("[256]", "|u1", "out of range"),
            ("[-129]", "|i1", "out of range"),
            ("[1]", "|O", "dtype \"|O\" is not supported"),
            ("[1]", "<c8", "cannot carry complex numbers"),
            (&deep, "<f8", "lists nest deeper than 64"),
        ] {
            let error = decode(data, dtype).unwrap_err();
            assert!(error.starts_with("json:serde") && error.contains(want), "{error}");
        }
    }
}
