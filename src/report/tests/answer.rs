//! Tests of the main job's answer.

use crate::axis::{Encoding, Malloc};
use crate::record::tests::{header, trial};
use crate::record::trial_spec::{LoadSpec, ServerSpec, TrialSpec};
use crate::record::{ArrayInfo, Header, Outcome, Trial, Variant};
use crate::report::{Run, answer, table};

const CHAIN: [(&str, u64); 9] = [
    ("tokio/tonic/protobuf:prost", 13_000),
    ("tokio/tonic:tuned/protobuf:prost", 12_000),
    ("tokio/hyper-h2:tuned/protobuf:prost", 9_000),
    ("tokio/h2-crate:tuned/protobuf:prost", 8_000),
    ("uring/h2-crate:tuned/protobuf:prost", 7_900),
    ("uring/h2/protobuf:prost", 600),
    ("uring/raw/protobuf:prost", 200),
    ("uring/h2/protobuf", 360),
    ("tokio/tonic:best/protobuf:prost_bytes", 9_100),
];

const REST: [(&str, u64); 7] = [
    ("tokio/axum/npy", 24_000),
    ("tokio/axum/msgpack:serde", 24_100),
    ("tokio/axum/json:serde", 620_000),
    ("uring/h1/npy", 20_000),
    ("uring/h1/json", 160_000),
    ("tokio/tonic/protobuf:prost", 90_000),
    ("uring/h2/protobuf", 26_000),
];

/// Ten launches of every rung, with a scatter of two percent; tonic is tried twice.
pub(in crate::report) fn run() -> Run {
    let mut trials = Vec::new();
    for round in 0..10 {
        let scattered = |cell: u32, cost: u64| {
            let percent = u64::from(round * round * 7 + cell * (round + 3)) % 5;
            cost * (98 + percent) / 100
        };
        for (cell, (rung, cost)) in (0..).zip(CHAIN) {
            trials.push(Trial { cell, ..trial(rung, round, scattered(cell, cost)) });
        }
        let twin = Trial {
            cell: 21,
            variant: Variant::Twin,
            ..trial(CHAIN[0].0, round, scattered(21, 13_000))
        };
        trials.push(twin);
        for (cell, (rung, cost)) in (30..).zip(REST) {
            let array =
                ArrayInfo { dtype: "<f8".into(), shape: vec![8192], bytes: 65_536, data_set: None };
            let load = Trial {
                cell,
                array,
                connections: 8,
                in_flight: 8,
                ..trial(rung, round, scattered(cell, cost))
            };
            trials.push(load);
        }
    }
    Run::new(Header { preset: "quick".into(), ..header() }, trials)
}

fn text(run: &Run) -> String {
    answer::render(run, 100).expect("the run has the rungs of the main job")
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the line of `text` that begins with `start` after its indent.
fn line<'a>(text: &'a str, start: &str) -> &'a str {
    let found = text.lines().find(|line| line.trim_start().starts_with(start));
    found.unwrap_or_else(|| panic!("no line {start:?} in\n{text}"))
}

/// Asserts that the first figure with an interval in a line is within 3 % of `expected`.
fn assert_figure(text: &str, start: &str, expected: f64) {
    let line = line(text, start);
    let before = line.split(" [").next().and_then(|before| before.rsplit(' ').next());
    let figure: Option<f64> = before.and_then(|before| before.parse().ok());
    let is_near = figure.is_some_and(|figure| (figure / expected - 1.0).abs() < 0.03);
    assert!(line.contains(" [") && is_near, "{line}: expected {expected}\n{text}");
}

#[test]
fn each_layer_has_its_price_with_an_interval_or_is_marked() {
    let text = text(&run());
    assert_figure(&text, "h2 crate", 7.30);
    assert_figure(&text, "bare io_uring socket", 0.20);
    assert_figure(&text, "our own server", 0.0277);
    assert_figure(&text, "tonic at its best", 0.70);
    assert_figure(&text, "to the best tonic", 0.0396);
    assert!(line(&text, "epoll").contains("= "), "100 of 8000 ns are within the noise\n{text}");
}

#[test]
fn encodings_are_compared_with_npy_and_servers_with_the_cheapest() {
    let text = text(&run());
    assert_figure(&text, "JSON list", 25.8);
    assert_figure(&text, "protobuf        tonic", 3.75);
    assert_figure(&text, "axum              npy", 1.20);
    assert!(line(&text, "msgpack").contains("= 1.0"), "{text}");
    assert!(line(&text, "our HTTP/1.1").trim_end().ends_with(" 1"), "{text}");
    assert!(text.contains("8 connections, one request on each"), "{text}");
}

#[test]
fn a_run_of_messages_has_the_tables_of_encodings_only_and_names_the_price_of_a_list() {
    let mut run = run();
    run.header.preset = "messages".into();
    let list = |trial: &Trial| Trial {
        cell: 50,
        ..self::trial("tokio/tonic/protobuf_packed:prost", trial.round, 180_000)
    };
    let loads = |trial: &&Trial| trial.connections == 8 && trial.rung == REST[5].0;
    let lists: Vec<Trial> = run
        .trials
        .iter()
        .filter(loads)
        .map(|bytes| Trial {
            array: bytes.array.clone(),
            connections: 8,
            in_flight: 8,
            ..list(bytes)
        })
        .collect();
    run.trials.extend(lists);
    let text = text(&run);
    assert!(text.starts_with("ndecho messages: "), "{text}");
    assert!(text.contains("\n1  What each encoding costs: 64 KiB"), "{text}");
    assert!(!text.contains("What each layer costs") && !text.contains("The cheapest"), "{text}");
    assert_figure(&text, "protobuf list   tonic", 7.5);
    let flat = flat(&text);
    assert!(flat.contains("In tonic, a list of numbers (repeated) costs 1.99 ["), "{text}");
}

#[test]
fn one_connection_is_no_plural() {
    let mut run = run();
    for trial in run.trials.iter_mut().filter(|trial| trial.connections == 8) {
        (trial.connections, trial.in_flight) = (1, 1);
    }
    let text = text(&run);
    assert!(text.contains("one connection, one request on it"), "{text}");
}

#[test]
fn sentences_say_what_the_tables_say_and_what_is_open() {
    let text = text(&run());
    let flat = flat(&text);
    for sentence in [
        "8 B, 1000 in flight: h2 crate vs. own costs most, 7.",
        "64 KiB <f8 [8192], ratios to axum's .npy: JSON list 25.",
        "; tonic with protobuf 3.7",
        "between .npy and msgpack no difference was shown",
        "The cheapest was our HTTP/1.1 with npy (20.",
        "of the servers that are not ours, axum with npy (24.",
        "epoll vs. io_uring (8 B, 1000 in flight)",
        "If the array has NaN, JSON.parse refuses it",
        "A server against itself differed by ",
    ] {
        assert!(flat.contains(sentence), "{sentence:?} is not in\n{text}");
    }
}

#[test]
fn a_layer_that_costs_more_than_all_together_is_not_called_a_part() {
    let mut run = run();
    for trial in &mut run.trials {
        let Outcome::Measured(measured) = &mut trial.outcome else { continue };
        if trial.rung == CHAIN[0].0 && trial.in_flight == 1000 {
            measured.server_cpu.as_mut().expect("it has a clock").total_ns /= 3;
        }
    }
    let text = text(&run);
    let flat = flat(&text);
    assert!(flat.contains("h2 crate vs. own adds most, 7."), "{text}");
    assert!(flat.contains("other layers make a call cheaper"), "{text}");
}

#[test]
fn lines_fit_the_width_and_the_answer_a_screen() {
    for width in [80, 100] {
        let text = answer::render(&run(), width).expect("an answer");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(width), "{widest:?}\n{text}");
        let lines = text.lines().count();
        assert!(lines <= if width == 100 { 50 } else { 55 }, "{lines}\n{text}");
    }
}

#[test]
fn a_rung_that_failed_is_named_and_its_layer_is_in_the_name_of_the_next() {
    let mut run = run();
    for trial in run.trials.iter_mut().filter(|trial| trial.rung.contains("hyper-h2")) {
        trial.outcome = Outcome::Failed { reason: "died".into(), stderr: String::new() };
    }
    let text = text(&run);
    assert_figure(&text, "tonic + hyper", 4.0);
    assert!(
        line(&text, "Failed").contains("tokio/hyper-h2:tuned/protobuf:prost: INVALID"),
        "{text}"
    );
}

#[test]
fn the_answer_and_the_full_tables_have_the_same_noise_and_control() {
    let mut run = run();
    for round in 0..10 {
        let cost = 13_500 + u64::from(round * 31 % 7);
        let delayed = Variant::Delayed { ns: 500 };
        run.trials.push(Trial { cell: 40, variant: delayed, ..trial(CHAIN[0].0, round, cost) });
    }
    let full = flat(&table::render(&run));
    let floor = full.split("differences up to ").nth(1).and_then(|rest| rest.split(" %").next());
    let floor: f64 = floor.and_then(|floor| floor.parse().ok()).expect("a floor");
    let control = full.split("added to each request costs ").nth(1);
    let control = control.and_then(|rest| rest.split(" more").next()).expect("a control");
    let answer = flat(&text(&run));
    let noise = format!("itself differed by up to {floor:.0} %.");
    assert!(answer.contains(&noise), "{noise}\n{answer}\n{full}");
    assert!(answer.contains(&format!("the run measured {control}:")), "{answer}\n{full}");
}

#[test]
fn loads_with_unlike_noise_have_a_range_of_it() {
    let mut run = run();
    for round in 0..10 {
        let twin = run.trials.iter().find(|trial| {
            (trial.round, trial.rung.as_str()) == (round, REST[0].0) && trial.connections == 8
        });
        let twin = twin.expect("a rung of the second load").clone();
        run.trials.push(Trial { cell: 41, variant: Variant::Twin, ..twin });
    }
    let text = flat(&text(&run));
    assert!(text.contains("itself differed by 0 to "), "{text}");
    assert!(text.contains(" %, depending on the load."), "{text}");
}

#[test]
fn the_head_has_the_array_its_file_and_the_duration() {
    let mut run = run();
    let head = |run: &Run| flat(text(run).split("\n\n").next().expect("a head"));
    assert!(head(&run).contains("array 64 KiB <f8 [8192], "), "{}", head(&run));
    assert!(head(&run).contains(" of load counted, "), "{}", head(&run));
    for flag in [&["--array", "data/some.npy"][..], &["--array=data/some.npy"]] {
        run.header.argv = ["ndecho"].iter().chain(flag).map(ToString::to_string).collect();
        assert!(head(&run).contains("array 64 KiB <f8 [8192] of some.npy, "), "{}", head(&run));
    }
    run.trials[3].ended_ns = Some(170_000_000_000);
    assert!(head(&run).contains(", took 2 min 50 s, "), "{}", head(&run));
}

#[test]
fn allocators_are_those_of_all_loads() {
    let mut run = run();
    for trial in &mut run.trials {
        let is_kept = trial.rung == REST[0].0 && trial.connections == 8;
        let malloc = Some(if is_kept { Malloc::Keep } else { Malloc::Default });
        let url = "grpc://127.0.0.1:1".parse().expect("a URL");
        let servers = vec![ServerSpec { malloc, ..ServerSpec::default() }];
        let load = LoadSpec::new(url, Encoding::Protobuf);
        trial.spec = Some(Box::new(TrialSpec { servers, load }));
    }
    let text = flat(&text(&run));
    assert!(text.contains("malloc: default, keep (tokio/axum)"), "{text}");
}

#[test]
fn the_step_to_a_malloc_that_keeps_its_pages_is_named() {
    let mut run = run();
    let price_of =
        |text: &str, layer: &str| line(text, layer).split_once(layer).unwrap().1.to_owned();
    let price = price_of(&text(&run), "default windows");
    for trial in &mut run.trials {
        let is_documented = trial.rung == CHAIN[0].0;
        let malloc = Some(if is_documented { Malloc::Default } else { Malloc::Keep });
        let url = "grpc://127.0.0.1:1".parse().expect("a URL");
        let servers = vec![ServerSpec { malloc, ..ServerSpec::default() }];
        let load = LoadSpec::new(url, Encoding::Protobuf);
        trial.spec = Some(Box::new(TrialSpec { servers, load }));
    }
    let all = text(&run);
    assert_eq!(price_of(&all, "windows and malloc").trim(), price.trim(), "{all}");
    assert!(!all.contains("default windows"), "{all}");
    run.trials.retain(|trial| trial.rung != CHAIN[1].0);
    assert!(text(&run).contains("windows and malloc + tonic "), "{}", text(&run));
}

#[test]
fn rungs_that_were_skipped_for_one_reason_are_named_together() {
    let mut run = run();
    for trial in run.trials.iter_mut().filter(|trial| trial.rung.starts_with("uring/")) {
        trial.outcome = Outcome::Skipped { reason: "io_uring is not available".into() };
    }
    let text = text(&run);
    assert_eq!(flat(&text).matches("io_uring is not available").count(), 1, "{text}");
    assert!(text.contains("   Skipped ") && !text.contains("   Failed "), "{text}");
    assert!(!text.contains("skipped:"), "{text}");
}

#[test]
fn a_floor_that_costs_most_is_not_called_a_layer() {
    let mut run = run();
    for trial in run.trials.iter_mut().filter(|trial| trial.in_flight == 1000) {
        let Outcome::Measured(measured) = &mut trial.outcome else { continue };
        measured.server_cpu.as_mut().expect("it has a clock").total_ns +=
            20_000 * measured.requests;
    }
    let text = flat(&text(&run));
    assert!(text.contains("h2 crate vs. own costs most, 7."), "{text}");
    assert!(text.contains("after the floor of 20."), "{text}");
}

#[test]
fn nan_is_named_only_for_arrays_of_floats() {
    let mut run = run();
    for trial in run.trials.iter_mut().filter(|trial| trial.connections == 8) {
        trial.array.dtype = "|u1".into();
    }
    assert!(!text(&run).contains("NaN"), "the array of the layers is not the user's");
}

#[test]
fn without_a_ring_the_lowest_rung_is_not_called_a_layer() {
    let mut run = run();
    run.trials.retain(|trial| !trial.rung.starts_with("uring/"));
    let text = text(&run);
    assert_figure(&text, "everything below hyper", 8.0);
    assert!(!text.contains("epoll") && !text.contains("socket"), "{text}");
    let flat = flat(&text);
    assert!(flat.contains("everything below hyper costs most, 8."), "{text}");
}

#[test]
fn a_step_over_missing_rungs_has_the_names_of_all_its_layers() {
    let mut run = run();
    let is_gone = |rung: &str| ["tonic:tuned", "hyper-h2", "raw"].iter().any(|r| rung.contains(r));
    run.trials.retain(|trial| !is_gone(&trial.rung));
    let text = text(&run);
    assert_figure(&text, "windows to hyper", 5.0);
    assert_figure(&text, "everything below h2 crate", 0.6);
    let lines = text.lines().take_while(|line| *line != "In short");
    assert!(!lines.into_iter().any(|line| line.trim_start().starts_with("hyper")), "{text}");
}

#[test]
fn a_server_that_ended_connections_is_named_with_their_number() {
    let mut run = run();
    assert!(!text(&run).contains("Dropped"));
    for trial in run.trials.iter_mut().filter(|trial| trial.rung == "uring/h1/json").take(2) {
        let Outcome::Measured(measured) = &mut trial.outcome else { unreachable!() };
        measured.reconnects = 3;
    }
    let text = text(&run);
    let dropped = "uring/h1/json ended 6 connections, which were replaced.";
    assert!(line(&text, "Dropped").ends_with(dropped), "{text}");
}

#[test]
fn a_control_that_could_not_be_made_is_named_with_its_reason() {
    let mut run = run();
    let failed = Outcome::Failed { reason: "died".into(), stderr: String::new() };
    let delayed =
        Trial { cell: 22, variant: Variant::Delayed { ns: 500 }, ..trial(CHAIN[0].0, 0, 1) };
    run.trials.push(Trial { outcome: failed, ..delayed });
    let control = "could not be made: tokio/tonic/protobuf:prost: INVALID in 1 of 1 rounds: died";
    let text = text(&run);
    let sentence = format!("The control with an added delay {control}.");
    assert!(flat(&text).contains(&sentence), "{text}");
    let text = table::render(&run);
    assert!(flat(&text).contains(&format!("control: it {control}")), "{text}");
}

#[test]
fn a_control_that_two_tables_share_is_told_once() {
    let mut run = run();
    for trial in &mut run.trials {
        (trial.array, trial.connections, trial.in_flight) = (
            ArrayInfo { dtype: "<f8".into(), shape: vec![8192], bytes: 65_536, data_set: None },
            8,
            8,
        );
    }
    for round in 0..10 {
        let delayed = Variant::Delayed { ns: 500 };
        let like = run.trials.iter().find(|trial| trial.rung == CHAIN[0].0 && trial.round == round);
        let like = like.expect("each round has tonic").clone();
        let cost = trial(CHAIN[0].0, round, 13_500 + u64::from(round));
        run.trials.push(Trial { cell: 40, variant: delayed, outcome: cost.outcome, ..like });
    }
    let text = text(&run);
    assert_eq!(text.matches("A delay of").count(), 1, "{text}");
}

#[test]
fn few_launches_have_no_ratio_without_an_interval() {
    let mut run = run();
    run.trials.retain(|trial| trial.round < 2);
    let text = text(&run);
    assert!(line(&text, "hyper").contains('?') && line(&text, "JSON list").contains('?'), "{text}");
    let flat = flat(&text);
    assert!(flat.contains("noise unknown") && !flat.contains("itself differed by"), "{text}");
}

/// Ten launches of two sizes over gRPC, and of one over REST, with both forms of each standard.
fn against_standards() -> Run {
    const GRPC: &str = "tokio/tonic/protobuf:prost";
    const AXUM: &str = "tokio/axum/npy";
    let cells: [(&str, &str, u64, u64); 9] = [
        (GRPC, GRPC, 8, 6000),
        ("tokio/tonic:best/protobuf:prost_bytes", GRPC, 8, 3000),
        ("uring/h2/protobuf", GRPC, 8, 300),
        (GRPC, GRPC, 1 << 20, 800_000),
        ("tokio/tonic:best/protobuf:prost_bytes", GRPC, 1 << 20, 400_000),
        ("uring/h2/protobuf", GRPC, 1 << 20, 200_000),
        (AXUM, AXUM, 8, 10_000),
        ("tokio/axum:best/npy", AXUM, 8, 8000),
        ("uring/h1/npy", AXUM, 8, 8000),
    ];
    let mut trials = Vec::new();
    for round in 0..10 {
        for (cell, (rung, reference, bytes, cost)) in (0..).zip(cells) {
            let array =
                ArrayInfo { dtype: "<f8".into(), shape: vec![bytes / 8], bytes, data_set: None };
            let connections = if reference == AXUM { 50 } else { 1 };
            let reference = Some(reference.to_owned());
            // The machine has another speed in each launch.
            let cost = cost * (98 + u64::from(round * 7) % 5) / 100;
            trials.push(Trial { cell, array, connections, reference, ..trial(rung, round, cost) });
        }
    }
    Run::new(header(), trials)
}

#[test]
fn every_server_stands_against_tonic_or_axum_and_against_their_best() {
    let text = answer::against_standards(&against_standards()).expect("standards");
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?}\n{text}");
    let row = |start: &str| -> Vec<&str> {
        line(&text, start).split_whitespace().filter(|word| !word.starts_with('[')).collect()
    };
    assert_eq!(row("tokio/tonic/protobuf:prost")[1..4], ["6.00", "µs", "1"], "{text}");
    assert_eq!(row("tokio/tonic:best")[1..5], ["3.00", "µs", "0.50", "1"], "{text}");
    assert_eq!(row("uring/h2")[3..], ["0.050", "0.10"], "{text}");
    assert_eq!(row("uring/h1")[3..], ["0.80", "=", "1.00"], "{text}");
    assert_eq!(text.matches("to the best tonic").count(), 2, "{text}");
    assert_eq!(text.matches("to the best axum").count(), 1, "{text}");
}

#[test]
fn one_sentence_tells_what_our_servers_cost_of_the_standard_ones() {
    let text = answer::against_standards(&against_standards()).expect("standards");
    let flat = flat(&text);
    assert!(
        flat.ends_with(
            "uring/h2/protobuf costs 0.050 [0.050-0.050] of tonic at 8 B (0.10 [0.10-0.10] of \
             tonic at its best), 0.25 [0.25-0.25] at 1 MiB (0.50 [0.50-0.50]); uring/h1/npy costs \
             0.80 [0.80-0.80] of axum at 8 B (= 1.00 [1.00-1.00] of axum at its best)."
        ),
        "{text}"
    );
    let mut failed = against_standards();
    failed.trials.retain(|trial| trial.reference.is_none());
    assert_eq!(answer::against_standards(&failed), None);
}

#[test]
fn other_runs_have_tables_instead() {
    let mut run = run();
    run.header.preset = "broad".into();
    assert_eq!(answer::render(&run, 100), None);
    let empty = Run::new(Header { preset: "quick".into(), ..header() }, Vec::new());
    assert_eq!(answer::render(&empty, 100), None);
}
