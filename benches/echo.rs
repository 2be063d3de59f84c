//! Whole servers against the standard ones: `cargo bench --bench echo` prints CPU per request and its ratios.
//!
//! It is the ladder with a choice of rungs of its own: server and load generator are processes pinned to their own
//! cores, trials take turns, and nothing is timed in this process. `-- --test` is a run of seconds that only shows
//! that every rung answers.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, ExitCode};

/// Our servers and what they are held against: tonic for gRPC, axum for REST, both as documented and tuned or bare.
const RUNGS: &str = "uring/{h2,h2-crate}/protobuf,tokio/h2-crate/protobuf,tokio/tonic*/protobuf:prost,\
    uring/h1/{msgpack,npy,json_binary,json},tokio/hyper/{msgpack,npy},\
    tokio/axum/{npy,msgpack:serde,json_binary:serde,json:serde}";

/// Enough for a median whose range is worth printing.
const MEASURE: &[&str] = &["--sizes", "8,64KiB,1MiB", "--rounds", "5"];

/// Enough for every rung to answer once.
const SMOKE: &[&str] = &["--sizes", "8", "--rounds", "1", "--duration", "20ms"];

fn main() -> ExitCode {
    // Cargo says --bench to a benchmark, and nothing to the same program run as a test.
    let is_smoke = std::env::args().any(|arg| arg == "--test")
        || !std::env::args().any(|arg| arg == "--bench");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("echo-{}", std::process::id()));
    let status = Command::new(env!("CARGO_BIN_EXE_ndecho"))
        .args(["ladder", "--rungs", RUNGS])
        .args(if is_smoke { SMOKE } else { MEASURE })
        .arg("--out")
        .arg(&out)
        .status();
    if is_smoke {
        // What it holds is of no use; a folder that is not there is as good.
        let _ = std::fs::remove_dir_all(&out);
    }
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("ndecho ladder: {status}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("cannot start ndecho: {error}");
            ExitCode::FAILURE
        }
    }
}
