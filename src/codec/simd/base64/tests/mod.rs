//! The same cases through every form, with the base64 crate as the judge.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::portable::ALPHABET;
use super::*;
use crate::codec::simd::tests::guard_pages;

const LEN_MAX: usize = if cfg!(miri) { 9 } else { 700 };

fn bytes(len: usize) -> Vec<u8> {
    let byte = |at: usize| (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
    (0..len).map(byte).collect()
}

fn encoded(isa: Isa, bytes: &[u8]) -> String {
    let mut out = b"before ".to_vec();
    encode(isa, bytes, &mut out);
    let text = String::from_utf8(out).expect("base64 is ASCII");
    text.strip_prefix("before ").expect("it is appended").to_owned()
}

fn decoded(isa: Isa, text: &[u8]) -> (usize, Vec<u8>) {
    let mut out = b"before ".to_vec();
    let taken = decode(isa, text, &mut out);
    (taken, out.strip_prefix(b"before ").expect("it is appended").to_vec())
}

#[test]
fn every_length_is_written_and_read() {
    for isa in Isa::all() {
        for len in 0..LEN_MAX {
            let bytes = bytes(len);
            let text = STANDARD.encode(&bytes);
            assert_eq!(encoded(isa, &bytes), text, "{isa:?} {len}");
            let whole = len / 3;
            let want = (whole * 4, bytes[..whole * 3].to_vec());
            assert_eq!(decoded(isa, text.as_bytes()), want, "{isa:?} {len}");
        }
    }
}

#[test]
fn reading_stops_in_front_of_the_group_with_a_character_that_is_none() {
    let data = bytes(LEN_MAX / 4 * 3);
    let text = STANDARD.encode(&data).into_bytes();
    let strange = (0..=255u8).filter(|byte| !ALPHABET.contains(byte));
    for (step, byte) in strange.enumerate() {
        // Each byte at places that drift over all lanes; all of them would take too long.
        for at in (step % 7..text.len()).step_by(7) {
            let mut text = text.clone();
            text[at] = byte;
            let whole = at / 4;
            for isa in Isa::all() {
                let want = (whole * 4, data[..whole * 3].to_vec());
                assert_eq!(decoded(isa, &text), want, "{isa:?} {byte:#x} at {at}");
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no guard pages and needs none")]
fn nothing_outside_the_slices_is_touched() {
    for len in 0..LEN_MAX {
        let bytes = bytes(len);
        let text = STANDARD.encode(&bytes);
        for isa in Isa::all() {
            guard_pages::with_bytes(&bytes, |bytes| assert_eq!(encoded(isa, bytes), text));
            let whole = &bytes[..len / 3 * 3];
            guard_pages::with_bytes(text.as_bytes(), |text| {
                assert_eq!(decoded(isa, text).1, whole)
            });
            guard_pages::with_room(text.len() / 4 * 3, |room| {
                assert_eq!(decode_form(isa, text.as_bytes(), room), len / 3);
            });
            guard_pages::with_room(text.len(), |room| encode_form(isa, &bytes, room));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike(text in vec(any::<u8>(), 0..LEN_MAX), cut in any::<Index>()) {
        assert_alike(&text)?;
        // Mostly characters of the alphabet: random bytes stop at the first group.
        let mut digits: Vec<u8> = text.iter().map(|byte| ALPHABET[usize::from(byte & 63)]).collect();
        assert_alike(&digits)?;
        if !digits.is_empty() {
            let at = cut.index(digits.len());
            digits[at] = text[at];
            assert_alike(&digits)?;
        }
    }
}

fn assert_alike(text: &[u8]) -> Result<(), TestCaseError> {
    let want = decoded(Isa::Portable, text);
    prop_assert_eq!(STANDARD.decode(&text[..want.0]), Ok(want.1.clone()));
    let next = text.get(want.0..want.0 + 4).unwrap_or_default();
    prop_assert!(next.is_empty() || next.iter().any(|byte| !ALPHABET.contains(byte)));
    for isa in Isa::all() {
        prop_assert_eq!(&decoded(isa, text), &want, "{:?}", isa);
    }
    Ok(())
}
