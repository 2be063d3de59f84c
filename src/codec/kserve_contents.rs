//! Typed contents of a tensor: `InferTensorContents` of `proto/inference.proto`, read and written
//! by hand.
//!
//! ```text
//! 0A bool_contents   12 int_contents   1A int64_contents   22 uint_contents   2A uint64_contents
//! 32 fp32_contents   3A fp64_contents  42 bytes_contents
//! ```
//! The message has a list for each kind of number, of which the datatype names one. Another one
//! with numbers is refused, and so are texts.

use crate::array::{ArrayView, DType};

use super::cursor::Cursor;
use super::error::{CodecError, Result};
use super::packed_numbers::{List, Parts, put_list};
use super::protobuf_wire::{Wire, chunk, skip, tag, varint_len};

pub(super) const NAME: &str = "kserve_typed";

pub(super) const OTHER_WIRE: &str = "a known field of another wire type";

/// Lists in the order of their fields, which begin with 1.
const LISTS: [List; 7] = [
    List::Bools,
    List::Int32s,
    List::Int64s,
    List::UInt32s,
    List::UInt64s,
    List::Floats,
    List::Doubles,
];
const TEXTS: u32 = 8;

/// Name of the field of texts.
pub(super) const TEXTS_NAME: &str = "bytes_contents";

pub(super) fn name(list: List) -> &'static str {
    match list {
        List::Bools => "bool_contents",
        List::Int32s => "int_contents",
        List::Int64s => "int64_contents",
        List::UInt32s => "uint_contents",
        List::UInt64s => "uint64_contents",
        List::Floats => "fp32_contents",
        List::Doubles => "fp64_contents",
    }
}

pub(super) fn wrong_list(
    encoding: &'static str,
    dtype: DType,
    list: List,
    got: &'static str,
) -> CodecError {
    let what = format!("expected {} for dtype {dtype}, got {got}", name(list));
    CodecError::field(encoding, "contents", what)
}

/// Numbers of the one list that has any.
#[derive(Default)]
pub(super) struct Contents<'a> {
    /// Place of the contents in the message; `None` until they are read.
    pub(super) at: Option<usize>,
    list: Option<List>,
    parts: Parts<'a>,
}

impl<'a> Contents<'a> {
    /// Reads contents, and adds them to those before them, as protobuf merges messages.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        self.at.get_or_insert(cursor.offset());
        while !cursor.is_empty() {
            let at = cursor.offset();
            let (field, wire) = tag(cursor)?;
            let Some(list) = list_of(field) else {
                match (field, wire) {
                    (TEXTS, Wire::Len) => {
                        let what = format!("texts in {TEXTS_NAME}");
                        return Err(CodecError::Unsupported { encoding: NAME, at: Some(at), what });
                    }
                    (TEXTS, _) => return Err(cursor.fail_at(at, OTHER_WIRE)),
                    _ => skip(cursor, field, wire)?,
                }
                continue;
            };
            let part = list.part((field, wire), cursor)?;
            let part = part.ok_or_else(|| cursor.fail_at(at, OTHER_WIRE))?;
            if part.0.is_empty() {
                continue;
            }
            if self.list.replace(list).is_some_and(|other| other != list) {
                return Err(cursor.fail_at(at, MORE_LISTS));
            }
            self.parts.add(NAME, list, part)?;
        }
        Ok(())
    }

    /// Returns the items of an array of `dtype`, whose numbers are in `list`.
    pub(super) fn items(
        self,
        list: List,
        dtype: DType,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        match self.list {
            Some(got) if got != list => {
                Err(wrong_list(NAME, dtype, list, name(got)).or_at(self.parts.at))
            }
            _ => self.parts.items(NAME, list, dtype, scratch),
        }
    }
}

pub(super) const MORE_LISTS: &str = "typed contents with numbers in more than one list";

fn list_of(field: u32) -> Option<List> {
    LISTS.get(field.checked_sub(1)? as usize).copied()
}

fn field(list: List) -> u32 {
    1 + LISTS.iter().take_while(|other| **other != list).count() as u32
}

/// Returns the bytes of contents with so many bytes of numbers.
pub(super) fn len(numbers_len: u64) -> u64 {
    match numbers_len {
        0 => 0,
        _ => 1 + varint_len(numbers_len) + numbers_len,
    }
}

/// Appends contents with the items of an array, which has at least one. Returns the bytes that
/// belong behind them.
pub(super) fn put<'a>(
    list: List,
    array: &ArrayView<'a>,
    numbers_len: u64,
    out: &mut Vec<u8>,
) -> &'a [u8] {
    put_list(list, field(list), array, numbers_len, out)
}

/// Returns whether the contents are nothing, or floats in one packed part, which are borrowed.
pub(super) fn are_bytes(contents: &mut Cursor<'_>) -> Result<bool> {
    if contents.is_empty() {
        return Ok(true);
    }
    let (field, wire) = tag(contents)?;
    let is_packed = wire == Wire::Len && list_of(field).is_some_and(|list| !list.is_varints());
    Ok(is_packed && chunk(contents).is_ok() && contents.is_empty())
}
