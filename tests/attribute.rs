//! `ndecho ladder --attribute` from the first launch to the printed record.
//!
//! The tests look at what a run says, not at its figures: those of a short run of a debug build
//! prove nothing.

#[path = "common/perf.rs"]
mod perf;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use perf::can_profile;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

fn has_valgrind() -> bool {
    let has = Command::new("valgrind").arg("--version").output().is_ok();
    assert!(has || std::env::var_os("CI").is_none(), "valgrind is needed in CI");
    has
}

const PAIRS: &str = "tokio/raw/protobuf,uring/{raw,h2}/protobuf";

/// A run of `rounds` launches. One of four has no planted costs, which makes it shorter.
fn attribute(out: &Path, rungs: &str, rounds: &str) -> Command {
    let mut command = Command::new(NDECHO);
    command.args(["ladder", "--attribute", "--rungs", rungs]);
    command.args(["--sizes", "8", "--in-flight", "16", "--connections", "1"]);
    command.args(["--duration", "20ms", "--slice", "10ms", "--rounds", rounds, "--out"]).arg(out);
    command
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_run_splits_each_pair_and_is_printed_again_from_its_record() {
    if !can_profile() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let printed = text(&attribute(&out, PAIRS, "4").output().expect("the program is here"));
    let said = flat(&printed);
    for pair in [
        "uring/h2/protobuf less uring/raw/protobuf: protocol, 4 launches",
        "tokio/raw/protobuf less uring/raw/protobuf: driver, 4 launches",
    ] {
        assert!(said.contains(pair), "{printed}");
    }
    assert!(said.contains("lanes: the same on both sides"), "{printed}");
    assert!(said.contains("lanes, 16 in flight"), "{printed}");
    if has_valgrind() {
        assert!(said.contains("closed in memory") && said.contains("allocations,"), "{printed}");
    } else {
        assert!(said.contains("valgrind is not installed (package valgrind)"), "{printed}");
    }
    let report = |arguments: &[&str]| {
        let mut command = Command::new(NDECHO);
        text(&command.arg("report").arg(&out).args(arguments).output().expect("the program"))
    };
    let (tables, _) = printed.split_once("\nrecords: ").expect("the path of the records");
    assert_eq!(report(&[]), tables);
    let full = report(&["--full"]);
    assert!(full.contains(printed.lines().next().expect("a line")), "{full}");
    assert!(full.contains("CPU/request") && full.contains("x parent"), "{full}");
    assert!(full.contains("events of the kernel for each request under load"), "{full}");
    let csv = report(&["--format", "csv"]);
    let heads = csv.lines().next().expect("heads");
    assert!(heads.contains(",closure,difference_ns,") && heads.contains(",HTTP framing_ns,"));
}

#[test]
fn a_run_says_of_each_planted_cost_whether_it_was_found() {
    if !can_profile() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = attribute(&folder.path().join("run"), "uring/h2/protobuf", "5");
    let printed = text(&run.output().expect("the program is here"));
    let said = flat(&printed);
    for layer in ["codec decode", "HTTP framing", "runtime", "allocator", "user copies"] {
        assert!(said.contains(&format!("ns were planted in {layer}: ")), "{layer}: {printed}");
        // Without optimization the loop around short calls takes more than the calls.
        let is_called = ["allocator", "user copies"].contains(&layer);
        if has_valgrind() && !is_called {
            // The time depends on what else the machine does, the instructions do not.
            let found = [":", ", but NOT in this size:", ", but the clock cannot tell the size:"];
            let is_found = |how| said.contains(&format!("lanes: found in {layer}{how} "));
            assert!(found.into_iter().any(is_found), "{layer}: {printed}");
        }
    }
    let is_elsewhere = said.contains("most instructions lie in");
    assert!(cfg!(debug_assertions) || !has_valgrind() || !is_elsewhere, "{printed}");
}

#[test]
fn where_nobody_may_sample_the_ladder_is_measured_and_the_reason_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let perf = folder.path().join("perf");
    std::fs::write(&perf, "#!/bin/sh\necho 'no permission' >&2\nexit 1\n").expect("a script");
    std::fs::set_permissions(&perf, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let output = attribute(&folder.path().join("run"), PAIRS, "4")
        .args(["--sampler", "perf"])
        .env("PATH", folder.path())
        .output();
    let output = output.expect("the program is here");
    let said = flat(&text(&output));
    assert!(said.contains("No difference between rungs was attributed"), "{said}");
    assert!(said.contains("no permission"), "{said}");
    assert!(said.contains("x parent") && said.contains("uring/h2/protobuf"), "{said}");
    let warned = flat(&String::from_utf8_lossy(&output.stderr));
    assert!(warned.contains("warning: no server is sampled"), "{warned}");
}
