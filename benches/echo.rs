//! Whole servers against the standard ones: `cargo bench --bench echo` prints CPU per request and
//! the ratios to tonic and axum, as documented and at their best, within three minutes.
//!
//! This is the ladder with its own choice of rungs. Server and load generator are processes that
//! are pinned to their own cores. The load visits the servers in turns, and nothing is timed in
//! this process. The records of the last complete run stay in `echo/last` below Cargo's folder for
//! temporary files, those of the run before it in `echo/before`. `ndecho compare` says which
//! ratios differ between the two. `-- --test` runs for seconds and shows only that every rung
//! answers.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::{fs, process};

use ndecho::experiment::records::RECORDS;
use ndecho::report::{Run, answer};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

/// Our servers, the h2 crate with our driver, and the standard servers as documented and at their
/// best: gRPC, then REST.
const RUNGS: &str = "uring/h2/protobuf,uring/h2-crate:tuned/protobuf,tokio/tonic/protobuf:prost,\
    tokio/tonic:best/protobuf:prost_bytes,uring/h1/npy,tokio/{axum,axum:best}/npy";

const BASELINE: &str = "\
echo: CPU per request of whole servers, compared with tonic (gRPC) and axum (REST), each as its
documentation has it and at its best. It takes up to three minutes.";

/// Leaves time for the checks before and the analysis after the launches. A launch of 120 ms for
/// each cell allows more launches than the usual 200 ms.
const MEASURE: &[&str] = &["--sizes", "8,64KiB,1MiB", "--time", "160s", "--duration", "120ms"];

/// Rounds of a test run, enough for one answer of every rung.
const SMOKE: &[&str] = &["--sizes", "8", "--rounds", "1", "--duration", "20ms"];

/// Reason why the bench failed, and the exit status.
struct Failure {
    reason: String,
    status: u8,
}

impl From<String> for Failure {
    fn from(reason: String) -> Failure {
        Failure { reason, status: 1 }
    }
}

fn main() -> ExitCode {
    // Cargo passes --bench to a benchmark, and no flag to the same program run as a test.
    let is_smoke = std::env::args().any(|arg| arg == "--test")
        || !std::env::args().any(|arg| arg == "--bench");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let ended = match is_smoke {
        true => smoke(&folder.join(format!("echo-{}", process::id()))),
        false => bench(&folder.join("echo")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { reason, status }) => {
            eprintln!("echo: {reason}");
            ExitCode::from(status)
        }
    }
}

fn smoke(out: &Path) -> Result<(), Failure> {
    let answered = ladder(SMOKE, out).and_then(|()| Ok(against_standards(out)?));
    // The records are not needed. The folder may be missing.
    let _ = fs::remove_dir_all(out);
    answered
}

fn bench(folder: &Path) -> Result<(), Failure> {
    println!("{BASELINE}\n");
    let [now, last, before] = ["now", "last", "before"].map(|name| folder.join(name));
    remove(&now)?;
    ladder(MEASURE, &now)?;
    against_standards(&now)?;
    let has_earlier = last.is_dir();
    if has_earlier {
        remove(&before)?;
        rename(&last, &before)?;
    }
    rename(&now, &last)?;
    println!("\nall tables: ndecho report {} --full", last.display());
    if !has_earlier {
        println!("the next run is compared with this one: faster, slower or same");
        return Ok(());
    }
    println!("\ncompared with the run before it ({}):", before.display());
    // A slower server is a result, not a failure of the bench; the command says it on stderr.
    let compared = Command::new(NDECHO).arg("compare").args([&before, &last]).status();
    Ok(compared.map(drop).map_err(|error| format!("cannot start {NDECHO}: {error}"))?)
}

/// Runs the rungs. Tables of the ladder itself are not printed, since the answer follows. An
/// interrupt of the terminal reaches this process too, which waits until the ladder has written its
/// records, and then ends with the ladder's status.
fn ladder(flags: &[&str], out: &Path) -> Result<(), Failure> {
    flag::register(SIGINT, Arc::default()).map_err(|error| error.to_string())?;
    let mut ladder = Command::new(NDECHO);
    ladder.args(["ladder", "--rungs", RUNGS]).args(flags).arg("--out").arg(out);
    match ladder.stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure {
            reason: format!("ndecho ladder: {status}; its records: {}", out.display()),
            status: status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
        }),
        Err(error) => Err(format!("cannot start {NDECHO}: {error}").into()),
    }
}

fn against_standards(out: &Path) -> Result<(), String> {
    let path = out.join(RECORDS);
    let failed = |reason: String| format!("{}: {reason}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let run = Run::parse(&text).map_err(|error| failed(error.to_string()))?;
    let answer = answer::against_standards(&run);
    print!("{}", answer.ok_or_else(|| failed("no standard server has figures".to_owned()))?);
    Ok(())
}

/// Removes a folder of an earlier run, if there is one.
fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), String> {
    fs::rename(from, to)
        .map_err(|error| format!("cannot rename {} to {}: {error}", from.display(), to.display()))
}
