//! Form with AVX-512: eight numbers at once, two numbers in each vector of bytes.

use std::arch::x86_64::*;

use super::scale::{POWERS, UNSURE, scale};
use crate::codec::simd::decimal::{TOKEN_BYTES_MAX, join, product, windows};
use crate::codec::simd::lanes;
use crate::codec::simd::tokens::{BATCH, Batch};

/// Kinds of the 32 bytes that end with each token, one bit for each byte, two tokens in a word.
struct Kinds {
    digits: [[u64; 4]; BATCH / 8],
    zeros: [[u64; 4]; BATCH / 8],
    points: [[u64; 4]; BATCH / 8],
    minuses: [[u64; 4]; BATCH / 8],
}

/// Reads a batch in two passes, so that the masks have reached the cache before they are loaded in
/// another width. One pass took 7.4 ns for a number instead of 6.3.
#[target_feature(
    enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
)]
pub(super) fn read(text: &[u8], tokens: Batch<'_>, to: &mut [[u8; 8]; BATCH]) -> u64 {
    if text.len() <= TOKEN_BYTES_MAX {
        return 0;
    }
    let none = [[0; 4]; BATCH / 8];
    let mut kinds = Kinds { digits: none, zeros: none, points: none, minuses: none };
    let (zero, nine) = (_mm512_set1_epi8(b'0' as i8), _mm512_set1_epi8(9));
    let (point, minus) = (_mm512_set1_epi8(b'.' as i8), _mm512_set1_epi8(b'-' as i8));
    let groups = tokens.count.div_ceil(8);
    for (at, ends) in tokens.ends.as_chunks::<2>().0.iter().enumerate().take(4 * groups) {
        let [_, bytes] = windows(text, *ends);
        let values = _mm512_sub_epi8(bytes, zero);
        let (group, pair) = (at / 4, at % 4);
        kinds.digits[group][pair] = _mm512_cmple_epu8_mask(values, nine);
        kinds.zeros[group][pair] = _mm512_testn_epi8_mask(values, values);
        kinds.points[group][pair] = _mm512_cmpeq_epi8_mask(bytes, point);
        kinds.minuses[group][pair] = _mm512_cmpeq_epi8_mask(bytes, minus);
    }
    let (starts, ends) = (tokens.starts.as_chunks().0, tokens.ends.as_chunks().0);
    let mut read = 0;
    for (group, to) in to.as_chunks_mut().0.iter_mut().enumerate().take(groups) {
        let numbers = Numbers::check(text, &starts[group], &ends[group], &kinds, group);
        let plain = numbers.read(text, &ends[group], to);
        read |= u64::from(plain) << (8 * group);
    }
    read
}

/// Eight numbers, described by the places of their digits and points.
struct Numbers {
    /// Numbers that match the grammar of JSON and are short enough for the kernel.
    plain: u8,
    negative: u8,
    fractional: u8,
    /// Places of the digits after the point, or of all digits.
    fractions: [u64; 4],
    /// Places of the digits before the point, one byte further on.
    wholes: [u64; 4],
    places: __m512i,
}

impl Numbers {
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn check(
        text: &[u8],
        starts: &[u32; 8],
        ends: &[u32; 8],
        kinds: &Kinds,
        group: usize,
    ) -> Numbers {
        let all = _mm256_set1_epi32(-1);
        let most = _mm256_set1_epi32(TOKEN_BYTES_MAX as i32);
        let (starts, ends) = (lanes::load8_u32(starts), lanes::load8_u32(ends));
        let lens = _mm256_sub_epi32(ends, starts);
        let fits = _mm256_cmplt_epu32_mask(_mm256_add_epi32(lens, all), most)
            & _mm256_cmpgt_epu32_mask(ends, most)
            & _mm256_cmple_epu32_mask(ends, _mm256_set1_epi32(text.len() as i32));
        let token = _mm256_sllv_epi32(all, _mm256_sub_epi32(most, lens));
        let digits = _mm256_and_si256(lanes::load4(&kinds.digits[group]), token);
        let points = _mm256_and_si256(lanes::load4(&kinds.points[group]), token);
        let (zeros, minuses) =
            (lanes::load4(&kinds.zeros[group]), lanes::load4(&kinds.minuses[group]));

        let lowest = |mask| _mm256_and_si256(mask, _mm256_sub_epi32(_mm256_setzero_si256(), mask));
        let negative = _mm256_test_epi32_mask(minuses, lowest(token));
        let number = _mm256_mask_add_epi32(token, negative, token, token);
        let (first, last) = (lowest(number), _mm256_set1_epi32(i32::MIN));
        let before_point = _mm256_add_epi32(points, all);
        // Other bytes than digits and points; two points; one at either end; a leading zero.
        let other = _mm256_xor_si256(_mm256_or_si256(digits, points), number);
        let second = _mm256_and_si256(points, before_point);
        let outer = _mm256_and_si256(points, _mm256_or_si256(first, last));
        let leading =
            _mm256_and_si256(_mm256_and_si256(zeros, first), _mm256_srli_epi32::<1>(digits));
        let strange =
            _mm256_or_si256(_mm256_or_si256(other, second), _mm256_or_si256(outer, leading));
        let plain = fits
            & _mm256_testn_epi32_mask(strange, strange)
            & _mm256_test_epi32_mask(digits, digits);

        let fractional = _mm256_test_epi32_mask(points, points);
        let whole = _mm256_maskz_mov_epi32(fractional, before_point);
        let (mut fractions, mut wholes) = ([0; 4], [0; 4]);
        lanes::store4(&mut fractions, _mm256_andnot_si256(whole, digits));
        lanes::store4(&mut wholes, _mm256_slli_epi32::<1>(_mm256_and_si256(digits, whole)));
        let places = _mm256_and_si256(_mm256_lzcnt_epi32(points), _mm256_set1_epi32(31));
        let places = _mm512_cvtepu32_epi64(places);
        Numbers { plain, negative, fractional, fractions, wholes, places }
    }

    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn read(&self, text: &[u8], ends: &[u32; 8], to: &mut [[u8; 8]; 8]) -> u8 {
        let zero = _mm512_set1_epi8(b'0' as i8);
        let mut digits = [_mm512_setzero_si512(); 4];
        for (pair, ends) in ends.as_chunks().0.iter().enumerate() {
            let [earlier, bytes] = windows(text, *ends);
            let values = _mm512_maskz_sub_epi8(self.fractions[pair], bytes, zero);
            digits[pair] = _mm512_mask_sub_epi8(values, self.wholes[pair], earlier, zero);
        }
        let (words, too_large) = join(digits);
        let plain = self.plain & !too_large;
        let signs = self.negative & (self.fractional | _mm512_test_epi64_mask(words, words));
        scale8(words, self.places, signs, plain, to);
        plain
    }
}

/// Applies [`scale`] to eight words and adds `signs`; lanes outside `wanted` are undefined.
#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
)]
fn scale8(words: __m512i, places: __m512i, signs: u8, wanted: u8, to: &mut [[u8; 8]; 8]) {
    let set = |value: u64| _mm512_set1_epi64(value as i64);
    let shifts = _mm512_lzcnt_epi64(words);
    let normal = _mm512_sllv_epi64(words, shifts);
    let (mut high, low) = product(normal, powers(places, &HIGHS));
    let unsure = _mm512_and_si512(high, set(UNSURE));
    let unsure = _mm512_cmpeq_epi64_mask(unsure, set(UNSURE));
    if unsure & wanted != 0 {
        let (more, _) = product(normal, powers(places, &LOWS));
        let carry = _mm512_mask_cmplt_epu64_mask(unsure, _mm512_add_epi64(low, more), low);
        high = _mm512_mask_add_epi64(high, carry, high, set(1));
    }
    let top = _mm512_srli_epi64::<63>(high);
    let cut = _mm512_add_epi64(top, set(9));
    let significand = _mm512_srlv_epi64(high, cut);
    let odd = _mm512_and_si512(significand, set(1));
    let rounded = _mm512_srli_epi64::<1>(_mm512_add_epi64(significand, odd));
    // The exponent of 10^-place is -ceil(place * log2(10)).
    let log2 = _mm512_add_epi64(_mm512_mul_epu32(places, set(217_706)), set(0xffff));
    let exponent = _mm512_sub_epi64(
        _mm512_add_epi64(top, set(1023 + 63 - 1)),
        _mm512_add_epi64(shifts, _mm512_srli_epi64::<16>(log2)),
    );
    let bits = _mm512_add_epi64(_mm512_slli_epi64::<52>(exponent), rounded);
    let bits = _mm512_maskz_mov_epi64(_mm512_test_epi64_mask(words, words), bits);
    let bits = _mm512_mask_or_epi64(bits, signs, bits, set(1 << 63));
    lanes::store64(to.as_flattened_mut().first_chunk_mut().expect("64 bytes"), bits);

    // Numbers that may lie halfway between two doubles are done one by one.
    let half = _mm512_cmpeq_epi64_mask(_mm512_and_si512(significand, set(3)), set(1));
    let tie = _mm512_mask_cmpeq_epi64_mask(half, _mm512_sllv_epi64(significand, cut), high);
    let mut rare = tie & wanted;
    if rare != 0 {
        let (mut all_words, mut all_places) = ([0; 8], [0; 8]);
        lanes::store8(&mut all_words, words);
        lanes::store8(&mut all_places, places);
        while rare != 0 {
            let at = rare.trailing_zeros() as usize;
            let sign = u64::from(signs >> at & 1) << 63;
            to[at] = (scale(all_words[at], all_places[at] as usize) | sign).to_le_bytes();
            rare &= rare - 1;
        }
    }
}

static HIGHS: [[u64; 8]; 4] = halves(true);

static LOWS: [[u64; 8]; 4] = halves(false);

const fn halves(upper: bool) -> [[u64; 8]; 4] {
    let mut halves = [[0; 8]; 4];
    let mut at = 0;
    while at < TOKEN_BYTES_MAX {
        halves[at / 8][at % 8] = if upper { POWERS[at].high } else { POWERS[at].low };
        at += 1;
    }
    halves
}

#[inline]
#[target_feature(enable = "avx512f")]
fn powers(places: __m512i, halves: &[[u64; 8]; 4]) -> __m512i {
    let [a, b, c, d] = halves;
    let near = _mm512_permutex2var_epi64(lanes::load8(a), places, lanes::load8(b));
    let far = _mm512_permutex2var_epi64(lanes::load8(c), places, lanes::load8(d));
    let is_far = _mm512_test_epi64_mask(places, _mm512_set1_epi64(16));
    _mm512_mask_mov_epi64(near, is_far, far)
}
