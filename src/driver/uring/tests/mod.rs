//! The reactor on a simulated kernel.

mod reactor;
mod sim;
