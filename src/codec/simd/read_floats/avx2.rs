//! Form with AVX2: one number at a time, with all of its digits at once.

use std::arch::x86_64::*;

use super::scale::scale;
use crate::codec::simd::decimal::{
    TOKEN_BYTES_MAX,
    weights::{EIGHTS, HUNDREDS, SECOND_MAX, TENS, THOUSANDS},
};
use crate::codec::simd::lanes;
use crate::codec::simd::tokens::{BATCH, Batch};

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn read(text: &[u8], tokens: Batch<'_>, to: &mut [[u8; 8]; BATCH]) -> u64 {
    let mut read = 0;
    for (at, to) in to.iter_mut().enumerate().take(tokens.count) {
        let (start, end) = (tokens.starts[at] as usize, tokens.ends[at] as usize);
        let Some(number) = Number::check(text, start, end) else { continue };
        let Some(bits) = number.read() else { continue };
        *to = bits.to_le_bytes();
        read |= 1 << at;
    }
    read
}

pub(crate) struct Number<'a> {
    /// The number's last 32 bytes, and one byte before them.
    window: &'a [u8; TOKEN_BYTES_MAX + 1],
    is_negative: bool,
    /// Number of digits, or of digits and a point.
    len: usize,
    places: Option<usize>,
}

impl Number<'_> {
    /// Checks the grammar of JSON; `None` for invalid numbers and those too long for the kernel.
    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(crate) fn check(text: &[u8], start: usize, end: usize) -> Option<Number<'_>> {
        let len = end.checked_sub(start).filter(|len| (1..=TOKEN_BYTES_MAX).contains(len))?;
        let window = text.get(..end)?.last_chunk()?;
        let is_negative = window[TOKEN_BYTES_MAX + 1 - len] == b'-';
        let number = (u64::MAX << (32 - len + usize::from(is_negative))) as u32;
        let first = number & number.wrapping_neg();

        let bytes = lanes::load32(window.last_chunk()?);
        let mask = |bytes| _mm256_movemask_epi8(bytes) as u32;
        let is = |byte: u8| mask(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8)));
        let values = _mm256_sub_epi8(bytes, _mm256_set1_epi8(b'0' as i8));
        let digits = _mm256_cmpeq_epi8(_mm256_min_epu8(values, _mm256_set1_epi8(9)), values);
        let digits = mask(digits) & number;
        let points = is(b'.') & number;
        // Other bytes than digits and points; two points; one at either end; a leading zero.
        let strange = ((digits | points) ^ number)
            | (points & points.wrapping_sub(1))
            | (points & (first | 1 << 31))
            | (is(b'0') & first & (digits >> 1));
        let places = (points != 0).then(|| points.leading_zeros() as usize);
        let len = len - usize::from(is_negative);
        (strange == 0 && digits != 0).then_some(Number { window, is_negative, len, places })
    }

    pub(crate) fn is_integer(&self) -> bool {
        self.places.is_none()
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.is_negative
    }

    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn read(&self) -> Option<u64> {
        let word = self.word()?;
        let sign = self.is_negative && (self.places.is_some() || word != 0);
        Some(scale(word, self.places.unwrap_or(0)) | u64::from(sign) << 63)
    }

    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(crate) fn word(&self) -> Option<u64> {
        let zero = _mm256_set1_epi8(b'0' as i8);
        let bytes = lanes::load32(self.window.last_chunk()?);
        let mut values =
            _mm256_and_si256(_mm256_sub_epi8(bytes, zero), last(self.places.unwrap_or(self.len)));
        if let Some(places) = self.places {
            // The digits before the point come from the load one byte earlier.
            let earlier = lanes::load32(self.window.first_chunk()?);
            let whole = _mm256_andnot_si256(last(places), last(self.len - 1));
            let whole = _mm256_and_si256(_mm256_sub_epi8(earlier, zero), whole);
            values = _mm256_or_si256(values, whole);
        }
        let twos = _mm256_maddubs_epi16(values, _mm256_set1_epi16(TENS));
        let fours = _mm256_madd_epi16(twos, _mm256_set1_epi32(HUNDREDS));
        let fours = _mm256_packus_epi32(fours, fours);
        let eights = _mm256_madd_epi16(fours, _mm256_set1_epi32(THOUSANDS));
        let high = _mm_cvtsi128_si64(_mm256_castsi256_si128(eights)) as u64;
        let low = _mm_cvtsi128_si64(_mm256_extracti128_si256::<1>(eights)) as u64;
        if high.rotate_left(32) > SECOND_MAX {
            return None;
        }
        Some((high >> 32) * EIGHTS[0] + (low & 0xffff_ffff) * EIGHTS[1] + (low >> 32))
    }
}

/// Returns ones in the last `count` bytes; `count` is at most 32.
#[inline]
#[target_feature(enable = "avx2")]
fn last(count: usize) -> __m256i {
    static ONES: [u8; 2 * TOKEN_BYTES_MAX] = {
        let mut ones = [0xff; 2 * TOKEN_BYTES_MAX];
        let mut at = 0;
        while at < TOKEN_BYTES_MAX {
            ones[at] = 0;
            at += 1;
        }
        ones
    };
    lanes::load32(ONES[count..].first_chunk().expect("no more than 32"))
}
