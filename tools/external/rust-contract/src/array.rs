//! Checks of the contract: the closed list of dtypes, and the size that a shape needs.

use std::fmt;

/// Limit of NumPy.
pub const RANK_MAX: usize = 64;

const BYTES_MAX: u64 = i64::MAX as u64;

/// Member of the closed list of dtypes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DType {
    /// Canonical type string, such as `<f8`.
    pub name: &'static str,
    pub item_bytes: usize,
}

/// Item sizes, canonical type strings (little-endian, big-endian) and other spellings of NumPy.
/// The first spelling is the code of a type string.
const DTYPES: [(usize, [&str; 2], &[&str]); 14] = [
    (1, ["|b1", "|b1"], &["b1", "?", "bool", "bool_"]),
    (1, ["|i1", "|i1"], &["i1", "b", "int8", "byte"]),
    (1, ["|u1", "|u1"], &["u1", "B", "uint8", "ubyte"]),
    (2, ["<i2", ">i2"], &["i2", "h", "int16", "short"]),
    (2, ["<u2", ">u2"], &["u2", "H", "uint16", "ushort"]),
    (2, ["<f2", ">f2"], &["f2", "e", "float16", "half"]),
    (4, ["<i4", ">i4"], &["i4", "i", "int32", "intc"]),
    (4, ["<u4", ">u4"], &["u4", "I", "uint32", "uintc"]),
    (4, ["<f4", ">f4"], &["f4", "f", "float32", "single"]),
    (
        8,
        ["<i8", ">i8"],
        &["i8", "l", "q", "p", "n", "int64", "int", "int_", "intp", "long", "longlong"],
    ),
    (
        8,
        ["<u8", ">u8"],
        &["u8", "L", "Q", "P", "N", "uint64", "uint", "uintp", "ulong", "ulonglong"],
    ),
    (8, ["<f8", ">f8"], &["f8", "d", "float64", "float", "double"]),
    (8, ["<c8", ">c8"], &["c8", "F", "complex64", "csingle"]),
    (16, ["<c16", ">c16"], &["c16", "D", "complex128", "complex", "cdouble"]),
];

impl DType {
    /// Finds the dtype that `text` names. Canonical names are compared first.
    pub fn parse(text: &str) -> Option<DType> {
        for (item_bytes, names, _) in DTYPES {
            if let Some(name) = names.into_iter().find(|name| *name == text) {
                return Some(DType { name, item_bytes });
            }
        }
        DType::parse_other(text)
    }

    /// Reads a spelling that is not canonical. As in NumPy, a code or a single character may follow
    /// a mark of the byte order, but a longer name may not.
    #[cold]
    fn parse_other(text: &str) -> Option<DType> {
        let (mark, code) = match text.split_at_checked(1)? {
            (mark @ ("<" | ">" | "=" | "|"), code) => (Some(mark), code),
            _ => (None, text),
        };
        let spells = |spellings: &[&str]| {
            let at = spellings.iter().position(|spelling| *spelling == code);
            at.is_some_and(|at| mark.is_none() || at == 0 || code.len() == 1)
        };
        let (item_bytes, names, spellings) =
            DTYPES.into_iter().find(|(_, _, spellings)| spells(spellings))?;
        let is_type_string = code == spellings[0];
        let is_refused = mark == Some("|") && item_bytes > 1 && is_type_string;
        let name = names[usize::from(mark == Some(">"))];
        (!is_refused).then_some(DType { name, item_bytes })
    }
}

/// Reason for which an array is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    DType(String),
    Rank(usize),
    Overflow,
    Length { want: u64, got: u64 },
}

/// Returns the dtype if `dtype`, `shape` and a number of data bytes describe an array.
pub fn check(dtype: &str, shape: &[u64], data_bytes: usize) -> Result<DType, Refusal> {
    let excerpt = || dtype.chars().take(40).collect();
    let dtype = DType::parse(dtype).ok_or_else(|| Refusal::DType(excerpt()))?;
    let (want, got) = (byte_len(dtype, shape)?, data_bytes as u64);
    if want == got { Ok(dtype) } else { Err(Refusal::Length { want, got }) }
}

/// Returns the size of an array in bytes. The product of the item size and the dimensions other
/// than 0 must fit 63 bits, as in NumPy.
pub fn byte_len(dtype: DType, shape: &[u64]) -> Result<u64, Refusal> {
    if shape.len() > RANK_MAX {
        return Err(Refusal::Rank(shape.len()));
    }
    let mut bytes = dtype.item_bytes as u64;
    for dim in shape {
        bytes = bytes.checked_mul((*dim).max(1)).ok_or(Refusal::Overflow)?;
        if bytes > BYTES_MAX {
            return Err(Refusal::Overflow);
        }
    }
    Ok(if shape.contains(&0) { 0 } else { bytes })
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::DType(name) => write!(f, "dtype {name:?} is not supported"),
            Refusal::Rank(got) => {
                write!(f, "array has {got} dimensions, at most {RANK_MAX} are supported")
            }
            Refusal::Overflow => write!(f, "array size overflows 63 bits"),
            Refusal::Length { want, got } => {
                write!(f, "shape and dtype need {want} bytes of data, got {got}")
            }
        }
    }
}

impl std::error::Error for Refusal {}
