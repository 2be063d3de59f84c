//! Tests that reach into the room.

mod client;
mod message;
mod verify;
