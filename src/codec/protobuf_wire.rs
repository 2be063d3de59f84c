//! Wire format of protobuf: tags, varints, and values that are skipped. The own codecs of all
//! messages share it. Source: protobuf.dev, "Encoding".
//!
//! The readers of a tag, a varint, a string and a list are inlined: as calls they made the decoder
//! of `protobuf` 19 % longer, in instructions.

use crate::array::Shape;

use super::cursor::Cursor;
use super::error::{CodecError, Result};

/// Nesting limit of unknown groups, the same as in Google's implementations.
const GROUP_DEPTH_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Varint,
    Fixed64,
    Len,
    Group,
    EndGroup,
    Fixed32,
}

#[inline(always)]
pub(super) fn tag(cursor: &mut Cursor<'_>) -> Result<(u32, Wire)> {
    let at = cursor.offset();
    let tag = u32::try_from(varint(cursor)?)
        .map_err(|_| cursor.fail_at(at, "a field number above 2^29 - 1"))?;
    let wire = match tag & 7 {
        0 => Wire::Varint,
        1 => Wire::Fixed64,
        2 => Wire::Len,
        3 => Wire::Group,
        4 => Wire::EndGroup,
        5 => Wire::Fixed32,
        _ => return Err(cursor.fail_at(at, "expected a wire type from 0 to 5")),
    };
    match tag >> 3 {
        0 => Err(cursor.fail_at(at, "expected a field number of at least 1")),
        field => Ok((field, wire)),
    }
}

#[inline(always)]
pub(super) fn varint(cursor: &mut Cursor<'_>) -> Result<u64> {
    const SHIFT_LAST: u32 = 63;
    let at = cursor.offset();
    let mut value = 0;
    for shift in (0..=SHIFT_LAST).step_by(7) {
        let byte = cursor.byte()?;
        if shift == SHIFT_LAST && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(cursor.fail_at(at, "a varint beyond 64 bits"))
}

#[inline(always)]
pub(super) fn chunk<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8]> {
    let len = varint(cursor)?;
    cursor.take(len)
}

/// Reads a string, the field `name` of a message.
#[inline(always)]
pub(super) fn text<'a>(
    encoding: &'static str,
    name: &'static str,
    cursor: &mut Cursor<'a>,
) -> Result<&'a [u8]> {
    let text = chunk(cursor)?;
    if text.is_ascii() || str::from_utf8(text).is_ok() {
        return Ok(text);
    }
    Err(CodecError::field(encoding, name, "not UTF-8"))
}

/// Reads packed dimensions and appends them to `shape`.
#[inline(always)]
pub(super) fn packed(
    encoding: &'static str,
    shape: &mut Shape,
    cursor: &mut Cursor<'_>,
) -> Result<()> {
    let len = varint(cursor)?;
    let mut dims = cursor.part(len)?;
    while !dims.is_empty() {
        shape.push(varint(&mut dims)?).map_err(CodecError::array(encoding))?;
    }
    Ok(())
}

/// Skips an unknown value. The numbers of open groups are on a list, not on the call stack.
pub(super) fn skip(cursor: &mut Cursor<'_>, field: u32, wire: Wire) -> Result<()> {
    let mut open = [0; GROUP_DEPTH_MAX];
    let mut depth = 0;
    let (mut field, mut wire) = (field, wire);
    loop {
        match wire {
            Wire::Varint => drop(varint(cursor)?),
            Wire::Fixed64 => drop(cursor.take(8)?),
            Wire::Len => drop(chunk(cursor)?),
            Wire::Fixed32 => drop(cursor.take(4)?),
            Wire::Group => {
                let slot = open.get_mut(depth);
                *slot.ok_or_else(|| cursor.fail("groups nest deeper than 100"))? = field;
                depth += 1;
            }
            Wire::EndGroup if depth > 0 && open[depth - 1] == field => depth -= 1,
            Wire::EndGroup => return Err(cursor.fail("the end of a group that is not open")),
        }
        if depth == 0 {
            return Ok(());
        }
        (field, wire) = tag(cursor)?;
    }
}

pub(super) fn put_head(out: &mut Vec<u8>, field: u32, len: u64) {
    const LEN: u64 = 2;
    put_varint(out, u64::from(field) << 3 | LEN);
    put_varint(out, len);
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn varint_len(value: u64) -> u64 {
    u64::from((value | 1).ilog2() / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_lengths_agree_with_what_is_written() {
        for shift in 0..64 {
            for value in [(1u64 << shift) - 1, 1 << shift, (1 << shift) + 1] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len() as u64, varint_len(value));
                assert_eq!(varint(&mut Cursor::new("", &out)), Ok(value));
            }
        }
    }
}
