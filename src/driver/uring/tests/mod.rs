//! Tests of the reactor and the ring on a simulated kernel.

mod sim;
mod simulation;
