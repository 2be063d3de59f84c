//! Numbers of protobuf in lists: those of an array as the values of a repeated field, and back.
//!
//! ```text
//! <f4 <f8              their bytes, which are borrowed in both directions
//! >f4 >f8              their bytes in reverse
//! integers, booleans   varints; a negative one has all 64 bits
//! ```
//! A list may be packed, unpacked or in several parts. The messages with such lists, and the
//! numbers of their fields, are in the files of the codecs.

use crate::array::{ArrayView, DType, Kind, Order};

use super::cursor::Cursor;
use super::error::{CodecError, Result};
use super::protobuf_wire::{Wire, chunk, put_head, put_varint, skip, varint, varint_len};

/// Returns the list for an array, if it carries every item.
pub(super) fn check(encoding: &'static str, array: &ArrayView<'_>) -> Result<List> {
    let dtype = array.dtype();
    let list = List::for_dtype(dtype).ok_or_else(|| unsupported(encoding, dtype))?;
    if list == List::Bools && array.data().iter().any(|&item| item > 1) {
        let what = "a boolean that is neither 0 nor 1".to_owned();
        return Err(CodecError::Unsupported { encoding, at: None, what });
    }
    Ok(list)
}

pub(super) fn unsupported(encoding: &'static str, dtype: DType) -> CodecError {
    let what = format!("dtype {dtype}: protobuf has no such number");
    CodecError::Unsupported { encoding, at: None, what }
}

/// Returns the bytes of items as numbers of a packed list.
pub fn numbers_len(dtype: DType, items: &[u8]) -> u64 {
    match List::for_dtype(dtype) {
        Some(list) if list.is_varints() => numbers(dtype, items).map(varint_len).sum(),
        _ => items.len() as u64,
    }
}

/// Appends the field of a packed list with the items of an array. Returns the bytes that belong
/// behind it, in which case the numbers are borrowed.
pub(super) fn put_list<'a>(
    list: List,
    field: u32,
    array: &ArrayView<'a>,
    numbers_len: u64,
    out: &mut Vec<u8>,
) -> &'a [u8] {
    let (dtype, items) = (array.dtype(), array.data());
    put_head(out, field, numbers_len);
    if list.is_bytes_of(dtype) {
        return items;
    }
    out.reserve(numbers_len as usize);
    put_numbers(dtype, items, out);
    &[]
}

/// Appends items as numbers of a packed list.
pub fn put_numbers(dtype: DType, items: &[u8], out: &mut Vec<u8>) {
    if List::for_dtype(dtype).is_some_and(List::is_varints) {
        return numbers(dtype, items).for_each(|number| put_varint(out, number));
    }
    let start = out.len();
    out.extend_from_slice(items);
    if dtype.order() == Order::Big {
        out[start..].chunks_exact_mut(dtype.item_size()).for_each(<[u8]>::reverse);
    }
}

/// Kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Doubles,
    Floats,
    Int32s,
    Int64s,
    UInt32s,
    UInt64s,
    Bools,
}

impl List {
    pub(super) const ALL: [List; 7] = [
        List::Doubles,
        List::Floats,
        List::Int32s,
        List::Int64s,
        List::UInt32s,
        List::UInt64s,
        List::Bools,
    ];

    /// Returns the list for items of `dtype`.
    pub(super) fn for_dtype(dtype: DType) -> Option<List> {
        match (dtype.kind(), dtype.item_size()) {
            (Kind::Float, 8) => Some(List::Doubles),
            (Kind::Float, 4) => Some(List::Floats),
            (Kind::Float, _) | (Kind::Complex, _) => None,
            (Kind::Int, 8) => Some(List::Int64s),
            (Kind::Int, _) => Some(List::Int32s),
            (Kind::Uint, 8) => Some(List::UInt64s),
            (Kind::Uint, _) => Some(List::UInt32s),
            (Kind::Bool, _) => Some(List::Bools),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            List::Doubles => "doubles",
            List::Floats => "floats",
            List::Int32s => "int32s",
            List::Int64s => "int64s",
            List::UInt32s => "uint32s",
            List::UInt64s => "uint64s",
            List::Bools => "bools",
        }
    }

    pub(super) fn wire(self) -> Wire {
        match self {
            List::Doubles => Wire::Fixed64,
            List::Floats => Wire::Fixed32,
            _ => Wire::Varint,
        }
    }

    pub(super) fn is_varints(self) -> bool {
        self.wire() == Wire::Varint
    }

    /// Returns whether the numbers of the list are the bytes of the array.
    pub(super) fn is_bytes_of(self, dtype: DType) -> bool {
        !self.is_varints() && dtype.order() == Order::Little
    }

    /// Reads the value of a field with numbers, behind its tag, and returns it with its place.
    /// Returns `None`, and reads nothing, if the wire type is neither that of a packed list nor
    /// that of one number.
    pub(super) fn part<'a>(
        self,
        (field, wire): (u32, Wire),
        cursor: &mut Cursor<'a>,
    ) -> Result<Option<(&'a [u8], usize)>> {
        if wire == Wire::Len {
            let part = chunk(cursor)?;
            return Ok(Some((part, cursor.offset() - part.len())));
        }
        if wire != self.wire() {
            return Ok(None);
        }
        let at = cursor.offset();
        skip(cursor, field, wire)?;
        Ok(Some((cursor.between(at..cursor.offset()), at)))
    }

    /// Replaces `items` by the numbers of a packed list.
    fn read(self, dtype: DType, numbers: &[u8], items: &mut Vec<u8>) -> Result<(), &'static str> {
        items.clear();
        let is_big = dtype.order() == Order::Big;
        if !self.is_varints() {
            items.extend_from_slice(numbers);
            if is_big {
                items.chunks_exact_mut(dtype.item_size()).for_each(<[u8]>::reverse);
            }
            return Ok(());
        }
        match (self, dtype.item_size()) {
            (List::Int32s, 1) => {
                each(numbers, is_big, items, |v| i8::try_from(v as i32).ok().map(i8::to_le_bytes))
            }
            (List::Int32s, 2) => {
                each(numbers, is_big, items, |v| i16::try_from(v as i32).ok().map(i16::to_le_bytes))
            }
            (List::UInt32s, 1) => {
                each(numbers, is_big, items, |v| u8::try_from(v as u32).ok().map(u8::to_le_bytes))
            }
            (List::UInt32s, 2) => {
                each(numbers, is_big, items, |v| u16::try_from(v as u32).ok().map(u16::to_le_bytes))
            }
            (List::Bools, _) => each(numbers, is_big, items, |v| Some([u8::from(v != 0)])),
            (List::Int64s | List::UInt64s, _) => {
                each(numbers, is_big, items, |v| Some(v.to_le_bytes()))
            }
            _ => each(numbers, is_big, items, |v| Some((v as u32).to_le_bytes())),
        }
    }
}

/// Appends an item for each varint; `item` gives its little-endian bytes, if it is in range.
fn each<const SIZE: usize>(
    numbers: &[u8],
    is_big: bool,
    items: &mut Vec<u8>,
    item: impl Fn(u64) -> Option<[u8; SIZE]>,
) -> Result<(), &'static str> {
    items.reserve(SIZE * numbers.iter().filter(|byte| **byte < 0x80).count());
    let mut cursor = Cursor::new("", numbers);
    while !cursor.is_empty() {
        let number = varint(&mut cursor).map_err(|_| "a varint beyond 64 bits")?;
        let mut bytes = item(number).ok_or("an integer out of range of the dtype")?;
        if is_big {
            bytes.reverse();
        }
        items.extend_from_slice(&bytes);
    }
    Ok(())
}

/// Iterates over the varints of integers or booleans; negative ones have all 64 bits.
fn numbers(dtype: DType, items: &[u8]) -> impl Iterator<Item = u64> {
    let size = dtype.item_size();
    let unused = 64 - 8 * size as u32;
    items.chunks_exact(size).map(move |item| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(item);
        if dtype.order() == Order::Big {
            bytes[..size].reverse();
        }
        let number = u64::from_le_bytes(bytes);
        match dtype.kind() {
            Kind::Int => ((number << unused) as i64 >> unused) as u64,
            _ => number,
        }
    })
}

/// Numbers of a list in the form of protobuf. Those of several parts are joined.
#[derive(Default)]
pub(super) struct Parts<'a> {
    /// Place of the first part in the message.
    pub(super) at: usize,
    part: &'a [u8],
    joined: Vec<u8>,
}

impl<'a> Parts<'a> {
    pub(super) fn none_at(at: usize) -> Parts<'a> {
        Parts { at, ..Parts::default() }
    }

    /// Adds a part, which ends with a whole number.
    pub(super) fn add(
        &mut self,
        encoding: &'static str,
        list: List,
        (part, at): (&'a [u8], usize),
    ) -> Result<()> {
        let is_whole = match list.wire() {
            Wire::Fixed64 => part.len().is_multiple_of(8),
            Wire::Fixed32 => part.len().is_multiple_of(4),
            _ => part.last().is_none_or(|&byte| byte < 0x80),
        };
        if !is_whole {
            let what = "the list ends inside a number";
            return Err(CodecError::Syntax { encoding, at, what });
        }
        if self.part.is_empty() {
            (self.part, self.at) = (part, at);
            return Ok(());
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(self.part);
        }
        self.joined.extend_from_slice(part);
        Ok(())
    }

    /// Returns the items of an array: the part itself, or what `scratch` then holds.
    pub(super) fn items(
        self,
        encoding: &'static str,
        list: List,
        dtype: DType,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        let numbers = match &self.joined[..] {
            [] if list.is_bytes_of(dtype) => return Ok(self.part),
            [] => self.part,
            joined => joined,
        };
        let fault = |what| CodecError::Syntax { encoding, at: self.at, what };
        list.read(dtype, numbers, scratch).map_err(fault)?;
        Ok(scratch)
    }
}
