//! HPACK, the header compression of HTTP/2 (RFC 7541): a decoder, and writers of single fields.
//!
//! The decoder calls a function with each field where it lies, and with the class of its name. No
//! crate does that: `fluke-hpack` and `httlib-hpack` build owned pairs, and the h2 crate fills an
//! `http::HeaderMap`, which is a third of the cost of its small call.
//!
//! Servers write literals, which suit any table size; the client indexes its request head
//! (`client/request_block.rs`). A field over the limits of a head is still decoded, because all
//! streams share the table. [`Decoder::decode`] stops only past `bytes_max`, which ends the
//! connection.

mod huffman;
mod integer;
mod table;

pub(crate) use integer::write_integer;
pub(crate) use table::{
    ENTRY_OVERHEAD, EntryId, Field, Name, STATIC_ENTRIES, TABLE_BYTES, is_sound_value,
};

use integer::read_integer;
use table::{Table, is_sound_name};

/// Table size update to 0, which suits an encoder without a table and any limit of the peer. RFC
/// 7541 section 6.3.
pub(crate) const TABLE_UPDATE: u8 = 0x20;

/// Scratch capacity that outlives a block; longer strings are rare.
const SCRATCH_BYTES_KEPT: usize = 512;

/// Error that loses the compression state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HpackError {
    #[error("the block ends inside a field")]
    Truncated,
    #[error("an integer is too long")]
    Integer,
    #[error("no field has index {0}")]
    Index(usize),
    #[error("bad Huffman code")]
    Huffman,
    #[error("bad table size update")]
    TableSize,
    #[error("over {0} bytes decoded")]
    TooLarge(usize),
}

/// Receiver of the fields of a block. One that has kept earlier fields need not see them again.
pub(crate) trait FieldSink {
    /// Takes the known front of `block`, and returns its length there and its size. The table has
    /// changed `table_changes` times.
    fn known_front(&mut self, block: &[u8], table_changes: u64) -> Option<(usize, usize)> {
        let _ = (block, table_changes);
        None
    }

    /// Takes an indexed field that is known by its entry, and returns its size.
    fn known_entry(&mut self, entry: EntryId) -> Option<usize> {
        let _ = entry;
        None
    }

    /// Takes a known literal that `block` begins with, and returns its length there and its size.
    fn known_literal(&mut self, block: &[u8]) -> Option<(usize, usize)> {
        let _ = block;
        None
    }

    fn field(&mut self, field: &Field<'_>, origin: Origin<'_>);
}

impl<F: FnMut(&Field<'_>)> FieldSink for F {
    fn field(&mut self, field: &Field<'_>, _: Origin<'_>) {
        self(field);
    }
}

/// Form of a field in its block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    /// Entry of a table, into which the field may have come just now.
    Entry(EntryId),
    /// Literal whose bytes mean the same in every block, and where the string of its value starts.
    Literal { bytes: &'a [u8], value_start: usize },
    /// Literal with the index of a name in the dynamic table.
    NamedByIndex,
}

/// Decoder of all header blocks of a connection, in order.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
    /// Copy of a name that enters the table, because it may come from there.
    kept: Vec<u8>,
}

impl Decoder {
    /// Returns a count: while it is equal, a block decodes to the same fields.
    pub(crate) fn table_changes(&self) -> u64 {
        self.table.changes()
    }

    /// Hands every field to `sink`; fails past `bytes_max` by HPACK's measure.
    pub(crate) fn decode(
        &mut self,
        mut block: &[u8],
        bytes_max: usize,
        mut sink: impl FieldSink,
    ) -> Result<(), HpackError> {
        let front = sink.known_front(block, self.table.changes());
        let (front_len, mut bytes) = front.unwrap_or((0, 0));
        let mut at_start = front.is_none();
        block = &block[front_len..];
        while let Some(&first) = block.first() {
            if first & 0xE0 == 0x20 {
                let size = read_integer(&mut block, 5)?;
                if !at_start || size > TABLE_BYTES {
                    return Err(HpackError::TableSize);
                }
                self.table.resize(size);
                continue;
            }
            at_start = false;
            bytes += if first & 0x80 != 0 {
                let index = read_integer(&mut block, 7)?;
                let entry = self.table.entry_id(index).ok_or(HpackError::Index(index))?;
                match sink.known_entry(entry) {
                    Some(bytes) => bytes,
                    None => {
                        let mut show = |field: &Field<'_>| sink.field(field, Origin::Entry(entry));
                        self.table.show(index, &mut show).ok_or(HpackError::Index(index))?
                    }
                }
            } else if let Some((len, bytes)) = sink.known_literal(block) {
                block = &block[len..];
                bytes
            } else {
                self.literal(&mut block, first & 0x40 != 0, &mut sink)?
            };
            if bytes > bytes_max {
                return Err(HpackError::TooLarge(bytes_max));
            }
        }
        for scratch in [&mut self.name, &mut self.value, &mut self.kept] {
            if scratch.capacity() > SCRATCH_BYTES_KEPT {
                *scratch = Vec::new();
            }
        }
        Ok(())
    }

    fn literal(
        &mut self,
        block: &mut &[u8],
        indexed: bool,
        sink: &mut impl FieldSink,
    ) -> Result<usize, HpackError> {
        let start = *block;
        let index = read_integer(block, if indexed { 6 } else { 4 })?;
        let (name, class, sound) = match index {
            0 => {
                let name = read_string(block, &mut self.name)?;
                (name, Name::classify(name), is_sound_name(name))
            }
            _ => self.table.name(index).ok_or(HpackError::Index(index))?,
        };
        let value_start = start.len() - block.len();
        let value = read_string(block, &mut self.value)?;
        let sound = sound && is_sound_value(value);
        let bytes = name.len() + value.len() + ENTRY_OVERHEAD;
        let origin = match index {
            _ if indexed => Origin::Entry(self.table.next_id()),
            0..=STATIC_ENTRIES => {
                Origin::Literal { bytes: &start[..start.len() - block.len()], value_start }
            }
            _ => Origin::NamedByIndex,
        };
        sink.field(&Field { name: class, value, sound, bytes }, origin);
        if indexed {
            self.kept.clear();
            self.kept.extend_from_slice(name);
            self.table.insert(&self.kept, value, class, sound);
        }
        Ok(bytes)
    }
}

/// Takes a string off `block`; Huffman code is decoded into `scratch`.
fn read_string<'a, 'b: 'a>(
    block: &mut &'b [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], HpackError> {
    let coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let len = read_integer(block, 7)?;
    let (text, rest) = block.split_at_checked(len).ok_or(HpackError::Truncated)?;
    *block = rest;
    if !coded {
        return Ok(text);
    }
    scratch.clear();
    huffman::decode(text, scratch).map_err(|_| HpackError::Huffman)?;
    Ok(scratch)
}

/// Appends a literal that no table keeps. `index` is the name's index in the static table, or 0
/// with the name in `name`.
pub(crate) fn write_literal(index: usize, name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    write_integer(0x00, 4, index, block);
    if index == 0 {
        write_integer(0x00, 7, name.len(), block);
        block.extend_from_slice(name);
    }
    write_integer(0x00, 7, value.len(), block);
    block.extend_from_slice(value);
}

/// Appends a literal that the peer's table keeps; `index` as in [`write_literal`].
pub(crate) fn write_indexed_literal(index: usize, name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    write_indexed_name(index, name, block);
    write_integer(0x00, 7, value.len(), block);
    block.extend_from_slice(value);
}

/// Appends a literal that the peer's table keeps, with its value in Huffman code, which is shorter
/// than 127 bytes. `index` may also be that of a name in the peer's table.
pub(crate) fn write_coded_literal(index: usize, name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    write_indexed_name(index, name, block);
    let at = block.len();
    block.push(0);
    huffman::encode(value, block);
    let len = block.len() - at - 1;
    debug_assert!(len < 0x7F, "the length fits in seven bits");
    block[at] = 0x80 | len as u8;
}

fn write_indexed_name(index: usize, name: &[u8], block: &mut Vec<u8>) {
    write_integer(0x40, 6, index, block);
    if index == 0 {
        write_integer(0x00, 7, name.len(), block);
        block.extend_from_slice(name);
    }
}

#[cfg(test)]
mod tests;
