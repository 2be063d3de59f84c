//! `uring`: own reactor on the io-uring crate.
