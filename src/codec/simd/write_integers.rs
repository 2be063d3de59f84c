//! Writer of integers as text, eight at once.
//!
//! The digits of eight numbers are computed in parallel, in slots that are wide enough for all.
//! Then the bytes before the first digit of each number are dropped:
//!
//! ```text
//! slots     000012,  -00345,  000006,
//! text      12, -345, 6,
//! ```
//! Slots have 8 bytes if all numbers are below 10^5, 16 bytes below 10^13, else 32.
#![allow(unsafe_code)] // Calls of vector functions need a proof of the features.

use super::Isa;

/// Appends `values` with `", "` after each and returns their number, or 0 without AVX-512.
pub(crate) fn write_integers(
    isa: Isa,
    values: &[u64],
    is_signed: bool,
    out: &mut Vec<u8>,
) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the proof in `isa` says that the processor has all features of the function.
        Isa::Avx512(_) => unsafe { avx512::write(values, is_signed, out) },
        _ => 0,
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;
    use std::mem::MaybeUninit;

    use crate::codec::simd::decimal::{divide_100_000_000, product, spread, spread4};
    use crate::codec::simd::lanes;

    /// Length limit of a number: 20 digits, or a sign and 19, then a comma and a space.
    const NUMBER_BYTES_MAX: usize = 22;

    /// Bytes that eight numbers and the overhang of the last store take.
    const GROUP_BYTES: usize = 8 * NUMBER_BYTES_MAX + 64;

    /// Comma and space at the end of a word of digits, to which `0` is still to be added.
    const SEPARATOR: u64 =
        u64::from_le_bytes([0, 0, 0, 0, 0, 0, b','.wrapping_sub(b'0'), b' '.wrapping_sub(b'0')]);

    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512ifma,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    pub(super) fn write(values: &[u64], is_signed: bool, out: &mut Vec<u8>) -> usize {
        let set = |value: u64| _mm512_set1_epi64(value as i64);
        out.reserve(values.len().next_multiple_of(8) * NUMBER_BYTES_MAX + 64);
        let mut len = 0;
        let (groups, rest) = values.as_chunks();
        let mut padded = [0; 8];
        padded[..rest.len()].copy_from_slice(rest);
        for group in groups.iter().chain((!rest.is_empty()).then_some(&padded)) {
            let numbers = lanes::load8(group);
            let negative = if is_signed { _mm512_movepi64_mask(numbers) } else { 0 };
            let numbers = _mm512_mask_sub_epi64(numbers, negative, _mm512_setzero_si512(), numbers);
            let room = out.spare_capacity_mut().get_mut(len..).and_then(<[_]>::first_chunk_mut);
            let room = room.expect("reserved for all");
            len += if _mm512_cmpge_epu64_mask(numbers, set(100_000)) == 0 {
                put_short(numbers, negative, room)
            } else if _mm512_cmpge_epu64_mask(numbers, set(10_000_000_000_000)) == 0 {
                put_medium(numbers, negative, room)
            } else {
                put_long(numbers, negative, room)
            };
        }
        if !rest.is_empty() {
            len -= (8 - rest.len()) * "0, ".len();
        }
        // SAFETY: the first `len` bytes after the old end have been written and are reserved.
        unsafe { out.set_len(out.len() + len) };
        values.len()
    }

    /// Writes slots of 8: `.ddddd, `.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512ifma,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn put_short(numbers: __m512i, negative: u8, to: &mut [MaybeUninit<u8>; GROUP_BYTES]) -> usize {
        let slots = _mm512_srli_epi64::<16>(spread(numbers));
        let kept = upward(_mm512_or_si512(slots, _mm512_set1_epi64(1 << 40)));
        let slots = _mm512_or_si512(slots, _mm512_set1_epi64(SEPARATOR as i64));
        let kept = _mm512_test_epi8_mask(kept, kept);
        put(slots, kept, u64::from(negative), 8, to)
    }

    /// Writes slots of 16: `.ddddddddddddd, `.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512ifma,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn put_medium(
        numbers: __m512i,
        negative: u8,
        to: &mut [MaybeUninit<u8>; GROUP_BYTES],
    ) -> usize {
        let (upper, lower) = divide_100_000_000(numbers);
        let (upper, lower) = (spread(upper), spread(lower));
        let left = _mm512_or_si512(_mm512_srli_epi64::<16>(upper), _mm512_slli_epi64::<48>(lower));
        let right = _mm512_srli_epi64::<16>(lower);
        let begun = _mm512_test_epi64_mask(left, left);
        let kept_right = upward(_mm512_or_si512(right, _mm512_set1_epi64(1 << 40)));
        let kept_right = _mm512_mask_mov_epi64(kept_right, begun, _mm512_set1_epi64(-1));
        let right = _mm512_or_si512(right, _mm512_set1_epi64(SEPARATOR as i64));
        let kept_left = upward(left);
        let orders = [
            _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11),
            _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15),
        ];
        let mut len = 0;
        for (half, order) in orders.into_iter().enumerate() {
            let slots = _mm512_permutex2var_epi64(left, order, right);
            let kept = _mm512_permutex2var_epi64(kept_left, order, kept_right);
            let kept = _mm512_test_epi8_mask(kept, kept);
            len += put(slots, kept, u64::from(negative) >> (4 * half) & 0xf, 16, &mut to[len..]);
        }
        len
    }

    /// Writes slots of 32: `.... dddddddd dddddddd dddddddd , ......`, without the spaces.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512ifma,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn put_long(numbers: __m512i, negative: u8, to: &mut [MaybeUninit<u8>; GROUP_BYTES]) -> usize {
        // floor(n / 10^8), by an inverse that is exact for all words.
        let set = |value: u64| _mm512_set1_epi64(value as i64);
        let (quotient, _) = product(numbers, set(0xabcc_7711_8461_cefd));
        let quotient = _mm512_srli_epi64::<26>(quotient);
        let rest = _mm512_sub_epi64(numbers, _mm512_mullo_epi64(quotient, set(100_000_000)));
        let (upper, middle) = divide_100_000_000(quotient);
        let (upper, middle, lower) = (spread4(upper), spread(middle), spread(rest));
        let separator = set(SEPARATOR >> 48);
        let orders = [[0, 1], [2, 3], [4, 5], [6, 7]];
        let mut len = 0;
        for (pair, [a, b]) in orders.into_iter().enumerate() {
            let order = _mm512_setr_epi64(a, a + 8, a, a + 8, b, b + 8, b, b + 8);
            let left = _mm512_permutex2var_epi64(upper, order, middle);
            let right = _mm512_permutex2var_epi64(lower, order, separator);
            let slots = _mm512_mask_mov_epi64(left, 0b1100_1100, right);
            // All bytes but those of the separator, and the last digit even if it is 0.
            let digits = _mm512_test_epi8_mask(slots, slots) & 0x00ff_ffff_00ff_ffff;
            let digits = digits | 0x0080_0000_0080_0000;
            // All bits from the lowest set bit of each half up; neither half is 0.
            let kept = digits | (!digits).wrapping_add(0x0000_0001_0000_0001);
            let kept = kept & 0x03ff_ffff_03ff_ffff;
            len += put(slots, kept, u64::from(negative) >> (2 * pair) & 3, 32, &mut to[len..]);
        }
        len
    }

    /// Packs the `kept` bytes of slots of `width`, with signs before those that are `negative`.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn put(
        slots: __m512i,
        kept: u64,
        negative: u64,
        width: u32,
        to: &mut [MaybeUninit<u8>],
    ) -> usize {
        let mut text = _mm512_add_epi8(slots, _mm512_set1_epi8(b'0' as i8));
        let mut kept = kept;
        if negative != 0 {
            let first_bytes = u64::MAX / ((1 << (width - 1) << 1) - 1);
            let is_negative =
                _pdep_u64(negative, first_bytes).wrapping_mul((1 << (width - 1) << 1) - 1);
            let signs = (kept & !(kept << 1 & !first_bytes)) >> 1 & is_negative;
            text = _mm512_mask_mov_epi8(text, signs, _mm512_set1_epi8(b'-' as i8));
            kept |= signs;
        }
        let to = to.first_chunk_mut().expect("room for a store");
        lanes::write64(to, _mm512_maskz_compress_epi8(kept, text));
        kept.count_ones() as usize
    }

    /// Makes every byte above a nonzero byte of a word nonzero.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn upward(words: __m512i) -> __m512i {
        let words = _mm512_or_si512(words, _mm512_slli_epi64::<8>(words));
        let words = _mm512_or_si512(words, _mm512_slli_epi64::<16>(words));
        _mm512_or_si512(words, _mm512_slli_epi64::<32>(words))
    }
}
