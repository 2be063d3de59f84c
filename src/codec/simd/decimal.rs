//! Conversions between digits and words, shared by the kernels for numbers.

pub(super) use x86::*;

pub(super) const TOKEN_BYTES_MAX: usize = 32;

pub(super) mod weights {
    /// Weights of two digits, two pairs of digits, two groups of four.
    pub(crate) const TENS: i16 = i16::from_le_bytes([10, 1]);
    pub(crate) const HUNDREDS: i32 = 1 << 16 | 100;
    pub(crate) const THOUSANDS: i32 = 1 << 16 | 10_000;
    /// Weights of the second and third of the four groups of eight in 32 bytes.
    pub(crate) const EIGHTS: [u64; 2] = [10_000_000_000_000_000, 100_000_000];
    /// Limit of the second group: 2^64 is 1844.67 * 10^16.
    pub(crate) const SECOND_MAX: u64 = 1843;
}

mod x86 {
    use std::arch::x86_64::*;

    use super::TOKEN_BYTES_MAX;
    use super::weights::{EIGHTS, HUNDREDS, SECOND_MAX, TENS, THOUSANDS};
    use crate::codec::simd::lanes;

    /// Loads the 32 bytes that end with each of two tokens, and those that end one byte earlier.
    #[inline]
    #[target_feature(enable = "avx512f,avx2")]
    pub(crate) fn windows(text: &[u8], ends: [u32; 2]) -> [__m512i; 2] {
        let [low, high] = [window(text, ends[0]), window(text, ends[1])];
        let earlier = lanes::load32x2(first(low), first(high));
        [earlier, lanes::load32x2(last(low), last(high))]
    }

    /// Returns the 33 bytes that end at `end`. No closure, as `first` and `last`: without link-time
    /// optimization it would be a call that costs more than the work.
    #[inline(always)]
    fn window(text: &[u8], end: u32) -> &[u8; TOKEN_BYTES_MAX + 1] {
        let end = (end as usize).clamp(TOKEN_BYTES_MAX + 1, text.len());
        text[..end].last_chunk().expect("clamped to what there is")
    }

    #[inline(always)]
    fn first(window: &[u8; TOKEN_BYTES_MAX + 1]) -> &[u8; TOKEN_BYTES_MAX] {
        window.first_chunk().expect("it is longer")
    }

    #[inline(always)]
    fn last(window: &[u8; TOKEN_BYTES_MAX + 1]) -> &[u8; TOKEN_BYTES_MAX] {
        window.last_chunk().expect("it is longer")
    }

    /// Joins eight groups of 32 digits to words; a bit marks each one that does not fit.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    pub(crate) fn join(digits: [__m512i; 4]) -> (__m512i, u8) {
        let fours = |digits| {
            let twos = _mm512_maddubs_epi16(digits, _mm512_set1_epi16(TENS));
            _mm512_madd_epi16(twos, _mm512_set1_epi32(HUNDREDS))
        };
        let eights = |left, right| {
            let fours = _mm512_packus_epi32(fours(left), fours(right));
            _mm512_madd_epi16(fours, _mm512_set1_epi32(THOUSANDS))
        };
        let (left, right) = (eights(digits[0], digits[1]), eights(digits[2], digits[3]));
        // Groups of eight digits for tokens 0 to 7: first and second, then third and fourth.
        let order = _mm512_setr_epi64(0, 4, 1, 5, 8, 12, 9, 13);
        let high = _mm512_permutex2var_epi64(left, order, right);
        let order = _mm512_setr_epi64(2, 6, 3, 7, 10, 14, 11, 15);
        let low = _mm512_permutex2var_epi64(left, order, right);
        let second_max = _mm512_set1_epi64(SECOND_MAX as i64);
        let too_large = _mm512_cmpgt_epu64_mask(_mm512_rol_epi64::<32>(high), second_max);
        let second = _mm512_set1_epi64(EIGHTS[0] as i64);
        let third = _mm512_set1_epi64(EIGHTS[1] as i64);
        let high = _mm512_mullo_epi64(_mm512_srli_epi64::<32>(high), second);
        let low = _mm512_add_epi64(_mm512_mul_epu32(low, third), _mm512_srli_epi64::<32>(low));
        (_mm512_add_epi64(high, low), too_large)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn product(a: __m512i, b: __m512i) -> (__m512i, __m512i) {
        let high = |word| _mm512_srli_epi64::<32>(word);
        let low = |word| _mm512_and_si512(word, _mm512_set1_epi64(0xffff_ffff));
        let low_low = _mm512_mul_epu32(a, b);
        let low_high = _mm512_add_epi64(_mm512_mul_epu32(a, high(b)), high(low_low));
        let high_low = _mm512_add_epi64(_mm512_mul_epu32(high(a), b), low(low_high));
        let high_high = _mm512_mul_epu32(high(a), high(b));
        let upper = _mm512_add_epi64(_mm512_add_epi64(high_high, high(low_high)), high(high_low));
        (upper, _mm512_or_si512(_mm512_slli_epi64::<32>(high_low), low(low_low)))
    }

    /// Divides numbers below 10^17 by 10^8; returns quotient and remainder.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn divide_100_000_000(number: __m512i) -> (__m512i, __m512i) {
        // 10^8 is 390625 * 2^8, and 2^70 / 390625 has 52 bits.
        const INVERSE: i64 = ((1i128 << 70) / 390_625 + 1) as i64;
        let set = |value| _mm512_set1_epi64(value);
        let short = _mm512_srli_epi64::<8>(number);
        let quotient = _mm512_madd52hi_epu64(_mm512_setzero_si512(), short, set(INVERSE));
        let quotient = _mm512_srli_epi64::<18>(quotient);
        (quotient, _mm512_sub_epi64(number, _mm512_mul_epu32(quotient, set(100_000_000))))
    }

    /// Spreads numbers below 10^8 to eight bytes of one digit, the first digit in the lowest byte.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    pub(crate) fn spread(number: __m512i) -> __m512i {
        let set = |value: u64| _mm512_set1_epi64(value as i64);
        // Each step divides and puts quotient and remainder side by side: q + (n - q * d << w)
        // equals (n << w) - q * (d << w) - 1.
        let fours = _mm512_srli_epi64::<45>(_mm512_mul_epu32(number, set(3_518_437_209)));
        let fours = _mm512_sub_epi64(
            _mm512_slli_epi64::<32>(number),
            _mm512_mullo_epi64(fours, set((10_000 << 32) - 1)),
        );
        spread_fours(fours)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    pub(crate) fn spread4(number: __m512i) -> __m512i {
        spread_fours(_mm512_slli_epi64::<32>(number))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    fn spread_fours(fours: __m512i) -> __m512i {
        let twos = _mm512_mulhi_epu16(fours, _mm512_set1_epi16(5_243));
        let twos = _mm512_srli_epi16::<3>(twos);
        let twos = _mm512_sub_epi32(
            _mm512_slli_epi32::<16>(fours),
            _mm512_mullo_epi32(twos, _mm512_set1_epi32((100 << 16) - 1)),
        );
        let ones = _mm512_mulhi_epu16(twos, _mm512_set1_epi16(6_554));
        _mm512_sub_epi16(
            _mm512_slli_epi16::<8>(twos),
            _mm512_mullo_epi16(ones, _mm512_set1_epi16((10 << 8) - 1)),
        )
    }
}
