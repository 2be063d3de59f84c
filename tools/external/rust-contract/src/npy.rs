//! `.npy` files: formats 1.0 to 3.0 are read, and 1.0 in C order is written, as NumPy does.
//!
//! The header is a literal of a Python dict with three known keys. It is parsed, not evaluated.

use std::borrow::Cow;
use std::io::Write;

use crate::array::{DType, RANK_MAX, Refusal, byte_len};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
const HEADER_BYTES_MAX: usize = 64 * 1024;
const ALIGN: usize = 64;

/// Digits that NumPy reserves for the first dimension, so that it can grow in place.
const GROWTH_DIGITS: usize = 21;

/// Array in C order, checked. The data is borrowed from the file unless it had to be transposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array<'a> {
    pub dtype: DType,
    pub shape: Vec<u64>,
    pub data: Cow<'a, [u8]>,
}

pub fn read(file: &[u8]) -> Result<Array<'_>, String> {
    let (header, data) = split(file)?;
    let Header { dtype, fortran_order, shape } = Text(header).dict()?;
    let (want, got) = (byte_len(dtype, &shape).map_err(|refusal| refusal.to_string())?, data.len());
    if want != got as u64 {
        return Err(Refusal::Length { want, got: got as u64 }.to_string());
    }
    let data = match fortran_order && shape.len() > 1 {
        true => Cow::Owned(to_c_order(data, dtype.item_bytes, &shape)),
        false => Cow::Borrowed(data),
    };
    Ok(Array { dtype, shape, data })
}

/// Appends everything of a file that comes before the data.
pub fn write_header(array: &Array<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[1, 0, 0, 0]);
    let text = out.len();
    let name = array.dtype.name;
    out.extend_from_slice(b"{'descr': '");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"', 'fortran_order': False, 'shape': (");
    let dims = &array.shape;
    for (at, dim) in dims.iter().enumerate() {
        let separator = if at > 0 { ", " } else { "" };
        write!(out, "{separator}{dim}").expect("a Vec takes everything");
    }
    out.extend_from_slice(if dims.len() == 1 { b",), }" } else { b"), }" });
    if let Some(first) = dims.first() {
        let digits = first.checked_ilog10().unwrap_or(0) as usize + 1;
        out.resize(out.len() + GROWTH_DIGITS - digits, b' ');
    }
    let padding = ALIGN - (out.len() - start + 1) % ALIGN;
    out.resize(out.len() + padding, b' ');
    out.push(b'\n');
    let len = u16::try_from(out.len() - text).expect("64 dimensions fit 64 KiB");
    out[text - 2..text].copy_from_slice(&len.to_le_bytes());
}

/// Splits a file into the text of its header and the data.
fn split(file: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let rest = file.strip_prefix(MAGIC).ok_or("expected \\x93NUMPY at byte 0")?;
    let end = "the header ends too early";
    let (len, rest) = match rest {
        [1, 0, rest @ ..] => {
            let (len, rest) = rest.split_first_chunk().ok_or(end)?;
            (usize::from(u16::from_le_bytes(*len)), rest)
        }
        [2 | 3, 0, rest @ ..] => {
            let (len, rest) = rest.split_first_chunk().ok_or(end)?;
            (u32::from_le_bytes(*len) as usize, rest)
        }
        _ => return Err("expected format 1.0, 2.0 or 3.0 at byte 6".to_owned()),
    };
    if len > HEADER_BYTES_MAX {
        return Err("the header is longer than 64 KiB".to_owned());
    }
    rest.split_at_checked(len).ok_or_else(|| end.to_owned())
}

struct Header {
    dtype: DType,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Rest of a header that is not yet read.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    fn dict(mut self) -> Result<Header, String> {
        let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.accept("}") {
            let key = self.string()?;
            self.expect(":")?;
            let is_twice = match key {
                "descr" => dtype.replace(self.dtype()?).is_some(),
                "fortran_order" => fortran_order.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.tuple()?).is_some(),
                _ => return Err(format!("unknown key {key:?} in the header")),
            };
            if is_twice {
                return Err(format!("key {key:?} is given twice in the header"));
            }
            if !self.accept(",") {
                self.expect("}")?;
                break;
            }
        }
        self.skip_space();
        if !self.0.is_empty() {
            return Err("unexpected text after the dict of the header".to_owned());
        }
        let missing = |key: &str| format!("the header has no key {key:?}");
        Ok(Header {
            dtype: dtype.ok_or_else(|| missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn accept(&mut self, word: &str) -> bool {
        self.skip_space();
        let rest = self.0.strip_prefix(word.as_bytes());
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.accept(word) { Ok(()) } else { Err(format!("expected {word:?} in the header")) }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        self.skip_space();
        let (quote @ (b'\'' | b'"'), rest) = self.0.split_first().ok_or("the header ends early")?
        else {
            return Err("expected a quoted string in the header".to_owned());
        };
        let end = rest.iter().position(|byte| byte == quote).ok_or("a string does not end")?;
        let (text, rest) = rest.split_at(end);
        self.0 = &rest[1..];
        if text.iter().any(|byte| matches!(byte, b'\\' | b'\n')) {
            return Err("escapes in strings are not supported".to_owned());
        }
        std::str::from_utf8(text).map_err(|_| "a string in the header is not UTF-8".to_owned())
    }

    fn dtype(&mut self) -> Result<DType, String> {
        let name = self.string()?;
        let excerpt = || name.chars().take(40).collect();
        DType::parse(name).ok_or_else(|| Refusal::DType(excerpt()).to_string())
    }

    fn boolean(&mut self) -> Result<bool, String> {
        if self.accept("False") {
            return Ok(false);
        }
        if self.accept("True") { Ok(true) } else { Err("expected True or False".to_owned()) }
    }

    /// Reads a tuple of integers. `(3)` is not a tuple, as in Python.
    fn tuple(&mut self) -> Result<Vec<u64>, String> {
        self.expect("(")?;
        let mut dims = Vec::new();
        while !self.accept(")") {
            if dims.len() == RANK_MAX {
                return Err(Refusal::Rank(RANK_MAX + 1).to_string());
            }
            dims.push(self.integer()?);
            if !self.accept(",") {
                if dims.len() == 1 {
                    return Err("a tuple of one item ends with a comma".to_owned());
                }
                self.expect(")")?;
                break;
            }
        }
        Ok(dims)
    }

    fn integer(&mut self) -> Result<u64, String> {
        self.skip_space();
        let len = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(len);
        // Python 2 writes a long integer as `3L`.
        self.0 = rest.strip_prefix(b"L").unwrap_or(rest);
        if digits.is_empty() {
            return Err("expected a dimension".to_owned());
        }
        let value =
            |value: u64, digit: &u8| value.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
        let value = digits.iter().try_fold(0, value);
        value.ok_or_else(|| Refusal::Overflow.to_string())
    }
}

/// Copies an array in Fortran order into C order.
fn to_c_order(data: &[u8], item_bytes: usize, shape: &[u64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0; shape.len()];
    while out.len() < data.len() {
        let (mut at, mut stride) = (0, item_bytes);
        for (index, dim) in index.iter().zip(shape) {
            at += index * stride;
            stride *= *dim as usize;
        }
        out.extend_from_slice(&data[at..at + item_bytes]);
        for (index, dim) in index.iter_mut().zip(shape).rev() {
            *index += 1;
            if *index < *dim as usize {
                break;
            }
            *index = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let len = u16::try_from(header.len()).unwrap().to_le_bytes();
        [&b"\x93NUMPY\x01\x00"[..], &len, header.as_bytes(), data].concat()
    }

    #[test]
    fn a_written_file_is_read_again() {
        for shape in [vec![], vec![0], vec![3], vec![2, 3], vec![1; RANK_MAX]] {
            let dtype = DType::parse("<f8").unwrap();
            let data = vec![7; byte_len(dtype, &shape).unwrap() as usize];
            let array = Array { dtype, shape, data: Cow::Owned(data) };
            let mut file = Vec::new();
            write_header(&array, &mut file);
            assert_eq!(file.len() % ALIGN, 0);
            file.extend_from_slice(&array.data);
            assert_eq!(read(&file), Ok(array));
        }
    }

    #[test]
    fn fortran_order_is_transposed() {
        let header = "{'descr': 'uint8', 'fortran_order': True, 'shape': (2, 3L), }\n";
        let file = file(header, &[1, 4, 2, 5, 3, 6]);
        let array = read(&file).unwrap();
        assert_eq!((array.dtype.name, &*array.data), ("|u1", &[1, 2, 3, 4, 5, 6][..]));
    }

    #[test]
    fn other_headers_are_refused() {
        for header in [
            "",
            "{}",
            "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1), }",
            "{'descr': '|u1', 'fortran_order': 0, 'shape': (1,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), } x",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
        ] {
            assert!(read(&file(header, &[1])).is_err(), "{header}");
        }
    }
}
