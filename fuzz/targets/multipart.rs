//! Feeds the input to [`ndecho_fuzz::multipart`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::multipart(data));
