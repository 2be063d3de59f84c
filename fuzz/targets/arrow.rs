//! Feeds the input to [`ndecho_fuzz::arrow`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::arrow(data));
