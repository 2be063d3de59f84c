//! Nested lists as a user of a JSON library writes them; the library forms of `json` share this.
//!
//! A user knows the type of his list and declares it: `data: Vec<Vec<f64>>`. A codec gets lists of
//! any type, so it guesses it from the text: the dtype from the last `"dtype"`, the rank from the
//! first brackets. A list of rank 1 to 3 is then parsed once, as that type. Other ranks, and
//! messages that are not of the guessed type, are parsed as a tree, which finds the error if there
//! is one. A reply is serialized from the array's bytes, without a list of lists.
//!
//! Differences from `json`: NaN, Infinity and `1e400` are refused; `-0` is -0.0 in a float array;
//! `1.0` in an integer array is read as a double and must be below 2^53; the output is compact,
//! with small numbers as `1e-7`. A tree takes 16 times the memory of its shortest text.

use std::fmt::Debug;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Number, Value};

use crate::array::{ArrayView, DType, Kind, Order, RANK_MAX, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::error::{CodecError, Result};
use super::json::write::check as check_lists;
use super::json_item::{Item, is_plain};

/// Library with an interface for serde.
pub(super) trait JsonLibrary: Debug + Send + Sync {
    const CODEC: Codec;

    /// False to parse every list as a tree.
    const IS_TYPED: bool = true;

    /// False if the library reads `-0.0` as +0.0.
    const HAS_NEGATIVE_ZERO: bool = true;

    fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Message<T>>;

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<()>;
}

#[derive(Deserialize)]
pub(super) struct Message<T> {
    pub(super) data: T,
    pub(super) dtype: String,
    pub(super) buffer: Option<IgnoredAny>,
}

#[derive(Serialize)]
struct Reply<'a, T> {
    data: T,
    dtype: &'a str,
}

/// Evaluates an expression with the type of the items of a dtype that is not complex.
macro_rules! with_item_of {
    ($dtype:expr, $item:ident => $then:expr) => {
        match ($dtype.kind(), $dtype.item_size()) {
            (Kind::Bool, _) => with_item_of!(@ bool, $item, $then),
            (Kind::Int, 1) => with_item_of!(@ i8, $item, $then),
            (Kind::Int, 2) => with_item_of!(@ i16, $item, $then),
            (Kind::Int, 4) => with_item_of!(@ i32, $item, $then),
            (Kind::Int, _) => with_item_of!(@ i64, $item, $then),
            (Kind::Uint, 1) => with_item_of!(@ u8, $item, $then),
            (Kind::Uint, 2) => with_item_of!(@ u16, $item, $then),
            (Kind::Uint, 4) => with_item_of!(@ u32, $item, $then),
            (Kind::Uint, _) => with_item_of!(@ u64, $item, $then),
            (Kind::Float | Kind::Complex, _) => with_item_of!(@ f64, $item, $then),
        }
    };
    (@ $type:ty, $item:ident, $then:expr) => {{
        type $item = $type;
        $then
    }};
}

impl<L: JsonLibrary> ArrayCodec for L {
    fn id(&self) -> Codec {
        L::CODEC
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let typed = Some(body).filter(|_| L::IS_TYPED).and_then(guess).and_then(|(dtype, rank)| {
            let shape = with_item_of!(dtype, Item => match rank {
                1 => typed::<L, Vec<Item>>(body, dtype, rank, scratch),
                2 => typed::<L, Vec<Vec<Item>>>(body, dtype, rank, scratch),
                3 => typed::<L, Vec<Vec<Vec<Item>>>>(body, dtype, rank, scratch),
                _ => None,
            })?;
            Some((dtype, shape))
        });
        let (dtype, shape) = typed.map_or_else(|| tree::<L>(body, scratch), Ok)?;
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(L::CODEC.name()))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        self.check(array)?;
        let (dtype, dims, data) = (array.dtype(), array.shape().dims(), array.data());
        with_item_of!(dtype, Item => {
            let data = Rows { dims, data, dtype, items: PhantomData::<Item> };
            L::write(&Reply { data, dtype: dtype.name() }, out)
        })?;
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        check(array, L::HAS_NEGATIVE_ZERO).map_err(unsupported::<L>)
    }
}

fn unsupported<L: JsonLibrary>(what: String) -> CodecError {
    CodecError::Unsupported { encoding: L::CODEC.name(), at: None, what }
}

/// Returns the dtype and the rank that the text of a message seems to have.
fn guess(body: &[u8]) -> Option<(DType, usize)> {
    const NAME: &[u8] = b"\"dtype\"";
    let rest = body.get(memchr::memmem::rfind(body, NAME)? + NAME.len()..)?.trim_ascii_start();
    let name = rest.strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let dtype = DType::from_bytes(&name[..memchr::memchr(b'"', name)?])?;
    let brackets = body.get(memchr::memchr(b'[', body)?..)?.iter();
    let brackets = brackets.filter(|byte| !byte.is_ascii_whitespace());
    let is_list = dtype.kind() != Kind::Complex;
    is_list.then(|| (dtype, brackets.take_while(|byte| **byte == b'[').count()))
}

/// Reads a message whose `data` has the type `T`; `None` leaves others and faults to [`tree`].
fn typed<L: JsonLibrary, T: Data>(
    body: &[u8],
    dtype: DType,
    rank: usize,
    out: &mut Vec<u8>,
) -> Option<Shape> {
    let message = L::read::<T>(body).ok()?;
    let is_it = DType::parse(&message.dtype) == Ok(dtype) && message.buffer.is_none();
    let mut dims = [None; 3];
    out.clear();
    message.data.flatten(dims.get_mut(..rank).filter(|_| is_it)?, dtype, out)?;
    let dims: Vec<u64> = dims.iter().map_while(|dim| *dim).collect();
    Shape::new(&dims).ok()
}

/// Nested list, or one item.
trait Data: DeserializeOwned {
    /// Appends the items to `out` and sets the lengths that are not known yet. Returns `None` for
    /// lists of different lengths.
    fn flatten(&self, dims: &mut [Option<u64>], dtype: DType, out: &mut Vec<u8>) -> Option<()>;

    fn flatten_all(
        all: &[Self],
        dims: &mut [Option<u64>],
        dtype: DType,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        all.iter().try_for_each(|data| data.flatten(dims, dtype, out))
    }
}

impl<T: Data> Data for Vec<T> {
    fn flatten(&self, dims: &mut [Option<u64>], dtype: DType, out: &mut Vec<u8>) -> Option<()> {
        let (dim, inner) = dims.split_first_mut()?;
        let len = self.len() as u64;
        if *dim.get_or_insert(len) != len {
            return None;
        }
        T::flatten_all(self, inner, dtype, out)
    }
}

impl<T: Item> Data for T {
    fn flatten(&self, _: &mut [Option<u64>], dtype: DType, out: &mut Vec<u8>) -> Option<()> {
        self.put(dtype, out);
        Some(())
    }

    /// Copies the items as a user does who has a list of the right type: without a look at the
    /// dtype for each.
    fn flatten_all(
        all: &[T],
        _: &mut [Option<u64>],
        dtype: DType,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        if !is_plain::<T>(dtype) {
            all.iter().for_each(|item| item.put(dtype, out));
            return Some(());
        }
        let start = out.len();
        out.resize(start + size_of_val(all), 0);
        let slots = out[start..].chunks_exact_mut(size_of::<T>());
        slots.zip(all).for_each(|(slot, item)| item.write_little(slot));
        Some(())
    }
}

/// Array that serializes as a nested list of `T`.
struct Rows<'a, T> {
    dims: &'a [u64],
    data: &'a [u8],
    dtype: DType,
    items: PhantomData<T>,
}

impl<T: Item> Serialize for Rows<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Rows { dims, data, dtype, items } = *self;
        let size = dtype.item_size();
        match dims {
            [] => T::get(data, dtype).serialize(serializer),
            [_] if is_plain::<T>(dtype) => {
                serializer.collect_seq(data.chunks_exact(size_of::<T>()).map(T::read_little))
            }
            [_] => serializer.collect_seq(data.chunks_exact(size).map(|item| T::get(item, dtype))),
            [len, dims @ ..] => {
                let bytes = data.len() / *len as usize;
                let row = |at| Rows { dims, data: &data[at * bytes..][..bytes], dtype, items };
                serializer.collect_seq((0..*len as usize).map(row))
            }
        }
    }
}

/// Finds a reason why a JSON library cannot carry `array`; serde_json would write NaN as null.
fn check(array: &ArrayView<'_>, has_negative_zero: bool) -> Result<(), String> {
    check_lists(array)?;
    let (dtype, data) = (array.dtype(), array.data());
    if dtype.kind() == Kind::Bool && data.iter().any(|byte| *byte > 1) {
        return Err("a bool that is neither 0 nor 1".to_owned());
    }
    if dtype.kind() != Kind::Float {
        return Ok(());
    }
    let is_carried = |value: &f64| {
        value.is_finite() && (has_negative_zero || *value != 0.0 || value.is_sign_positive())
    };
    if is_plain::<f64>(dtype) {
        // Without an early end this is a few instructions for several items.
        let plain = data.chunks_exact(size_of::<f64>()).map(f64::read_little);
        if plain.fold(true, |all, value| all & is_carried(&value)) {
            return Ok(());
        }
    }
    let mut floats = data.chunks_exact(dtype.item_size()).map(|item| f64::get(item, dtype));
    floats.find(|value| !is_carried(value)).map_or(Ok(()), |value| Err(format!("{value:?}")))
}

/// Reads a message whose list may have any rank, or that has a fault.
fn tree<L: JsonLibrary>(body: &[u8], scratch: &mut Vec<u8>) -> Result<(DType, Shape)> {
    let name = L::CODEC.name();
    scratch.clear();
    let message = L::read::<Value>(body)?;
    if message.buffer.is_some() {
        return Err(CodecError::field(name, "buffer", "not allowed together with data"));
    }
    let dtype = DType::parse(&message.dtype).map_err(CodecError::array(name))?;
    if dtype.kind() == Kind::Complex {
        return Err(unsupported::<L>(format!("complex numbers ({dtype})")));
    }
    let mut list = Tree { dims: [None; RANK_MAX], rank: None, dtype, out: scratch };
    list.read(&message.data, 0).map_err(|what| CodecError::field(name, "data", what))?;
    let dims: Vec<u64> = list.dims.iter().map_while(|dim| *dim).collect();
    Ok((dtype, Shape::new(&dims).map_err(CodecError::array(name))?))
}

struct Tree<'a> {
    dims: [Option<u64>; RANK_MAX],
    rank: Option<usize>,
    dtype: DType,
    out: &'a mut Vec<u8>,
}

const UNEVEN: &str = "lists of different lengths or depths";

impl Tree<'_> {
    fn read(&mut self, value: &Value, depth: usize) -> Result<(), &'static str> {
        let Value::Array(list) = value else {
            self.innermost(depth)?;
            return self.item(value);
        };
        let dim = self.dims.get_mut(depth).ok_or("lists nest deeper than 64")?;
        let len = list.len() as u64;
        if *dim.get_or_insert(len) != len || self.rank.is_some_and(|rank| depth >= rank) {
            return Err(UNEVEN);
        }
        if list.is_empty() {
            self.innermost(depth + 1)?;
        }
        list.iter().try_for_each(|value| self.read(value, depth + 1))
    }

    fn innermost(&mut self, depth: usize) -> Result<(), &'static str> {
        if *self.rank.get_or_insert(depth) == depth { Ok(()) } else { Err(UNEVEN) }
    }

    fn item(&mut self, value: &Value) -> Result<(), &'static str> {
        let (kind, dtype) = (self.dtype.kind(), self.dtype);
        match (kind, value) {
            (Kind::Bool, Value::Bool(value)) => value.put(dtype, self.out),
            (Kind::Float, Value::Number(number)) => {
                let value = number.as_f64().ok_or("a number beyond the range of a double")?;
                value.put(dtype, self.out);
            }
            (_, Value::Number(number)) => {
                let size = dtype.item_size();
                let max = match kind {
                    Kind::Bool => 1,
                    Kind::Int => (1 << (8 * size - 1)) - 1,
                    _ => (1 << (8 * size)) - 1,
                };
                let min = if kind == Kind::Int { -1 - max } else { 0 };
                let value = integer(number).filter(|value| (min..=max).contains(value));
                let at = self.out.len();
                self.out.extend_from_slice(&value.ok_or(OUT_OF_RANGE)?.to_le_bytes()[..size]);
                if dtype.order() == Order::Big {
                    self.out[at..].reverse();
                }
            }
            _ => return Err("an item whose type does not match the dtype"),
        }
        Ok(())
    }
}

const OUT_OF_RANGE: &str = "not an integer, or out of range for its dtype";

/// Returns an integer, also if it has the form of a float. A float of 2^53 or more may have been
/// rounded.
fn integer(number: &Number) -> Option<i128> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let float = || number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < EXACT_MAX);
    number.as_i128().or_else(|| float().map(|value| value as i128))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Encoding, implementations};

    fn libraries() -> impl Iterator<Item = &'static dyn ArrayCodec> {
        implementations().filter(|codec| codec.encoding() == Encoding::Json && !codec.id().is_own())
    }

    fn decode(
        codec: &dyn ArrayCodec,
        data: &str,
        dtype: &str,
    ) -> Result<(Vec<u64>, Vec<u8>), String> {
        let body = format!(r#"{{"data": {data}, "dtype": "{dtype}"}}"#);
        let mut scratch = b"old".to_vec();
        let array = codec.decode(body.as_bytes(), &mut scratch);
        let array = array.map_err(|error| error.to_string())?;
        Ok((array.shape().dims().to_vec(), array.data().to_vec()))
    }

    #[test]
    fn lists_of_any_rank_and_type_are_read() {
        for codec in libraries() {
            for (data, dtype, dims, bytes) in [
                ("[1, 2.5]", "<f4", &[2][..], &b"\0\0\x80\x3f\0\0\x20\x40"[..]),
                ("[[1], [-2]]", ">i2", &[2, 1], &[0, 1, 255, 254]),
                ("[255, 0]", "uint8", &[2], &[255, 0]),
                ("[ [\n[1, 2]], [[3, 4]]]", "|i1", &[2, 1, 2], &[1, 2, 3, 4]),
                ("[[[[7]]]]", "|u1", &[1, 1, 1, 1], &[7]),
                ("[[], []]", "<f8", &[2, 0], &[]),
                ("true", "|b1", &[], &[1]),
                ("[1, false, 0.0]", "|b1", &[3], &[1, 0, 0]),
                ("[1.0, 1e2]", "|u1", &[2], &[1, 100]),
            ] {
                let want = Ok((dims.to_vec(), bytes.to_vec()));
                assert_eq!(decode(codec, data, dtype), want, "{} {data}", codec.name());
            }
        }
    }

    #[test]
    fn bad_lists_are_refused() {
        let deep = "[".repeat(65) + &"]".repeat(65);
        for codec in libraries() {
            for (data, dtype, want) in [
                ("[[1], [2, 3]]", "<f8", UNEVEN),
                ("[[1], 2]", "<f8", UNEVEN),
                ("[1, [2]]", "<f8", UNEVEN),
                ("[[], [[]]]", "<f8", UNEVEN),
                ("[null]", "<f8", "type does not match the dtype"),
                ("[1.5]", "<i8", "not an integer"),
                ("[9007199254740993.0]", "<i8", "not an integer"),
                ("[256]", "|u1", "out of range"),
                ("[-129]", "|i1", "out of range"),
                ("[2]", "|b1", "out of range"),
                ("[true]", "|u1", "type does not match the dtype"),
                ("[1]", "|O", "dtype \"|O\" is not supported"),
                ("[1]", "<c8", "cannot carry complex numbers"),
                (&deep, "<f8", "lists nest deeper than 64"),
                ("[NaN]", "<f8", ""),
                ("[1", "<f8", ""),
            ] {
                let error = decode(codec, data, dtype).unwrap_err();
                assert!(error.starts_with(codec.name()) && error.contains(want), "{error}");
            }
        }
    }

    #[test]
    fn the_type_is_guessed_from_the_text() {
        let guessed = |body: &str| guess(body.as_bytes()).map(|(dtype, rank)| (dtype.name(), rank));
        assert_eq!(guessed(r#"{"data": [ [1]], "dtype" : "float32"}"#), Some(("<f4", 2)));
        assert_eq!(guessed(r#"{"dtype":"|u1","data":[[[1]]]}"#), Some(("|u1", 3)));
        for other in
            ["", "[", r#"{"dtype"#, r#"{"dtype": "<c8", "data": [1]}"#, r#""dtype": "<f8"}"#]
        {
            assert_eq!(guessed(other), None, "{other}");
        }
    }

    #[test]
    fn a_wrong_guess_does_no_harm() {
        // sonic-rs gets no unknown members.
        for codec in libraries().filter(|codec| codec.id() != Codec::JsonSonic) {
            for body in [
                r#"{"x": "\"dtype\": \"|u1\"", "data": [300], "dtype": "<i2"}"#,
                r#"{"data": [300], "dtype": "<i2", "x": {"dtype": "|u1"}}"#,
                r#"{"x": [[[]]], "data": [300], "dtype": "<i2"}"#,
            ] {
                let mut scratch = Vec::new();
                let array = codec.decode(body.as_bytes(), &mut scratch).unwrap();
                assert_eq!(
                    (array.shape().dims(), array.data()),
                    (&[1][..], &[44, 1][..]),
                    "{body}"
                );
            }
        }
    }
}
