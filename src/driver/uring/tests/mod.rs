//! Tests of the reactor on a simulated kernel.

mod reactor;
mod sim;
