//! Feeds the input to [`ndecho_fuzz::protobuf_packed`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ndecho_fuzz::protobuf_packed(data));
