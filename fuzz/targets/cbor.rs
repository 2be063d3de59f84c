//! Feeds the input to [`ndecho_fuzz::cbor`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::cbor(data));
