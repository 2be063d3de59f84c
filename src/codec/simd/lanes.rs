//! Loads and stores of whole vectors, from and to arrays of their size.
#![allow(unsafe_code)] // The intrinsics take pointers.

use std::arch::asm;
use std::arch::x86_64::{
    __m256i, __m512i, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_storeu_si256,
    _mm512_castsi256_si512, _mm512_inserti64x4, _mm512_loadu_si512, _mm512_storeu_si512,
};
use std::mem::MaybeUninit;

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load32(from: &[u8; 32]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes that are read, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// Returns the top bit of each byte. The empty `asm!` hides the origin of the bits. Otherwise the
/// compiler builds joined words bit by bit: 400 instructions for 64 bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn bits32(bytes: __m256i) -> u32 {
    let mut bits = _mm256_movemask_epi8(bytes) as u32;
    // SAFETY: the assembly is a comment and does nothing.
    unsafe { asm!("/* {0:e} */", inout(reg) bits, options(pure, nomem, nostack, preserves_flags)) };
    bits
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn write32(to: &mut [MaybeUninit<u8>; 32], vector: __m256i) {
    // SAFETY: the reference covers the 32 bytes that are written, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn write64(to: &mut [MaybeUninit<u8>; 64], vector: __m512i) {
    // SAFETY: the reference covers the 64 bytes that are written, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load64(from: &[u8; 64]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes that are read, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store64(to: &mut [u8; 64], vector: __m512i) {
    // SAFETY: the reference covers the 64 bytes that are written, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load8(from: &[u64; 8]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes that are read, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load8_f64(from: &[f64; 8]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes that are read, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store8(to: &mut [u64; 8], vector: __m512i) {
    // SAFETY: the reference covers the 64 bytes that are written, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
pub(super) fn load32x2(low: &[u8; 32], high: &[u8; 32]) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load32(low)), load32(high))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load8_u32(from: &[u32; 8]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes that are read, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store8_u32(to: &mut [u32; 8], vector: __m256i) {
    // SAFETY: the reference covers the 32 bytes that are written, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load4(from: &[u64; 4]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes that are read, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store4(to: &mut [u64; 4], vector: __m256i) {
    // SAFETY: the reference covers the 32 bytes that are written, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store16(to: &mut [u32; 16], vector: __m512i) {
    // SAFETY: the reference covers the 64 bytes that are written, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), vector) }
}
