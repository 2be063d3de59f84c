//! Tests of the table of layers.

use std::collections::BTreeMap;

use crate::axis::Layer;
use crate::probe::profile::{Basis, FunctionSamples, LayerSamples, Profile, PythonSamples};
use crate::record::tests::{header, trial};
use crate::record::{Outcome, Trial, Variant};
use crate::report::text::WIDTH_MAX;
use crate::report::{Run, profile};

const TONIC: &str = "tokio/tonic/protobuf:prost";

/// Profile of 1000 samples: `framing` of them in HTTP framing, a tenth in the kernel.
fn samples(framing: u64) -> Profile {
    let layer = |user, kernel, function: &str| LayerSamples {
        user,
        kernel,
        functions: vec![FunctionSamples { function: function.into(), samples: user + kernel }],
    };
    let layers = BTreeMap::from([
        (Layer::HttpFraming, layer(framing, 0, "h2/proto/streams/store.rs index")),
        (Layer::Allocator, layer(900 - framing, 0, "_int_malloc")),
        (Layer::KernelSocket, layer(0, 100, "tcp_sendmsg_locked")),
    ]);
    Profile {
        samples: 1000,
        layers,
        crates: BTreeMap::from([
            ("h2".to_owned(), framing),
            ("C library".to_owned(), 893 - framing),
            ("slab".to_owned(), 7),
            ("kernel".to_owned(), 100),
        ]),
        bases: BTreeMap::from([(Basis::OwnFrame, 800), (Basis::Kernel, 200)]),
        interrupts_enabled: 15,
        has_kernel_symbols: true,
        ..Profile::default()
    }
}

/// Six launches of a rung at 10 µs, and of its profiled server at 11 µs.
pub(in crate::report) fn launches(cell: u32, rung: &str, framing: u64) -> Vec<Trial> {
    let launch = |round: u32| {
        let usual = Trial { cell, ..trial(rung, round, 10_000) };
        let profiled = Trial {
            cell: cell + 1,
            variant: Variant::Profiled,
            profile: Some(Box::new(samples(framing + u64::from(round % 2)))),
            ..trial(rung, round, 11_000)
        };
        [usual, profiled]
    };
    (0..6).flat_map(launch).collect()
}

fn run(trials: Vec<Trial>) -> Run {
    Run::new(header(), trials)
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {text}"))
}

#[test]
fn a_layer_costs_its_share_of_the_unprofiled_server() {
    let text = profile::render(&run(launches(0, TONIC, 400))).expect("a profile");
    let framing = line(&text, "HTTP framing");
    assert!(framing.contains("4.00 µs [4.00-4.01]") && framing.contains("40.1 %"), "{text}");
    assert!(line(&text, "kernel socket").contains("1.00 µs"), "{text}");
    assert!(line(&text, "CPU/request").contains("10.0 µs"), "{text}");
    assert!(line(&text, "  by h2").contains("4.00 µs [4.00-4.01] 40.1 %"), "{text}");
    assert!(line(&text, "  by kernel").contains("1.00 µs"), "{text}");
    assert!(!text.contains("by slab"), "a small one: {text}");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "6000 samples in 6 launches, 10.0 % of them in the kernel",
        "the profiled server costs 1.10 [1.10-1.10] of the other",
        "1.5 % lie where interrupts are allowed again",
        "the source file of the function 80.0 %",
        "h2/proto/streams/store.rs index 40.1 %",
    ] {
        assert!(flat.contains(part), "{part}: {text}");
    }
}

#[test]
fn rungs_stand_beside_each_other_in_a_hundred_columns() {
    let rungs =
        [TONIC, "tokio/hyper-h2:tuned/protobuf:prost", "uring/h2/protobuf", "uring/raw/npy"];
    let trials = rungs.iter().zip([0, 2, 4, 6]).flat_map(|(rung, cell)| launches(cell, rung, 300));
    let text = profile::render(&run(trials.collect())).expect("a profile");
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(widest <= WIDTH_MAX, "{widest}: {text}");
    assert_eq!(text.matches("\nCPU/request").count(), 2, "three rungs, then one: {text}");
}

#[test]
fn a_server_that_was_not_profiled_has_a_reason() {
    let mut trials = launches(0, TONIC, 400);
    for trial in trials.iter_mut().filter(|trial| trial.variant == Variant::Profiled) {
        trial.profile = None;
        trial.outcome = Outcome::Skipped { reason: "perf is not installed".into() };
    }
    let text = profile::render(&run(trials)).expect("a reason");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("was not profiled: skipped: perf is not installed"), "{text}");
}

#[test]
fn lost_samples_and_hidden_symbols_are_said() {
    let mut trials = launches(0, TONIC, 400);
    for profile in trials.iter_mut().filter_map(|trial| trial.profile.as_mut()) {
        (profile.lost, profile.has_kernel_symbols) = (50, false);
    }
    let text = profile::render(&run(trials)).expect("a profile");
    assert!(text.contains("warning: perf lost 300 samples"), "{text}");
    assert!(text.contains("warning: the kernel hides its symbols"), "{text}");
}

#[test]
fn shares_of_the_program_alone_give_no_times() {
    let mut trials = launches(0, TONIC, 400);
    for profile in trials.iter_mut().filter_map(|trial| trial.profile.as_mut()) {
        profile.is_user_only = true;
    }
    let text = profile::render(&run(trials)).expect("a profile");
    assert!(!line(&text, "HTTP framing").contains("µs"), "{text}");
    assert!(text.contains("warning: this user may not sample the kernel"), "{text}");
}

#[test]
fn a_run_without_a_profile_has_no_table() {
    let usual: Vec<Trial> =
        launches(0, TONIC, 400).into_iter().filter(|it| it.variant == Variant::Usual).collect();
    assert_eq!(profile::render(&run(usual)), None);
}

#[test]
fn one_process_has_shares_only() {
    let text = profile::of_process(&samples(400));
    assert!(line(&text, "HTTP framing").ends_with("40.0 %"), "{text}");
    assert!(!text.contains("µs"), "{text}");
}

#[test]
fn functions_of_a_python_server_are_listed_and_otherwise_how_to_get_them() {
    let with = |python: Option<PythonSamples>| {
        let mut profile = samples(400);
        let layer = LayerSamples { user: 300, ..LayerSamples::default() };
        profile.layers.insert(Layer::Interpreter, layer);
        profile::of_process(&Profile { python, ..profile })
    };
    let function = |function: &str, samples| FunctionSamples { function: function.into(), samples };
    let functions = vec![function("json/encoder.py iterencode", 250), function("echo.py f", 50)];
    let text = with(Some(PythonSamples { samples: 700, functions }));
    let line = line(&text, "  Python functions");
    assert!(line.contains("70.0 %  json/encoder.py iterencode 25.0 %, echo.py f 5.0 %"), "{text}");
    assert!(!text.contains("Python 3.13"), "{text}");
    assert!(with(None).contains("have names with Python 3.13 or later"), "{text}");
    let mut library = samples(400);
    library.crates.insert("_json.cpython-313-x86_64-linux-gnu.so".into(), 50);
    assert!(profile::of_process(&library).contains("  by _json  "), "{text}");
    let other = profile::of_process(&samples(400));
    assert!(!other.contains("Python functions"), "no Python: {other}");
}
