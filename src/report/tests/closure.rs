//! Tests of the closure of differences, over records with known layers.

use std::collections::BTreeMap;

use crate::axis::{Encoding, Layer, Malloc};
use crate::probe::profile::{LayerSamples, Profile};
use crate::record::tests::{header, trial};
use crate::record::trial_spec::{LoadSpec, ServerSpec, TrialSpec};
use crate::record::{Outcome, Trial, Variant};
use crate::report::closure::{Closure, Pair, is_attributed, render, sections};
use crate::report::{Run, csv};

const PARENT: &str = "uring/raw/protobuf";
const CHILD: &str = "uring/h2/protobuf";
pub(super) const LAUNCHES: u32 = 8;

/// Nanoseconds of a rung by layer. They add up to its cost.
pub(super) type Layers<'a> = &'a [(Layer, u64)];

pub(super) const PARENT_LAYERS: Layers<'_> =
    &[(Layer::CodecDecode, 2000), (Layer::HttpFraming, 1000), (Layer::KernelSocket, 1000)];

/// A profile of ten samples for each nanosecond, and so of any number of layers.
pub(super) fn profile(layers: Layers<'_>) -> Profile {
    let samples = |ns: u64| LayerSamples { user: 10 * ns, kernel: 0, functions: Vec::new() };
    Profile {
        samples: 10 * layers.iter().map(|(_, ns)| ns).sum::<u64>(),
        layers: layers.iter().map(|(layer, ns)| (*layer, samples(*ns))).collect(),
        has_kernel_symbols: true,
        ..Profile::default()
    }
}

/// Launches of a rung and of its sampled server, which costs a fifth more.
fn rung(cell: u32, name: &str, parent: Option<&str>, layers: Layers<'_>) -> Vec<Trial> {
    let launch = |round: u32| {
        // The machine is slower in each second launch, for all servers alike.
        let slower = |ns: u64| if round.is_multiple_of(2) { ns } else { ns + ns / 10 };
        let cost: u64 = layers.iter().map(|(_, ns)| ns).sum();
        let usual =
            Trial { cell, parent: parent.map(str::to_owned), ..trial(name, round, slower(cost)) };
        let profiled = Trial {
            cell: cell + 1,
            variant: Variant::Profiled,
            parent: None,
            profile: Some(Box::new(profile(layers))),
            ..trial(name, round, slower(cost * 6 / 5))
        };
        [usual, profiled]
    };
    (0..LAUNCHES).flat_map(launch).collect()
}

pub(super) fn run(parent: Layers<'_>, child: Layers<'_>) -> Run {
    let mut trials = rung(0, PARENT, None, parent);
    trials.extend(rung(2, CHILD, Some(PARENT), child));
    let mut header = header();
    header.preset = "chains".into();
    Run::new(header, trials)
}

fn only_pair(run: &Run) -> Pair {
    let mut pairs: Vec<Pair> = sections(run).into_iter().flat_map(|it| it.pairs).collect();
    assert_eq!(pairs.len(), 1);
    pairs.remove(0)
}

pub(super) fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_difference_in_the_layers_of_its_axis_is_closed() {
    let child =
        [(Layer::CodecDecode, 2000), (Layer::HttpFraming, 4000), (Layer::KernelSocket, 1500)];
    let pair = only_pair(&run(PARENT_LAYERS, &child));
    assert_eq!(pair.closure, Closure::Closed);
    assert!(pair.leak.estimate.abs() < 1.0, "{:?}", pair.leak);
    // Half of the launches were a tenth slower.
    assert!((pair.clock.estimate - 3500.0 * 1.05).abs() < 5.0, "{:?}", pair.clock);
    let framing =
        pair.layers.iter().find(|it| it.layer == Layer::HttpFraming).expect("it is there");
    assert!((framing.ns.estimate - 3000.0 * 1.05).abs() < 5.0, "{framing:?}");
    let sum: f64 = pair.layers.iter().map(|it| it.ns.estimate).sum();
    assert!((sum - pair.clock.estimate).abs() < 1.0, "{sum}");
}

#[test]
fn a_leak_is_printed_as_unattributed_with_the_layer_that_it_lies_in() {
    let child =
        [(Layer::CodecDecode, 2600), (Layer::HttpFraming, 4000), (Layer::KernelSocket, 1000)];
    let run = run(PARENT_LAYERS, &child);
    let pair = only_pair(&run);
    assert_eq!(pair.closure, Closure::Leaks(vec![Layer::CodecDecode]));
    let text = flat(&render(&run, 100).expect("it is attributed"));
    assert!(text.contains("Closed: 0 of 1 pairs"), "{text}");
    assert!(text.contains("1 leave a part unattributed"), "{text}");
    assert!(
        text.contains("NOT closed") && text.contains("does not explain codec decode"),
        "{text}"
    );
}

#[test]
fn a_leak_of_less_than_a_twentieth_is_closed() {
    let with_leak = |ns: u64| {
        let child = [
            (Layer::CodecDecode, 2000 + ns),
            (Layer::HttpFraming, 7000 - ns),
            (Layer::KernelSocket, 1000),
        ];
        only_pair(&run(PARENT_LAYERS, &child)).closure
    };
    assert_eq!(with_leak(490), Closure::Closed);
    assert_eq!(with_leak(510), Closure::Leaks(vec![Layer::CodecDecode]));
}

#[test]
fn two_leaks_that_cancel_out_do_not_close_a_pair() {
    let parent = [(Layer::CodecDecode, 2000), (Layer::CodecEncode, 2000), (Layer::Runtime, 1000)];
    let child = [(Layer::CodecDecode, 3000), (Layer::CodecEncode, 1000), (Layer::Runtime, 2000)];
    let pair = only_pair(&run(&parent, &child));
    assert!(pair.leak.estimate.abs() < 1.0, "{:?}", pair.leak);
    assert_eq!(pair.closure, Closure::Leaks(vec![Layer::CodecDecode, Layer::CodecEncode]));
}

#[test]
fn a_small_leak_in_several_layers_counts_as_their_sum() {
    let child = [
        (Layer::CodecDecode, 2240),
        (Layer::CodecEncode, 230),
        (Layer::Application, 220),
        (Layer::HttpFraming, 4000),
    ];
    let pair = only_pair(&run(PARENT_LAYERS, &child));
    let all = vec![Layer::CodecDecode, Layer::CodecEncode, Layer::Application];
    assert_eq!(pair.closure, Closure::Leaks(all), "{:?}", pair.leak);
}

#[test]
fn an_interval_that_hides_a_leak_is_called_wide() {
    let mut run = run(PARENT_LAYERS, PARENT_LAYERS);
    let sampled = run.trials.iter_mut().filter(|trial| trial.profile.is_some());
    for (number, trial) in sampled.enumerate() {
        let moved = [0, 900][number % 3 % 2];
        let layers = [(Layer::CodecDecode, 2000 - moved), (Layer::HttpFraming, 2000 + moved)];
        trial.profile = Some(Box::new(profile(&layers)));
    }
    let pair = only_pair(&run);
    assert_eq!(pair.closure, Closure::Wide, "{:?}", pair.leak);
    let text = flat(&render(&run, 100).expect("it is attributed"));
    assert!(text.contains("In 1 of them the interval is too wide"), "{text}");
}

#[test]
fn an_allocator_that_differs_explains_its_own_layers() {
    let child = [(Layer::CodecDecode, 2000), (Layer::Allocator, 3000), (Layer::HttpFraming, 1000)];
    let mut run = run(PARENT_LAYERS, &child);
    let tokio = |name: &str| name.replace("uring/h2/", "tokio/raw/");
    for trial in &mut run.trials {
        trial.rung = tokio(&trial.rung);
    }
    let pair = only_pair(&run);
    assert_eq!(pair.closure, Closure::Leaks(vec![Layer::Allocator]), "a driver has no allocator");
    let with = |malloc| {
        let load = LoadSpec::new("raw://127.0.0.1:7".parse().expect("a URL"), Encoding::Protobuf);
        let server = ServerSpec { malloc: Some(malloc), ..ServerSpec::default() };
        Some(Box::new(TrialSpec { servers: vec![server], load }))
    };
    for trial in &mut run.trials {
        let malloc = if trial.rung == PARENT { Malloc::Default } else { Malloc::Keep };
        trial.spec = with(malloc);
    }
    assert_eq!(only_pair(&run).closure, Closure::Closed);
    let text = flat(&render(&run, 100).expect("it is attributed"));
    assert!(text.contains("less uring/raw/protobuf: driver and malloc, 8 launches"), "{text}");
}

#[test]
fn few_launches_are_no_verdict() {
    let mut run = run(PARENT_LAYERS, PARENT_LAYERS);
    run.trials.retain(|trial| trial.round < 4);
    assert_eq!(only_pair(&run).closure, Closure::TooFewLaunches);
    let text = flat(&render(&run, 100).expect("it is attributed"));
    assert!(text.contains("raise --rounds"), "{text}");
}

#[test]
fn without_perf_the_reason_is_said_once() {
    let mut run = run(PARENT_LAYERS, PARENT_LAYERS);
    for trial in run.trials.iter_mut().filter(|it| it.variant == Variant::Profiled) {
        trial.profile = None;
        trial.outcome = Outcome::Skipped { reason: "perf is not installed".into() };
    }
    let text = flat(&render(&run, 100).expect("the run was to be attributed"));
    assert!(text.starts_with("No difference between rungs was attributed"), "{text}");
    assert_eq!(text.matches("skipped: perf is not installed").count(), 1, "{text}");
}

#[test]
fn a_server_that_ended_early_costs_its_pair_alone() {
    let mut run = run(PARENT_LAYERS, PARENT_LAYERS);
    run.trials.extend(rung(4, "uring/h1/protobuf", Some(PARENT), PARENT_LAYERS));
    let failed = Outcome::Failed { reason: "the server died".into(), stderr: String::new() };
    let is_sampled = |trial: &&mut Trial| trial.cell == 3;
    run.trials.iter_mut().find(is_sampled).expect("a profiled cell").outcome = failed;
    let text = flat(&render(&run, 100).expect("it is attributed"));
    assert!(text.contains("of 1 pairs"), "{text}");
    assert!(text.contains("not split: uring/h2/protobuf: INVALID in 1 of 8 rounds"), "{text}");
}

#[test]
fn samples_of_the_program_alone_are_refused() {
    let mut run = run(PARENT_LAYERS, PARENT_LAYERS);
    for profile in run.trials.iter_mut().filter_map(|trial| trial.profile.as_mut()) {
        profile.is_user_only = true;
    }
    let text = flat(&render(&run, 100).expect("it is attributed"));
    assert!(text.contains("may not sample the kernel"), "{text}");
    assert!(text.contains("kernel.perf_event_paranoid"), "{text}");
}

#[test]
fn lost_samples_and_samples_without_a_layer_are_said() {
    let stripped = [(Layer::Unattributed, 3000), (Layer::HttpFraming, 1000)];
    let mut run = run(PARENT_LAYERS, &stripped);
    for trial in run.trials.iter_mut().filter(|trial| trial.rung == PARENT) {
        if let Some(profile) = &mut trial.profile {
            profile.lost = profile.samples / 50;
        }
    }
    let text = flat(&render(&run, 100).expect("it is attributed"));
    assert!(
        text.contains("warning: perf lost 2.0 % of the samples of uring/raw/protobuf"),
        "{text}"
    );
    assert!(text.contains("75 % of the samples of uring/h2/protobuf have no layer"), "{text}");
    assert!(!only_pair(&run).closure.is_closed());
}

#[test]
fn a_debug_build_is_said() {
    let mut run = run(PARENT_LAYERS, PARENT_LAYERS);
    run.header.build.profile = "debug".into();
    let text = flat(&render(&run, 100).expect("it is attributed"));
    assert!(text.contains("warning: ") && text.contains("debug"), "{text}");
}

#[test]
fn another_depth_is_no_pair() {
    let mut run = run(PARENT_LAYERS, PARENT_LAYERS);
    for trial in run.trials.iter_mut().filter(|trial| trial.rung == PARENT) {
        trial.in_flight = 200;
    }
    let text = flat(&render(&run, 100).expect("it is attributed"));
    let wanted = "uring/h2/protobuf had 1000 requests in flight and its parent \
                  uring/raw/protobuf 200";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn lines_fit_in_the_width() {
    let child =
        [(Layer::CodecDecode, 260_000), (Layer::HttpFraming, 400_000), (Layer::Allocator, 7)];
    let mut run = run(PARENT_LAYERS, &child);
    for trial in run.trials.iter_mut().filter(|trial| trial.rung == PARENT) {
        trial.rung = "tokio/hyper-h2:tuned/protobuf:prost_bytes".into();
    }
    for trial in run.trials.iter_mut().filter(|trial| trial.rung == CHILD) {
        trial.rung = "tokio/tonic:tuned/protobuf:prost_bytes".into();
        trial.parent =
            trial.parent.as_ref().map(|_| "tokio/hyper-h2:tuned/protobuf:prost_bytes".to_owned());
    }
    for width in [80, 100, 300] {
        let text = render(&run, width).expect("it is attributed");
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= width.min(100), "{width}: {widest}\n{text}");
    }
}

#[test]
fn a_profile_is_not_a_ladder() {
    let mut run = run(PARENT_LAYERS, PARENT_LAYERS);
    run.header.preset = "profile".into();
    assert!(!is_attributed(&run) && render(&run, 100).is_none());
    run.header.preset = "chains".into();
    run.trials.retain(|trial| trial.variant == Variant::Usual);
    assert!(render(&run, 100).is_none());
}

#[test]
fn the_csv_has_the_leak_of_each_rung() {
    let child =
        [(Layer::CodecDecode, 2600), (Layer::HttpFraming, 4000), (Layer::KernelSocket, 1000)];
    let text = csv::render(&run(PARENT_LAYERS, &child));
    let mut lines = text.lines();
    let heads: Vec<&str> = lines.next().expect("heads").split(',').collect();
    let values = |rung: &str| -> BTreeMap<&str, String> {
        let is_its = |line: &&str| line.contains(&format!(",{rung},"));
        let line = text.lines().find(is_its).expect("a line").replace("\"", "");
        heads.iter().copied().zip(line.split(',').map(str::to_owned)).collect()
    };
    let child = values(CHILD);
    assert_eq!(child["closure"], "unattributed", "{text}");
    let leak: f64 = child["leak_ns"].parse().expect("a number");
    assert!((leak - 600.0 * 1.05).abs() < 2.0, "{leak}");
    let framing: f64 = child["HTTP framing_ns"].parse().expect("a number");
    assert!((framing - 3000.0 * 1.05).abs() < 5.0, "{framing}");
    assert_eq!(values(PARENT)["closure"], "", "it has no parent here");
}
