//! The work of every rung: the echo, the routes, and the handler that joins both to the own protocols.

pub mod echo;
pub mod handler;
pub mod routes;
pub mod spin;
