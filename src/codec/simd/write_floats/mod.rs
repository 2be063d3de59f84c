//! Writer of doubles from 1e-4 to 1e16, as the shortest text, in the form of Python.
//!
//! A double is `c * 2^q`, where `c` has 53 bits. With `k` such that `10^k <= 2^q < 10^(k+1)`, the
//! digits are those of `s = c * 2^q / 10^k`, which has 16 or 17 of them before its point:
//!
//! ```text
//! s = 1234567890123456|7.89       the neighbouring doubles are 2^q/10^k away, 1 to 10 units
//!                      ^^^^       a multiple of ten within half of it is shortest, else round(s)
//! ```
//!
//! In this range `k` is between -20 and 0, and `10^-k` is a shifted power of five that fits 64
//! bits. So one multiplication gives `s` exactly, in 128 bits. With AVX-512 eight doubles become
//! digits at once. Then one permutation for each double places digits, zeros and point, by a table
//! of exponents.
//!
//! R. Giulietti, "The Schubfach way to render doubles", 2021, proves that no shorter text than
//! these two candidates exists.
#![allow(unsafe_code)] // Calls of vector functions need a proof of the features.

use super::Isa;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod tables;

/// Appends up to 64 `values`, stops at the first one that it cannot write (infinity, NaN, with an
/// exponent, or all without AVX2), and returns the number written. After each value it writes
/// `", "`, or `"], ["` for those with a bit in `ends` (lowest bit: first value).
pub(crate) fn write_floats(isa: Isa, values: &[f64], ends: u64, out: &mut Vec<u8>) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the proof in `isa` says that the processor has all features of the function.
        Isa::Avx512(_) => unsafe { avx512::write(values, ends, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2(_) => unsafe { avx2::write(values, ends, out) },
        _ => 0,
    }
}
