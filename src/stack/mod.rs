//! AXIS: borrowed stacks, each a point of [`crate::axis::Protocol`]. Own protocols lie in `wire`.
//!
//! A *service* is async over one stream that a driver lends it. A *standalone* stack has its own
//! accept loop and runs under [`standalone`]. All of them serve [`crate::service::routes`].

pub mod axum;
mod drain;
pub mod echo;
mod frames;
pub mod grpc;
pub mod h2_crate;
pub mod hyper;
pub mod hyper_h2;
mod input;
mod memory;
pub mod message;
pub mod standalone;
pub mod tonic;
pub mod tuning;
mod watch;
