//! Reads decimal numbers without an exponent, each with the same few dozen instructions whatever its digits.
//!
//! ```text
//! token                      -12.345        up to 32 bytes, loaded so that they end where the token ends
//! without the point     0000000012345       what stands before the point comes from a load one byte earlier
//! two, four, eight digits    01234500 ...   multiply and add neighbours
//! w, q                    12345, -3         w * 10^q, exact as long as w fits a word
//! ```
//!
//! `w * 10^q` is rounded correctly by the method of Eisel and Lemire: `w` times the upper half of a 128-bit power of
//! ten, and the lower half too where that could matter. The power is small and negative here, so that there are
//! neither subnormals nor infinities to think of. With AVX-512 all that is a number or a mask is done for eight
//! tokens at once.
//!
//! D. Lemire, "Number Parsing at a Gigabyte per Second", Software: Practice and Experience 51 (8), 2021;
//! N. Mushtak, D. Lemire, "Fast Number Parsing Without Fallback", 2023.
#![allow(unsafe_code)] // Code for more than the baseline is called on the proof that the processor has it.

use super::Isa;
use super::decimal::TOKEN_BYTES_MAX;
use super::tokens::{BATCH, Batch};

/// Reads a batch of numbers as little-endian doubles. Returns a bit for each that was plain and has been read; what
/// is not is one with an exponent, of very many digits, near the text's beginning, a word, or no number of JSON's
/// grammar. An integer `-0` is +0.0, as Python has it.
pub(crate) fn read_floats(
    isa: Isa,
    text: &[u8],
    tokens: Batch<'_>,
    to: &mut [[u8; 8]; BATCH],
) -> u64 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the proof in `isa` says that the processor has what the function is compiled for.
        Isa::Avx512(_) => unsafe { avx512::read(text, tokens, to) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2(_) => unsafe { avx2::read(text, tokens, to) },
        _ => 0,
    }
}

/// A power of ten, `10^-place`.
#[derive(Clone, Copy)]
struct Power {
    /// Its leading 128 bits.
    high: u64,
    low: u64,
    /// Biased exponent of a double whose significand is a word times these.
    exponent: u64,
}

static POWERS: [Power; TOKEN_BYTES_MAX] = {
    let mut powers = [Power { high: 0, low: 0, exponent: 0 }; TOKEN_BYTES_MAX];
    let mut place = 0;
    while place < TOKEN_BYTES_MAX {
        powers[place] = negative_power(place as u32);
        place += 1;
    }
    powers
};

/// `10^-place` by long division, rounded up where the paper does.
const fn negative_power(place: u32) -> Power {
    const ROUNDED_UP_MAX: u32 = 27;
    let divisor = 5u128.pow(place);
    let bits = 128 - divisor.leading_zeros() - divisor.is_power_of_two() as u32;
    let (mut quotient, mut rest) = (0u128, 1u128);
    let mut step = 0;
    // 2^(bits + 127) / 5^place: the quotient has its topmost bit set.
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
    // 10^-place = quotient * 2^-(bits + 127 + place), and a word with its topmost bit set is 2^63 at least.
    let exponent = 1023 + 63 - (bits + place) as u64;
    Power { high: (quotient >> 64) as u64, low: quotient as u64, exponent }
}

/// All of these bits of a product set: what the lower half of the power adds may carry into those that count.
const UNSURE: u64 = 0x1ff;

/// The double nearest to `word * 10^-place`, ties to even, as bits.
#[inline(always)]
fn scale(word: u64, place: usize) -> u64 {
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
    // 53 bits and one to round by.
    let mut significand = high >> (9 + top);
    // Halfway between two doubles: only where a power of five fits a word can that be exact.
    if low <= 1 && place <= 4 && significand & 3 == 1 && significand << (9 + top) == high {
        significand &= !1;
    }
    significand = (significand + (significand & 1)) >> 1;
    // The significand's topmost bit counts the exponent up by one, and so does a carry out of it.
    let exponent = power.exponent + u64::from(top) - u64::from(shift) - 1;
    (exponent << 52) + significand
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{BATCH, Batch, POWERS, UNSURE, scale};
    use crate::codec::simd::decimal::{TOKEN_BYTES_MAX, join, product, windows};
    use crate::codec::simd::lanes;

    /// What each of the 32 bytes is that end with a token, a bit for each; two tokens to a word.
    struct Kinds {
        digits: [[u64; 4]; BATCH / 8],
        zeros: [[u64; 4]; BATCH / 8],
        points: [[u64; 4]; BATCH / 8],
        minuses: [[u64; 4]; BATCH / 8],
    }

    /// In two passes, so that the masks have reached the cache when they are loaded in another width than they were
    /// stored in: in one pass a number took 7.4 ns instead of 6.3.
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

    /// Eight numbers, as far as they can be told from the places of their digits and points.
    struct Numbers {
        /// Those that are of JSON's grammar, and not too long for this.
        plain: u8,
        negative: u8,
        /// Those with a point.
        fractional: u8,
        /// Where the digits behind the point are, or all of them.
        fractions: [u64; 4],
        /// Where those before the point are, a byte further on.
        wholes: [u64; 4],
        /// How many are behind the point.
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

            let lowest =
                |mask| _mm256_and_si256(mask, _mm256_sub_epi32(_mm256_setzero_si256(), mask));
            let negative = _mm256_test_epi32_mask(minuses, lowest(token));
            let number = _mm256_mask_add_epi32(token, negative, token, token);
            let (first, last) = (lowest(number), _mm256_set1_epi32(i32::MIN));
            let before_point = _mm256_add_epi32(points, all);
            // Something else than digits and points; two points; one at either end; a zero before another digit.
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

        /// Writes them, and returns which.
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

    /// [`scale`] for eight words, with `signs`; what comes of others than `wanted` is of no account.
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

        // What may lie halfway between two doubles is done one by one.
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

    /// The upper halves of [`POWERS`].
    static HIGHS: [[u64; 8]; 4] = halves(true);

    /// The lower ones.
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

    /// Eight entries of a table.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn powers(places: __m512i, halves: &[[u64; 8]; 4]) -> __m512i {
        let [a, b, c, d] = halves.each_ref().map(|halves| lanes::load8(halves));
        let near = _mm512_permutex2var_epi64(a, places, b);
        let far = _mm512_permutex2var_epi64(c, places, d);
        let is_far = _mm512_test_epi64_mask(places, _mm512_set1_epi64(16));
        _mm512_mask_mov_epi64(near, is_far, far)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2 {
    use std::arch::x86_64::*;

    use super::{BATCH, Batch, scale};
    use crate::codec::simd::decimal::{
        TOKEN_BYTES_MAX,
        weights::{EIGHTS, HUNDREDS, SECOND_MAX, TENS, THOUSANDS},
    };
    use crate::codec::simd::lanes;

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn read(text: &[u8], tokens: Batch<'_>, to: &mut [[u8; 8]; BATCH]) -> u64 {
        let mut read = 0;
        for (at, to) in to.iter_mut().enumerate().take(tokens.count) {
            let (start, end) = (tokens.starts[at] as usize, tokens.ends[at] as usize);
            if let Some(bits) = Number::check(text, start, end).and_then(|number| number.read()) {
                *to = bits.to_le_bytes();
                read |= 1 << at;
            }
        }
        read
    }

    /// A number as far as it can be told from the places of its digits and its point.
    pub(crate) struct Number<'a> {
        /// The 32 bytes that end with it, and one before them.
        window: &'a [u8; TOKEN_BYTES_MAX + 1],
        is_negative: bool,
        /// How many digits it has, or digits and a point.
        len: usize,
        /// How many digits are behind the point.
        places: Option<usize>,
    }

    impl Number<'_> {
        /// Checks that it is of JSON's grammar, and not too long for this.
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
            // Something else than digits and points; two points; one at either end; a zero before another digit.
            let strange = ((digits | points) ^ number)
                | (points & points.wrapping_sub(1))
                | (points & (first | 1 << 31))
                | (is(b'0') & first & (digits >> 1));
            let places = (points != 0).then(|| points.leading_zeros() as usize);
            let len = len - usize::from(is_negative);
            (strange == 0 && digits != 0).then_some(Number { window, is_negative, len, places })
        }

        /// True without a point.
        pub(crate) fn is_integer(&self) -> bool {
            self.places.is_none()
        }

        /// True with a sign.
        pub(crate) fn is_negative(&self) -> bool {
            self.is_negative
        }

        /// The double, as bits, unless it has too many digits.
        #[inline]
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        fn read(&self) -> Option<u64> {
            let word = self.word()?;
            let sign = self.is_negative && (self.places.is_some() || word != 0);
            Some(scale(word, self.places.unwrap_or(0)) | u64::from(sign) << 63)
        }

        /// Its digits, unless they are too many.
        #[inline]
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        pub(crate) fn word(&self) -> Option<u64> {
            let zero = _mm256_set1_epi8(b'0' as i8);
            let bytes = lanes::load32(self.window.last_chunk()?);
            let mut values = _mm256_and_si256(
                _mm256_sub_epi8(bytes, zero),
                last(self.places.unwrap_or(self.len)),
            );
            if let Some(places) = self.places {
                // What stands before the point, from the load a byte earlier.
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

    /// Ones in the last `count` bytes, of which there are at most 32.
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
}
