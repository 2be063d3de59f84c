//! Base64 in vectors of 32 characters or 24 bytes; the portable form handles the ends.
//!
//! The value of a character is the character plus an offset that depends on its class. Three tables
//! of 16 entries over its halves of four bits give the class, the offset, and the validity.
#![allow(unsafe_code)] // Vector loads and stores take pointers; calls need a proof.

use std::arch::x86_64::*;

use super::portable::{self, Room};
use crate::codec::simd::Avx2;
use crate::codec::simd::lanes::{load32, write32};

const CHARS: usize = 32;
const BYTES: usize = 24;

/// Bytes that the encoder reads to encode 24: two halves of 16, the second one from byte 12 on.
const READ: usize = 28;

pub(super) fn decode(_proof: Avx2, text: &[u8], room: &mut Room) -> usize {
    // SAFETY: an `Avx2` exists only if the processor has all features of the function.
    unsafe { decode_vectors(text, room) }
}

pub(super) fn encode(_proof: Avx2, bytes: &[u8], room: &mut Room) {
    // SAFETY: an `Avx2` exists only if the processor has all features of the function.
    unsafe { encode_vectors(bytes, room) }
}

#[target_feature(enable = "avx2")]
fn decode_vectors(text: &[u8], room: &mut Room) -> usize {
    let mut groups = 0;
    for chars in text.as_chunks::<CHARS>().0 {
        // The next bytes overwrite the last quarter of the vector, which is meaningless.
        let Some(room) = room.get_mut(groups * 3..).and_then(Room::first_chunk_mut) else { break };
        let Some(values) = values(load32(chars)) else { break };
        write32(room, pack(values));
        groups += CHARS / 4;
    }
    groups + portable::decode(&text[groups * 4..], &mut room[groups * 3..])
}

#[inline]
#[target_feature(enable = "avx2")]
fn values(chars: __m256i) -> Option<__m256i> {
    // Invalid if the row of the upper half and the column of the lower half share a bit.
    let columns = both(_mm_setr_epi8(
        0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b,
        0x1a,
    ));
    let rows = both(_mm_setr_epi8(
        0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10,
        0x10,
    ));
    // Indexed by the upper half; entry 0 is for the slash, which shares a half with the plus sign.
    let steps = both(_mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0));
    let nibble = _mm256_set1_epi8(0x0f);
    let upper = _mm256_and_si256(_mm256_srli_epi32(chars, 4), nibble);
    let row = _mm256_shuffle_epi8(rows, upper);
    let column = _mm256_shuffle_epi8(columns, _mm256_and_si256(chars, nibble));
    if _mm256_testz_si256(row, column) == 0 {
        return None;
    }
    let slash = _mm256_cmpeq_epi8(chars, _mm256_set1_epi8(b'/' as i8));
    let step = _mm256_shuffle_epi8(steps, _mm256_add_epi8(slash, upper));
    Some(_mm256_add_epi8(chars, step))
}

#[inline]
#[target_feature(enable = "avx2")]
fn pack(values: __m256i) -> __m256i {
    let twelve = _mm256_maddubs_epi16(values, _mm256_set1_epi16(0x0140));
    let whole = _mm256_madd_epi16(twelve, _mm256_set1_epi32(0x0001_1000));
    let order = both(_mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1));
    let halves = _mm256_shuffle_epi8(whole, order);
    _mm256_permutevar8x32_epi32(halves, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7))
}

#[target_feature(enable = "avx2")]
fn encode_vectors(bytes: &[u8], room: &mut Room) {
    let mut vectors = 0;
    let rooms = room.as_chunks_mut::<CHARS>().0.iter_mut();
    for room in rooms {
        let Some(bytes) = bytes.get(vectors * BYTES..vectors * BYTES + READ) else { break };
        write32(room, chars(load_halves(bytes.first_chunk().expect("it was cut so"))));
        vectors += 1;
    }
    portable::encode(&bytes[vectors * BYTES..], &mut room[vectors * CHARS..]);
}

/// Encodes 24 bytes; each half has 12 of them at its start.
#[inline]
#[target_feature(enable = "avx2")]
fn chars(halves: __m256i) -> __m256i {
    let order = both(_mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
    let words = _mm256_shuffle_epi8(halves, order);
    let odd = _mm256_and_si256(words, _mm256_set1_epi32(0x0fc0_fc00));
    let odd = _mm256_mulhi_epu16(odd, _mm256_set1_epi32(0x0400_0040));
    let even = _mm256_and_si256(words, _mm256_set1_epi32(0x003f_03f0));
    let even = _mm256_mullo_epi16(even, _mm256_set1_epi32(0x0100_0010));
    let six = _mm256_or_si256(odd, even);
    // Classes: 0 lower case, 1 to 10 digits, 11 and 12 signs, 13 upper case.
    let class = _mm256_subs_epu8(six, _mm256_set1_epi8(51));
    let upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), six);
    let class = _mm256_or_si256(class, _mm256_and_si256(upper, _mm256_set1_epi8(13)));
    let steps = both(_mm_setr_epi8(71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0));
    _mm256_add_epi8(six, _mm256_shuffle_epi8(steps, class))
}

#[inline]
#[target_feature(enable = "avx2")]
fn both(half: __m128i) -> __m256i {
    _mm256_broadcastsi128_si256(half)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_halves(bytes: &[u8; READ]) -> __m256i {
    // SAFETY: 28 readable bytes; the halves are 0..16 and 12..28 and need no alignment.
    unsafe { _mm256_loadu2_m128i(bytes.as_ptr().add(12).cast(), bytes.as_ptr().cast()) }
}
