//! Feeds the input to [`ndecho_fuzz::zmtp_client`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::zmtp_client(data));
