//! Feeds the input to [`ndecho_fuzz::npy`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::npy(data));
