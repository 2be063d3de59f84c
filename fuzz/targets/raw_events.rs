//! Feeds the input to [`ndecho_fuzz::raw_events`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::raw_events(data));
