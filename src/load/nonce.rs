//! Nonce: a number inside the array that differs for every request and reveals a mixed-up reply.
//!
//! Every encoding carries the first items exactly and in a fixed number of characters, or of bytes
//! of a varint, so a template is stamped and nothing is encoded again.
//!
//! | items | value | text |
//! |---|---|---|
//! | `f8` | 1 + 14 decimal digits, the last not 0 | `1.00000000000042`: a double keeps 15 digits |
//! | `f4` | a whole number of 7 digits | `1000042.0` |
//! | `f2` | 1024 to 2047, where halves are whole numbers | `1066.0` |
//! | integers | whole numbers of 3, 5, 10 or 16 digits | `1000000042` |
//! | bools | one bit each | `false`, or `true` and a space |
//!
//! An array of few small items repeats its nonces after as many requests as it has values. An empty
//! array has none.

use crate::array::{ArrayView, DType, Kind, Order};

/// Wanted number of nonces: more than the requests of any run.
const SPACE_WANTED: u64 = 1 << 40;

#[derive(Clone, Debug)]
pub struct Nonce {
    scalar: Scalar,
    numbers: Numbers,
    order: Order,
    scalars: usize,
    space: u64,
    base: u64,
}

/// Numbers of a scalar whose texts are equally long.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    size: usize,
    least: u64,
    count: u64,
    text_width: usize,
}

/// Number in memory. A complex item is two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scalar {
    Bool,
    Int { size: usize, signed: bool },
    Half,
    Single,
    Double,
}

impl Nonce {
    /// Runs with different `base` use different nonces first.
    pub fn new(array: &ArrayView<'_>, base: u64) -> Nonce {
        let scalar = Scalar::new(array.dtype());
        let numbers = scalar.numbers();
        let available = array.data().len() / numbers.size;
        let mut space = 1_u64;
        let mut scalars = 0;
        while scalars < available && space < SPACE_WANTED {
            space = space.saturating_mul(numbers.count);
            scalars += 1;
        }
        let (order, base) = (array.dtype().order(), base % space);
        Nonce { scalar, numbers, order, scalars, space, base }
    }

    /// Returns the number of bytes from the first one that the nonce takes.
    pub fn byte_len(&self) -> usize {
        self.scalars * self.numbers.size
    }

    /// Returns the number of scalars. Each has a place of its own in text.
    pub fn scalars(&self) -> usize {
        self.scalars
    }

    pub fn text_width(&self) -> usize {
        self.numbers.text_width
    }

    pub fn bytes(&self, request: u64, out: &mut Vec<u8>) {
        self.each_digit(request, |digit| self.scalar_bytes(digit, out));
    }

    /// Appends the least nonce, whose numbers have the width that text reserves for them.
    pub fn least(&self, out: &mut Vec<u8>) {
        (0..self.scalars).for_each(|_| self.scalar_bytes(0, out));
    }

    pub fn text(&self, request: u64, message: &mut [u8], places: &[usize]) {
        let width = self.text_width();
        let mut places = places.iter();
        self.each_digit(request, |digit| {
            if let Some(&at) = places.next() {
                self.scalar.text(digit, &mut message[at..at + width]);
            }
        });
    }

    fn scalar_bytes(&self, digit: u64, out: &mut Vec<u8>) {
        let (value, size) = (self.scalar.bits(digit), self.numbers.size);
        match self.order {
            Order::Big => out.extend_from_slice(&value.to_be_bytes()[8 - size..]),
            Order::Little | Order::None => out.extend_from_slice(&value.to_le_bytes()[..size]),
        }
    }

    fn each_digit(&self, request: u64, mut take: impl FnMut(u64)) {
        let radix = self.numbers.count;
        let mut left = self.base.wrapping_add(request);
        // A division would cost more than all of this. A single double never needs one.
        if left >= self.space {
            left %= self.space;
        }
        for _ in 0..self.scalars {
            let (rest, digit) = if left < radix { (0, left) } else { (left / radix, left % radix) };
            take(digit);
            left = rest;
        }
    }
}

impl Scalar {
    fn new(dtype: DType) -> Scalar {
        let size = dtype.item_size();
        match (dtype.kind(), size) {
            (Kind::Bool, _) => Scalar::Bool,
            (Kind::Int, size) => Scalar::Int { size, signed: true },
            (Kind::Uint, size) => Scalar::Int { size, signed: false },
            (Kind::Float, 2) => Scalar::Half,
            (Kind::Float, 4) | (Kind::Complex, 8) => Scalar::Single,
            (Kind::Float | Kind::Complex, _) => Scalar::Double,
        }
    }

    fn numbers(self) -> Numbers {
        let (size, least, count, text_width) = match self {
            Scalar::Bool => (1, 0, 2, 5),
            Scalar::Int { size: 1, signed: true } => (1, 100, 28, 3),
            Scalar::Int { size: 1, signed: false } => (1, 128, 128, 3),
            Scalar::Int { size: 2, signed: true } => (2, 16_384, 16_384, 5),
            Scalar::Int { size: 2, signed: false } => (2, 16_384, 49_152, 5),
            Scalar::Int { size: 4, signed: true } => (4, 1_000_000_000, 1_147_483_648, 10),
            Scalar::Int { size: 4, signed: false } => (4, 1_000_000_000, 3_294_967_296, 10),
            // Below 2^53, so that a peer whose numbers are doubles could carry them too.
            Scalar::Int { .. } => (8, 1_000_000_000_000_000, 8_000_000_000_000_000, 16),
            Scalar::Half => (2, 1024, 1024, 6),
            Scalar::Single => (4, 1_000_000, 9_000_000, 9),
            Scalar::Double => (8, 0, 90_000_000_000_000, 16),
        };
        Numbers { size, least, count, text_width }
    }

    fn bits(self, digit: u64) -> u64 {
        let value = self.numbers().least + digit;
        match self {
            Scalar::Bool | Scalar::Int { .. } => value,
            // 1024 + digit as a half: exponent 10, biased 25, and the digit is the mantissa.
            Scalar::Half => (25 << 10) | digit,
            Scalar::Single => u64::from((value as f32).to_bits()),
            Scalar::Double => (double_numerator(digit) as f64 / 1e14).to_bits(),
        }
    }

    fn text(self, digit: u64, out: &mut [u8]) {
        let value = self.numbers().least + digit;
        match self {
            Scalar::Bool if digit == 0 => out.copy_from_slice(b"false"),
            Scalar::Bool => out.copy_from_slice(b"true "),
            Scalar::Int { .. } => decimal(value, out),
            Scalar::Half | Scalar::Single => {
                let (whole, point) = out.split_at_mut(out.len() - 2);
                decimal(value, whole);
                point.copy_from_slice(b".0");
            }
            Scalar::Double => {
                out[..2].copy_from_slice(b"1.");
                decimal(double_numerator(digit) - 100_000_000_000_000, &mut out[2..]);
            }
        }
    }
}

/// Returns 10^14 plus 14 digits, the last not 0. The quotient by 10^14 is rounded correctly, and 15
/// significant digits are always the shortest text that reads back as the same double.
fn double_numerator(digit: u64) -> u64 {
    100_000_000_000_000 + digit / 9 * 10 + digit % 9 + 1
}

fn decimal(mut value: u64, out: &mut [u8]) {
    for place in out.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::array::{NdArray, Shape};

    const SAMPLES: [u64; 6] = [0, 1, 8, 9, 1_000_000_007, u64::MAX - 3];

    fn nonce(dtype: DType, items: u64) -> Nonce {
        let array = NdArray::seeded(dtype, Shape::new(&[items]).unwrap(), 1).unwrap();
        Nonce::new(&array.view(), 12_345)
    }

    fn stamped(nonce: &Nonce, request: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        nonce.bytes(request, &mut bytes);
        bytes
    }

    #[test]
    fn takes_the_first_items_and_differs_for_every_request() {
        for dtype in DType::all() {
            let nonce = nonce(dtype, 64);
            let all: HashSet<Vec<u8>> = (0..5000).map(|n| stamped(&nonce, n)).collect();
            assert_eq!(all.len(), 5000, "{}", dtype.name());
            assert!(all.iter().all(|bytes| bytes.len() == nonce.byte_len()));
            assert_eq!(nonce.byte_len() % nonce.numbers.size, 0);
        }
    }

    #[test]
    fn a_double_is_its_own_shortest_text() {
        let nonce = nonce(DType::F8, 1);
        assert_eq!(nonce.byte_len(), 8);
        for request in SAMPLES {
            let value = f64::from_le_bytes(stamped(&nonce, request).try_into().unwrap());
            let mut text = [0; 16];
            nonce.text(request, &mut text, &[0]);
            assert_eq!(format!("{value:?}").as_bytes(), text);
            assert!((1.0..2.0).contains(&value));
        }
    }

    #[test]
    fn smaller_floats_are_whole_numbers() {
        let mut text = [0; 9];
        Scalar::Single.text(42, &mut text);
        assert_eq!(&text, b"1000042.0");
        assert_eq!(f32::from_bits(Scalar::Single.bits(42) as u32), 1_000_042.0);
        let mut text = [0; 6];
        Scalar::Half.text(1023, &mut text);
        assert_eq!(&text, b"2047.0");
        assert_eq!(Scalar::Half.bits(0), 0x6400, "1024.0 as a half");
    }

    #[test]
    fn every_range_fits_its_type_and_its_width() {
        for size in [1, 2, 4, 8] {
            for signed in [true, false] {
                let scalar = Scalar::Int { size, signed };
                let Numbers { least, count, text_width, .. } = scalar.numbers();
                let most = least + count - 1;
                assert_eq!(least.to_string().len(), text_width);
                assert_eq!(most.to_string().len(), text_width);
                let varint_len = |number: u64| number.ilog2() / 7;
                assert_eq!(varint_len(least), varint_len(most), "{scalar:?}");
                let bits = 8 * size as u32 - u32::from(signed);
                assert!(bits == 64 || most < 1 << bits, "{scalar:?}");
            }
        }
    }

    #[test]
    fn an_empty_array_has_none() {
        let nonce = nonce(DType::F8, 0);
        assert_eq!(nonce.byte_len(), 0);
        assert!(stamped(&nonce, 7).is_empty());
    }
}
