//! The policy of a connection, without a socket.

mod connection;
