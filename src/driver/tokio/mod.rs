//! Drivers on a tokio runtime: [`Tokio`] on epoll, [`TokioUring`] on the tokio-uring crate.

mod epoll;
mod net;
mod tokio_uring;
mod worker;

pub use epoll::Tokio;
pub use tokio_uring::TokioUring;
