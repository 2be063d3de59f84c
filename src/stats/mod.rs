//! Pure numbers: what trials counted, and what can be said from it. No clock, socket, thread or file.

pub mod histogram;
pub mod summary;
