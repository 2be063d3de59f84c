//! A mistake of a user, or a closed stream, ends in one message and an exit status of its own. It
//! never ends in a panic or in a lost run.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ndecho::record::trial_spec::RequestHeaders;
use ndecho::record::{Line, Outcome, Trial, Variant};

#[path = "peers/ring.rs"]
mod ring;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

/// Exit status of a Rust program that panics.
const PANICKED: i32 = 101;

fn ndecho(args: &[&str]) -> Command {
    let mut command = Command::new(NDECHO);
    command.args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    ndecho(args).output().expect("the binary is built")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Returns the writing end of a pipe that nobody reads.
fn closed_pipe() -> OwnedFd {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it")
}

fn tiny<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["ladder", "--rungs", "uring/raw/npy", "--sizes", "8", "--in-flight", "1"];
    let short = ["--rounds", "1", "--duration", "20ms", "--out", out];
    [&args[..], &short, more].concat()
}

fn trials(out: &Path) -> Vec<Trial> {
    let text = std::fs::read_to_string(out.join("records.jsonl")).expect("records");
    let trial = |line| match serde_json::from_str(line).expect("a record") {
        Line::Trial(trial) => Some(*trial),
        Line::Header(_) | Line::Conformance(_) | Line::Lane(_) => None,
    };
    text.lines().filter_map(trial).collect()
}

#[test]
fn a_run_survives_streams_that_cannot_be_written() {
    if ring::is_missing() {
        return;
    }
    let streams: [(Stdio, Stdio, i32); 4] = [
        (Stdio::null(), closed_pipe().into(), 0),
        (Stdio::null(), full().into(), 0),
        (closed_pipe().into(), closed_pipe().into(), 0),
        (full().into(), full().into(), 1),
    ];
    for (number, (stdout, stderr, status)) in streams.into_iter().enumerate() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("run");
        let mut ladder = ndecho(&tiny(out.to_str().expect("text"), &[]));
        let ended = ladder.stdout(stdout).stderr(stderr).status().expect("it starts");
        assert_eq!(ended.code(), Some(status), "case {number}");
        let trials = trials(&out);
        assert!(!trials.is_empty(), "case {number}");
        let files = std::fs::read_dir(&out).expect("a folder").count();
        assert_eq!(files, 1, "only the records stay");
        let is_measured = |trial: &Trial| matches!(trial.outcome, Outcome::Measured(_));
        assert!(trials.iter().all(is_measured), "case {number}: {trials:?}");
    }
}

#[test]
fn no_command_panics_when_its_streams_are_closed() {
    let commands: &[&[&str]] = &[
        &["--help"],
        &["rungs"],
        &["rungs", "--no-such-flag"],
        &["report", "tests/data/report/records.jsonl"],
        &["report", "/no/such/folder"],
        &["compare", "/no/such/old", "/no/such/new"],
        &["ladder", "--list", "--client-spin", "1us"],
        &["load", "raw://127.0.0.1:1", "--timeout", "1s"],
        &["serve", "tokio/h1/npy", "--addr", "203.0.113.1:1"],
    ];
    for args in commands {
        let with = |stdout: Stdio, stderr: Stdio| {
            let ended = ndecho(args).stdout(stdout).stderr(stderr).status().expect("it starts");
            ended.code().expect("no signal")
        };
        let usual = with(Stdio::null(), Stdio::null());
        assert_eq!(with(closed_pipe().into(), closed_pipe().into()), usual, "{args:?}");
        assert_eq!(with(Stdio::null(), full().into()), usual, "{args:?}");
        assert_ne!(with(full().into(), full().into()), PANICKED, "{args:?}");
    }
}

#[test]
fn a_full_stdout_is_named() {
    for args in [&["rungs"][..], &["--help"], &["report", "tests/data/report/records.jsonl"]] {
        let output = ndecho(args).stdout(full()).output().expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let message = text(&output.stderr);
        assert!(message.starts_with("ndecho: cannot write to stdout: No space"), "{message}");
    }
}

#[test]
fn a_used_port_is_named_once() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("port 0");
    let address = taken.local_addr().expect("bound").to_string();
    let programs: [(&str, &[&str]); 3] = [
        (NDECHO, &["serve", "tokio/h1/npy", "--addr", &address]),
        (env!("CARGO_BIN_EXE_uring-server"), &["--grpc", &address, "--rest", "127.0.0.1:0"]),
        (env!("CARGO_BIN_EXE_tonic-server"), &["--rest", &address, "--grpc", "127.0.0.1:0"]),
    ];
    for (program, args) in programs {
        let output = Command::new(program).args(args).output().expect("it is built");
        assert_eq!(output.status.code(), Some(1), "{program}");
        let message = text(&output.stderr);
        for once in ["Address already in use", &address, "another program listens there"] {
            assert_eq!(message.matches(once).count(), 1, "{once:?} in {message}");
        }
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn runs_that_were_loaded_differently_are_not_compared() {
    if ring::is_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let run = |name: &str, more: &[&str]| {
        let out = folder.path().join(name).to_str().expect("text").to_owned();
        let output = output(&tiny(&out, more));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        out
    };
    let (usual, again) = (run("usual", &[]), run("again", &[]));
    let (equal, longer) = (run("equal", &["--equal-headers"]), run("longer", &["--slice", "90ms"]));
    let headers = trials(Path::new(&equal))[0].spec.as_ref().map(|spec| spec.load.knobs.headers);
    assert_eq!(headers, Some(RequestHeaders::Equal));

    let few = output(&["compare", &usual, &again]);
    assert_eq!(few.status.code(), Some(3), "{}", text(&few.stderr));
    assert!(text(&few.stdout).contains("no verdict: all cells"), "{}", text(&few.stdout));

    let refused = output(&["compare", &usual, &equal]);
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(3), ""));
    let line = "request headers: changing in the old run, equal in the new one";
    assert!(text(&refused.stderr).contains(line), "{}", text(&refused.stderr));

    let warned = output(&["compare", &usual, &longer]);
    let line = "warning: the length of a slice: 40ms in the old run, 90ms in the new one";
    assert!(text(&warned.stderr).contains(line), "{}", text(&warned.stderr));
    assert!(text(&warned.stdout).contains("uring/raw/npy"), "{}", text(&warned.stdout));
}

#[test]
fn the_report_of_a_comparison_is_the_comparison() {
    if ring::is_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let out = out.to_str().expect("text");
    let args = ["compare", NDECHO, NDECHO, "--rungs", "uring/raw/npy", "--sizes", "8"];
    let short = ["--rounds", "5", "--duration", "20ms", "--threshold", "90", "--out", out];
    let compared = output(&[&args[..], &short].concat());
    let table = text(&compared.stdout);
    assert!(table.starts_with("cell") || table.starts_with("warning:"), "{table}");
    assert!(table.contains("90.0 %") || table.contains("no verdict"), "{table}");
    let report = output(&["report", out]);
    assert_eq!((report.status.code(), text(&report.stdout)), (Some(0), table));
    assert_eq!(output(&["report", out, "--format", "csv"]).status.code(), Some(2));
}

/// Runs `program` without a system call; `None` if this machine has no means to forbid it.
fn without_call(number: u32, program: &str, args: &[&str]) -> Option<Output> {
    let mut python = Command::new("python3");
    python.args(["tests/data/without_call.py", &number.to_string(), program]).args(args);
    let output = python.stdin(Stdio::null()).output().ok();
    output.filter(|output| !text(&output.stderr).starts_with("no seccomp filter"))
}

const IO_URING_SETUP: u32 = 425;
const PIDFD_GETFD: u32 = 438;

#[test]
fn without_io_uring_the_other_rungs_are_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let rungs = "tokio/{raw,h1,h2}/npy,tokio/{axum,tonic}/reflect,uring/h1/npy";
    let args = ["ladder", "--rungs", rungs, "--sizes", "8,1MiB", "--in-flight", "4", "--rounds"];
    let short = ["1", "--duration", "20ms", "--out", out.to_str().expect("text")];
    let Some(output) = without_call(IO_URING_SETUP, NDECHO, &[&args[..], &short].concat()) else {
        return;
    };
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert_eq!(stderr.matches("io_uring is not available").count(), 1, "{stderr}");
    assert!(stdout.contains("the load generator ran on poll(2)"), "{stdout}");
    let nulls = trials(&out).into_iter().filter(|trial| trial.variant == Variant::Null);
    let nulls: BTreeSet<String> = nulls.map(|trial| trial.rung).collect();
    assert!(nulls.contains("tokio/h1/npy") && nulls.contains("tokio/h2/npy"), "{nulls:?}");
    for trial in trials(&out) {
        match &trial.outcome {
            Outcome::Measured(measured) => {
                assert!(measured.is_client_on_poll && measured.requests > 0, "{}", trial.rung);
            }
            outcome => {
                let is_skipped = matches!(outcome, Outcome::Skipped { .. });
                assert!(is_skipped && trial.rung.starts_with("uring"), "{}", trial.rung);
            }
        }
    }
}

#[test]
fn a_program_that_needs_io_uring_gives_advice_that_it_can_follow() {
    let addresses = ["--grpc", "127.0.0.1:0", "--rest", "127.0.0.1:0"];
    let serve = ["serve", "uring/h2/protobuf"];
    let uring_server = env!("CARGO_BIN_EXE_uring-server");
    for (program, args, other) in
        [(NDECHO, &serve[..], Some("or serve tokio/h2/protobuf")), (uring_server, &addresses, None)]
    {
        let Some(output) = without_call(IO_URING_SETUP, program, args) else { return };
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("io_uring is not available"), "{message}");
        assert_eq!(message.contains("tokio"), other.is_some(), "{message}");
        assert!(other.is_none_or(|other| message.contains(other)), "{message}");
    }
}

#[test]
fn sockets_that_cannot_be_looked_at_are_one_line_of_the_report() {
    if ring::is_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let args = tiny(out.to_str().expect("text"), &[]);
    let Some(output) = without_call(PIDFD_GETFD, NDECHO, &args) else { return };
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}{}", text(&output.stderr));
    let line = "the TCP options of servers could not be read from outside: Operation not permitted";
    assert_eq!(stdout.matches(line).count(), 1, "{stdout}");
}
