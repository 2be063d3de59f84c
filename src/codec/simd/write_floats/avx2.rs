//! Form with AVX2: one number at a time, with all of its digits at once.

use std::arch::x86_64::*;
use std::hint::select_unpredictable;
use std::mem::MaybeUninit;

use super::tables::{
    EXPONENT_MIN, EXPONENTS, FIRST, FORMS, LENS, NUMBER_BYTES_MAX, ONE, POWERS, ROWS, SCALES,
    SHIFTS,
};
use crate::codec::simd::lanes;

/// Bytes that one number and the overhang of its store take.
const ROOM: usize = NUMBER_BYTES_MAX + 32;

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn write(values: &[f64], mut ends: u64, out: &mut Vec<u8>) -> usize {
    out.reserve(values.len() * NUMBER_BYTES_MAX + ROOM);
    let (mut written, mut len) = (0, 0);
    for value in values {
        let Some(digits) = Digits::from_bits(value.to_bits()) else { break };
        let room = out.spare_capacity_mut().get_mut(len..).and_then(<[_]>::first_chunk_mut);
        len += digits.put(ends & 1 == 1, room.expect("reserved for all"));
        ends >>= 1;
        written += 1;
    }
    // SAFETY: `put` has written the first `len` bytes after the old end, which are reserved.
    unsafe { out.set_len(out.len() + len) };
    written
}

struct Digits {
    is_negative: bool,
    /// First of the 17 digits, possibly 0.
    first: u8,
    /// Digits 2 to 17, one per byte.
    others: __m128i,
    form: usize,
}

impl Digits {
    /// Finds the shortest digits of a double; `None` if it needs an exponent or is not finite.
    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn from_bits(bits: u64) -> Option<Digits> {
        const HIDDEN: u64 = 1 << 52;
        let magnitude = bits & u64::MAX >> 1;
        let is_zero = magnitude == 0;
        let exponent = if is_zero { ONE } else { (magnitude >> 52).wrapping_sub(EXPONENT_MIN) };
        let exponent = usize::try_from(exponent).ok().filter(|&exponent| exponent < EXPONENTS)?;
        let significand = magnitude & (HIDDEN - 1) | if is_zero { 0 } else { HIDDEN };

        let (scale, shift) = (SCALES[exponent], SHIFTS[exponent]);
        let power = POWERS.as_flattened()[usize::from(scale)];
        let product = u128::from(significand << shift) * u128::from(power);
        let (whole, part) = ((product >> 64) as u64, product as u64);
        let tens = whole / 10 * 10;
        // Distance of `s` from the multiple of ten below, and half the distance of the next double,
        // with 60 bits after the point; the bits cut off are 0 (5^20 leaves more free).
        let above = (whole - tens) << 60 | part >> 4;
        // Halfway is near enough for an even significand.
        let reach = (power >> (5 - shift)) + (!significand & 1);
        // Otherwise round, halfway to even.
        let nearest = whole + u64::from(part > (1 << 63) - (whole & 1));
        let number = select_unpredictable(above < reach, tens, nearest);
        let number = select_unpredictable((10 << 60) - above < reach, tens + 10, number);

        const SIXTEEN_DIGITS: u64 = 10_000_000_000_000_000;
        let is_short = number < SIXTEEN_DIGITS && !is_zero;
        let form = (2 * usize::from(scale)).checked_sub(usize::from(is_short))?;
        let form = Some(form).filter(|&form| form < FORMS as usize)?;
        let (first, rest) = (number / SIXTEEN_DIGITS, number % SIXTEEN_DIGITS);
        let others = spread(rest / 100_000_000, rest % 100_000_000);
        Some(Digits { is_negative: bits >> 63 == 1, first: first as u8, others, form })
    }

    /// Writes the number with its sign and separator, and returns their length.
    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn put(&self, ends_row: bool, to: &mut [MaybeUninit<u8>; ROOM]) -> usize {
        // The top byte holds the last digit.
        let low = _mm_extract_epi64::<1>(self.others) as u64;
        let high = _mm_cvtsi128_si64(self.others) as u64;
        let zeros = (u128::from(low) << 64 | u128::from(high)).leading_zeros() / 8;
        let most = LENS[0][self.form].wrapping_sub(zeros as u8).cast_signed();
        let len = most.max(LENS[1][self.form].cast_signed()) as usize;

        let form = &ROWS[self.form];
        let from = lanes::load32(&form.from);
        let digits = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(self.others), from);
        let is_first = _mm256_cmpeq_epi8(from, _mm256_set1_epi8(FIRST as i8));
        let first = _mm256_and_si256(is_first, _mm256_set1_epi8(self.first as i8));
        let text = _mm256_add_epi8(_mm256_or_si256(digits, first), lanes::load32(&form.add));
        to[0].write(b'-');
        let start = usize::from(self.is_negative);
        lanes::write32(to[start..].first_chunk_mut().expect("room for a store"), text);
        let end = start + len;
        let separator = if ends_row { *b"], [" } else { *b",   " };
        let tail: &mut [MaybeUninit<u8>; 4] = to[end..].first_chunk_mut().expect("room for both");
        *tail = separator.map(MaybeUninit::new);
        end + if ends_row { 4 } else { 2 }
    }
}

/// Spreads two numbers below 10^8 to sixteen bytes of one digit, the first one in the lowest byte.
#[inline]
#[target_feature(enable = "avx2")]
fn spread(high: u64, low: u64) -> __m128i {
    // Each step divides and puts quotient and remainder side by side: q + (n - q * d << w).
    let eights = _mm_set_epi64x(low as i64, high as i64);
    let quotient = _mm_mul_epu32(eights, _mm_set1_epi64x(3_518_437_209));
    let quotient = _mm_srli_epi64::<45>(quotient);
    let rest = _mm_sub_epi64(eights, _mm_mul_epu32(quotient, _mm_set1_epi64x(10_000)));
    let fours = _mm_or_si128(quotient, _mm_slli_epi64::<32>(rest));
    let twos = _mm_srli_epi16::<3>(_mm_mulhi_epu16(fours, _mm_set1_epi16(5_243)));
    let rest = _mm_sub_epi16(fours, _mm_mullo_epi16(twos, _mm_set1_epi16(100)));
    let twos = _mm_or_si128(twos, _mm_slli_epi32::<16>(rest));
    let ones = _mm_mulhi_epu16(twos, _mm_set1_epi16(6_554));
    let rest = _mm_sub_epi16(twos, _mm_mullo_epi16(ones, _mm_set1_epi16(10)));
    _mm_or_si128(ones, _mm_slli_epi16::<8>(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_distance_of_the_next_double_needs_no_left_shift() {
        assert!(SHIFTS[..EXPONENTS].iter().all(|&shift| shift <= 5));
    }
}
