//! Feeds the input to [`ndecho_fuzz::kserve_typed`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::kserve_typed(data));
