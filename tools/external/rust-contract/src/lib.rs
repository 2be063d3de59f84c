//! Parts that the external servers in Rust share: checks of an array, `.npy` files, and flags.
//!
//! Nothing here belongs to ndecho itself, so a server measured with it shares no code with ours.

pub mod array;
pub mod npy;
pub mod program;
pub mod rest;
