//! Feeds the input to [`ndecho_fuzz::json`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::json(data));
