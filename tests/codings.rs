//! Coded messages are those of the reference libraries, come back as they were, and are refused
//! with bounded memory if they are cut, damaged, or too large once inflated.
//!
//! `tools/goldens.py` writes `tests/data/coding.jsonl` with Python's gzip, zstandard and lz4.

use std::collections::BTreeSet;

use ndecho::axis::Coding;
use ndecho::coding::{CodingError, deflate, inflate};
use proptest::prelude::*;
use serde::Deserialize;

const LIMIT: usize = 1 << 20;

#[derive(Deserialize)]
struct Golden {
    coding: Coding,
    item_size: u8,
    raw: String,
    body: String,
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn goldens() -> Vec<Golden> {
    let text = include_str!("data/coding.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect("a golden")).collect()
}

fn coded(coding: Coding, item_size: u8, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    deflate(coding, item_size, &[raw], &mut out);
    out
}

fn inflated(coding: Coding, body: &[u8], limit: usize) -> Result<(Vec<u8>, u8), CodingError> {
    let mut out = Vec::new();
    let item_size = inflate(coding, body, limit, &mut out, &mut |_| true)?;
    Ok((out, item_size))
}

fn compressions() -> impl Iterator<Item = Coding> {
    Coding::ALL.into_iter().filter(|coding| *coding != Coding::Identity)
}

/// Bytes that compress a little.
fn some_bytes(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(at) / 7 % 61) as u8).collect()
}

#[test]
fn messages_of_the_reference_libraries_are_read() {
    let goldens = goldens();
    let seen: BTreeSet<Coding> = goldens.iter().map(|golden| golden.coding).collect();
    assert_eq!(seen, compressions().collect());
    for Golden { coding, item_size, raw, body } in &goldens {
        let (raw, body) = (unhex(raw), unhex(body));
        let (got, size) = inflated(*coding, &body, LIMIT).expect("a message of the reference");
        assert!(got == raw && size == *item_size, "{coding} of {} bytes", raw.len());
    }
}

#[test]
fn a_message_in_parts_is_the_message_in_one() {
    let raw = some_bytes(100_000);
    for coding in Coding::ALL {
        let mut out = b"kept".to_vec();
        deflate(coding, 8, &[&raw[..7], &[], &raw[7..50_001], &raw[50_001..]], &mut out);
        assert_eq!(&out[..4], b"kept");
        let item_size = if coding == Coding::ShuffleZstd { 8 } else { 1 };
        let back = inflated(coding, &out[4..], LIMIT).expect("our own message");
        assert!(back == (raw.clone(), item_size), "{coding}");
        assert_eq!(out.len() < raw.len(), coding != Coding::Identity);
    }
}

#[test]
fn several_members_or_frames_are_one_message() {
    for coding in [Coding::Gzip, Coding::Zstd, Coding::Lz4] {
        let body = [coded(coding, 1, b"one "), coded(coding, 1, b"two")].concat();
        assert_eq!(inflated(coding, &body, LIMIT), Ok((b"one two".to_vec(), 1)));
        let many = coded(coding, 1, b"").repeat(1025);
        let error = inflated(coding, &many, LIMIT).unwrap_err().to_string();
        assert!(error.contains("more than 1024"), "{error}");
    }
}

#[test]
fn a_message_that_is_cut_anywhere_is_refused() {
    let raw = some_bytes(3000);
    for coding in compressions() {
        let body = coded(coding, 4, &raw);
        for len in 0..body.len() {
            assert!(inflated(coding, &body[..len], LIMIT).is_err(), "{coding}: {len} bytes");
        }
        let error = inflated(coding, &body[..body.len() - 1], LIMIT).unwrap_err();
        assert!(matches!(error, CodingError::Truncated { .. }), "{coding}: {error:?}");
        let longer = [&body[..], b"?"].concat();
        assert!(inflated(coding, &longer, LIMIT).is_err(), "{coding}: a byte more");
    }
}

#[test]
fn a_message_at_the_limit_is_read_and_one_byte_more_is_refused() {
    for len in [0, 1, 1000, 16 * 1024, 100_000] {
        let raw = some_bytes(len);
        for coding in Coding::ALL {
            let body = coded(coding, 8, &raw);
            assert!(inflated(coding, &body, len).is_ok(), "{coding} {len}");
            let Some(limit) = len.checked_sub(1) else { continue };
            assert_eq!(
                inflated(coding, &body, limit).unwrap_err(),
                CodingError::TooLarge { coding, limit }
            );
        }
    }
}

#[test]
fn a_bomb_takes_the_memory_of_the_limit_and_no_more() {
    let zeros = vec![0; 64 << 20];
    for coding in compressions() {
        let bomb = coded(coding, 1, &zeros);
        assert!(bomb.len() < 400 << 10, "{coding}: {}", bomb.len());
        let mut held = 0;
        let mut grow = |more: usize| {
            held += more;
            true
        };
        let error = inflate(coding, &bomb, LIMIT, &mut Vec::new(), &mut grow).unwrap_err();
        assert_eq!(error, CodingError::TooLarge { coding, limit: LIMIT });
        assert!(error.to_string().contains("1048576 bytes"), "{error}");
        assert!(held <= LIMIT + 1, "{coding}: {held}");
    }
}

#[test]
fn a_window_that_is_only_announced_is_refused() {
    // Magic number, no content size, a window of 2 GiB, and the head of a last empty raw block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    let error = inflated(Coding::Zstd, &frame, LIMIT).unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
}

#[test]
fn memory_that_is_refused_ends_the_work() {
    for coding in Coding::ALL {
        let body = coded(coding, 2, &some_bytes(100_000));
        let mut left = 40_000_usize;
        let mut grow = |more: usize| match left.checked_sub(more) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        let error = inflate(coding, &body, LIMIT, &mut Vec::new(), &mut grow).unwrap_err();
        assert_eq!(error, CodingError::NoMemory { coding });
    }
}

#[test]
fn an_item_size_that_no_dtype_has_is_refused() {
    let mut body = coded(Coding::ShuffleZstd, 8, b"01234567");
    for size in [0, 3, 5, 17, 255] {
        body[0] = size;
        let error = inflated(Coding::ShuffleZstd, &body, LIMIT).unwrap_err();
        assert_eq!(error, CodingError::ItemSize { coding: Coding::ShuffleZstd, got: size });
    }
}

#[test]
fn an_error_leaves_the_next_message_alone() {
    let raw = some_bytes(5000);
    for coding in compressions() {
        let body = coded(coding, 2, &raw);
        assert!(inflated(coding, &body[..body.len() / 2], LIMIT).is_err());
        assert!(inflated(coding, &body, 100).is_err());
        assert!(inflated(coding, &body, LIMIT).is_ok_and(|(got, _)| got == raw), "{coding}");
        assert_eq!(coded(coding, 2, &raw), body, "{coding}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_message_comes_back(
        raw in prop::collection::vec(any::<u8>(), 0..3000),
        repeats in 1..20_usize,
        size in prop::sample::select(vec![1_u8, 2, 4, 8, 16]),
    ) {
        let raw = raw.repeat(repeats);
        for coding in Coding::ALL {
            let (back, _) = inflated(coding, &coded(coding, size, &raw), LIMIT).unwrap();
            prop_assert!(back == raw, "{}", coding);
        }
    }

    #[test]
    fn any_damage_gives_an_error_or_a_bounded_message(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for coding in compressions() {
            let mut body = coded(coding, 4, &some_bytes(2000));
            let at = at.index(body.len());
            body[at] = byte;
            for body in [&body, &bytes] {
                if let Ok((got, _)) = inflated(coding, body, 4000) {
                    prop_assert!(got.len() <= 4000);
                }
            }
        }
    }
}
