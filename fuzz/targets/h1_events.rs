//! Feeds the input to [`ndecho_fuzz::h1_events`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::h1_events(data));
