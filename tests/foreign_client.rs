//! A ladder whose load comes from h2load, a client that nobody here wrote.
//!
//! Without h2load, the tests are skipped with a message. With `CI` set, they fail instead.

use std::path::Path;
use std::process::{Command, Output};

use ndecho::record::{Line, Outcome, Trial};

#[path = "peers/ring.rs"]
mod ring;

fn is_missing() -> bool {
    let is_missing = Command::new("h2load").arg("--version").output().is_err();
    assert!(!is_missing || std::env::var_os("CI").is_none(), "h2load is needed in CI");
    if is_missing {
        eprintln!("skipped: h2load is not installed");
    }
    is_missing || ring::is_missing()
}

fn ladder(flags: &[&str], out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ndecho"));
    command.args(["ladder", "--client", "h2load", "--rounds", "1", "--slice", "20ms"]);
    command.args(flags).arg("--out").arg(out);
    command.output().expect("the binary is built")
}

fn trials(out: &Path) -> Vec<Trial> {
    let text = std::fs::read_to_string(out.join("records.jsonl")).expect("records");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("a record"));
    let trial = |line| if let Line::Trial(trial) = line { Some(*trial) } else { None };
    lines.filter_map(trial).collect()
}

#[test]
fn every_cell_is_loaded_by_h2load_in_slices() {
    if is_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let rungs = "uring/{h2/protobuf,h1/json,raw/npy},tokio/tonic/protobuf:prost";
    let output = ladder(&["--rungs", rungs, "--sizes", "8,64KiB", "--duration", "40ms"], &out);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("warning: h2load nghttp2/"), "{text}");
    let trials = trials(&out);
    // h2load does not speak raw.
    assert_eq!(trials.len(), 6);
    for trial in &trials {
        let Outcome::Measured(measured) = &trial.outcome else { panic!("{:?}", trial.outcome) };
        let rung = &trial.rung;
        assert_eq!(measured.slices.len(), 2, "{rung}");
        assert!(measured.slices.iter().all(|slice| slice.cost_ns().is_some()), "{rung}");
        assert!(measured.requests >= u64::from(trial.in_flight), "{rung}");
        assert!(measured.bytes_in > measured.requests * trial.array.bytes, "{rung}");
        assert!(trial.socket.is_some(), "{rung}");
    }
    let left = std::fs::read_dir(&out).expect("the folder of the run").count();
    assert_eq!(left, 1, "only the records stay");
}

#[test]
fn what_h2load_cannot_do_is_wrong_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    for flags in [&["--open-loop"][..], &["--counts"], &["--preset", "seed"]] {
        let output = ladder(flags, folder.path());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {text}");
        assert!(text.contains("--client h2load has no form for"), "{flags:?}: {text}");
    }
}
