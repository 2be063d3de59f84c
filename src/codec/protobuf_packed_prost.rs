//! `protobuf_packed:prost`: the generated message with a `Vec` of numbers.
//!
//! An echo hands the numbers on, as a handler does that computes with a `Vec<f64>`: they are
//! decoded and encoded, but not made into the bytes of an array. Difference from
//! `protobuf_packed`: a known field of another wire type is refused, not skipped.

use bytes::Buf;
use prost::Message as _;

use crate::array::{ArrayError, ArrayView, DType, Order, Shape};
use crate::axis::Codec;
use crate::generated_packed::packed_array::Items;
use crate::generated_packed::{
    Bools, Doubles, Floats, Int32s, Int64s, PackedArray, UInt32s, UInt64s,
};

use super::array_codec::{ArrayCodec, Effort, Encoded, OwningEcho};
use super::error::{CodecError, Result};
use super::packed_numbers::{List, check, unsupported};
use super::protobuf_packed::{LEFT_OUT, wrong_list};

#[derive(Clone, Copy, Debug)]
pub struct ProtobufPackedProst;

const NAME: &str = "protobuf_packed:prost";

impl ArrayCodec for ProtobufPackedProst {
    fn id(&self) -> Codec {
        Codec::ProtobufPackedProst
    }

    fn effort(&self, _body: &[u8]) -> Effort {
        Effort::Converts
    }

    fn decode<'a>(&self, body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let message = PackedArray::decode(body).map_err(CodecError::library(NAME))?;
        let (dtype, shape) = check_message(&message)?;
        scratch.clear();
        if let Some(items) = &message.items {
            put_items(items, dtype, scratch);
        }
        ArrayView::new(dtype, shape, scratch).map_err(CodecError::array(NAME))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let (list, dtype) = (check(NAME, array)?, array.dtype());
        let message = PackedArray {
            dtype: dtype.name().to_owned(),
            shape: array.shape().dims().to_vec(),
            items: Some(items_of(list, array)),
        };
        let start = out.len();
        write(&message, out);
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        check(NAME, array).map(|_| ())
    }

    fn left_out(&self) -> &'static str {
        LEFT_OUT
    }

    fn echo<'a>(
        &self,
        body: &'a [u8],
        _scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        let start = out.len();
        echo(body, out)?;
        Ok(Encoded { head_len: out.len() - start, payload: &[] })
    }

    fn owning_echo(&self) -> Option<OwningEcho> {
        Some(echo)
    }
}

fn echo(body: impl Buf, out: &mut Vec<u8>) -> Result<()> {
    let mut message = PackedArray::decode(body).map_err(CodecError::library(NAME))?;
    check_echo(&mut message)?;
    write(&message, out);
    Ok(())
}

/// Checks a message, which is then sent back, and makes the name of the dtype canonical.
pub fn check_echo(message: &mut PackedArray) -> Result<()> {
    let (dtype, shape) = check_message(message)?;
    check_len(NAME, message.items.as_ref(), dtype, &shape)?;
    if message.dtype != dtype.name() {
        message.dtype = dtype.name().to_owned();
    }
    if message.items.is_none() {
        let empty = ArrayView::new(dtype, shape, &[]).map_err(CodecError::array(NAME))?;
        message.items = List::for_dtype(dtype).map(|list| items_of(list, &empty));
    }
    Ok(())
}

/// Checks that there is a number for each item of an array.
pub(super) fn check_len(
    encoding: &'static str,
    items: Option<&Items>,
    dtype: DType,
    shape: &Shape,
) -> Result<()> {
    let items = items.map_or(0, len) as u64;
    let (want, got) = (shape.byte_len(dtype), items * dtype.item_size() as u64);
    let want = want.map_err(CodecError::array(encoding))?;
    if want != got {
        return Err(CodecError::array(encoding)(ArrayError::Length { want, got }));
    }
    Ok(())
}

/// Checks that each number is one of the dtype.
fn check_message(message: &PackedArray) -> Result<(DType, Shape)> {
    if message.dtype.is_empty() {
        return Err(CodecError::field(NAME, "dtype", "missing"));
    }
    let dtype = DType::parse(&message.dtype).map_err(CodecError::array(NAME))?;
    let list = List::for_dtype(dtype).ok_or_else(|| unsupported(NAME, dtype))?;
    let shape = Shape::new(&message.shape).map_err(CodecError::array(NAME))?;
    if let Some(items) = &message.items {
        if list_of(items) != list {
            return Err(wrong_list(NAME, list, dtype));
        }
        if !are_in_range(items, dtype) {
            return Err(CodecError::library(NAME)("an integer out of range of the dtype"));
        }
    }
    Ok((dtype, shape))
}

/// Reserves the length first, as `encode_to_vec` does.
fn write(message: &PackedArray, out: &mut Vec<u8>) {
    out.reserve(message.encoded_len());
    message.encode_raw(out);
}

pub(super) fn list_of(items: &Items) -> List {
    match items {
        Items::Doubles(_) => List::Doubles,
        Items::Floats(_) => List::Floats,
        Items::Int32s(_) => List::Int32s,
        Items::Int64s(_) => List::Int64s,
        Items::Uint32s(_) => List::UInt32s,
        Items::Uint64s(_) => List::UInt64s,
        Items::Bools(_) => List::Bools,
    }
}

fn len(items: &Items) -> usize {
    match items {
        Items::Doubles(list) => list.values.len(),
        Items::Floats(list) => list.values.len(),
        Items::Int32s(list) => list.values.len(),
        Items::Int64s(list) => list.values.len(),
        Items::Uint32s(list) => list.values.len(),
        Items::Uint64s(list) => list.values.len(),
        Items::Bools(list) => list.values.len(),
    }
}

pub(super) fn are_in_range(items: &Items, dtype: DType) -> bool {
    match (items, dtype.item_size()) {
        (Items::Int32s(list), 1) => list.values.iter().all(|&item| i8::try_from(item).is_ok()),
        (Items::Int32s(list), 2) => list.values.iter().all(|&item| i16::try_from(item).is_ok()),
        (Items::Uint32s(list), 1) => list.values.iter().all(|&item| u8::try_from(item).is_ok()),
        (Items::Uint32s(list), 2) => list.values.iter().all(|&item| u16::try_from(item).is_ok()),
        _ => true,
    }
}

/// Appends the items of an array. Those of small integers are the first bytes of the number.
pub(super) fn put_items(items: &Items, dtype: DType, out: &mut Vec<u8>) {
    match items {
        Items::Doubles(list) => put(&list.values, f64::to_le_bytes, dtype, out),
        Items::Floats(list) => put(&list.values, f32::to_le_bytes, dtype, out),
        Items::Int32s(list) => put(&list.values, i32::to_le_bytes, dtype, out),
        Items::Int64s(list) => put(&list.values, i64::to_le_bytes, dtype, out),
        Items::Uint32s(list) => put(&list.values, u32::to_le_bytes, dtype, out),
        Items::Uint64s(list) => put(&list.values, u64::to_le_bytes, dtype, out),
        Items::Bools(list) => put(&list.values, |item| [u8::from(item)], dtype, out),
    }
}

fn put<T: Copy, const SIZE: usize>(
    values: &[T],
    bytes: impl Fn(T) -> [u8; SIZE],
    dtype: DType,
    out: &mut Vec<u8>,
) {
    let size = dtype.item_size();
    out.reserve(values.len() * size);
    for &value in values {
        let mut item = bytes(value);
        if dtype.order() == Order::Big {
            item[..size].reverse();
        }
        out.extend_from_slice(&item[..size]);
    }
}

pub(super) fn items_of(list: List, array: &ArrayView<'_>) -> Items {
    match list {
        List::Doubles => Items::Doubles(Doubles { values: get(array, f64::from_le_bytes) }),
        List::Floats => Items::Floats(Floats { values: get(array, f32::from_le_bytes) }),
        List::Int64s => Items::Int64s(Int64s { values: get(array, i64::from_le_bytes) }),
        List::UInt64s => Items::Uint64s(UInt64s { values: get(array, u64::from_le_bytes) }),
        List::Bools => Items::Bools(Bools { values: get(array, |[item]| item != 0) }),
        List::Int32s => {
            let values = match array.dtype().item_size() {
                1 => get(array, |item| i8::from_le_bytes(item).into()),
                2 => get(array, |item| i16::from_le_bytes(item).into()),
                _ => get(array, i32::from_le_bytes),
            };
            Items::Int32s(Int32s { values })
        }
        List::UInt32s => {
            let values = match array.dtype().item_size() {
                1 => get(array, |item| u8::from_le_bytes(item).into()),
                2 => get(array, |item| u16::from_le_bytes(item).into()),
                _ => get(array, u32::from_le_bytes),
            };
            Items::Uint32s(UInt32s { values })
        }
    }
}

fn get<T, const SIZE: usize>(array: &ArrayView<'_>, item: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    let (items, _) = array.data().as_chunks::<SIZE>();
    let number = |bytes: &[u8; SIZE]| {
        let mut bytes = *bytes;
        if array.dtype().order() == Order::Big {
            bytes.reverse();
        }
        item(bytes)
    };
    items.iter().map(number).collect()
}
