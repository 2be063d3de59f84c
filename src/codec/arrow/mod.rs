//! `arrow`: a tensor of Arrow IPC, one encapsulated message as of `pyarrow.ipc.write_tensor`.
//!
//! ```text
//! ff ff ff ff | length of the metadata | metadata, padded to a multiple of 64 | body
//!               u32 le                   flatbuffer: Message { Tensor { type, shape, strides } }
//! ```
//! Arrow tensors have integers and floats in little-endian order, no booleans and no complex
//! numbers. The body is borrowed in both directions. What is written equals the output of pyarrow
//! byte for byte. Names of dimensions, and metadata of the user, are skipped; the reply has none.
//!
//! The body begins at a multiple of 64 of the message, so it is aligned in memory if the message
//! is. A server has the message behind the head of a request, at any address. Nothing here depends
//! on the address: the items are bytes until a user asks for numbers. A length of the metadata that
//! puts the body elsewhere is read as well.
//!
//! There is no library form: the crate `arrow-ipc` has the tables of `Tensor.fbs`, but nothing that
//! reads or writes a tensor. Source: arrow.apache.org/docs/format, "Other Data Structures", with
//! `Message.fbs` and `Tensor.fbs`. Arrow deprecated these messages in August 2026, in
//! apache/arrow#51102.

use crate::array::{ArrayError, ArrayView, DType, Kind, Order, RANK_MAX, Shape};
use crate::axis::Codec;

use super::array_codec::{ArrayCodec, Encoded};
use super::cursor::Cursor;
use super::error::{CodecError, Result};

use builder::Builder;
use table::{Metadata, Table, Vector};

mod builder;
mod table;

#[derive(Clone, Copy, Debug)]
pub struct Arrow;

const NAME: &str = "arrow";
const LEFT_OUT: &str = "booleans, complex numbers and big-endian numbers";

/// Mark in front of a message since Arrow 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];
const PREFIX_BYTES: usize = 8;

/// Alignment of the body in a message, as pyarrow has it. A body may have as much padding.
const ALIGN: usize = 64;

/// Limit of what is read. A tensor of 64 dimensions without names has 2.4 KiB.
const METADATA_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of a flatbuffer that is written: tables of message, tensor and type, and for each
/// dimension its table with vtable and name, two offsets, a stride and padding.
const FIXED_BYTES_MAX: usize = 256;
const DIMENSION_BYTES_MAX: usize = 48;

/// Numbers of the fields, from `Message.fbs`.
mod message {
    pub(super) const VERSION: usize = 0;
    pub(super) const HEADER_TYPE: usize = 1;
    pub(super) const HEADER: usize = 2;
    pub(super) const BODY_LENGTH: usize = 3;
}

/// Numbers of the fields, from `Tensor.fbs` and `Schema.fbs`.
mod tensor {
    pub(super) const TYPE_TYPE: usize = 0;
    pub(super) const TYPE: usize = 1;
    pub(super) const SHAPE: usize = 2;
    pub(super) const STRIDES: usize = 3;
    pub(super) const DATA: usize = 4;
    pub(super) const DIM_SIZE: usize = 0;
    pub(super) const DIM_NAME: usize = 1;
    pub(super) const INT_BITS: usize = 0;
    pub(super) const INT_IS_SIGNED: usize = 1;
    pub(super) const FLOAT_PRECISION: usize = 0;
}

/// Metadata versions of Arrow 0.8 and of Arrow 1.0, whose tensors are equal.
const V4: i16 = 3;
const V5: i16 = 4;

/// Members of the union `MessageHeader`.
const HEADERS: [&str; 6] =
    ["NONE", "Schema", "DictionaryBatch", "RecordBatch", "Tensor", "SparseTensor"];
const TENSOR: u8 = 4;

/// First members of the union `Type`.
const TYPES: [&str; 7] = ["NONE", "Null", "Int", "FloatingPoint", "Binary", "Utf8", "Bool"];
const INT: u8 = 2;
const FLOAT: u8 = 3;

impl ArrayCodec for Arrow {
    fn id(&self) -> Codec {
        Codec::Arrow
    }

    fn decode<'a>(&self, body: &'a [u8], _scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>> {
        let mut cursor = Cursor::new(NAME, body);
        if cursor.array()? != CONTINUATION {
            let what = "expected ff ff ff ff, which starts a message since Arrow 0.15";
            return Err(cursor.fail_at(0, what));
        }
        let len_at = cursor.offset();
        let len = u32::from_le_bytes(cursor.array()?);
        match len {
            0 => return Err(cursor.fail_at(len_at, "the end of a stream: expected a message")),
            len if len as usize > METADATA_BYTES_MAX => {
                return Err(cursor.fail_at(len_at, "the metadata is longer than 64 KiB"));
            }
            _ => {}
        }
        let start = cursor.offset();
        let metadata = Metadata { bytes: cursor.take(u64::from(len))?, start };
        let (data_at, data) = (cursor.offset(), cursor.rest());
        let tensor = tensor_of_message(metadata.root()?, data.len())?;
        let dtype = dtype(&tensor)?;
        let shape = shape(&tensor)?;
        check_strides(&tensor, dtype, &shape)?;
        let data = &data[..data_len(&tensor, data.len())?];
        ArrayView::new(dtype, shape, data)
            .map_err(|source| CodecError::array(NAME)(source).or_at(data_at))
    }

    fn encode<'a>(&self, array: &ArrayView<'a>, out: &mut Vec<u8>) -> Result<Encoded<'a>> {
        let dtype = array.dtype();
        if is_left_out(dtype) {
            return Err(unsupported(dtype));
        }
        let (start, rank) = (out.len(), array.shape().dims().len());
        let room = PREFIX_BYTES + FIXED_BYTES_MAX + DIMENSION_BYTES_MAX * rank + ALIGN;
        out.resize(start + room, 0);
        let head = &mut out[start..];
        let len = write(dtype, array.shape().dims(), array.data().len(), &mut head[PREFIX_BYTES..]);
        head.copy_within(room - len.., PREFIX_BYTES);
        let head_len = (PREFIX_BYTES + len).next_multiple_of(ALIGN);
        head[PREFIX_BYTES + len..head_len].fill(0);
        head[..4].copy_from_slice(&CONTINUATION);
        head[4..PREFIX_BYTES].copy_from_slice(&((head_len - PREFIX_BYTES) as u32).to_le_bytes());
        out.truncate(start + head_len);
        Ok(Encoded { head_len, payload: array.data() })
    }

    fn check(&self, array: &ArrayView<'_>) -> Result<()> {
        if is_left_out(array.dtype()) { Err(unsupported(array.dtype())) } else { Ok(()) }
    }

    fn left_out(&self) -> &'static str {
        LEFT_OUT
    }
}

fn is_left_out(dtype: DType) -> bool {
    dtype.order() == Order::Big || matches!(dtype.kind(), Kind::Bool | Kind::Complex)
}

fn unsupported(dtype: DType) -> CodecError {
    let numbers = match dtype.kind() {
        Kind::Bool => "booleans",
        Kind::Complex => "complex numbers",
        _ => "big-endian numbers",
    };
    let what = format!("{numbers} (dtype {dtype}): an Arrow tensor has none");
    CodecError::Unsupported { encoding: NAME, at: None, what }
}

/// Returns the tensor of a message that `body_len` bytes follow.
fn tensor_of_message(message: Table<'_>, body_len: usize) -> Result<Table<'_>> {
    let fail = |slot, field, what: String| {
        CodecError::field(NAME, field, what).or_at(message.offset(slot))
    };
    let version = i16::from_le_bytes(message.bytes(message::VERSION)?.unwrap_or_default());
    if ![V4, V5].contains(&version) {
        let what = format!("metadata version {}: expected V4 or V5", i32::from(version) + 1);
        return Err(fail(message::VERSION, "version", what));
    }
    let [header] = message.bytes(message::HEADER_TYPE)?.unwrap_or_default();
    if header != TENSOR {
        let what = format!("{}: expected Tensor", member(header, &HEADERS));
        return Err(fail(message::HEADER_TYPE, "header_type", what));
    }
    let len = i64::from_le_bytes(message.bytes(message::BODY_LENGTH)?.unwrap_or_default());
    if usize::try_from(len) != Ok(body_len) {
        let what = format!("{len} bytes, but {body_len} follow");
        return Err(fail(message::BODY_LENGTH, "bodyLength", what));
    }
    let tensor = message.table(message::HEADER)?;
    tensor.ok_or_else(|| fail(message::HEADER, "header", "missing".to_owned()))
}

/// Names a member of a union.
fn member(number: u8, names: &[&str]) -> String {
    names.get(usize::from(number)).map_or(format!("type {number}"), |&name| name.to_owned())
}

fn dtype(tensor: &Table<'_>) -> Result<DType> {
    let fail = |what: String| {
        CodecError::field(NAME, "type", what).or_at(tensor.offset(tensor::TYPE_TYPE))
    };
    let [kind] = tensor.bytes(tensor::TYPE_TYPE)?.unwrap_or_default();
    if kind != INT && kind != FLOAT {
        let what = format!("{}: expected Int or FloatingPoint", member(kind, &TYPES));
        return Err(fail(what));
    }
    let items = tensor.table(tensor::TYPE)?.ok_or_else(|| fail("missing".to_owned()))?;
    let name = if kind == FLOAT {
        let precision = items.bytes(tensor::FLOAT_PRECISION)?.unwrap_or_default();
        let precision = i16::from_le_bytes(precision);
        match precision {
            0 => b"<f2",
            1 => b"<f4",
            2 => b"<f8",
            _ => return Err(fail(format!("precision {precision}: expected HALF, SINGLE, DOUBLE"))),
        }
    } else {
        let bits = i32::from_le_bytes(items.bytes(tensor::INT_BITS)?.unwrap_or_default());
        let [is_signed] = items.bytes(tensor::INT_IS_SIGNED)?.unwrap_or_default();
        match (bits, is_signed != 0) {
            (8, false) => b"|u1",
            (16, false) => b"<u2",
            (32, false) => b"<u4",
            (64, false) => b"<u8",
            (8, true) => b"|i1",
            (16, true) => b"<i2",
            (32, true) => b"<i4",
            (64, true) => b"<i8",
            _ => return Err(fail(format!("integers of {bits} bits: expected 8, 16, 32 or 64"))),
        }
    };
    DType::from_bytes(name).ok_or_else(|| fail("not supported".to_owned()))
}

const OFFSET_BYTES: usize = 4;
const INTEGER_BYTES: usize = 8;

fn shape(tensor: &Table<'_>) -> Result<Shape> {
    let at = tensor.offset(tensor::SHAPE);
    let missing = || CodecError::field(NAME, "shape", "missing").or_at(at);
    let dims = tensor.vector(tensor::SHAPE, OFFSET_BYTES)?.ok_or_else(missing)?;
    if dims.len() > RANK_MAX {
        return Err(CodecError::array(NAME)(ArrayError::Rank { got: dims.len() }).or_at(at));
    }
    let mut shape = Shape::default();
    for index in 0..dims.len() {
        let dim = dims.table(index)?;
        let size = i64::from_le_bytes(dim.bytes(tensor::DIM_SIZE)?.unwrap_or_default());
        let size = u64::try_from(size).map_err(|_| {
            let what = format!("dimension {index} has the size {size}");
            CodecError::field(NAME, "shape", what).or_at(dim.offset(tensor::DIM_SIZE))
        })?;
        shape.push(size).map_err(|source| CodecError::array(NAME)(source).or_at(at))?;
    }
    Ok(shape)
}

/// Refuses an order of the items other than that of C. The stride of a dimension of one item has no
/// meaning, and neither has any stride of an empty array.
fn check_strides(tensor: &Table<'_>, dtype: DType, shape: &Shape) -> Result<()> {
    let Some(strides) = tensor.vector(tensor::STRIDES, INTEGER_BYTES)? else { return Ok(()) };
    let fail = |at, what: String| CodecError::field(NAME, "strides", what).or_at(at);
    let dims = shape.dims();
    if strides.len() != dims.len() {
        let what = format!("{} for {} dimensions", strides.len(), dims.len());
        return Err(fail(tensor.offset(tensor::STRIDES), what));
    }
    if dims.contains(&0) {
        return Ok(());
    }
    let mut want = dtype.item_size() as u64;
    for (index, &dim) in dims.iter().enumerate().rev() {
        let stride = i64::from_le_bytes(strides.bytes(index)?);
        if dim != 1 && u64::try_from(stride) != Ok(want) {
            let order =
                if is_columns_first(&strides, dtype, dims) { "columns first: " } else { "" };
            let what = format!(
                "{order}{stride} bytes for dimension {index}, expected {want}: send the array in C \
                 order (numpy.ascontiguousarray)"
            );
            return Err(fail(strides.offset(index, INTEGER_BYTES), what));
        }
        want = want.saturating_mul(dim);
    }
    Ok(())
}

#[cold]
fn is_columns_first(strides: &Vector<'_>, dtype: DType, dims: &[u64]) -> bool {
    let mut want = dtype.item_size() as u64;
    dims.iter().enumerate().all(|(index, &dim)| {
        let stride = strides.bytes(index).map(u64::from_le_bytes);
        let is_it = dim == 1 || stride == Ok(want);
        want = want.saturating_mul(dim);
        is_it
    })
}

/// Returns the length of the data at the start of a body, which may have padding behind it.
fn data_len(tensor: &Table<'_>, body_len: usize) -> Result<usize> {
    let at = tensor.offset(tensor::DATA);
    let fail = |what: String| CodecError::field(NAME, "data", what).or_at(at);
    let data: [u8; 2 * INTEGER_BYTES] =
        tensor.bytes(tensor::DATA)?.ok_or_else(|| fail("missing".to_owned()))?;
    let (words, _) = data.as_chunks::<INTEGER_BYTES>();
    let (offset, len) = (i64::from_le_bytes(words[0]), i64::from_le_bytes(words[1]));
    if offset != 0 {
        return Err(fail(format!("offset {offset} in the body: expected 0")));
    }
    let is_whole = |&len: &usize| len <= body_len && body_len - len < ALIGN;
    usize::try_from(len).ok().filter(is_whole).ok_or_else(|| {
        fail(format!("{len} bytes in a body of {body_len}: expected all but up to 63 for padding"))
    })
}

/// Writes the flatbuffer of a tensor to the end of `room`, in the order of Arrow C++, and returns
/// the length of the flatbuffer.
fn write(dtype: DType, dims: &[u64], data_len: usize, room: &mut [u8]) -> usize {
    let mut builder = Builder::new(room);
    let (kind, items) = write_type(dtype, &mut builder);
    let mut places = [0; RANK_MAX];
    for (place, &dim) in places.iter_mut().zip(dims) {
        let name = builder.empty_string();
        *place = builder.table(|table| {
            if dim > 0 {
                table.number(tensor::DIM_SIZE, dim.to_le_bytes());
            }
            table.offset(tensor::DIM_NAME, name);
        });
    }
    let shape = builder.offsets(dims.len(), |index| places[index]);
    let mut strides = [dtype.item_size() as u64; RANK_MAX];
    if !dims.contains(&0) {
        for index in (1..dims.len()).rev() {
            strides[index - 1] = strides[index] * dims[index];
        }
    }
    let strides = builder.integers(dims.len(), |index| strides[index]);
    let tensor = builder.table(|table| {
        table.pair(tensor::DATA, 0, data_len as u64);
        table.offset(tensor::STRIDES, strides);
        table.offset(tensor::SHAPE, shape);
        table.offset(tensor::TYPE, items);
        table.number(tensor::TYPE_TYPE, [kind]);
    });
    let message = builder.table(|table| {
        if data_len > 0 {
            table.number(message::BODY_LENGTH, (data_len as u64).to_le_bytes());
        }
        table.offset(message::HEADER, tensor);
        table.number(message::VERSION, V5.to_le_bytes());
        table.number(message::HEADER_TYPE, [TENSOR]);
    });
    builder.finish(message)
}

/// Writes the table of a type. Returns the number of the type in its union, and the table's place.
fn write_type(dtype: DType, builder: &mut Builder<'_>) -> (u8, usize) {
    if dtype.kind() == Kind::Float {
        let precision = dtype.item_size().ilog2() as u16 - 1;
        let place = builder.table(|table| {
            if precision > 0 {
                table.number(tensor::FLOAT_PRECISION, precision.to_le_bytes());
            }
        });
        return (FLOAT, place);
    }
    let place = builder.table(|table| {
        let bits = 8 * dtype.item_size() as u32;
        table.number(tensor::INT_BITS, bits.to_le_bytes());
        if dtype.kind() == Kind::Int {
            table.number(tensor::INT_IS_SIGNED, [1]);
        }
    });
    (INT, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::NdArray;

    fn seeded(dtype: &str, dims: &[u64]) -> NdArray {
        let dtype = DType::parse(dtype).unwrap();
        NdArray::seeded(dtype, Shape::new(dims).unwrap(), 1).unwrap()
    }

    fn message(array: &NdArray) -> Vec<u8> {
        crate::codec::message(&Arrow, &array.view()).unwrap()
    }

    #[test]
    fn every_rank_fits_the_room_and_is_read_again() {
        let patterns: [&[u64]; 4] = [&[1], &[0], &[0, 1], &[1, 1, 0]];
        for (rank, pattern) in (0..=RANK_MAX).flat_map(|rank| patterns.map(|it| (rank, it))) {
            let dims: Vec<u64> = pattern.iter().copied().cycle().take(rank).collect();
            for dtype in ["<f8", "<f2", "|u1", "|i1"] {
                let array = seeded(dtype, &dims);
                let body = message(&array);
                assert_eq!((body.len() - array.view().data().len()) % ALIGN, 0);
                assert_eq!(Arrow.decode(&body, &mut Vec::new()), Ok(array.view()), "{dims:?}");
            }
        }
    }

    #[test]
    fn a_message_is_appended_to_what_stands_before() {
        let (array, mut out) = (seeded("<i4", &[3, 2]), b"before".to_vec());
        let Encoded { head_len, payload } = Arrow.encode(&array.view(), &mut out).unwrap();
        assert_eq!(payload, array.view().data());
        assert_eq!(out[..6 + head_len], [b"before", &message(&array)[..head_len]].concat());
        assert_eq!(out.len(), 6 + head_len);
    }

    #[test]
    fn a_body_at_any_address_is_borrowed_as_it_is() {
        let array = seeded("<f8", &[5, 7]);
        let body = message(&array);
        for shift in 0..ALIGN {
            let memory = [&vec![0xaa; shift][..], &body].concat();
            let mut scratch = Vec::new();
            let got = Arrow.decode(&memory[shift..], &mut scratch).unwrap();
            assert_eq!(got, array.view(), "{shift}");
            let at = got.data().as_ptr().addr() - memory.as_ptr().addr();
            assert_eq!((at - shift) % ALIGN, 0, "the body is aligned in its message");
        }
    }

    #[test]
    fn padding_behind_the_data_is_read_over() {
        let array = seeded("|u1", &[3]);
        for padding in 1..ALIGN {
            let mut body = message(&array);
            let at = body.windows(8).position(|word| word == 3u64.to_le_bytes()).unwrap();
            body[at] += padding as u8;
            body.extend(vec![0; padding]);
            assert_eq!(Arrow.decode(&body, &mut Vec::new()), Ok(array.view()), "{padding}");
        }
    }
}
