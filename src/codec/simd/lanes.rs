//! Loads and stores of whole vectors, from and to arrays of their size.
#![allow(unsafe_code)] // The intrinsics take pointers.

use std::arch::asm;
use std::arch::x86_64::{
    __m256i, __m512i, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_storeu_si256,
    _mm512_castsi256_si512, _mm512_inserti64x4, _mm512_loadu_si512, _mm512_storeu_si512,
};
use std::mem::MaybeUninit;

macro_rules! loads {
    ($($name:ident($array:ty) -> $vector:ty, $feature:literal, $load:ident;)+) => {$(
        #[inline]
        #[target_feature(enable = $feature)]
        pub(super) fn $name(from: &$array) -> $vector {
            const { assert!(size_of::<$array>() == size_of::<$vector>()) };
            // SAFETY: the reference covers the bytes that are read and needs no alignment.
            unsafe { $load(from.as_ptr().cast()) }
        }
    )+};
}

macro_rules! stores {
    ($($name:ident($array:ty, $vector:ty), $feature:literal, $store:ident;)+) => {$(
        #[inline]
        #[target_feature(enable = $feature)]
        pub(super) fn $name(to: &mut $array, vector: $vector) {
            const { assert!(size_of::<$array>() == size_of::<$vector>()) };
            // SAFETY: the reference covers the bytes that are written and needs no alignment.
            unsafe { $store(to.as_mut_ptr().cast(), vector) }
        }
    )+};
}

loads! {
    load32([u8; 32]) -> __m256i, "avx2", _mm256_loadu_si256;
    load8_u32([u32; 8]) -> __m256i, "avx2", _mm256_loadu_si256;
    load4([u64; 4]) -> __m256i, "avx2", _mm256_loadu_si256;
    load64([u8; 64]) -> __m512i, "avx512f", _mm512_loadu_si512;
    load8([u64; 8]) -> __m512i, "avx512f", _mm512_loadu_si512;
    load8_f64([f64; 8]) -> __m512i, "avx512f", _mm512_loadu_si512;
}

stores! {
    write32([MaybeUninit<u8>; 32], __m256i), "avx2", _mm256_storeu_si256;
    store8_u32([u32; 8], __m256i), "avx2", _mm256_storeu_si256;
    store4([u64; 4], __m256i), "avx2", _mm256_storeu_si256;
    write64([MaybeUninit<u8>; 64], __m512i), "avx512f", _mm512_storeu_si512;
    store64([u8; 64], __m512i), "avx512f", _mm512_storeu_si512;
    store8([u64; 8], __m512i), "avx512f", _mm512_storeu_si512;
    store16([u32; 16], __m512i), "avx512f", _mm512_storeu_si512;
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
pub(super) fn load32x2(low: &[u8; 32], high: &[u8; 32]) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load32(low)), load32(high))
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
