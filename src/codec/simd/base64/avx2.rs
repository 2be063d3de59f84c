//! Base64 in vectors of 32 characters, 24 bytes; the ends are left to the portable form.
//!
//! A character's value is itself plus a number that its class has, and its class follows from its two halves of
//! four bits: three tables of 16 say which class, which number, and whether the halves go together at all.
#![allow(unsafe_code)] // Loads and stores of vectors take pointers; calls need the processor's leave.

use std::arch::x86_64::*;

use super::{Room, portable};
use crate::codec::simd::Avx2;

/// Characters of a vector.
const CHARS: usize = 32;

/// Bytes of a vector of characters.
const BYTES: usize = 24;

/// Bytes that the encoder reads for the 24 that it turns into text: two halves of 16, the second from the 12th on.
const READ: usize = 28;

/// See [`super::decode_form`]. `_proof` is that the processor has the instructions.
pub(super) fn decode(_proof: Avx2, text: &[u8], room: &mut Room) -> usize {
    // SAFETY: an `Avx2` is only made where the processor has all the features of the function.
    unsafe { decode_vectors(text, room) }
}

/// See [`super::encode_form`]. `_proof` is that the processor has the instructions.
pub(super) fn encode(_proof: Avx2, bytes: &[u8], room: &mut Room) {
    // SAFETY: an `Avx2` is only made where the processor has all the features of the function.
    unsafe { encode_vectors(bytes, room) }
}

#[target_feature(enable = "avx2")]
fn decode_vectors(text: &[u8], room: &mut Room) -> usize {
    let mut groups = 0;
    for chars in text.as_chunks::<CHARS>().0 {
        // The vector is written whole; its last quarter is rubbish that what follows overwrites.
        let Some(room) = room.get_mut(groups * 3..).and_then(Room::first_chunk_mut) else { break };
        let Some(values) = values(load(chars)) else { break };
        store(room, pack(values));
        groups += CHARS / 4;
    }
    groups + portable::decode(&text[groups * 4..], &mut room[groups * 3..])
}

/// What each of 32 characters means, or `None` when one of them means nothing.
#[inline]
#[target_feature(enable = "avx2")]
fn values(chars: __m256i) -> Option<__m256i> {
    // A character is bad if the row of its upper half and the column of its lower half share a bit.
    let columns = both(_mm_setr_epi8(
        0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b,
        0x1a,
    ));
    let rows = both(_mm_setr_epi8(
        0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10,
        0x10,
    ));
    // By upper half, and in the first place for the slash, which shares one with the plus sign.
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

/// Joins 32 values of six bits to 24 bytes.
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
        store(room, chars(load_halves(bytes.first_chunk().expect("it was cut so"))));
        vectors += 1;
    }
    portable::encode(&bytes[vectors * BYTES..], &mut room[vectors * CHARS..]);
}

/// The text of 24 bytes, of which each half has 12 at its start.
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
    // Classes: 0 lower case, 1 to 10 the digits, 11 and 12 the signs, 13 upper case.
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
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference is to 32 readable bytes, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_halves(bytes: &[u8; READ]) -> __m256i {
    // SAFETY: the reference is to 28 readable bytes; the halves are 0..16 and 12..28 and need no alignment.
    unsafe { _mm256_loadu2_m128i(bytes.as_ptr().add(12).cast(), bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(room: &mut [std::mem::MaybeUninit<u8>; 32], vector: __m256i) {
    // SAFETY: the reference is to 32 writable bytes, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(room.as_mut_ptr().cast(), vector) };
}
