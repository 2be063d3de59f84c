//! The work of every rung: the echo and its codecs, the routes, health, the containment of panics,
//! and the places of an injected delay.
//!
//! Nothing here knows a driver or how a protocol writes a response.

pub mod codecs;
mod coded;
pub mod echo;
pub mod handler;
pub mod health;
pub mod inference;
pub mod panics;
pub mod planted;
pub mod routes;
