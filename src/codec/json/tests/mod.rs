//! Tests of the own JSON codec.

mod agreement;
mod messages;
