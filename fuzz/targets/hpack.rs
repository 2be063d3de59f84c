//! Feeds the input to [`ndecho_fuzz::hpack`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::hpack(data));
