//! `tokio_uring`.
