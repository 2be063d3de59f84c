//! Drivers on a tokio runtime: [`Tokio`] on epoll, [`TokioUring`] on the tokio-uring crate.

mod epoll;
mod loop_time;
mod net;
mod panics;
mod registry;
mod sends;
mod sleep;
mod tokio_uring;
mod worker;

pub use epoll::Tokio;
pub(crate) use net::{TokioListener, TokioStream};
pub(crate) use sleep::Sleep;
pub use tokio_uring::TokioUring;
