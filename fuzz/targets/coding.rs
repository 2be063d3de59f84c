//! Bytes of a peer as a coded message: an error, or a message within the limit that comes back from
//! its own coding. The first byte chooses the coding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ndecho::axis::Coding;
use ndecho::coding::{deflate, inflate};

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else { return };
    let coding = Coding::ALL[usize::from(first) % Coding::ALL.len()];
    let (mut out, mut held) = (Vec::new(), 0);
    let mut grow = |more: usize| {
        held += more;
        true
    };
    let inflated = inflate(coding, body, LIMIT, &mut out, &mut grow);
    // The shuffle needs the message twice.
    assert!(held <= 2 * (LIMIT + 1));
    let Ok(item_size) = inflated else { return assert!(out.is_empty()) };
    assert!(out.len() <= LIMIT);
    let (mut again, mut back) = (Vec::new(), Vec::new());
    deflate(coding, item_size, &[&out], &mut again);
    let size = inflate(coding, &again, LIMIT, &mut back, &mut |_| true).expect("our own message");
    assert!(back == out && size == item_size);
});
