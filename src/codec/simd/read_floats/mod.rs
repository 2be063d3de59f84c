//! Reader of decimal numbers without an exponent, in the same few dozen instructions for each.
//!
//! ```text
//! token                      -12.345        up to 32 bytes, loaded to end with the token
//! without the point     0000000012345       the part before the point: a load one byte earlier
//! two, four, eight digits    01234500 ...   multiply and add neighbours
//! w, q                    12345, -3         w * 10^q, exact as long as w fits 64 bits
//! ```
//!
//! `w * 10^q` is rounded correctly by the method of Eisel and Lemire: `w` times the upper half of a
//! 128-bit power of ten, and times the lower half where that could matter. Here `q` is small and
//! never positive, so there are neither subnormals nor infinities.
//!
//! D. Lemire, "Number Parsing at a Gigabyte per Second", Software: Practice and Experience 51 (8),
//! 2021; N. Mushtak, D. Lemire, "Fast Number Parsing Without Fallback", 2023.
#![allow(unsafe_code)] // Calls of vector functions need a proof of the features.

use super::Isa;
use super::tokens::{BATCH, Batch};

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod scale;

/// Reads a batch as little-endian doubles and returns a bit for each number read. It does not read
/// numbers with an exponent or very many digits, near the start of the text, words, and invalid
/// numbers. An integer `-0` becomes +0.0, as in Python.
pub(crate) fn read_floats(
    isa: Isa,
    text: &[u8],
    tokens: Batch<'_>,
    to: &mut [[u8; 8]; BATCH],
) -> u64 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the proof in `isa` says that the processor has all features of the function.
        Isa::Avx512(_) => unsafe { avx512::read(text, tokens, to) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2(_) => unsafe { avx2::read(text, tokens, to) },
        _ => 0,
    }
}
