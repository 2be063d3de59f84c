//! `ndecho ladder --preset compression` measures every coding of every data set, and the report of
//! its records says on which links each of them pays.

use std::path::Path;
use std::process::{Command, Output};

use ndecho::axis::{Coding, DataSet};
use ndecho::record::{Line, Outcome, Trial, Variant};

fn ndecho(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ndecho")).args(args).output().expect("it starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it writes UTF-8")
}

fn ladder(out: &Path, more: &[&str]) -> Output {
    let out = out.to_str().expect("text");
    let args = ["ladder", "--preset", "compression", "--rounds", "1", "--duration", "20ms"];
    ndecho(&[&args[..], more, &["--out", out]].concat())
}

fn trials(out: &Path) -> Vec<Trial> {
    let text = std::fs::read_to_string(out.join("records.jsonl")).expect("records");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("a record"));
    let trial = |line| match line {
        Line::Trial(trial) => Some(*trial),
        Line::Header(_) | Line::Conformance(_) | Line::Lane(_) => None,
    };
    lines.filter_map(trial).collect()
}

#[test]
fn every_data_set_is_measured_in_every_coding_that_a_stack_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let rungs = "tokio/{h1,axum}/npy,tokio/tonic/protobuf:prost";
    let output = ladder(&out, &["--rungs", rungs, "--sizes", "8KiB"]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    let trials = trials(&out);
    for name in DataSet::ALL {
        for coding in Coding::ALL {
            let is_it = |trial: &&Trial| {
                (trial.array.data_set, trial.coding) == (Some(name), coding)
                    && trial.variant == Variant::Usual
            };
            for trial in trials.iter().filter(is_it) {
                let has_it = trial.rung.contains("/h1/")
                    || matches!(coding, Coding::Identity | Coding::Gzip | Coding::Zstd);
                match &trial.outcome {
                    Outcome::Measured(measured) => assert!(has_it && measured.requests > 0),
                    other => assert!(!has_it, "{} {coding}: {other:?}", trial.rung),
                }
            }
            assert_eq!(trials.iter().filter(is_it).count(), 3, "{name} {coding}");
        }
    }
    for words in ["smooth, 8 connections", "pays below", "skipped: tonic has no lz4 here"] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    let run = out.to_str().expect("text");
    assert!(printed.starts_with(text(&ndecho(&["report", run]).stdout)), "{printed}");
    let svg = ndecho(&["report", run, "--svg"]);
    assert!(text(&svg.stdout).starts_with("<svg"), "{}", text(&svg.stderr));
    let full = ndecho(&["report", run, "--full"]);
    // Each rung in each of its codings: five of h1, three of axum and three of tonic.
    assert!(text(&full.stdout).contains("11 of 11 rungs passed"), "{full:?}");
}

#[test]
fn the_array_of_a_file_is_sent_in_every_coding() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let file = "tests/data/npy_descr_float64.npy";
    let output = ladder(&out, &["--rungs", "tokio/h2/protobuf", "--array", file]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let trials = trials(&out);
    let codings: Vec<Coding> = trials.iter().map(|trial| trial.coding).collect();
    assert_eq!(codings, Coding::ALL);
    assert!(trials.iter().all(|trial| trial.array.data_set.is_none()));
}

#[test]
fn clients_and_measurements_without_codings_are_refused() {
    for more in [&["--client", "h2load"][..], &["--open-loop"], &["--counts"], &["--attribute"]] {
        let output = ladder(Path::new("/nowhere"), more);
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        let said = text(&output.stderr);
        assert!(said.contains("--preset compression has no form for"), "{more:?}: {said}");
    }
}
