//! Data model of a NumPy array: dtype, shape, and bytes in C order.
//!
//! Invariant of every [`ArrayView`] and [`NdArray`]: the data has exactly `product(shape) *
//! item_size` bytes. The constructors check this; no code checks it again. The byte order belongs
//! to the dtype: only text codecs swap bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

mod data_sets;
mod seeded;

/// Limit of the number of dimensions; NumPy 2 has the same.
pub const RANK_MAX: usize = 64;

/// Byte order of an item; NumPy's `|` (one byte) is [`Order::None`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    Little,
    Big,
    None,
}

/// Meaning of an item's bytes, NumPy's `dtype.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Bool,
    Int,
    Uint,
    /// IEEE 754 binary16, binary32 or binary64.
    Float,
    Complex,
}

/// Member of the closed list: `|b1`, `|i1`, `|u1`, `i2` to `i8`, `u2` to `u8`, `f2`, `f4`, `f8`,
/// `c8`, `c16`, in both byte orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct DType {
    kind: Kind,
    size: u8,
    order: Order,
}

/// Dimensions in items, outermost first, at most [`RANK_MAX`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct Shape(Dims);

/// Dimensions that a [`Shape`] stores without an allocation.
pub const RANK_INLINE: usize = 8;

#[derive(Clone)]
enum Dims {
    Inline { rank: u8, dims: [u64; RANK_INLINE] },
    Spilled(Vec<u64>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayView<'a> {
    dtype: DType,
    shape: Shape,
    data: &'a [u8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NdArray {
    dtype: DType,
    shape: Shape,
    data: Vec<u8>,
}

const NAMES: [&[u8]; 25] = [
    b"|b1", b"|i1", b"|u1", b"<i2", b">i2", b"<u2", b">u2", b"<f2", b">f2", b"<i4", b">i4", b"<u4",
    b">u4", b"<f4", b">f4", b"<i8", b">i8", b"<u8", b">u8", b"<f8", b">f8", b"<c8", b">c8",
    b"<c16", b">c16",
];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArrayError {
    #[error("dtype {0:?} is not supported: expected one like |b1, <i4, >u2, <f8 or <c16")]
    DType(String),
    #[error("array has {got} dimensions, at most {RANK_MAX} are supported")]
    Rank { got: usize },
    #[error(
        "array size overflows: the dimensions other than 0, times the item size, must fit 63 bits"
    )]
    Overflow,
    #[error("shape and dtype need {want} bytes of data, got {got}")]
    Length { want: u64, got: u64 },
}

impl DType {
    pub const F8: DType = DType { kind: Kind::Float, size: 8, order: Order::Little };

    pub fn all() -> impl Iterator<Item = DType> {
        NAMES.iter().map(|name| DType::from_bytes(name).expect("the list holds supported names"))
    }

    /// Parses a NumPy type string such as `<f8`, or another spelling that `numpy.dtype` accepts.
    pub fn parse(text: &str) -> Result<DType, ArrayError> {
        DType::from_bytes(text.as_bytes()).ok_or_else(|| ArrayError::DType(excerpt(text)))
    }

    pub(crate) fn from_bytes(text: &[u8]) -> Option<DType> {
        let (mark, code) = text.split_first()?;
        DType::from_code(*mark, code).or_else(|| spelled(text))
    }

    fn from_code(mark: u8, code: &[u8]) -> Option<DType> {
        let (kind, size) = match code {
            b"b1" => (Kind::Bool, 1),
            b"i1" => (Kind::Int, 1),
            b"i2" => (Kind::Int, 2),
            b"i4" => (Kind::Int, 4),
            b"i8" => (Kind::Int, 8),
            b"u1" => (Kind::Uint, 1),
            b"u2" => (Kind::Uint, 2),
            b"u4" => (Kind::Uint, 4),
            b"u8" => (Kind::Uint, 8),
            b"f2" => (Kind::Float, 2),
            b"f4" => (Kind::Float, 4),
            b"f8" => (Kind::Float, 8),
            b"c8" => (Kind::Complex, 8),
            b"c16" => (Kind::Complex, 16),
            _ => return None,
        };
        let order = match mark {
            b'<' | b'>' | b'=' | b'|' if size == 1 => Order::None,
            b'<' | b'=' => Order::Little,
            b'>' => Order::Big,
            _ => return None,
        };
        Some(DType { kind, size, order })
    }

    /// Returns the canonical type string, as `numpy.dtype.str` gives it: `<f8`, `|u1`.
    pub fn name(self) -> &'static str {
        let names = match (self.kind, self.size) {
            (Kind::Bool, _) => ["|b1"; 2],
            (Kind::Int, 1) => ["|i1"; 2],
            (Kind::Int, 2) => ["<i2", ">i2"],
            (Kind::Int, 4) => ["<i4", ">i4"],
            (Kind::Int, _) => ["<i8", ">i8"],
            (Kind::Uint, 1) => ["|u1"; 2],
            (Kind::Uint, 2) => ["<u2", ">u2"],
            (Kind::Uint, 4) => ["<u4", ">u4"],
            (Kind::Uint, _) => ["<u8", ">u8"],
            (Kind::Float, 2) => ["<f2", ">f2"],
            (Kind::Float, 4) => ["<f4", ">f4"],
            (Kind::Float, _) => ["<f8", ">f8"],
            (Kind::Complex, 8) => ["<c8", ">c8"],
            (Kind::Complex, _) => ["<c16", ">c16"],
        };
        names[usize::from(self.order == Order::Big)]
    }

    pub fn item_size(self) -> usize {
        usize::from(self.size)
    }

    pub fn kind(self) -> Kind {
        self.kind
    }

    pub fn order(self) -> Order {
        self.order
    }
}

/// Codes of the closed list with their other spellings. C types have the sizes of Linux on x86-64,
/// and `int` is that of NumPy 2.
const SPELLINGS: [(&[u8], &[&str]); 14] = [
    (b"b1", &["?", "bool", "bool_"]),
    (b"i1", &["b", "int8", "byte"]),
    (b"i2", &["h", "int16", "short"]),
    (b"i4", &["i", "int32", "intc"]),
    (b"i8", &["l", "q", "p", "n", "int64", "int", "int_", "intp", "long", "longlong"]),
    (b"u1", &["B", "uint8", "ubyte"]),
    (b"u2", &["H", "uint16", "ushort"]),
    (b"u4", &["I", "uint32", "uintc"]),
    (b"u8", &["L", "Q", "P", "N", "uint64", "uint", "uintp", "ulong", "ulonglong"]),
    (b"f2", &["e", "float16", "half"]),
    (b"f4", &["f", "float32", "single"]),
    (b"f8", &["d", "float64", "float", "double"]),
    (b"c8", &["F", "complex64", "csingle"]),
    (b"c16", &["D", "complex128", "complex", "cdouble"]),
];

/// Reads the spellings of `numpy.dtype` other than its type strings. As in NumPy, a single
/// character may follow a mark of the byte order, but a name may not.
#[cold]
fn spelled(text: &[u8]) -> Option<DType> {
    let (mark, code) = match text {
        [mark @ (b'<' | b'>' | b'=' | b'|'), code @ ..] => (*mark, code),
        code => (b'=', code),
    };
    let is_marked = code.len() < text.len();
    let is_it = |name: &&str| name.as_bytes() == code && !(is_marked && name.len() > 1);
    let known = SPELLINGS.iter().find(|(_, names)| names.iter().any(is_it));
    let code = known.map_or(code, |(code, _)| code);
    DType::from_code(if mark == b'|' { b'=' } else { mark }, code)
}

/// Cuts text from a peer, which must not choose the length of an error message.
fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('\u{2026}');
    }
    short
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for DType {
    type Error = ArrayError;

    fn try_from(name: String) -> Result<DType, ArrayError> {
        DType::parse(&name)
    }
}

impl From<DType> for &'static str {
    fn from(dtype: DType) -> &'static str {
        dtype.name()
    }
}

impl TryFrom<Vec<u64>> for Shape {
    type Error = ArrayError;

    fn try_from(dims: Vec<u64>) -> Result<Shape, ArrayError> {
        Shape::new(&dims)
    }
}

impl From<Shape> for Vec<u64> {
    fn from(shape: Shape) -> Vec<u64> {
        shape.dims().to_vec()
    }
}

impl Default for Shape {
    /// Returns the shape of a 0-d array.
    fn default() -> Shape {
        Shape(Dims::Inline { rank: 0, dims: [0; RANK_INLINE] })
    }
}

impl Shape {
    pub fn new(dims: &[u64]) -> Result<Shape, ArrayError> {
        let mut inline = [0; RANK_INLINE];
        match dims.len() {
            rank @ 0..=RANK_INLINE => {
                inline[..rank].copy_from_slice(dims);
                Ok(Shape(Dims::Inline { rank: rank as u8, dims: inline }))
            }
            0..=RANK_MAX => Ok(Shape(Dims::Spilled(dims.to_vec()))),
            got => Err(ArrayError::Rank { got }),
        }
    }

    /// Adds an innermost dimension.
    pub fn push(&mut self, dim: u64) -> Result<(), ArrayError> {
        match &mut self.0 {
            Dims::Inline { rank, dims } if usize::from(*rank) < RANK_INLINE => {
                dims[usize::from(*rank)] = dim;
                *rank += 1;
            }
            Dims::Inline { dims, .. } => {
                let mut spilled = dims.to_vec();
                spilled.push(dim);
                self.0 = Dims::Spilled(spilled);
            }
            Dims::Spilled(dims) if dims.len() < RANK_MAX => dims.push(dim),
            Dims::Spilled(dims) => return Err(ArrayError::Rank { got: dims.len() + 1 }),
        }
        Ok(())
    }

    pub fn dims(&self) -> &[u64] {
        match &self.0 {
            Dims::Inline { rank, dims } => &dims[..usize::from(*rank)],
            Dims::Spilled(dims) => dims,
        }
    }

    /// Returns the size in bytes. The limits are NumPy's: each dimension fits 63 bits, and so does
    /// the product of the item size and all dimensions other than 0.
    pub fn byte_len(&self, dtype: DType) -> Result<u64, ArrayError> {
        const BYTES_MAX: u64 = i64::MAX as u64;
        let mut bytes = u64::from(dtype.size);
        let mut empty = false;
        for &dim in self.dims() {
            empty |= dim == 0;
            bytes = bytes.checked_mul(dim.max(1)).ok_or(ArrayError::Overflow)?;
            if dim > BYTES_MAX || bytes > BYTES_MAX {
                return Err(ArrayError::Overflow);
            }
        }
        Ok(if empty { 0 } else { bytes })
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Shape) -> bool {
        self.dims() == other.dims()
    }
}

impl Eq for Shape {}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shape").field(&self.dims()).finish()
    }
}

impl<'a> ArrayView<'a> {
    pub fn new(dtype: DType, shape: Shape, data: &'a [u8]) -> Result<ArrayView<'a>, ArrayError> {
        let want = shape.byte_len(dtype)?;
        if want != data.len() as u64 {
            return Err(ArrayError::Length { want, got: data.len() as u64 });
        }
        Ok(ArrayView { dtype, shape, data })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}

impl NdArray {
    pub fn new(dtype: DType, shape: Shape, data: Vec<u8>) -> Result<NdArray, ArrayError> {
        ArrayView::new(dtype, shape.clone(), &data)?;
        Ok(NdArray { dtype, shape, data })
    }

    pub fn view(&self) -> ArrayView<'_> {
        ArrayView { dtype: self.dtype, shape: self.shape.clone(), data: &self.data }
    }

    /// Returns the items for changes in place; the load generator writes its nonce here.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[u64]) -> Shape {
        Shape::new(dims).unwrap()
    }

    #[test]
    fn every_dtype_reads_its_own_name() {
        let mut names = std::collections::HashSet::new();
        for dtype in DType::all() {
            assert_eq!(DType::parse(dtype.name()), Ok(dtype));
            assert!(names.insert(dtype.name()));
            let size: usize = dtype.name()[2..].parse().unwrap();
            assert_eq!(dtype.item_size(), size);
        }
        assert_eq!(names.len(), 25);
    }

    #[test]
    fn other_spellings_become_what_numpy_writes() {
        for (text, name) in [
            ("=f8", "<f8"),
            (">u1", "|u1"),
            ("<b1", "|b1"),
            ("=i1", "|i1"),
            ("f8", "<f8"),
            ("|f8", "<f8"),
            ("c16", "<c16"),
            ("?", "|b1"),
            (">d", ">f8"),
            ("<B", "|u1"),
            ("float64", "<f8"),
            ("float", "<f8"),
            ("int32", "<i4"),
            ("int", "<i8"),
            ("uint8", "|u1"),
            ("bool", "|b1"),
            ("half", "<f2"),
            ("complex64", "<c8"),
        ] {
            assert_eq!(DType::parse(text).unwrap().name(), name, "{text}");
        }
    }

    #[test]
    fn anything_off_the_list_is_refused_by_name() {
        let refused = [
            "",
            "|",
            "<",
            "f16",
            "<f16",
            "O",
            "|O",
            "|O8",
            "<U4",
            "|S3",
            "|V8",
            "<M8[ns]",
            "<m8",
            "<i3",
            "<c32",
            "<f08",
            "<f8 ",
            " <f8",
            "<F8",
            "<float64",
            "Float64",
            "float128",
            "g",
            "longdouble",
            "object",
            "str",
            "u",
            "c",
            "<b2",
            "|b1\0",
            "<<f8",
            "=|u1",
            "1f8",
            "f8,f8",
        ];
        for text in refused {
            assert_eq!(DType::parse(text), Err(ArrayError::DType(text.to_owned())));
        }
        let long = DType::parse(&"\u{e9}".repeat(1000)).unwrap_err().to_string();
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn shapes_hold_up_to_64_dimensions() {
        for rank in [0, 1, RANK_INLINE, RANK_INLINE + 1, RANK_MAX] {
            let dims: Vec<u64> = (1..=rank as u64).collect();
            assert_eq!(shape(&dims).dims(), dims);
            assert_eq!(shape(&dims), shape(&dims).clone());
        }
        assert_eq!(Shape::new(&[1; 65]), Err(ArrayError::Rank { got: 65 }));
        assert_eq!(shape(&[1; 64]).push(1), Err(ArrayError::Rank { got: 65 }));
    }

    #[test]
    fn sizes_that_overflow_are_refused_as_numpy_does() {
        const F8: DType = DType::F8;
        let u1 = DType::parse("|u1").unwrap();
        assert_eq!(shape(&[]).byte_len(F8), Ok(8));
        assert_eq!(shape(&[2, 0, 3]).byte_len(F8), Ok(0));
        assert_eq!(shape(&[i64::MAX as u64]).byte_len(u1), Ok(i64::MAX as u64));
        assert_eq!(shape(&[i64::MAX as u64, 0]).byte_len(u1), Ok(0));
        for dims in [
            &[1 << 32, 1 << 32][..],
            &[(1 << 61) + 1],
            &[1 << 60],
            &[0, 1 << 32, 1 << 32],
            &[1 << 32, 1 << 32, 0],
            &[0, 1 << 63],
            &[u64::MAX; 64],
        ] {
            assert_eq!(shape(dims).byte_len(F8), Err(ArrayError::Overflow), "{dims:?}");
        }
    }

    #[test]
    fn data_must_be_as_long_as_the_shape_says() {
        let error = ArrayView::new(DType::F8, shape(&[2]), &[0; 15]).unwrap_err();
        assert_eq!(error, ArrayError::Length { want: 16, got: 15 });
        assert!(NdArray::new(DType::F8, shape(&[2]), vec![0; 17]).is_err());
        assert!(NdArray::new(DType::F8, shape(&[0, 5]), Vec::new()).is_ok());
    }
}
