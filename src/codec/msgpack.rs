//! `msgpack`: the map that Python's msgpack_numpy makes of an array, read and written by hand.
//!
//! ```text
//! {nd: true, type: "<f8", kind: b"", shape: [2, 3], data: b"..."}
//! ```
//! Output keys are bin, as in msgpack_numpy 0.4.8. In the input, keys, `type`, `kind` and `data`
//! may be bin or str, in any order; other keys are skipped. An echo has keys of the request's kind,
//! since readers of other languages look for str. `kind` must be absent, nil, empty or a number's,
//! e.g. `f`: `V` marks a structured array and `O` a pickle, and neither is ever decoded. The form
//! of a NumPy scalar, `{nd: false, type, data}`, is read as a 0-d array. Bare numbers, as
//! msgpack_numpy writes Python's floats, have no dtype and are refused. `data` is borrowed in both
//! directions.

use rmp::Marker;

use crate::array::{ArrayError, ArrayView, DType, RANK_MAX, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::cursor::Cursor;
use super::error::{CodecError, Result};

#[derive(Clone, Copy, Debug)]
pub struct Msgpack;

const NAME: &str = "msgpack";

impl ArrayCodec for Msgpack {
    fn id(&self) -> Codec {
        Codec::Msgpack
    }

    fn decode<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        plain(body).map_or_else(|| careful(body), Ok)
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let start = out.len();
        let payload = array.data();
        let len = u32::try_from(payload.len()).map_err(|_| CodecError::Unsupported {
            encoding: NAME,
            at: None,
            what: format!("{} bytes in one bin value, whose length has 32 bits", payload.len()),
        })?;
        write(array, len, out);
        Ok(Encoded { head_len: out.len() - start, payload })
    }

    fn echo<'a>(
        &self,
        body: &'a [u8],
        scratch: &'a mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded<'a>> {
        let array = self.decode(body, scratch)?;
        // The usual start, a map of five and a short bin, needs no closer look.
        if body.first_chunk() == Some(b"\x85\xc4") || !has_str_keys(body) {
            return self.encode(&array, out);
        }
        encode_with_str_keys(&array, out)
    }
}

/// Writes the head by hand: the functions of `rmp::encode` are shared with rmp-serde, so the
/// compiler does not inline them.
fn write(array: &ArrayView<'_>, len: u32, out: &mut Vec<u8>) {
    let (name, dims) = (array.dtype().name(), array.shape().dims());
    out.extend_from_slice(BEFORE_TYPE);
    out.push(Marker::FixStr(name.len() as u8).to_u8());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(BEFORE_SHAPE);
    match dims.len() {
        rank @ 0..16 => out.push(Marker::FixArray(rank as u8).to_u8()),
        rank => out.extend_from_slice(&[Marker::Array16.to_u8(), 0, rank as u8]),
    }
    for &dim in dims {
        match dim {
            0..0x80 => out.push(dim as u8),
            _ => put(dim, [Marker::U8, Marker::U16, Marker::U32, Marker::U64], out),
        }
    }
    out.extend_from_slice(BEFORE_DATA);
    put(u64::from(len), [Marker::Bin8, Marker::Bin16, Marker::Bin32, Marker::Reserved], out);
}

/// Writes the marker of the least width, of 1, 2, 4 and 8 bytes, and `value` in this width.
#[inline]
fn put(value: u64, [one, two, four, eight]: [Marker; 4], out: &mut Vec<u8>) {
    match value {
        0..=0xff => out.extend_from_slice(&[one.to_u8(), value as u8]),
        0x100..=0xffff => {
            out.push(two.to_u8());
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(four.to_u8());
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(eight.to_u8());
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// Map of five, `nd` with true, and the other keys around type, shape and data.
const BEFORE_TYPE: &[u8] = b"\x85\xc4\x02nd\xc3\xc4\x04type";
const BEFORE_SHAPE: &[u8] = b"\xc4\x04kind\xc4\x00\xc4\x05shape";
const BEFORE_DATA: &[u8] = b"\xc4\x04data";

/// Writes the head with bin keys and copies it around str keys.
#[cold]
fn encode_with_str_keys<'a>(array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
    let mut head = Vec::new();
    let Encoded { payload, .. } = Msgpack.encode(array, &mut head)?;
    let start = out.len();
    let (dtype, rest) = head[BEFORE_TYPE.len()..].split_at(1 + array.dtype().name().len());
    // The length of the data is shorter than the bytes before it.
    let data_at = memchr::memmem::rfind(rest, BEFORE_DATA).expect("the head has a key for data");
    out.extend_from_slice(b"\x85\xa2nd\xc3\xa4type");
    out.extend_from_slice(dtype);
    out.extend_from_slice(b"\xa4kind\xc4\x00\xa5shape");
    out.extend_from_slice(&rest[BEFORE_SHAPE.len()..data_at]);
    out.extend_from_slice(b"\xa4data");
    out.extend_from_slice(&rest[data_at + BEFORE_DATA.len()..]);
    Ok(Encoded { head_len: out.len() - start, payload })
}

/// Returns true if the first key of the map is a str.
pub(super) fn has_str_keys(body: &[u8]) -> bool {
    let mut cursor = Cursor::new(NAME, body);
    let key = map_len(&mut cursor).and_then(|_| marker(&mut cursor));
    matches!(key, Ok(Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32))
}

/// Reads a message in the form of msgpack_numpy; `None` leaves others and faults to [`careful`].
fn plain(body: &[u8]) -> Option<ArrayView<'_>> {
    const STR: u8 = 0xa0;
    let (mark, rest) = body.strip_prefix(BEFORE_TYPE)?.split_first()?;
    let (name, rest) = rest.split_at_checked(if *mark == STR | 3 { 3 } else { 4 })?;
    let dtype = DType::from_bytes(name).filter(|_| usize::from(*mark ^ STR) == name.len())?;
    let mut cursor = Cursor::new(NAME, rest.strip_prefix(BEFORE_SHAPE)?);
    let shape = shape(&mut cursor).ok()?;
    let mut cursor = Cursor::new(NAME, cursor.rest().strip_prefix(BEFORE_DATA)?);
    let data = raw(&mut cursor).ok()??;
    ArrayView::new(dtype, shape, data).ok().filter(|_| cursor.is_empty())
}

fn careful(body: &[u8]) -> Result<ArrayView<'_>> {
    let mut cursor = Cursor::new(NAME, body);
    let mut fields = Fields::default();
    for _ in 0..map_len(&mut cursor)? {
        let at = cursor.offset();
        fields.read(&mut cursor).map_err(|error| error.or_at(at))?;
    }
    if !cursor.is_empty() {
        return Err(cursor.fail("unexpected bytes after the map"));
    }
    fields.array(body.len())
}

#[derive(Default)]
struct Fields<'a> {
    nd: Option<bool>,
    dtype: Option<DType>,
    kind: Option<()>,
    shape: Option<Shape>,
    data: Option<(&'a [u8], usize)>,
}

impl<'a> Fields<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        match key(cursor)? {
            b"nd" => set(&mut self.nd, "nd", flag(cursor)?),
            b"type" => set(&mut self.dtype, "type", dtype(cursor)?),
            b"kind" => set(&mut self.kind, "kind", kind(cursor)?),
            b"shape" => set(&mut self.shape, "shape", shape(cursor)?),
            b"data" => {
                let data = bytes(cursor, "data", "expected bin or str")?;
                set(&mut self.data, "data", (data, cursor.offset() - data.len()))
            }
            _ => skip(cursor),
        }
    }

    fn array(self, end: usize) -> Result<ArrayView<'a>> {
        let missing = |field| move || CodecError::field(NAME, field, "missing").or_at(end);
        let nd = self.nd.ok_or_else(missing("nd"))?;
        let dtype = self.dtype.ok_or_else(missing("type"))?;
        let shape = if nd { self.shape.ok_or_else(missing("shape"))? } else { Shape::default() };
        let (data, at) = self.data.ok_or_else(missing("data"))?;
        ArrayView::new(dtype, shape, data)
            .map_err(|source| CodecError::array(NAME)(source).or_at(at))
    }
}

fn dtype(cursor: &mut Cursor<'_>) -> Result<DType> {
    let name = str::from_utf8(bytes(cursor, "type", STRUCTURED)?)
        .map_err(|_| CodecError::field(NAME, "type", "not UTF-8"))?;
    DType::parse(name).map_err(CodecError::array(NAME))
}

fn kind(cursor: &mut Cursor<'_>) -> Result<()> {
    const NIL: u8 = 0xc0;
    if cursor.peek() == Some(NIL) {
        return skip(cursor);
    }
    let kind = bytes(cursor, "kind", "expected bin, str or nil")?;
    if is_plain_kind(kind) {
        return Ok(());
    }
    let kind = kind.escape_ascii().take(KIND_SHOWN).collect::<Vec<u8>>();
    let what = format!("{:?} is not supported", String::from_utf8_lossy(&kind));
    Err(CodecError::field(NAME, "kind", what))
}

/// Returns true for no kind and for those of the listed dtypes.
pub(super) fn is_plain_kind(kind: &[u8]) -> bool {
    matches!(kind, b"" | b"b" | b"i" | b"u" | b"f" | b"c")
}

const STRUCTURED: &str = "expected a type string; structured dtypes are not supported";
const KIND_SHOWN: usize = 16;

fn set<T>(slot: &mut Option<T>, field: &'static str, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(CodecError::field(NAME, field, "given twice")),
    }
}

fn marker(cursor: &mut Cursor<'_>) -> Result<Marker> {
    cursor.byte().map(Marker::from_u8)
}

fn len<const N: usize>(cursor: &mut Cursor<'_>) -> Result<u64> {
    let bytes = cursor.array::<N>()?;
    Ok(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn map_len(cursor: &mut Cursor<'_>) -> Result<u64> {
    let at = cursor.offset();
    match marker(cursor)? {
        Marker::FixMap(count) => Ok(u64::from(count)),
        Marker::Map16 => len::<2>(cursor),
        Marker::Map32 => len::<4>(cursor),
        _ => Err(cursor.fail_at(at, "expected msgpack_numpy's map")),
    }
}

/// Reads a key; one that is neither bin nor str is returned as empty, which no field matches.
fn key<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8]> {
    let start = cursor.clone();
    if let Some(key) = raw(cursor)? {
        return Ok(key);
    }
    *cursor = start;
    skip(cursor)?;
    Ok(b"")
}

fn bytes<'a>(
    cursor: &mut Cursor<'a>,
    field: &'static str,
    expected: &'static str,
) -> Result<&'a [u8]> {
    raw(cursor)?.ok_or_else(|| CodecError::field(NAME, field, expected))
}

fn raw<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>> {
    let len = match marker(cursor)? {
        Marker::FixStr(len) => u64::from(len),
        Marker::Str8 | Marker::Bin8 => len::<1>(cursor)?,
        Marker::Str16 | Marker::Bin16 => len::<2>(cursor)?,
        Marker::Str32 | Marker::Bin32 => len::<4>(cursor)?,
        _ => return Ok(None),
    };
    cursor.take(len).map(Some)
}

fn flag(cursor: &mut Cursor<'_>) -> Result<bool> {
    match marker(cursor)? {
        Marker::True => Ok(true),
        Marker::False => Ok(false),
        _ => Err(CodecError::field(NAME, "nd", "expected true or false")),
    }
}

fn shape(cursor: &mut Cursor<'_>) -> Result<Shape> {
    let rank = match marker(cursor)? {
        Marker::FixArray(rank) => u64::from(rank),
        Marker::Array16 => len::<2>(cursor)?,
        Marker::Array32 => len::<4>(cursor)?,
        _ => return Err(CodecError::field(NAME, "shape", "expected an array of integers")),
    };
    if rank > RANK_MAX as u64 {
        return Err(CodecError::array(NAME)(ArrayError::Rank { got: rank as usize }));
    }
    let mut shape = Shape::default();
    for _ in 0..rank {
        shape.push(dim(cursor)?).map_err(CodecError::array(NAME))?;
    }
    Ok(shape)
}

fn dim(cursor: &mut Cursor<'_>) -> Result<u64> {
    let signed = match marker(cursor)? {
        Marker::FixPos(value) => return Ok(u64::from(value)),
        Marker::U8 => return len::<1>(cursor),
        Marker::U16 => return len::<2>(cursor),
        Marker::U32 => return len::<4>(cursor),
        Marker::U64 => return len::<8>(cursor),
        Marker::I8 => i64::from(i8::from_be_bytes(cursor.array()?)),
        Marker::I16 => i64::from(i16::from_be_bytes(cursor.array()?)),
        Marker::I32 => i64::from(i32::from_be_bytes(cursor.array()?)),
        Marker::I64 => i64::from_be_bytes(cursor.array()?),
        Marker::FixNeg(value) => i64::from(value),
        _ => return Err(CodecError::field(NAME, "shape", "expected an array of integers")),
    };
    u64::try_from(signed).map_err(|_| CodecError::field(NAME, "shape", "a negative dimension"))
}

/// Skips one value without recursion. Each value still owed takes at least a byte, so the end of
/// the message bounds the work, whatever length is announced.
fn skip(cursor: &mut Cursor<'_>) -> Result<()> {
    let mut owed = 1u64;
    while owed > 0 {
        owed -= 1;
        let (bytes, values) = match marker(cursor)? {
            Marker::FixPos(_) | Marker::FixNeg(_) => (0, 0),
            Marker::Null | Marker::True | Marker::False => (0, 0),
            Marker::U8 | Marker::I8 => (1, 0),
            Marker::U16 | Marker::I16 => (2, 0),
            Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
            Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
            Marker::FixStr(bytes) => (u64::from(bytes), 0),
            Marker::Str8 | Marker::Bin8 => (len::<1>(cursor)?, 0),
            Marker::Str16 | Marker::Bin16 => (len::<2>(cursor)?, 0),
            Marker::Str32 | Marker::Bin32 => (len::<4>(cursor)?, 0),
            Marker::FixExt1 => (2, 0),
            Marker::FixExt2 => (3, 0),
            Marker::FixExt4 => (5, 0),
            Marker::FixExt8 => (9, 0),
            Marker::FixExt16 => (17, 0),
            Marker::Ext8 => (len::<1>(cursor)? + 1, 0),
            Marker::Ext16 => (len::<2>(cursor)? + 1, 0),
            Marker::Ext32 => (len::<4>(cursor)? + 1, 0),
            Marker::FixArray(values) => (0, u64::from(values)),
            Marker::Array16 => (0, len::<2>(cursor)?),
            Marker::Array32 => (0, len::<4>(cursor)?),
            Marker::FixMap(pairs) => (0, 2 * u64::from(pairs)),
            Marker::Map16 => (0, 2 * len::<2>(cursor)?),
            Marker::Map32 => (0, 2 * len::<4>(cursor)?),
            Marker::Reserved => {
                return Err(cursor.fail_at(cursor.offset() - 1, "0xc1 is not a msgpack type"));
            }
        };
        cursor.take(bytes)?;
        owed = owed.saturating_add(values);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::NdArray;

    fn decode(body: &[u8]) -> Result<(String, Vec<u64>, Vec<u8>), String> {
        crate::codec::tests::decode(&Msgpack, body)
    }

    #[test]
    fn keys_and_values_may_be_bin_or_str_in_any_order() {
        let bodies: [&[u8]; 5] = [
            b"\x85\xc4\x02nd\xc3\xc4\x04type\xa3|u1\xc4\x04kind\xc4\0\xc4\x05shape\x91\x02\xc4\x04data\xc4\x02\x07\x08",
            b"\xde\x00\x05\xa4data\xa2\x07\x08\xa4kind\xa0\xd9\x04type\xc4\x03|u1\xa5shape\xdc\x00\x01\xd3\0\0\0\0\0\0\0\x02\xa2nd\xc3",
            b"\xdf\0\0\0\x04\xa2nd\xc3\xa4type\xa3|u1\xa5shape\xdd\0\0\0\x01\xcd\0\x02\xa4data\xda\0\x02\x07\x08",
            b"\x85\xa2nd\xc3\xa4kind\xc0\xa4type\xa5uint8\xa5shape\x91\x02\xa4data\xa2\x07\x08",
            b"\x85\xa2nd\xc3\xa4kind\xa1u\xa4type\xc4\x01B\xa5shape\x91\x02\xa4data\xa2\x07\x08",
        ];
        for body in bodies {
            assert_eq!(decode(body), Ok(("|u1".to_owned(), vec![2], vec![7, 8])));
        }
    }

    #[test]
    fn a_message_that_is_changed_anywhere_means_the_same_to_either_reader() {
        for (dtype, dims) in
            [("<f8", &[2, 3][..]), ("|u1", &[1, 1, 0]), (">c16", &[]), ("<i2", &[300])]
        {
            let (dtype, shape) = (DType::parse(dtype).unwrap(), Shape::new(dims).unwrap());
            let array = NdArray::seeded(dtype, shape, 1).unwrap();
            let body = crate::codec::message(&Msgpack, &array.view()).unwrap();
            assert_eq!(plain(&body), Some(array.view()));
            for at in 0..body.len().min(80) {
                assert_eq!(plain(&body[..at]), None);
                for byte in 0..=255 {
                    let mut body = body.clone();
                    body[at] = byte;
                    let Some(array) = plain(&body) else { continue };
                    assert_eq!(careful(&body), Ok(array), "{at} {byte}");
                }
            }
        }
    }

    #[test]
    fn dimensions_may_be_integers_of_any_width() {
        for dim in [
            &b"\x02"[..],
            b"\xcc\x02",
            b"\xcd\0\x02",
            b"\xce\0\0\0\x02",
            b"\xcf\0\0\0\0\0\0\0\x02",
            b"\xd0\x02",
            b"\xd1\0\x02",
            b"\xd2\0\0\0\x02",
        ] {
            let body =
                [&b"\x84\xa2nd\xc3\xa4type\xa3|u1\xa4data\xa2\x07\x08\xa5shape\x91"[..], dim];
            assert_eq!(decode(&body.concat()).unwrap().1, [2]);
        }
    }

    #[test]
    fn a_numpy_scalar_is_a_0d_array() {
        let body = b"\x83\xc4\x02nd\xc2\xc4\x04type\xa3|b1\xc4\x04data\xc4\x01\x01";
        assert_eq!(decode(body), Ok(("|b1".to_owned(), vec![], vec![1])));
    }

    #[test]
    fn other_keys_are_skipped_whatever_they_hold() {
        for value in [
            &b"\xc0"[..],
            b"\xca\0\0\0\0",
            b"\xcb\0\0\0\0\0\0\0\0",
            b"\xd4\x01\x00",
            b"\xc7\x02\x01\0\0",
            b"\x93\x01\x92\xc0\x82\xa1a\xff\x01\xc4\x01z\xc3",
            b"\xd6\x01\0\0\0\0",
        ] {
            let body = [&b"\x84\x07"[..], value, b"\xa2nd\xc2\xa4type\xa3|b1\xa4data\xa1\x01"];
            assert!(decode(&body.concat()).is_ok(), "{value:x?}");
        }
    }

    #[test]
    fn a_tower_of_arrays_costs_no_stack() {
        let mut body = b"\x84\xa1x".to_vec();
        body.resize(body.len() + 1_000_000, 0x91);
        body.extend_from_slice(b"\xc0\xa2nd\xc2\xa4type\xa3|b1\xa4data\xa1\x01");
        assert!(decode(&body).is_ok());
    }
}
