//! The view for operators: counts at `GET /metrics`, alarms on stderr, and the promises of
//! `docs/RELIABILITY.md`, each with a test that exists.

#[path = "../peers/grpc.rs"]
mod grpc;
#[path = "../peers/program.rs"]
mod program;
#[path = "../peers/rest.rs"]
mod rest;

mod alarms;
mod counts;
mod promises;
mod scrape;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");
const URING_SERVER: &str = env!("CARGO_BIN_EXE_uring-server");
const TONIC_SERVER: &str = env!("CARGO_BIN_EXE_tonic-server");
