//! Base64 of RFC 4648 in runs: standard alphabet, whole groups, appended to a vector of bytes.
//!
//! [`decode`] takes groups of four characters for as long as all four are of the alphabet and stops in front of the
//! first that is not: a closing quote, padding, an escape or rubbish, which is for its caller to tell apart. So the
//! end of the text need not be known, and no pass over it looks for one. [`encode`] writes all of its input, the
//! last group padded. Neither zeroes the room that it writes to.
//!
//! Vector forms after W. Mula and D. Lemire, "Faster Base64 Encoding and Decoding Using AVX2 Instructions" (2018)
//! and "Base64 encoding and decoding at almost the speed of a memory copy" (2020). Specification: RFC 4648, 4.
#![allow(unsafe_code)] // A vector's length is set behind what a kernel wrote, which has no safe form.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

use super::Isa;

/// The 64 digits.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes that may be written and not read.
type Room = [MaybeUninit<u8>];

/// Appends to `out` what the groups at the start of `text` mean, and returns how many characters they have: a
/// multiple of 4. What follows them in `text` is no group of four digits.
pub(crate) fn decode(isa: Isa, text: &[u8], out: &mut Vec<u8>) -> usize {
    let room = text.len() / 4 * 3;
    out.reserve(room);
    let groups = decode_form(isa, text, &mut out.spare_capacity_mut()[..room]);
    assert!(groups * 3 <= room, "a form has counted more groups than there are");
    // SAFETY: every form writes three bytes for each group that it counts, one behind the other from the start of
    // its room on, which was the spare capacity; the room has as many, as was just checked.
    unsafe { out.set_len(out.len() + groups * 3) };
    groups * 4
}

/// Appends `bytes` as text to `out`; the last group is padded.
pub(crate) fn encode(isa: Isa, bytes: &[u8], out: &mut Vec<u8>) {
    let len = bytes.len().div_ceil(3) * 4;
    out.reserve(len);
    encode_form(isa, bytes, &mut out.spare_capacity_mut()[..len]);
    // SAFETY: every form fills the whole of its room, which was the first `len` bytes of the spare capacity.
    unsafe { out.set_len(out.len() + len) };
}

/// Writes the bytes of the groups at the start of `text` to the start of `room`, which has three for each group
/// that there may be, and returns how many groups they are.
fn decode_form(isa: Isa, text: &[u8], room: &mut Room) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) => avx2::decode(proof, text, room),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof) => avx512::decode(proof, text, room),
        _ => portable::decode(text, room),
    }
}

/// Fills `room`, which is as long as the text of `bytes`, with it.
fn encode_form(isa: Isa, bytes: &[u8], room: &mut Room) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) => avx2::encode(proof, bytes, room),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof) => avx512::encode(proof, bytes, room),
        _ => portable::encode(bytes, room),
    }
}
