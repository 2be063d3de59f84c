//! Reader of decimal integers: eight short ones at once, long ones like floats.
//!
//! Eight tokens of at most eight bytes within 128 bytes become words by one permutation:
//!
//! ```text
//! text     12, -345, 6, 78901234,
//! words    ......12 ....-345 .......6 78901234
//! ```
#![allow(unsafe_code)] // Calls of vector functions need a proof of the features.

use super::Isa;
use super::tokens::{BATCH, Batch};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    /// Limit with a minus sign; 0 for unsigned dtypes.
    pub(crate) negative: u64,
    pub(crate) positive: u64,
}

/// Reads a batch in two's complement and returns a bit for each integer read. It does not read
/// integers out of `range` or beyond 1.8 * 10^19, near the start of the text, and invalid ones.
pub(crate) fn read_integers(
    isa: Isa,
    text: &[u8],
    tokens: Batch<'_>,
    range: Range,
    to: &mut [u64; BATCH],
) -> u64 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the proof in `isa` says that the processor has all features of the function.
        Isa::Avx512(_) => unsafe { avx512::read(text, tokens, range, to) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2(_) => unsafe { avx2::read(text, tokens, range, to) },
        _ => 0,
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{BATCH, Batch, Range};
    use crate::codec::simd::decimal::weights::{HUNDREDS, TENS};
    use crate::codec::simd::decimal::{TOKEN_BYTES_MAX, join, windows};
    use crate::codec::simd::lanes;

    const REACH: usize = 128;

    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    pub(super) fn read(text: &[u8], tokens: Batch<'_>, range: Range, to: &mut [u64; BATCH]) -> u64 {
        let most = _mm512_set1_epi64(range.positive as i64);
        let least = _mm512_set1_epi64(range.negative as i64);
        let mut all = 0;
        let (starts, ends) = (tokens.starts.as_chunks().0, tokens.ends.as_chunks().0);
        for (group, to) in to.as_chunks_mut().0.iter_mut().enumerate() {
            let Some(count) = tokens.count.checked_sub(8 * group).filter(|count| *count > 0) else {
                break;
            };
            // Lanes after the last token have arbitrary values; they repeat the last token.
            let lanes_used = _mm256_min_epu32(
                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                _mm256_set1_epi32(count as i32 - 1),
            );
            let starts = _mm256_permutexvar_epi32(lanes_used, lanes::load8_u32(&starts[group]));
            let ends = _mm256_permutexvar_epi32(lanes_used, lanes::load8_u32(&ends[group]));
            let lens = _mm256_sub_epi32(ends, starts);
            let last = _mm256_extract_epi32::<7>(ends) as u32 as usize;
            let window = text.get(..last).and_then(<[u8]>::last_chunk::<REACH>);
            // End of each token in the window; valid only if the token also begins there.
            let places =
                _mm256_sub_epi32(ends, _mm256_set1_epi32((last.wrapping_sub(REACH)) as i32));
            let is_far = _mm256_cmpgt_epu32_mask(
                _mm256_sub_epi32(places, _mm256_set1_epi32(8)),
                _mm256_set1_epi32(REACH as i32 - 8),
            );
            let is_long = _mm256_cmpgt_epu32_mask(
                _mm256_sub_epi32(lens, _mm256_set1_epi32(1)),
                _mm256_set1_epi32(7),
            );
            let numbers = match window {
                Some(window) if is_far | is_long == 0 => read_short(window, places, lens),
                _ => read_long(text, starts, ends),
            };
            let Numbers { words, read, negative } = numbers;
            let limit = _mm512_mask_mov_epi64(most, negative, least);
            let read = _mm512_mask_cmple_epu64_mask(read, words, limit);
            let words = _mm512_mask_sub_epi64(words, negative, _mm512_setzero_si512(), words);
            lanes::store8(to, words);
            all |= u64::from(read) << (8 * group);
        }
        all
    }

    /// Eight magnitudes, with a bit for each valid one and for each minus sign.
    struct Numbers {
        words: __m512i,
        read: u8,
        negative: u8,
    }

    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn read_short(window: &[u8; REACH], places: __m256i, lens: __m256i) -> Numbers {
        let [low, high] = window.as_chunks().0 else { unreachable!("128 bytes") };
        let spread = _mm512_set4_epi32(0x0808_0808, 0x0808_0808, 0, 0);
        let repeat = |lanes| _mm512_shuffle_epi8(_mm512_cvtepu32_epi64(lanes), spread);
        let byte = _mm512_set1_epi64(0x0706_0504_0302_0100);
        let from = _mm512_add_epi8(repeat(_mm256_sub_epi32(places, _mm256_set1_epi32(8))), byte);
        let bytes = _mm512_permutex2var_epi8(lanes::load64(low), from, lanes::load64(high));
        let begin = repeat(_mm256_sub_epi32(_mm256_set1_epi32(8), lens));
        let token = _mm512_cmpge_epu8_mask(byte, begin);
        let first = _mm512_cmpeq_epi8_mask(byte, begin);
        let values = _mm512_sub_epi8(bytes, _mm512_set1_epi8(b'0' as i8));
        let digits = _mm512_mask_cmple_epu8_mask(token, values, _mm512_set1_epi8(9));
        let zeros = _mm512_testn_epi8_mask(values, values);
        let minuses = _mm512_mask_cmpeq_epi8_mask(first, bytes, _mm512_set1_epi8(b'-' as i8));
        let fault = faults(token, first, digits, zeros, minuses, LAST_OF_8);

        let digits = _mm512_maskz_mov_epi8(digits, values);
        let twos = _mm512_maddubs_epi16(digits, _mm512_set1_epi16(TENS));
        let fours = _mm512_madd_epi16(twos, _mm512_set1_epi32(HUNDREDS));
        let upper = _mm512_mul_epu32(fours, _mm512_set1_epi64(10_000));
        let words = _mm512_add_epi64(upper, _mm512_srli_epi64::<32>(fours));
        let lanes_of = |mask| {
            let bytes = _mm512_movm_epi8(mask);
            _mm512_test_epi64_mask(bytes, bytes)
        };
        let read = if fault == 0 { 0xff } else { !lanes_of(fault) };
        Numbers { words, read, negative: lanes_of(minuses) }
    }

    /// Reads tokens of up to 32 bytes, if their values fit 64 bits.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn read_long(text: &[u8], starts: __m256i, ends: __m256i) -> Numbers {
        if text.len() <= TOKEN_BYTES_MAX {
            return Numbers { words: _mm512_setzero_si512(), read: 0, negative: 0 };
        }
        let all = _mm256_set1_epi32(-1);
        let most = _mm256_set1_epi32(TOKEN_BYTES_MAX as i32);
        let lens = _mm256_sub_epi32(ends, starts);
        let fits = _mm256_cmplt_epu32_mask(_mm256_add_epi32(lens, all), most)
            & _mm256_cmpgt_epu32_mask(ends, most)
            & _mm256_cmple_epu32_mask(ends, _mm256_set1_epi32(text.len() as i32));
        let (mut tokens, mut stops) = ([0; 4], [0; 8]);
        lanes::store4(&mut tokens, _mm256_sllv_epi32(all, _mm256_sub_epi32(most, lens)));
        lanes::store8_u32(&mut stops, ends);
        let (zero, nine) = (_mm512_set1_epi8(b'0' as i8), _mm512_set1_epi8(9));
        let mut parts = [_mm512_setzero_si512(); 4];
        let (mut read, mut negative) = (fits, 0);
        for (pair, ends) in stops.as_chunks().0.iter().enumerate() {
            let [_, bytes] = windows(text, *ends);
            let token = tokens[pair];
            let first = token & !(token << 1 & !FIRST_OF_32);
            let values = _mm512_sub_epi8(bytes, zero);
            let digits = _mm512_mask_cmple_epu8_mask(token, values, nine);
            let zeros = _mm512_testn_epi8_mask(values, values);
            let minuses = _mm512_mask_cmpeq_epi8_mask(first, bytes, _mm512_set1_epi8(b'-' as i8));
            let fault = faults(token, first, digits, zeros, minuses, LAST_OF_32);
            let lanes_of = |mask: u64| {
                let (low, high) = (mask as u32 != 0, mask >> 32 != 0);
                (u8::from(high) << 1 | u8::from(low)) << (2 * pair)
            };
            read &= !lanes_of(fault);
            negative |= lanes_of(minuses);
            parts[pair] = _mm512_maskz_mov_epi8(digits, values);
        }
        let (words, too_large) = join(parts);
        Numbers { words, read: read & !too_large, negative }
    }

    const LAST_OF_8: u64 = 0x8080_8080_8080_8080;
    const LAST_OF_32: u64 = 0x8000_0000_8000_0000;
    const FIRST_OF_32: u64 = 0x0000_0001_0000_0001;

    #[inline(always)]
    fn faults(token: u64, first: u64, digits: u64, zeros: u64, minuses: u64, last: u64) -> u64 {
        let first_digits = (minuses & !last) << 1 | first & !minuses;
        (token ^ (digits | minuses)) | (minuses & last) | (first_digits & zeros & !last)
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{BATCH, Batch, Range};
    use crate::codec::simd::read_floats::avx2::Number;

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn read(text: &[u8], tokens: Batch<'_>, range: Range, to: &mut [u64; BATCH]) -> u64 {
        let mut read = 0;
        for (at, to) in to.iter_mut().enumerate().take(tokens.count) {
            let (start, end) = (tokens.starts[at] as usize, tokens.ends[at] as usize);
            let number = Number::check(text, start, end).filter(Number::is_integer);
            let Some(number) = number else { continue };
            let Some(word) = number.word() else { continue };
            let limit = if number.is_negative() { range.negative } else { range.positive };
            *to = if number.is_negative() { word.wrapping_neg() } else { word };
            read |= u64::from(word <= limit) << at;
        }
        read
    }
}
