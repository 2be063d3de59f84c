//! Feeds the input to [`ndecho_fuzz::protobuf`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::protobuf(data));
