//! Whole servers against the standard ones: `cargo bench --bench echo` prints CPU per request and
//! ratios.
//!
//! This is the ladder with its own choice of rungs. Server and load generator are processes that
//! are pinned to their own cores. Trials take turns, and nothing is timed in this process. `--
//! --test` runs for seconds and shows only that every rung answers.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, ExitCode};

/// Our servers and the standard servers: tonic for gRPC and axum for REST, both as documented
/// and tuned or bare.
const RUNGS: &str = "uring/{h2,h2-crate:tuned}/protobuf,tokio/h2-crate:tuned/protobuf,tokio/tonic*/protobuf:prost,\
    uring/h1/{msgpack,npy,json_binary,json},tokio/hyper/{msgpack,npy},\
    tokio/axum/{npy,msgpack:serde,json_binary:serde,json:serde}";

/// Rounds of a full run, enough for a median with a range.
const MEASURE: &[&str] = &["--sizes", "8,64KiB,1MiB", "--rounds", "5"];

/// Rounds of a test run, enough for one answer of every rung.
const SMOKE: &[&str] = &["--sizes", "8", "--rounds", "1", "--duration", "20ms"];

fn main() -> ExitCode {
    // Cargo passes --bench to a benchmark, and no flag to the same program run as a test.
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
        // The records of an earlier run are not needed. The folder may be missing.
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
