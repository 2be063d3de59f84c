//! The policy of connections, without sockets, and the thread for long work.

mod connection;
mod jobs;
mod memory;
