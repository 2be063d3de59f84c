//! Product of a word and a power of ten, rounded to the nearest double.

use crate::codec::simd::decimal::TOKEN_BYTES_MAX;

#[derive(Clone, Copy)]
pub(super) struct Power {
    /// Leading 128 bits.
    pub(super) high: u64,
    pub(super) low: u64,
    /// Biased exponent of a double whose significand is a 64-bit word times the leading bits.
    exponent: u64,
}

pub(super) static POWERS: [Power; TOKEN_BYTES_MAX] = {
    let mut powers = [Power { high: 0, low: 0, exponent: 0 }; TOKEN_BYTES_MAX];
    let mut place = 0;
    while place < TOKEN_BYTES_MAX {
        powers[place] = negative_power(place as u32);
        place += 1;
    }
    powers
};

/// Computes `10^-place` by long division, rounded up where the paper does.
const fn negative_power(place: u32) -> Power {
    const ROUNDED_UP_MAX: u32 = 27;
    let divisor = 5u128.pow(place);
    let bits = 128 - divisor.leading_zeros() - divisor.is_power_of_two() as u32;
    let (mut quotient, mut rest) = (0u128, 1u128);
    let mut step = 0;
    // 2^(bits + 127) / 5^place: the top bit of the quotient is set.
    while step < bits + 127 {
        rest <<= 1;
        quotient <<= 1;
        if rest >= divisor {
            rest -= divisor;
            quotient |= 1;
        }
        step += 1;
    }
    if place == 0 {
        quotient = 1 << 127;
    } else if place <= ROUNDED_UP_MAX {
        quotient += 1;
    }
    // 10^-place = quotient * 2^-(bits + 127 + place); the word is at least 2^63.
    let exponent = 1023 + 63 - (bits + place) as u64;
    Power { high: (quotient >> 64) as u64, low: quotient as u64, exponent }
}

/// Bits of a product that, if all set, let a carry from the power's lower half reach the result.
pub(super) const UNSURE: u64 = 0x1ff;

/// Returns the double nearest to `word * 10^-place`, ties to even, as bits.
#[inline(always)]
pub(super) fn scale(word: u64, place: usize) -> u64 {
    if word == 0 {
        return 0;
    }
    let power = &POWERS[place % TOKEN_BYTES_MAX];
    let shift = word.leading_zeros();
    let word = word << shift;
    let mut product = u128::from(word) * u128::from(power.high);
    if (product >> 64) as u64 & UNSURE == UNSURE {
        product += (u128::from(word) * u128::from(power.low)) >> 64;
    }
    let (high, low) = ((product >> 64) as u64, product as u64);
    let top = (high >> 63) as u32;
    // 53 bits, and one to round by.
    let mut significand = high >> (9 + top);
    // Halfway between two doubles: exact only if the power of five fits a word.
    if low <= 1 && place <= 4 && significand & 3 == 1 && significand << (9 + top) == high {
        significand &= !1;
    }
    significand = (significand + (significand & 1)) >> 1;
    // The top bit of the significand and a carry out of it increment the exponent.
    let exponent = power.exponent + u64::from(top) - u64::from(shift) - 1;
    (exponent << 52) + significand
}
