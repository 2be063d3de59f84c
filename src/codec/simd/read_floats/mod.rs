//! Reads decimal numbers without an exponent, each with the same few dozen instructions whatever its digits.
//!
//! ```text
//! token                      -12.345        up to 32 bytes, loaded so that they end where the token ends
//! without the point     0000000012345       what stands before the point comes from a load one byte earlier
//! two, four, eight digits    01234500 ...   multiply and add neighbours
//! w, q                    12345, -3         w * 10^q, exact as long as w fits a word
//! ```
//!
//! `w * 10^q` is rounded correctly by the method of Eisel and Lemire: `w` times the upper half of a 128-bit power of
//! ten, and the lower half too where that could matter. The power is small and negative here, so that there are
//! neither subnormals nor infinities to think of. With AVX-512 all that is a number or a mask is done for eight
//! tokens at once.
//!
//! D. Lemire, "Number Parsing at a Gigabyte per Second", Software: Practice and Experience 51 (8), 2021;
//! N. Mushtak, D. Lemire, "Fast Number Parsing Without Fallback", 2023.
#![allow(unsafe_code)] // Code for more than the baseline is called on the proof that the processor has it.

use super::Isa;
use super::tokens::{BATCH, Batch};

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod scale;

/// Reads a batch of numbers as little-endian doubles. Returns a bit for each that was plain and has been read; what
/// is not is one with an exponent, of very many digits, near the text's beginning, a word, or no number of JSON's
/// grammar. An integer `-0` is +0.0, as Python has it.
pub(crate) fn read_floats(
    isa: Isa,
    text: &[u8],
    tokens: Batch<'_>,
    to: &mut [[u8; 8]; BATCH],
) -> u64 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the proof in `isa` says that the processor has what the function is compiled for.
        Isa::Avx512(_) => unsafe { avx512::read(text, tokens, to) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2(_) => unsafe { avx2::read(text, tokens, to) },
        _ => 0,
    }
}
