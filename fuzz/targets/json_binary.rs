//! Feeds the input to [`ndecho_fuzz::json_binary`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::json_binary(data));
