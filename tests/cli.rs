//! Promises of the command line: exit codes, errors with the nearest valid choice, results on
//! stdout only.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ndecho::ladder::table::rungs;
use ndecho::probe::tracer::Allocations;
use ndecho::record::trial_spec::RequestHeaders;
use ndecho::record::{Counts, Line, Outcome, Trial, Variant};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

fn ndecho(args: &[&str]) -> Output {
    Command::new(NDECHO).args(args).output().expect("the binary is built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

#[test]
fn help_names_every_command() {
    let output = ndecho(&["--help"]);
    assert_eq!(code(&output), 0);
    for command in ["ladder", "serve", "load", "rungs", "report", "compare", "advise"] {
        assert!(stdout(&output).contains(command), "{command}");
        assert_eq!(code(&ndecho(&[command, "--help"])), 0, "{command}");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_the_reason() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["laddr"], &["laddr", "ladder"]),
        (&["serve"], &["RUNG"]),
        (&["serve", "urng/h1/npy"], &["unknown driver \"urng\"", "did you mean \"uring\""]),
        (&["serve", "uring/h3/npy"], &["unknown protocol \"h3\"", "\"h1\""]),
        (&["serve", "uring/h1/np"], &["unknown codec \"np\"", "\"npy\""]),
        (&["serve", "uring/h1"], &["driver/protocol/codec", "uring/h1/"]),
        (&["serve", "tonic"], &["driver/protocol/codec", "tokio/tonic/protobuf:prost"]),
        (&["serve", "uring/axum/json"], &["own accept loop", "tokio/axum/json"]),
        (&["load", "ftp://x:1"], &["grpc://HOST:PORT"]),
        (&["ladder", "--rungs", "uring/h1/npi"], &["no rung", "uring/h1/npy", "`ndecho rungs`"]),
        (&["lanes", "h3/*"], &["no lane is called h3/*", "h2/protobuf/8"]),
        (&["lanes", "--check", "no/counts"], &["no/counts: --write FILE makes it"]),
        (&["ladder", "--sizes", "12"], &["size 12", "multiple of 8"]),
        (&["ladder", "--sizes", "8x"], &["unknown unit"]),
        (&["load", "grpc://x:1", "--h2-window", "0"], &["1 to 2147483647 bytes"]),
        (&["ladder", "--h2-frame-size", "8KiB"], &["16384 to 16777215 bytes"]),
        (&["ladder", "--rounds", "0"], &["--rounds"]),
        (&["ladder", "--preset", "quik"], &["quick"]),
        (&["ladder", "--cpu-server", "9999"], &["core 9999 is not available", "allowed: "]),
        (&["ladder", "--cpu-server", "9999", "--list"], &["core 9999 is not available"]),
        (&["serve", "tokio/h1/npy", "--cpu", "9999"], &["core 9999 is not available"]),
        (&["load", "raw://127.0.0.1:1", "--cpu", "9999"], &["core 9999 is not available"]),
        (&["load", "http://127.0.0.1:1/echo_npy"], &["without the path", "--codec"]),
        (&["load", "raw://127.0.0.1:1", "--size", "4GiB"], &["4294967296 B does not fit raw://"]),
        (&["load", "raw://127.0.0.1:1", "--duration", "0s"], &["more than zero"]),
        (&["load", "raw://127.0.0.1:1", "--array", "/"], &["/ is a folder", ".npy"]),
        (&["ladder", "--array", "/"], &["/ is a folder", ".npy"]),
        (&["ladder", "--duration", "0ms"], &["more than zero"]),
        (&["compare", NDECHO, NDECHO, "--time", "0s"], &["more than zero"]),
        (&["ladder", "--array", "/no/such.npy"], &["/no/such.npy"]),
        (&["ladder", "--connections", "2", "--in-flight", "4"], &["one request at a time"]),
        (&["load", "raw://127.0.0.1:1", "--rate", "0"], &["--rate is 0", "requests per second"]),
        (&["ladder", "--continue", "/tmp", "--rounds", "2"], &["--continue"]),
        (&["compare", "/no/such/old", "/no/such/new"], &["/no/such/old"]),
        (&["compare", "/bin/true", "/bin/true"], &["/bin/true", "not a build of ndecho"]),
        (&["compare", "/bin/true,/bin/true", "/bin/true"], &["2 old builds and 1 new"]),
        (&["compare", NDECHO, "/tmp"], &["compare two folders of records"]),
    ];
    for (args, words) in cases {
        let output = ndecho(args);
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
        for word in *words {
            assert!(stderr(&output).contains(word), "{args:?}: no {word:?} in {}", stderr(&output));
        }
    }
}

#[test]
fn help_is_short_and_has_examples() {
    let help = stdout(&ndecho(&["--help"]));
    assert!(help.contains("Examples:") && help.lines().count() < 30, "{help}");
    assert!(!help.contains("--rungs GLOB") && !help.contains("--busy-poll"), "{help}");
}

#[test]
fn old_names_are_read_and_one_line_gives_the_new_one() {
    let output = ndecho(&["ladder", "--rungs", "uring/raw/npy", "--client-spin", "1us", "--list"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).starts_with("uring/raw/npy "));
    assert_eq!(stderr(&output), "ndecho: --client-spin is now called --client-delay\n");
}

#[test]
fn a_document_with_a_mistake_is_wrong_usage() {
    let cases = [("{\"servers\":[]", "line 1 column"), ("{\"servers\":[],\"loads\":1}", "`loads`")];
    for command in ["load", "serve"] {
        for (document, want) in cases {
            let mut child = Command::new(NDECHO);
            child.args([command, "--spec", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
            let mut child = child.spawn().expect("it starts");
            child.stdin.take().unwrap().write_all(document.as_bytes()).expect("it reads");
            let output = child.wait_with_output().expect("it ends");
            assert_eq!(code(&output), 2, "{command} {document}: {}", stderr(&output));
            assert!(stderr(&output).contains(want), "{command} {document}: {}", stderr(&output));
        }
    }
    let output = ndecho(&["load", "grpc://x:1", "--spec", "-"]);
    assert_eq!(code(&output), 2, "a document and flags: {}", stderr(&output));
}

#[test]
fn rungs_lists_the_ladder() {
    let tree = stdout(&ndecho(&["rungs"]));
    let list = stdout(&ndecho(&["rungs", "--list"]));
    for rung in rungs() {
        let name = rung.to_string();
        assert!(list.lines().any(|line| line == name), "{name}");
        assert!(tree.lines().any(|line| line.split_whitespace().next() == Some(&name)), "{name}");
    }
    assert!(stdout(&ndecho(&["rungs", "--markdown"])).starts_with("| stack |"));
}

#[test]
fn a_missing_folder_is_wrong_usage_and_one_without_records_a_failure() {
    let empty = tempfile::tempdir().expect("a folder");
    let empty = empty.path().to_str().expect("text");
    for (folder, status) in [("/no/such/folder", 2), (empty, 1)] {
        let commands: [&[&str]; 3] =
            [&["report", folder], &["advise", "--from", folder], &["ladder", "--continue", folder]];
        for args in commands {
            let output = ndecho(args);
            assert_eq!((code(&output), stdout(&output)), (status, String::new()), "{args:?}");
            assert!(stderr(&output).contains(folder), "{args:?}: {}", stderr(&output));
        }
    }
}

#[test]
fn a_list_tries_nothing() {
    let output = ndecho(&["ladder", "--preset", "seed", "--list"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).lines().any(|line| line == "uring/h1/json 65536 B 100x1"));
}

/// Runs a ladder of one second into a new folder.
fn tiny_ladder(extra: &[&str]) -> (Output, tempfile::TempDir, PathBuf) {
    tiny_ladder_of(&[&["--rounds", "1"], extra].concat())
}

fn tiny_ladder_of(args: &[&str]) -> (Output, tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let mut args = [&["ladder", "--duration", "50ms"], args].concat();
    args.extend(["--out", out.to_str().expect("text")]);
    (ndecho(&args), folder, out)
}

fn records(out: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(out.join("records.jsonl")).expect("records");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// Returns the trials of a run without those of null servers.
fn trials(out: &Path) -> Vec<Trial> {
    let trial = |line| match line {
        Line::Trial(trial) if trial.variant != Variant::Null => Some(*trial),
        Line::Trial(_) | Line::Header(_) | Line::Conformance(_) | Line::Lane(_) => None,
    };
    records(out).into_iter().filter_map(trial).collect()
}

#[test]
fn a_tiny_ladder_measures_records_and_reports() {
    let rungs = "tokio/tonic/protobuf:prost,uring/h1/npy";
    let (output, _folder, out) = tiny_ladder(&["--rungs", rungs, "--sizes", "8"]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let records = records(&out);
    assert!(matches!(records[0], Line::Header(_)));
    let asked = |line: &&Line| matches!(line, Line::Conformance(asked) if asked.failure.is_none());
    assert_eq!(records.iter().filter(asked).count(), 2);
    assert!(stdout(&output).contains("2 of 2 rungs passed"), "{}", stdout(&output));
    let is_null = |line: &&Line| {
        matches!(line, Line::Trial(trial) if trial.variant == Variant::Null
            && matches!(trial.outcome, Outcome::Measured(_)))
    };
    assert_eq!(records.iter().filter(is_null).count(), 2);
    let trials = trials(&out);
    assert_eq!(trials.len(), 2);
    for trial in &trials {
        let Outcome::Measured(measured) = &trial.outcome else { panic!("{:?}", trial.outcome) };
        assert!(measured.server_faults.is_some() && trial.sched_stats.is_some(), "{}", trial.rung);
        assert!(measured.requests > 0 && measured.server_cpu.is_some(), "{}", trial.rung);
        assert!(trial.server.is_some(), "{} left no report", trial.rung);
    }
    let again = ndecho(&["report", out.to_str().expect("text")]);
    assert!(
        stdout(&output).starts_with(&stdout(&again)),
        "the report differs from what was printed"
    );
    for (format, start) in [("csv", "bytes,"), ("markdown", ""), ("seed", "#########")] {
        let report = ndecho(&["report", out.to_str().expect("text"), "--format", format]);
        assert_eq!(code(&report), 0, "{format}");
        assert!(stdout(&report).starts_with(start), "{format}");
        assert!(stdout(&report).contains("uring/h1/npy"), "{format}");
    }
}

#[test]
fn a_ladder_asks_for_the_frames_it_is_told_to() {
    let asked = |flags: &[&str]| {
        let rungs = ["--rungs", "uring/h2/reflect", "--sizes", "8"];
        let (output, _folder, out) = tiny_ladder(&[&rungs, flags].concat());
        assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
        let trial = trials(&out).pop().expect("a trial");
        let Outcome::Measured(measured) = trial.outcome else { panic!("{:?}", trial.outcome) };
        let ours = measured.client_settings.expect("it is HTTP/2");
        (ours.initial_window_size, ours.max_frame_size)
    };
    assert_eq!(asked(&[]), (Some(64 << 20), Some(1 << 20)));
    assert_eq!(
        asked(&["--h2-frame-size", "32KiB", "--h2-window=1MiB"]),
        (Some(1 << 20), Some(32_768))
    );
    assert_eq!(asked(&["--h2-frame-size", "16KiB", "--h2-window=65535"]), (None, None), "defaults");
}

#[test]
fn a_record_holds_the_document_of_its_trial() {
    let rungs = [
        "--rungs",
        "uring/h2/reflect",
        "--sizes",
        "8",
        "--index-headers",
        "--client-delay",
        "1001ns",
    ];
    let (output, _folder, out) = tiny_ladder(&rungs);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let trial = trials(&out).pop().expect("a trial");
    let spec = trial.spec.expect("our own client loaded it");
    assert_eq!(spec.servers[0].rung, trial.rung);
    let patience = spec.servers[0].idle_timeout.expect("a server waits while others are visited");
    assert!(patience > Duration::from_secs(600), "{patience:?}");
    assert_eq!(spec.load.in_flight, trial.in_flight);
    assert_eq!(spec.load.knobs.delay, Duration::from_nanos(1001));
    assert_eq!(spec.load.knobs.headers, RequestHeaders::Indexed);
    assert!(spec.load.target().pid.is_some());
}

#[test]
fn a_ladders_client_stays_awake_unless_told_otherwise() {
    let run = |flags: &[&str]| {
        let rungs = ["--rungs", "uring/raw/reflect", "--sizes", "8", "--in-flight", "1"];
        let (output, folder, out) = tiny_ladder(&[&rungs, flags].concat());
        assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
        let Some(Line::Trial(trial)) = records(&out).pop() else { panic!("no trial") };
        let Outcome::Measured(measured) = trial.outcome else { panic!("{:?}", trial.outcome) };
        (measured.client_busy_poll_idle_ns, folder, out)
    };
    let cores = nix::sched::sched_getaffinity(Pid::from_raw(0)).expect("a mask");
    let is_shared = (0..1024).filter(|core| cores.is_set(*core).unwrap_or(false)).count() == 1;
    let (awake, _folder, one) = run(&[]);
    assert_eq!(awake == 0, is_shared, "never on the server's core");
    let (asleep, _folder, other) = run(&["--client-busy-poll", "0us"]);
    assert_eq!(asleep, 0);
    let [one, other] = [&one, &other].map(|out| out.to_str().expect("text"));
    let compared = ndecho(&["compare", one, other]);
    assert!(is_shared || code(&compared) == 3, "{}", stdout(&compared));
    let polling = "polling of the load generator: --client-busy-poll 1000000ns in the old run";
    assert!(is_shared || stderr(&compared).contains(polling), "{}", stderr(&compared));
}

#[test]
fn an_array_from_a_file_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.npy");
    std::fs::write(&path, npy("<c16", "(2, 3)", 96)).expect("a file");
    let rungs = "tokio/hyper/{npy,json}";
    let file = path.to_str().expect("text");
    let (output, _folder, out) = tiny_ladder(&["--rungs", rungs, "--array", file]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    for trial in trials(&out) {
        assert_eq!(
            (trial.array.dtype.as_str(), trial.array.shape.as_slice()),
            ("<c16", &[2, 3][..])
        );
        let is_list = trial.rung.ends_with("json");
        assert_eq!(
            matches!(trial.outcome, Outcome::Skipped { .. }),
            is_list,
            "{:?}",
            trial.outcome
        );
    }
}

#[test]
fn records_that_are_none_or_damaged_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, _kept, whole) = tiny_ladder(&["--rungs", "uring/raw/npy", "--sizes", "8"]);
    let whole = std::fs::read_to_string(whole.join("records.jsonl")).expect("records");
    let (header, trials) = whole.split_once('\n').expect("lines");
    let cases = [
        (String::new(), "the first line is not a header"),
        ("bytes,dtype\n8,<f8\n".to_owned(), "the first line is not a header"),
        (whole.replace("\"version\":3", "\"version\":7"), "the records have version 7"),
        (
            format!("{header}\n{}{{\n", trials.replace("\"rung\"", "\"rang\"")),
            "line 2 is not a record: ",
        ),
    ];
    for (text, want) in cases {
        std::fs::write(folder.path().join("records.jsonl"), &text).expect("a file");
        let output = ndecho(&["report", folder.path().to_str().expect("text")]);
        assert_eq!((code(&output), stdout(&output)), (1, String::new()), "{want}");
        assert!(stderr(&output).contains(want), "no {want:?} in {}", stderr(&output));
    }
}

#[test]
fn a_run_that_was_stopped_goes_on_with_its_own_flags() {
    let args = ["--rungs", "uring/raw/npy,tokio/raw/npy", "--sizes", "8", "--rounds", "2"];
    let (output, _folder, out) = tiny_ladder_of(&args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let path = out.join("records.jsonl");
    let whole = std::fs::read_to_string(&path).expect("records");
    let lines: Vec<&str> = whole.lines().collect();
    // A header, two null servers, the conformance of two rungs, and raw under two loads.
    assert_eq!(lines.len(), 1 + 2 + 2 + 2 * 4);
    // File of a killed run: some trials, and a part of a line.
    let cut = format!("{}\n{}", lines[..6].join("\n"), &lines[6][..100]);
    std::fs::write(&path, &cut).expect("a file");
    let again = ndecho(&["ladder", "--continue", out.to_str().expect("text")]);
    assert_eq!(code(&again), 0, "{}{}", stdout(&again), stderr(&again));
    let places = |lines: Vec<Line>| -> Vec<(u32, u32)> {
        let place = |line: Line| match line {
            Line::Trial(trial) => Some((trial.round, trial.cell)),
            Line::Header(_) | Line::Conformance(_) | Line::Lane(_) => None,
        };
        lines.into_iter().filter_map(place).collect()
    };
    let went_on = places(records(&out));
    let before = places(lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect());
    assert_eq!(went_on, before);
    let text = std::fs::read_to_string(&path).expect("records");
    assert!(text.starts_with(&lines[..6].join("\n")), "what was there is kept");
}

#[test]
fn a_load_generator_that_is_too_slow_is_the_limit() {
    let rungs = ["--rungs", "tokio/axum/npy", "--sizes", "8", "--client-delay", "300us"];
    let (output, folder, out) = tiny_ladder(&rungs);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    // Other load on this machine does not matter here.
    let text = std::fs::read_to_string(out.join("records.jsonl")).expect("records");
    let lines = text.lines().map(|line| {
        let mut line: Line = serde_json::from_str(line).expect("a record");
        if let Line::Trial(trial) = &mut line {
            trial.discarded = None;
        }
        serde_json::to_string(&line).expect("a record") + "\n"
    });
    let quiet = folder.path().join("quiet.jsonl");
    std::fs::write(&quiet, lines.collect::<String>()).expect("a file");
    let report = ndecho(&["report", quiet.to_str().expect("text"), "--format", "csv"]);
    let csv = stdout(&report);
    assert!(csv.contains(",CLIENT-LIMITED,"), "{csv}");
}

#[test]
fn what_a_request_makes_a_rung_do_is_counted_where_it_is_asked_for() {
    let rungs = ["--rungs", "uring/h1/npy,tokio/axum/npy", "--sizes", "8", "--counts"];
    let (output, _folder, out) = tiny_ladder(&rungs);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let each = |rung: &str| {
        let mut counted = trials(&out).into_iter().filter(|trial| trial.rung == rung);
        let counts = counted.find_map(|trial| trial.counts).expect("it was counted");
        let (few, many) = (&counts.few, &counts.many);
        assert_eq!(many.requests, 2 * few.requests);
        // The tolerance is not relative to the difference: a timer can add to the smaller count.
        let calls = many.calls as f64 / many.requests as f64;
        let count = |allocations: Option<Allocations>| allocations.map(|it| it.count as f64);
        let allocations = count(many.allocations).zip(count(few.allocations));
        (calls, allocations.map(|(many, few)| (many - few) / few_requests(&counts)))
    };
    let (own, axum) = (each("uring/h1/npy"), each("tokio/axum/npy"));
    assert!(own.0 >= 1.0 && axum.0 >= 2.0, "system calls: {own:?} {axum:?}");
    if let (Some(own), Some(axum)) = (own.1, axum.1) {
        assert!(own < 0.5 && axum > 3.0, "allocations: {own} {axum}");
    }
    assert!(stdout(&output).contains("bytes allocated"), "{}", stdout(&output));
}

fn few_requests(counts: &Counts) -> f64 {
    counts.few.requests as f64
}

#[test]
fn a_build_is_the_same_as_itself_and_one_with_a_spin_is_not() {
    let compare = |old: &str, new: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("run");
        let mut args = vec!["compare", old, new, "--rungs", "uring/raw/reflect", "--sizes", "8"];
        args.extend(["--rounds", "6", "--duration", "60ms", "--threshold", "60"]);
        args.extend(["--out", out.to_str().expect("text")]);
        ndecho(&args)
    };
    let same = compare(NDECHO, NDECHO);
    assert_eq!(code(&same), 0, "{}{}", stdout(&same), stderr(&same));
    assert!(stdout(&same).contains("system calls per request: no more"), "{}", stdout(&same));
    assert!(stdout(&same).contains("allocations per request: "), "{}", stdout(&same));
    assert!(stdout(&same).contains(" same\n"), "{}", stdout(&same));
    // A much slower build: a wrapper passes a delay to this program.
    let folder = tempfile::tempdir().expect("a folder");
    let slow = folder.path().join("slow");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = serve ]; then exec {NDECHO} \"$@\" --delay 20us; fi\nexec {NDECHO} \"$@\"\n"
    );
    std::fs::write(&slow, script).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&slow, mode).expect("its own file");
    let slower = compare(NDECHO, slow.to_str().expect("text"));
    assert_eq!(code(&slower), 1, "{}{}", stdout(&slower), stderr(&slower));
    assert!(stderr(&slower).contains("is slower"), "{}", stderr(&slower));
}

/// Writes an npy file of version 1.0 with zeros.
fn npy(dtype: &str, shape: &str, data_len: usize) -> Vec<u8> {
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
    let unpadded = 10 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(u16::try_from(header.len()).expect("short").to_le_bytes());
    file.extend(header.as_bytes());
    file.resize(file.len() + data_len, 0);
    file
}

/// Program that keeps a core busy until it is dropped.
struct BusyProgram(Child);

impl BusyProgram {
    fn start() -> BusyProgram {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", "while :; do :; done"]).spawn();
        BusyProgram(shell.expect("there is a shell"))
    }
}

impl Drop for BusyProgram {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("ours");
    }
}

#[test]
fn a_busy_machine_is_told_before_the_run_and_in_its_report() {
    let busy = BusyProgram::start();
    let (output, _folder, out) = tiny_ladder(&["--rungs", "uring/raw/npy", "--sizes", "8"]);
    drop(busy);
    let stderr = stderr(&output);
    let (start, _) = stderr.split_once(" group").expect("an announcement");
    assert!(start.starts_with("warning: "), "{start}");
    assert!(start.contains(" of a core"), "{start}");
    assert!(start.contains("the run goes on, and its intervals will be wider"), "{start}");
    // Another program on this machine may be busier still.
    assert!(stdout(&output).contains("warning: before the first launch, "), "{}", stdout(&output));
    let Some(Line::Header(header)) = records(&out).into_iter().next() else { panic!("no header") };
    let load = header.background_load.expect("Linux counts ticks");
    assert!(load.is_busy() && load.busiest.is_some(), "{load:?}");
}

#[test]
fn the_first_block_forecasts_the_last_one_and_nothing_is_drawn_in_a_pipe() {
    let args = ["--rungs", "uring/raw/npy,tokio/raw/npy", "--sizes", "8", "--rounds", "6"];
    let (output, _folder, _out) = tiny_ladder_of(&args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines = stderr(&output);
    let lines: Vec<&str> = lines.lines().filter(|line| !line.starts_with("warning: ")).collect();
    let [announced, forecast] = lines[..] else { panic!("{lines:?}") };
    assert!(announced.contains("; 6 blocks of one launch per group; "), "{announced}");
    assert!(forecast.starts_with("after block 1 of 6: "), "{forecast}");
    assert!(forecast.contains(" intervals will be about ±"), "{forecast}");
}

/// Lists the children of `pid`.
fn children(pid: u32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    text.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A ladder during a long trial.
struct LongLadder {
    process: Child,
    /// The server and the load generator.
    children: Vec<i32>,
    /// Shell that ends what the children have started, after the ladder has ended.
    watch: i32,
}

fn long_ladder(out: &Path) -> LongLadder {
    let mut ladder = Command::new(NDECHO);
    ladder.args(["ladder", "--rungs", "tokio/hyper/npy", "--sizes", "8", "--duration", "1m"]);
    ladder.args(["--budget", "2m", "--out"]).arg(out);
    let ladder = ladder.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let is_watch = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sh")
    };
    let (watches, children) = wait_for("two children and a watch", || {
        let (watches, others) = children(ladder.id()).into_iter().partition(is_watch);
        Some((watches, others)).filter(|(watches, others): &(Vec<i32>, Vec<i32>)| {
            watches.len() == 1 && others.len() == 2
        })
    });
    LongLadder { process: ladder, children, watch: watches[0] }
}

fn is_gone(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_err()
}

#[test]
fn a_signal_ends_the_run_and_its_children_with_its_own_status() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let folder = tempfile::tempdir().expect("a folder");
        let LongLadder { mut process, children, watch } = long_ladder(&folder.path().join("run"));
        kill(Pid::from_raw(process.id().cast_signed()), signal).expect("it runs");
        let status = wait_for("its end", || process.try_wait().expect("ours"));
        assert_eq!(status.code(), Some(code));
        assert!(children.into_iter().all(is_gone));
        wait_for("the watch's end", || is_gone(watch).then_some(()));
    }
}

#[test]
fn children_end_when_the_ladder_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let LongLadder { mut process, children, watch } = long_ladder(&folder.path().join("run"));
    process.kill().expect("it runs");
    process.wait().expect("ours");
    for child in children.into_iter().chain([watch]) {
        wait_for("a child's end", || is_gone(child).then_some(()));
    }
}
