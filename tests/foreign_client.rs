//! A ladder whose load comes from h2load or wrk, clients that nobody here wrote.
//!
//! Without the client, its tests are skipped with a message. With `CI` set, they fail instead.

use std::path::Path;
use std::process::{Command, Output};

use ndecho::record::trial_spec::{LoadSpec, RequestHeaders};
use ndecho::record::{Client, Line, Measurement, Outcome, Trial, Variant};

#[path = "peers/ring.rs"]
mod ring;

fn is_missing(program: &str) -> bool {
    let is_missing = Command::new(program).arg("--version").output().is_err();
    assert!(!is_missing || std::env::var_os("CI").is_none(), "{program} is needed in CI");
    if is_missing {
        eprintln!("skipped: {program} is not installed");
    }
    is_missing || ring::is_missing()
}

fn ndecho(command: &str) -> Command {
    let mut ndecho = Command::new(env!("CARGO_BIN_EXE_ndecho"));
    ndecho.arg(command);
    ndecho
}

fn ladder(clients: &str, flags: &[&str], out: &Path) -> Output {
    let mut command = ndecho("ladder");
    command.args(["--client", clients, "--rounds", "1", "--slice", "20ms"]);
    command.args(flags).arg("--out").arg(out);
    command.output().expect("the binary is built")
}

/// Runs a ladder to its end and returns its text.
fn tables(clients: &str, flags: &[&str], out: &Path) -> String {
    let output = ladder(clients, flags, out);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn trials(out: &Path) -> Vec<Trial> {
    let text = std::fs::read_to_string(out.join("records.jsonl")).expect("records");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("a record"));
    let trial = |line| if let Line::Trial(trial) = line { Some(*trial) } else { None };
    lines.filter_map(trial).collect()
}

fn measured(trial: &Trial) -> &Measurement {
    let Outcome::Measured(measured) = &trial.outcome else { panic!("{:?}", trial.outcome) };
    measured
}

fn load(trial: &Trial) -> &LoadSpec {
    &trial.spec.as_ref().expect("a document").load
}

fn assert_only_records_stay(out: &Path) {
    let left = std::fs::read_dir(out).expect("the folder of the run").count();
    assert_eq!(left, 1, "only the records stay");
}

#[test]
fn every_cell_is_loaded_by_h2load_in_slices() {
    if is_missing("h2load") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let rungs = "uring/{h2/protobuf,h1/json,raw/npy},tokio/tonic/protobuf:prost";
    let flags = ["--rungs", rungs, "--sizes", "8,64KiB", "--duration", "40ms"];
    let text = tables("h2load", &flags, &out);
    assert!(text.contains("warning: h2load nghttp2/"), "{text}");
    assert!(text.contains("1000 in flight, h2load, equal headers, malloc: "), "{text}");
    let trials = trials(&out);
    // Raw frames are our own, so no other client loads them.
    assert_eq!(trials.len(), 6);
    for trial in &trials {
        let (rung, measured) = (&trial.rung, measured(trial));
        assert_eq!(measured.slices.len(), 2, "{rung}");
        assert!(measured.slices.iter().all(|slice| slice.cost_ns().is_some()), "{rung}");
        assert!(measured.requests >= u64::from(trial.in_flight), "{rung}");
        assert!(measured.bytes_in > measured.requests * trial.array.bytes, "{rung}");
        assert!(trial.socket.is_some(), "{rung}");
        assert_eq!(load(trial).knobs.headers, RequestHeaders::Equal, "{rung}");
    }
    assert_only_records_stay(&out);
}

#[test]
fn two_clients_load_the_same_processes_and_have_tables_of_their_own() {
    if is_missing("h2load") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let rungs = "uring/{h2/protobuf,raw/protobuf},tokio/tonic/protobuf:prost";
    let flags = ["--rungs", rungs, "--sizes", "8", "--duration", "40ms", "--in-flight", "8"];
    let text = tables("own,h2load", &flags, &out);
    let titles = ["8 in flight, changing headers,", "8 in flight, h2load, equal headers,"];
    assert!(titles.iter().all(|title| text.contains(title)), "{text}");
    let compared =
        "x standard by client: 8 B <f8 [1], 1 connection, 8 in flight, the same processes";
    assert!(text.contains(compared) && text.contains("h2load / own"), "{text}");

    let mut trials = trials(&out);
    trials.retain(|trial| trial.variant == Variant::Usual);
    assert_eq!(trials.len(), 6);
    for own in trials.iter().filter(|trial| trial.client == Client::Own) {
        let is_other = |trial: &&Trial| trial.cell == own.cell && trial.client == Client::H2load;
        let other = trials.iter().find(is_other).expect("both clients try each cell");
        if own.rung.starts_with("uring/raw") {
            assert!(own.sched_stats.is_some(), "no other client visited it");
            let reason = "only our own client speaks raw frames".to_owned();
            assert_eq!(other.outcome, Outcome::Skipped { reason });
            continue;
        }
        assert_eq!(load(own).target().pid, load(other).target().pid, "{}", own.rung);
        let waits = [own, other].map(|trial| trial.sched_stats);
        assert_eq!(waits, [None, None], "{}: waits of both clients together", own.rung);
        assert_eq!(measured(own).slices.len(), measured(other).slices.len(), "{}", own.rung);
        assert_eq!(load(own).knobs.headers, RequestHeaders::Changing, "{}", own.rung);
        assert_eq!(load(other).knobs.headers, RequestHeaders::Equal, "{}", own.rung);
    }
    let report = ndecho("report").arg(&out).args(["--format", "csv"]).output();
    let csv = String::from_utf8(report.expect("it runs").stdout).expect("text");
    for client in ["own,changing", "h2load,equal"] {
        let field = format!(",1,8,{client},uring/h2/protobuf,");
        assert!(csv.contains(&field), "{field}: {csv}");
    }
    assert_only_records_stay(&out);
}

#[test]
fn wrk_loads_rest_and_skips_grpc_with_a_reason() {
    if is_missing("wrk") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let rungs = "{uring/h1,tokio/axum}/npy,uring/h2/protobuf";
    let flags = ["--rungs", rungs, "--sizes", "8,1MiB", "--duration", "40ms"];
    let text = tables("wrk", &flags, &out);
    assert!(text.contains("50 in flight, wrk, equal headers, malloc: "), "{text}");
    let trials = trials(&out);
    assert_eq!(trials.len(), 6);
    for trial in &trials {
        let rung = &trial.rung;
        if rung.starts_with("uring/h2") {
            let reason = "wrk speaks HTTP/1.1, and gRPC needs HTTP/2".to_owned();
            assert_eq!(trial.outcome, Outcome::Skipped { reason });
            continue;
        }
        let measured = measured(trial);
        assert_eq!(measured.slices.len(), 2, "{rung}");
        assert!(measured.slices.iter().all(|slice| slice.cost_ns().is_some()), "{rung}");
        assert!(measured.bytes_in > measured.requests * trial.array.bytes, "{rung}");
    }
    assert_only_records_stay(&out);
}

#[test]
fn what_a_foreign_client_cannot_do_is_wrong_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    for (clients, flags, expected) in [
        ("h2load", &["--open-loop"][..], "--client h2load has no form for"),
        ("h2load", &["--preset", "seed"], "--client h2load has no form for"),
        ("own,wrk", &["--counts"], "--client wrk has no form for"),
        ("wrk", &["--index-headers"], "which only --client own sends"),
        ("own,own", &[], "names a client twice"),
        ("own,python", &["--preset", "seed"], "run it by itself"),
        ("wrk", &["--rungs", "uring/h2/protobuf"], "can load none of the chosen rungs"),
    ] {
        let output = ladder(clients, flags, folder.path());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{clients} {flags:?}: {text}");
        assert!(text.contains(expected), "{clients} {flags:?}: {text}");
    }
}
