//! Feeds the input to [`ndecho_fuzz::h2_events`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::h2_events(data));
