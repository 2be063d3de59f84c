//! Form with AVX-512: the digits of eight numbers at once.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::tables::{
    EXPONENT_MIN, EXPONENTS, FORMS, LENS, NUMBER_BYTES_MAX, ONE, POWERS, ROWS, SCALES, SHIFTS,
};
use crate::codec::simd::decimal::{divide_100_000_000, product, spread};
use crate::codec::simd::lanes;

/// Bytes that eight numbers and the overhang of the last store take.
const GROUP_BYTES: usize = 8 * NUMBER_BYTES_MAX + 32;

#[target_feature(
    enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512ifma,avx512vbmi,bmi1,bmi2,lzcnt,popcnt"
)]
pub(super) fn write(values: &[f64], mut ends: u64, out: &mut Vec<u8>) -> usize {
    debug_assert!(values.len() <= 64);
    out.reserve(values.len().next_multiple_of(8) * NUMBER_BYTES_MAX + 32);
    let (mut written, mut len) = (0, 0);
    let (groups, rest) = values.as_chunks();
    let mut padded = [0.0; 8];
    padded[..rest.len()].copy_from_slice(rest);
    for group in groups.iter().chain((!rest.is_empty()).then_some(&padded)) {
        let Some(digits) = Digits::from_bits(lanes::load8_f64(group)) else { break };
        let count = (digits.plain.trailing_ones() as usize).min(values.len() - written);
        let room = out.spare_capacity_mut().get_mut(len..).and_then(<[_]>::first_chunk_mut);
        let room = room.expect("reserved for all");
        len += match ends as u8 {
            0 => digits.put::<false>(count, 0, room),
            ends => digits.put::<true>(count, ends, room),
        };
        ends >>= 8;
        written += count;
        if count < 8 {
            break;
        }
    }
    // SAFETY: `put` has written the first `len` bytes after the old end, which are reserved.
    unsafe { out.set_len(out.len() + len) };
    written
}

pub(super) struct Digits {
    plain: u8,
    negative: u8,
    /// First of the 17 digits, possibly 0, in the lowest byte of each lane.
    first: __m512i,
    /// Digits 2 to 9, one per byte.
    high: __m512i,
    /// Digits 10 to 17.
    low: __m512i,
    form: __m512i,
}

impl Digits {
    /// Finds the shortest digits of eight doubles; `None` if the first one cannot be written.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512ifma,avx512vbmi,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn from_bits(bits: __m512i) -> Option<Digits> {
        const HIDDEN: u64 = 1 << 52;
        let set = |value: u64| _mm512_set1_epi64(value as i64);
        let negative = _mm512_movepi64_mask(bits);
        let magnitude = _mm512_and_si512(bits, set(u64::MAX >> 1));
        let zero = _mm512_testn_epi64_mask(magnitude, magnitude);
        let exponent = _mm512_sub_epi64(_mm512_srli_epi64::<52>(magnitude), set(EXPONENT_MIN));
        let exponent = _mm512_mask_mov_epi64(exponent, zero, set(ONE));
        let known = _mm512_cmplt_epu64_mask(exponent, set(EXPONENTS as u64));
        if known & 1 == 0 {
            return None;
        }
        let fraction = _mm512_and_si512(magnitude, set(HIDDEN - 1));
        let significand = _mm512_mask_or_epi64(fraction, !zero, fraction, set(HIDDEN));

        let scale = lookup128(&SCALES, exponent);
        let shift = lookup128(&SHIFTS, exponent);
        let [a, b, c] = &POWERS;
        let large = _mm512_test_epi64_mask(scale, set(16));
        let power = _mm512_permutex2var_epi64(lanes::load8(a), scale, lanes::load8(b));
        let power = _mm512_mask_permutexvar_epi64(power, large, scale, lanes::load8(c));
        let (whole, part) = product(_mm512_sllv_epi64(significand, shift), power);

        let (upper, lower) = divide_100_000_000(whole);
        let tens = _mm512_mul_epu32(lower, set(3_435_973_837));
        let tens = _mm512_mul_epu32(_mm512_srli_epi64::<35>(tens), set(10));
        let last = _mm512_sub_epi64(lower, tens);
        // Distance of `s` from the multiple of ten below, and half the distance of the next
        // double, with 60 bits after the point; the bits cut off are 0 (5^20 leaves more free).
        let above = _mm512_or_si512(_mm512_slli_epi64::<60>(last), _mm512_srli_epi64::<4>(part));
        let reach = _mm512_srlv_epi64(power, _mm512_sub_epi64(set(5), shift));
        // Halfway is near enough for an even significand.
        let reach = _mm512_add_epi64(reach, _mm512_andnot_si512(significand, set(1)));
        let down = _mm512_cmplt_epu64_mask(above, reach);
        let up = _mm512_cmplt_epu64_mask(_mm512_sub_epi64(set(10 << 60), above), reach);
        // Otherwise round, halfway to even.
        let half = _mm512_sub_epi64(set(1 << 63), _mm512_and_si512(whole, set(1)));
        let nearest = _mm512_cmpgt_epu64_mask(part, half);
        let lower = _mm512_mask_add_epi64(lower, nearest, lower, set(1));
        let lower = _mm512_mask_mov_epi64(lower, down, tens);
        let lower = _mm512_mask_add_epi64(lower, up, tens, set(10));
        let carry = _mm512_cmpeq_epi64_mask(lower, set(100_000_000));
        let lower = _mm512_maskz_mov_epi64(!carry, lower);
        let upper = _mm512_mask_add_epi64(upper, carry, upper, set(1));

        let few = _mm512_cmplt_epu64_mask(upper, set(100_000_000)) & !zero;
        let form = _mm512_slli_epi64::<1>(scale);
        let form = _mm512_mask_sub_epi64(form, few, form, set(1));
        let plain = known & _mm512_cmplt_epu64_mask(form, set(FORMS));
        let first = _mm512_srli_epi64::<57>(_mm512_mul_epu32(upper, set(1_441_151_881)));
        let upper = _mm512_sub_epi64(upper, _mm512_mul_epu32(first, set(100_000_000)));
        let (high, low) = (spread(upper), spread(lower));
        Some(Digits { plain, negative, first, high, low, form })
    }

    /// Writes the first `count` numbers and returns the length. `HAS_ENDS` is false if no row
    /// ends among them; leaving that code out saves a tenth of the time of a flat list.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512ifma,avx512vbmi,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn put<const HAS_ENDS: bool>(
        &self,
        count: usize,
        row_ends: u8,
        to: &mut [MaybeUninit<u8>; GROUP_BYTES],
    ) -> usize {
        let set = |value: u64| _mm512_set1_epi64(value as i64);
        // The top byte holds the last digit.
        let zeros = _mm512_srli_epi64::<3>(_mm512_lzcnt_epi64(self.low));
        let more = _mm512_srli_epi64::<3>(_mm512_lzcnt_epi64(self.high));
        let none = _mm512_testn_epi64_mask(self.low, self.low);
        let zeros = _mm512_mask_add_epi64(zeros, none, zeros, more);
        let most = _mm512_sub_epi64(lookup64(&LENS[0], self.form), zeros);
        let len = _mm512_max_epi64(most, lookup64(&LENS[1], self.form));
        // Prefix sums of the lengths, with signs and separators, are the places.
        let sum = _mm512_add_epi64(len, set(2));
        let sum = _mm512_mask_add_epi64(sum, self.negative, sum, set(1));
        let sum = if HAS_ENDS { _mm512_mask_add_epi64(sum, row_ends, sum, set(2)) } else { sum };
        let nothing = _mm512_setzero_si512();
        let sum = _mm512_add_epi64(sum, _mm512_alignr_epi64::<7>(sum, nothing));
        let sum = _mm512_add_epi64(sum, _mm512_alignr_epi64::<6>(sum, nothing));
        let sum = _mm512_add_epi64(sum, _mm512_alignr_epi64::<4>(sum, nothing));
        let (mut ends, mut lens, mut forms) = ([0; 8], [0; 8], [0; 8]);
        lanes::store8(&mut ends, sum);
        lanes::store8(&mut lens, len);
        lanes::store8(&mut forms, self.form);

        let sources = [
            [
                _mm512_unpacklo_epi64(self.high, self.low),
                _mm512_unpacklo_epi64(self.first, nothing),
            ],
            [
                _mm512_unpackhi_epi64(self.high, self.low),
                _mm512_unpackhi_epi64(self.first, nothing),
            ],
        ];
        let mut start = 0;
        for at in 0..count {
            let form = &ROWS[forms[at] as usize];
            let lane = _mm256_set1_epi8(16 * (at / 2) as i8);
            let from = _mm512_castsi256_si512(_mm256_add_epi8(lanes::load32(&form.from), lane));
            let [digits, first] = sources[at % 2];
            let text = _mm512_castsi512_si256(_mm512_permutex2var_epi8(digits, from, first));
            let text = _mm256_add_epi8(text, lanes::load32(&form.add));
            let end = ends[at] as usize;
            let ends_row = HAS_ENDS && row_ends >> at & 1 == 1;
            let text_end = end - if ends_row { 4 } else { 2 };
            to[start].write(b'-');
            lanes::write32(
                to[text_end - lens[at] as usize..].first_chunk_mut().expect("room for a store"),
                text,
            );
            to[text_end].write(if ends_row { b']' } else { b',' });
            to[text_end + 1].write(if ends_row { b',' } else { b' ' });
            if ends_row {
                to[text_end + 2].write(b' ');
                to[text_end + 3].write(b'[');
            }
            start = end;
        }
        start
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn lookup128(table: &[u8; 128], places: __m512i) -> __m512i {
    let [low, high] = table.as_chunks().0 else { unreachable!("128 bytes") };
    let (low, high) = (lanes::load64(low), lanes::load64(high));
    _mm512_maskz_permutex2var_epi8(LOWEST, low, places, high)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn lookup64(table: &[u8; 64], places: __m512i) -> __m512i {
    _mm512_maskz_permutexvar_epi8(LOWEST, places, lanes::load64(table))
}

const LOWEST: u64 = 0x0101_0101_0101_0101;
