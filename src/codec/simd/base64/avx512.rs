//! Base64 in vectors of 64 characters or 48 bytes.
//!
//! To decode, one permutation of two registers looks up each ASCII character; two multiply-adds
//! join the values to 24 bits, and a permutation packs them. To encode, a permutation puts three
//! bytes over each four places, shifts cut out six bits, and a permutation of the alphabet gives
//! the characters. The ends use masked loads and stores.
#![allow(unsafe_code)] // Vector loads and stores take pointers; calls need a proof.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::portable::{ALPHABET, Room};
use crate::codec::simd::Avx512;
use crate::codec::simd::lanes::{load64, write64};

const CHARS: usize = 64;
const BYTES: usize = 48;
const TOGETHER: usize = 4;

/// Bytes that the stores of one pass touch: each vector is written as 64 bytes.
const REACH: usize = BYTES * (TOGETHER - 1) + CHARS;
const BAD: u8 = 0x80;

static VALUES: [u8; 128] = {
    let mut values = [BAD; 128];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Permutation from 16 groups of 24 bits, in the low bytes of words and reversed, to 48 bytes.
static PACK: [u8; 64] = {
    let mut pack = [0; 64];
    let mut at = 0;
    while at < BYTES {
        pack[at] = (at / 3 * 4 + (2 - at % 3)) as u8;
        at += 1;
    }
    pack
};

/// Permutation from 48 bytes to words with six of them, the first of each group on top of 24 bits.
static SPREAD: [u8; 64] = {
    let mut spread = [0; 64];
    let mut at = 0;
    while at < 64 {
        let (eight, byte) = (at / 8, at % 8);
        if byte < 6 {
            spread[at] = (eight * 6 + byte / 3 * 3 + (2 - byte % 3)) as u8;
        }
        at += 1;
    }
    spread
};

/// Start of the six bits of each character in eight bytes: 18, 12, 6, 0, then the same plus 24.
const CUT: i64 = i64::from_le_bytes([18, 12, 6, 0, 42, 36, 30, 24]);

pub(super) fn decode(_proof: Avx512, text: &[u8], room: &mut Room) -> usize {
    // SAFETY: an `Avx512` exists only if the processor has all features of the function.
    unsafe { decode_vectors(text, room) }
}

pub(super) fn encode(_proof: Avx512, bytes: &[u8], room: &mut Room) {
    // SAFETY: an `Avx512` exists only if the processor has all features of the function.
    unsafe { encode_vectors(bytes, room) }
}

// Plain loops: a closure in an iterator adaptor is compiled without the vector features and becomes
// a call with its vectors in memory (measured: 30 times as slow).

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn decode_vectors(text: &[u8], room: &mut Room) -> usize {
    let (low, high) = VALUES.split_at(64);
    let (low, high, order) = (load(low), load(high), load(&PACK));
    let mut groups = 0;
    for block in text.as_chunks::<{ CHARS * TOGETHER }>().0 {
        let Some(room) = room.get_mut(groups * 3..groups * 3 + REACH) else { break };
        let mut values = [_mm512_setzero_si512(); TOGETHER];
        let mut seen = _mm512_setzero_si512();
        for at in 0..TOGETHER {
            let chars = load(&block[at * CHARS..]);
            values[at] = _mm512_permutex2var_epi8(low, chars, high);
            seen = either(seen, chars, values[at]);
        }
        if _mm512_movepi8_mask(seen) != 0 {
            break;
        }
        // The next store overwrites the last quarter of the vector, which is meaningless.
        for at in 0..TOGETHER {
            store(&mut room[at * BYTES..], pack(values[at], order), CHARS);
        }
        groups += CHARS / 4 * TOGETHER;
    }
    loop {
        // The zeros after the end of the text are outside the alphabet.
        let chars = load(&text[groups * 4..]);
        let values = _mm512_permutex2var_epi8(low, chars, high);
        let bad = _mm512_movepi8_mask(_mm512_or_si512(chars, values));
        let good = bad.trailing_zeros() as usize / 4;
        store(&mut room[groups * 3..], pack(values, order), good * 3);
        groups += good;
        if good < CHARS / 4 {
            return groups;
        }
    }
}

/// Combines three vectors by OR. A byte above ASCII has its own top bit set.
#[inline]
#[target_feature(enable = "avx512f")]
fn either(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xfe>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn pack(values: __m512i, order: __m512i) -> __m512i {
    let twelve = _mm512_maddubs_epi16(values, _mm512_set1_epi16(0x0140));
    let whole = _mm512_madd_epi16(twelve, _mm512_set1_epi32(0x0001_1000));
    _mm512_permutexvar_epi8(order, whole)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn encode_vectors(bytes: &[u8], room: &mut Room) {
    let (order, alphabet) = (load(&SPREAD), load(ALPHABET));
    let (mut from, mut to) = (0, 0);
    while let Some(block) = bytes.get(from..from + REACH) {
        let room = &mut room[to..to + CHARS * TOGETHER];
        for at in 0..TOGETHER {
            let part = load(&block[at * BYTES..]);
            store(&mut room[at * CHARS..], chars(part, order, alphabet), CHARS);
        }
        from += BYTES * TOGETHER;
        to += CHARS * TOGETHER;
    }
    while from < bytes.len() {
        let part = &bytes[from..bytes.len().min(from + BYTES)];
        let len = part.len().div_ceil(3) * 4;
        store(&mut room[to..], chars(load(part), order, alphabet), len);
        from += part.len();
        to += len;
    }
    let padding = (3 - bytes.len() % 3) % 3;
    room[to - padding..to].fill(MaybeUninit::new(b'='));
}

#[inline]
#[target_feature(enable = "avx512f,avx512vbmi")]
fn chars(bytes: __m512i, order: __m512i, alphabet: __m512i) -> __m512i {
    let spread = _mm512_permutexvar_epi8(order, bytes);
    // The last permutation uses six bits of each byte and ignores the bits above them.
    let six = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(CUT), spread);
    _mm512_permutexvar_epi8(six, alphabet)
}

/// Loads the first 64 of `bytes`, padded with zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(bytes: &[u8]) -> __m512i {
    match bytes.first_chunk::<64>() {
        Some(whole) => load64(whole),
        // SAFETY: a byte whose mask bit is 0 is not accessed (Intel SDM, masked loads).
        None => unsafe {
            _mm512_maskz_loadu_epi8((1u64 << bytes.len()) - 1, bytes.as_ptr().cast())
        },
    }
}

/// Writes the first `len` bytes of `vector` to the start of `room`, which has that length.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store(room: &mut Room, vector: __m512i, len: usize) {
    let room = &mut room[..len];
    match room.first_chunk_mut::<64>() {
        Some(whole) => write64(whole, vector),
        // SAFETY: a byte whose mask bit is 0 is not accessed; the others lie in the slice.
        None => unsafe {
            _mm512_mask_storeu_epi8(room.as_mut_ptr().cast(), (1u64 << room.len()) - 1, vector);
        },
    }
}
