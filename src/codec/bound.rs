//! Upper bound of the length of a message, for the limits of a server.
//!
//! The bound holds for every value of a dtype, and for each writer of JSON that is in use here: our
//! own, Python's, serde_json, and `JSON.stringify`.

use crate::array::{DType, Kind, Shape};
use crate::axis::{Encoding, Payload};

/// Bytes of a message other than the array's: names, dtype, and a shape of 64 numbers of 20 digits.
const HEAD_BYTES_MAX: u64 = 4096;

/// Comma and space between two members of a list.
const SEPARATOR_BYTES: u64 = 2;

const BRACKETS_BYTES: u64 = 2;

/// Letters of the longest float: JavaScript writes `-0.0000012345678901234567`. Narrow floats are
/// written as doubles.
const FLOAT_BYTES_MAX: u64 = 25;

/// Returns the length of the longest message with an array of `dtype` and `shape`.
pub fn message_bytes_max(encoding: Encoding, dtype: DType, shape: &Shape) -> u64 {
    let items = product(shape.dims());
    let bytes = items.saturating_mul(dtype.item_size() as u64);
    let body = match encoding.spec().payload {
        Payload::Bytes => bytes,
        Payload::Base64 => bytes.div_ceil(3).saturating_mul(4),
        Payload::Packed => items.saturating_mul(packed_bytes_max(dtype)),
        Payload::Numbers => {
            let of_items = items.saturating_mul(number_bytes_max(dtype) + SEPARATOR_BYTES);
            let of_lists = lists(shape).saturating_mul(BRACKETS_BYTES + SEPARATOR_BYTES);
            of_items.saturating_add(of_lists)
        }
    };
    body.saturating_add(HEAD_BYTES_MAX)
}

/// Returns the letters of the longest item.
fn number_bytes_max(dtype: DType) -> u64 {
    match (dtype.kind(), dtype.item_size()) {
        (Kind::Bool, _) => "false".len() as u64,
        (Kind::Int, 1) => "-128".len() as u64,
        (Kind::Int, 2) => "-32768".len() as u64,
        (Kind::Int, 4) => "-2147483648".len() as u64,
        (Kind::Int, _) => "-9223372036854775808".len() as u64,
        (Kind::Uint, 1) => "255".len() as u64,
        (Kind::Uint, 2) => "65535".len() as u64,
        (Kind::Uint, 4) => "4294967295".len() as u64,
        (Kind::Uint, _) => "18446744073709551615".len() as u64,
        (Kind::Float, _) => FLOAT_BYTES_MAX,
        // JSON refuses complex numbers; as a pair they would have this length.
        (Kind::Complex, _) => 2 * (FLOAT_BYTES_MAX + SEPARATOR_BYTES),
    }
}

/// Returns the bytes of the longest item in protobuf: a negative number has all 64 bits.
fn packed_bytes_max(dtype: DType) -> u64 {
    match (dtype.kind(), dtype.item_size()) {
        (Kind::Bool, _) => 1,
        (Kind::Int, _) => 10,
        (Kind::Uint, 1) => 2,
        (Kind::Uint, 2) => 3,
        (Kind::Uint, 4) => 5,
        (Kind::Uint, _) => 10,
        (Kind::Float | Kind::Complex, size) => size as u64,
    }
}

/// Returns the number of lists: one for each index of all dimensions before the list's own.
fn lists(shape: &Shape) -> u64 {
    let dims = shape.dims();
    (0..dims.len()).map(|depth| product(&dims[..depth])).fold(0, u64::saturating_add)
}

fn product(dims: &[u64]) -> u64 {
    dims.iter().fold(1, |product: u64, dim| product.saturating_mul(*dim))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::array::{ArrayView, Order};
    use crate::codec::{implementations, message, reply};

    const ITEMS: usize = 1 << 12;

    /// Items whose texts are long: the ends of the range, values near 0 and drawn bits.
    fn items(dtype: DType) -> Vec<u8> {
        let size = dtype.item_size();
        let mut random = Pcg64::seed_from_u64(7);
        let mut bytes = Vec::new();
        for number in 0..ITEMS {
            let mut item = match number {
                0 => vec![0xff; size],
                1 => [vec![0; size - 1], vec![0x80]].concat(),
                2 => [vec![0xff; size - 1], vec![0x7f]].concat(),
                // The smallest float below 0 and its neighbours.
                3..64 => {
                    let low = number as u8;
                    [vec![low], vec![0; size.saturating_sub(2)], vec![0x80]].concat()
                }
                _ => (0..size).map(|_| random.random()).collect(),
            };
            item.truncate(size);
            match dtype.kind() {
                Kind::Bool => item[0] = 0,
                // Clears the lowest bit of the exponent, so that it is no infinity and no NaN.
                Kind::Float | Kind::Complex => {
                    let half = if dtype.kind() == Kind::Complex { size / 2 } else { size };
                    for part in item.chunks_mut(half) {
                        let at = if half == 2 { half - 1 } else { half - 2 };
                        part[at] &= if half == 2 {
                            0xfb
                        } else if half == 4 {
                            0x7f
                        } else {
                            0xef
                        };
                    }
                }
                Kind::Int | Kind::Uint => {}
            }
            if dtype.order() == Order::Big {
                item.reverse();
            }
            bytes.extend(item);
        }
        bytes
    }

    #[test]
    fn no_message_of_any_dtype_codec_and_shape_is_longer() {
        let n = ITEMS as u64;
        let shapes = [vec![n], vec![n, 1], vec![1, n], vec![n, 1, 1, 1, 1], vec![2, n / 2]];
        let mut messages = 0;
        let mut longest: f64 = 0.0;
        for dtype in DType::all() {
            let data = items(dtype);
            for shape in &shapes {
                let shape = Shape::new(shape).unwrap();
                let array = ArrayView::new(dtype, shape.clone(), &data).unwrap();
                for codec in implementations().filter(|codec| codec.check(&array).is_ok()) {
                    let request = message(codec, &array).unwrap().len();
                    let len = request.max(reply(codec, &array).unwrap().len()) as u64;
                    let most = message_bytes_max(codec.encoding(), dtype, &shape);
                    let what = format!("{} {dtype} {shape:?}", codec.name());
                    assert!(len <= most, "{what}: {len} B, bound {most} B");
                    // The bound is no excuse to let everything through.
                    assert!(most - HEAD_BYTES_MAX <= 3 * len, "{what}: {len} B, bound {most} B");
                    longest = longest.max(len as f64 / data.len() as f64);
                    messages += 1;
                }
            }
        }
        assert!(messages > 1000, "{messages}");
        assert!(longest > 12.0, "an f2 takes more than 12 times its bytes: {longest}");
    }

    #[test]
    fn each_float_of_javascript_fits() {
        let longest = "-0.0000012345678901234567";
        assert_eq!(longest.len() as u64, FLOAT_BYTES_MAX);
        let scalar = Shape::new(&[]).unwrap();
        let most = message_bytes_max(Encoding::Json, DType::F8, &scalar);
        assert_eq!(most, FLOAT_BYTES_MAX + SEPARATOR_BYTES + HEAD_BYTES_MAX);
    }

    #[test]
    fn a_huge_shape_has_a_bound_without_overflow() {
        let huge = Shape::new(&[1 << 30, 1 << 30]).unwrap();
        assert_eq!(message_bytes_max(Encoding::Json, DType::parse("f2").unwrap(), &huge), u64::MAX);
    }
}
