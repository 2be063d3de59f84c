//! Message of `proto/ndecho.proto`, as pb-rs would write it for quick-protobuf.
//!
//! pb-rs reads only the packed form of `shape`. This code reads the other form as well, because
//! protobuf wants both.

use std::borrow::Cow;

use quick_protobuf::sizeofs::{sizeof_len, sizeof_varint};
use quick_protobuf::{BytesReader, MessageRead, MessageWrite, Result, Writer, WriterBackend};

const BUFFER: u32 = 1 << 3 | 2;
const DTYPE: u32 = 2 << 3 | 2;
const SHAPE: u32 = 3 << 3;
const SHAPE_PACKED: u32 = 3 << 3 | 2;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct NdArray<'a> {
    pub buffer: Cow<'a, [u8]>,
    pub dtype: Cow<'a, str>,
    pub shape: Vec<u64>,
}

impl<'a> MessageRead<'a> for NdArray<'a> {
    fn from_reader(reader: &mut BytesReader, bytes: &'a [u8]) -> Result<NdArray<'a>> {
        let mut array = NdArray::default();
        while !reader.is_eof() {
            match reader.next_tag(bytes)? {
                BUFFER => array.buffer = Cow::Borrowed(reader.read_bytes(bytes)?),
                DTYPE => array.dtype = Cow::Borrowed(reader.read_string(bytes)?),
                SHAPE => array.shape.push(reader.read_uint64(bytes)?),
                SHAPE_PACKED => array
                    .shape
                    .extend(reader.read_packed(bytes, |reader, bytes| reader.read_uint64(bytes))?),
                tag => reader.read_unknown(bytes, tag)?,
            }
        }
        Ok(array)
    }
}

impl MessageWrite for NdArray<'_> {
    fn get_size(&self) -> usize {
        let field = |bytes: usize| if bytes == 0 { 0 } else { 1 + sizeof_len(bytes) };
        let shape = self.shape.iter().map(|dim| sizeof_varint(*dim)).sum();
        field(self.buffer.len()) + field(self.dtype.len()) + field(shape)
    }

    fn write_message<W: WriterBackend>(&self, writer: &mut Writer<W>) -> Result<()> {
        if !self.buffer.is_empty() {
            writer.write_with_tag(BUFFER, |writer| writer.write_bytes(&self.buffer))?;
        }
        if !self.dtype.is_empty() {
            writer.write_with_tag(DTYPE, |writer| writer.write_string(&self.dtype))?;
        }
        writer.write_packed_with_tag(
            SHAPE_PACKED,
            &self.shape,
            |writer, dim| writer.write_uint64(*dim),
            &|dim| sizeof_varint(*dim),
        )
    }
}
