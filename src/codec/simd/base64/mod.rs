//! Base64 of RFC 4648, section 4, appended to a vector of bytes. [`decode`] stops in front of the
//! first group with a character outside the alphabet: a closing quote, padding, an escape or
//! invalid text. So no pass over the text looks for its end. Neither function zeroes its room.
//!
//! Vector forms: W. Mula, D. Lemire, "Faster Base64 Encoding and Decoding Using AVX2 Instructions"
//! (2018), "Base64 encoding and decoding at almost the speed of a memory copy" (2020).
#![allow(unsafe_code)] // `Vec::set_len` after a kernel has no safe form.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

use portable::Room;

use super::Isa;

/// Appends the decoded groups at the start of `text` to `out` and returns the number of their
/// characters, a multiple of 4.
pub(crate) fn decode(isa: Isa, text: &[u8], out: &mut Vec<u8>) -> usize {
    let room = text.len() / 4 * 3;
    out.reserve(room);
    let groups = decode_form(isa, text, &mut out.spare_capacity_mut()[..room]);
    assert!(groups * 3 <= room, "a form has counted more groups than there are");
    // SAFETY: every form writes three adjacent bytes for each group that it counts, from the start
    // of its room, which was the spare capacity. The assertion above checks the room's length.
    unsafe { out.set_len(out.len() + groups * 3) };
    groups * 4
}

pub(crate) fn encode(isa: Isa, bytes: &[u8], out: &mut Vec<u8>) {
    let len = bytes.len().div_ceil(3) * 4;
    out.reserve(len);
    encode_form(isa, bytes, &mut out.spare_capacity_mut()[..len]);
    // SAFETY: every form fills its whole room, the first `len` bytes of the spare capacity.
    unsafe { out.set_len(out.len() + len) };
}

/// Decodes to the start of `room`, which has three bytes for each group; returns their number.
fn decode_form(isa: Isa, text: &[u8], room: &mut Room) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) => avx2::decode(proof, text, room),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof) => avx512::decode(proof, text, room),
        _ => portable::decode(text, room),
    }
}

/// Fills `room`, which has exactly the length of the text of `bytes`.
fn encode_form(isa: Isa, bytes: &[u8], room: &mut Room) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) => avx2::encode(proof, bytes, room),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof) => avx512::encode(proof, bytes, room),
        _ => portable::encode(bytes, room),
    }
}
