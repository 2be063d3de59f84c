//! Reader of the flatbuffer in front of a tensor: tables, fields and vectors, each offset checked.
//!
//! ```text
//! table    distance back to its vtable (i32) | fields
//! vtable   its length, the table's length, then the place of each field in the table (u16 each)
//! vector   count (u32) | items
//! ```
//! A flatbuffer is untrusted. Every number is read inside the metadata, every field inside its
//! table, and every item inside its vector. Nothing here follows a chain of offsets in a loop, so a
//! cycle does no harm. Source: the internals of FlatBuffers, flatbuffers.dev/internals.

use super::super::error::{CodecError, Result};
use super::NAME;

/// Bytes of a flatbuffer, and their offset in the message for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metadata<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) start: usize,
}

/// Table of a flatbuffer; the table and its vtable are inside the metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    metadata: Metadata<'a>,
    at: usize,
    len: usize,
    /// Place of each field in the table, two bytes each, 0 for a field that is absent.
    places: &'a [u8],
}

/// Vector of a flatbuffer, all of whose items are inside the metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vector<'a> {
    metadata: Metadata<'a>,
    /// Place of the first item.
    at: usize,
    len: usize,
}

/// Bytes of an offset, and of the count in front of a vector.
const OFFSET_BYTES: usize = 4;

/// Bytes of the two lengths at the start of a vtable.
const LENGTHS_BYTES: usize = 4;

impl<'a> Metadata<'a> {
    /// Returns the root table.
    pub(super) fn root(self) -> Result<Table<'a>> {
        self.table(self.follow(0)?)
    }

    fn word<const N: usize>(self, at: usize) -> Result<[u8; N]> {
        let word = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        word.copied().ok_or_else(|| self.fail(at, "the metadata ends early"))
    }

    /// Returns the target of the offset at `at`.
    fn follow(self, at: usize) -> Result<usize> {
        let distance = u32::from_le_bytes(self.word(at)?);
        let target = usize::try_from(distance).ok().and_then(|distance| at.checked_add(distance));
        let target = target.filter(|&target| distance > 0 && target < self.bytes.len());
        target.ok_or_else(|| self.fail(at, "an offset that leaves the metadata"))
    }

    fn table(self, at: usize) -> Result<Table<'a>> {
        let distance = i32::from_le_bytes(self.word(at)?);
        let places = usize::try_from(at as i64 - i64::from(distance)).ok();
        let vtable = places.and_then(|places| self.bytes.get(places..)).unwrap_or_default();
        let Some(([a, b, c, d], _)) = vtable.split_first_chunk::<LENGTHS_BYTES>() else {
            return Err(self.fail(at, "a vtable that leaves the metadata"));
        };
        let vtable_len = usize::from(u16::from_le_bytes([*a, *b]));
        let len = usize::from(u16::from_le_bytes([*c, *d]));
        let places = vtable.get(LENGTHS_BYTES..vtable_len);
        let places = places.ok_or_else(|| self.fail(at, "a vtable that leaves the metadata"))?;
        if self.bytes.len() - at < len {
            return Err(self.fail(at, "a table that leaves the metadata"));
        }
        Ok(Table { metadata: self, at, len, places })
    }

    fn vector(self, at: usize, item_bytes: usize) -> Result<Vector<'a>> {
        let count = u32::from_le_bytes(self.word(at)?);
        let first = at + OFFSET_BYTES;
        let len = usize::try_from(count).ok();
        let bytes = len.and_then(|len| len.checked_mul(item_bytes));
        let len = len.filter(|_| bytes.is_some_and(|bytes| bytes <= self.bytes.len() - first));
        let len = len.ok_or_else(|| self.fail(at, "a vector that leaves the metadata"))?;
        Ok(Vector { metadata: self, at: first, len })
    }

    fn fail(self, at: usize, what: &'static str) -> CodecError {
        let at = self.start + at.min(self.bytes.len());
        CodecError::Syntax { encoding: NAME, at, what }
    }
}

impl<'a> Table<'a> {
    /// Returns the offset of a field in the message, or that of the table if the field is absent.
    pub(super) fn offset(&self, slot: usize) -> usize {
        self.metadata.start + self.at + self.place(slot).unwrap_or_default()
    }

    /// Returns the place of a field in its table.
    fn place(&self, slot: usize) -> Option<usize> {
        let (places, _) = self.places.as_chunks::<2>();
        let place = usize::from(u16::from_le_bytes(*places.get(slot)?));
        (place > 0).then_some(place)
    }

    /// Returns the place in the metadata of a field of `len` bytes; `None` if it is absent.
    fn field(&self, slot: usize, len: usize) -> Result<Option<usize>> {
        let Some(place) = self.place(slot) else { return Ok(None) };
        if place < OFFSET_BYTES || self.len < place + len {
            return Err(self.metadata.fail(self.at, "a field that leaves its table"));
        }
        Ok(Some(self.at + place))
    }

    /// Reads the bytes of a number or a structure; `None` if it is absent.
    pub(super) fn bytes<const N: usize>(&self, slot: usize) -> Result<Option<[u8; N]>> {
        self.field(slot, N)?.map(|at| self.metadata.word(at)).transpose()
    }

    pub(super) fn table(&self, slot: usize) -> Result<Option<Table<'a>>> {
        let Some(at) = self.field(slot, OFFSET_BYTES)? else { return Ok(None) };
        self.metadata.table(self.metadata.follow(at)?).map(Some)
    }

    pub(super) fn vector(&self, slot: usize, item_bytes: usize) -> Result<Option<Vector<'a>>> {
        let Some(at) = self.field(slot, OFFSET_BYTES)? else { return Ok(None) };
        self.metadata.vector(self.metadata.follow(at)?, item_bytes).map(Some)
    }
}

impl<'a> Vector<'a> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the offset of an item in the message.
    pub(super) fn offset(&self, index: usize, item_bytes: usize) -> usize {
        self.metadata.start + self.at + index * item_bytes
    }

    pub(super) fn bytes<const N: usize>(&self, index: usize) -> Result<[u8; N]> {
        self.metadata.word(self.at + index * N)
    }

    /// Reads an item that is an offset to a table.
    pub(super) fn table(&self, index: usize) -> Result<Table<'a>> {
        self.metadata.table(self.metadata.follow(self.at + index * OFFSET_BYTES)?)
    }
}
