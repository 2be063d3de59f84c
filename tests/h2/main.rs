//! `h2` keeps its promises: every rule of HTTP/2 and gRPC that a peer may test, every limit,
//! whatever way the bytes are cut; and both halves understand each other at every size and window.

#[path = "../common/mod.rs"]
mod common;

mod attacks;
mod calls;
mod flow;
mod life;
mod pair;
mod peer;
mod rules;
mod splits;
mod streams;
