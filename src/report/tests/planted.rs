//! Tests of planted costs, over records of servers that spend them where they claim or elsewhere.

use crate::axis::Layer;
use crate::probe::disturbance::Disturbance;
use crate::probe::sched_stats::SchedStats;
use crate::record::tests::{header, trial};
use crate::record::{DelayTotals, ServerReport, Trial, Variant};
use crate::report::closure::{Finding, Planted, render, sections};
use crate::report::{Run, csv};

use super::closure::{LAUNCHES, Layers, flat, profile};

pub(super) const OWN: &str = "uring/h2/protobuf";
const TONIC: &str = "tokio/tonic/protobuf:prost";
pub(super) const ADDED_NS: u64 = 500;

const PLAIN: [(Layer, u64); 3] =
    [(Layer::CodecDecode, 200), (Layer::HttpFraming, 300), (Layer::Runtime, 100)];

/// Layers of a server that spends `ns` more in one of them.
pub(super) fn with(layer: Layer, ns: u64) -> Vec<(Layer, u64)> {
    let mut layers = PLAIN.to_vec();
    match layers.iter_mut().find(|(other, _)| *other == layer) {
        Some((_, cost)) => *cost += ns,
        None => layers.push((layer, ns)),
    }
    layers
}

/// Launches of a rung with a cost that is claimed to be `ADDED_NS` in `claimed`.
pub(super) fn run(rung: &str, claimed: Layer, planted: Layers<'_>) -> Run {
    let cost = |layers: Layers<'_>| layers.iter().map(|(_, ns)| ns).sum::<u64>();
    let of = |is_profiled| Variant::Planted { layer: claimed, ns: ADDED_NS, is_profiled };
    let launch = |round: u32| {
        let scatter = u64::from(round % 3);
        let plain = Trial { parent: None, cell: 0, ..trial(rung, round, cost(&PLAIN) + scatter) };
        let injected_delay = Some(DelayTotals { messages: 10, ns: ADDED_NS * 10 });
        let server = Some(ServerReport { injected_delay, ..ServerReport::default() });
        let cost = cost(planted) + scatter;
        let planted_usual =
            Trial { cell: 2, variant: of(false), server, ..trial(rung, round, cost) };
        let sampled = |cell, variant, layers| Trial {
            cell,
            variant,
            profile: Some(Box::new(profile(layers))),
            ..plain.clone()
        };
        [
            sampled(1, Variant::Profiled, &PLAIN),
            sampled(3, of(true), planted),
            planted_usual,
            plain.clone(),
        ]
    };
    let mut header = header();
    header.preset = "chains".into();
    Run::new(header, (0..LAUNCHES).flat_map(launch).collect())
}

fn only(run: &Run) -> Planted {
    let mut planted: Vec<Planted> = sections(run).into_iter().flat_map(|it| it.planted).collect();
    assert_eq!(planted.len(), 1);
    planted.remove(0)
}

#[test]
fn a_cost_is_found_in_the_layer_that_it_was_planted_in() {
    for layer in [Layer::CodecDecode, Layer::Runtime, Layer::Allocator] {
        let run = run(OWN, layer, &with(layer, ADDED_NS));
        let planted = only(&run);
        assert_eq!(planted.finding, Finding::Found, "{layer}: {:?}", planted.pair.declared);
        assert!((planted.added_ns - 500.0).abs() < 1.0);
        let text = flat(&render(&run, 100).expect("it is attributed"));
        assert!(text.contains("Planted: 1 of 1 known costs were found"), "{text}");
        assert!(text.contains(&format!("500 ns were planted in {layer}: found")), "{text}");
    }
}

#[test]
fn a_cost_that_makes_other_layers_dearer_is_not_found_by_the_clock() {
    let mut planted = with(Layer::Runtime, ADDED_NS);
    planted.push((Layer::KernelCopy, 120));
    let run = run(OWN, Layer::Runtime, &planted);
    assert_eq!(only(&run).finding, Finding::DearerElsewhere);
    let text = flat(&render(&run, 100).expect("it is attributed"));
    assert!(text.contains("the samples show them in their layer; other layers"), "{text}");
    assert!(text.contains("1 were NOT found"), "{text}");
}

#[test]
fn the_account_of_servers_that_all_waited_is_corrected_by_their_waits() {
    let mut run = run(OWN, Layer::Runtime, &with(Layer::Runtime, ADDED_NS));
    for trial in run.trials.iter_mut().filter(|trial| trial.server.is_some()) {
        trial.disturbance = Some(Disturbance { wall_ns: 1000, ..Disturbance::default() });
        trial.sched_stats = Some(SchedStats { others_ns: 40, ..SchedStats::default() });
    }
    let planted = only(&run);
    assert!((planted.added_ns - 480.0).abs() < 1.0, "{}", planted.added_ns);
    assert_eq!(planted.finding, Finding::Found);
}

#[test]
fn a_cost_in_another_layer_than_claimed_is_reported() {
    for (claimed, really) in [
        (Layer::CodecDecode, Layer::HttpFraming),
        (Layer::HttpFraming, Layer::CodecDecode),
        (Layer::Allocator, Layer::UserCopies),
        (Layer::Runtime, Layer::Unattributed),
    ] {
        let run = run(OWN, claimed, &with(really, ADDED_NS));
        assert_eq!(only(&run).finding, Finding::Elsewhere(really), "claimed {claimed}");
        let text = flat(&render(&run, 100).expect("it is attributed"));
        let wanted = format!("planted in {claimed}: NOT found there, most of them lie in {really}");
        assert!(text.contains(&wanted), "{text}");
        assert!(text.contains("1 were NOT found; do not trust the layers of this run"), "{text}");
    }
}

#[test]
fn a_cost_of_another_size_is_reported_by_the_tolerance_of_its_stack() {
    let found = |rung: &str, ns| only(&run(rung, Layer::Allocator, &with(Layer::Allocator, ns)));
    for (rung, near, far) in [(OWN, 460, 430), (TONIC, 420, 380)] {
        assert_eq!(found(rung, near).finding, Finding::Found, "{rung}");
        assert_eq!(found(rung, far).finding, Finding::WrongSize, "{rung}");
    }
}

#[test]
fn a_cost_within_the_noise_cannot_be_resolved() {
    let mut run = run(OWN, Layer::Allocator, &with(Layer::Allocator, ADDED_NS));
    for trial in run.trials.iter_mut().filter(|trial| trial.cell == 3) {
        let ns = if trial.round % 2 == 0 { 0 } else { 1000 };
        trial.profile = Some(Box::new(profile(&with(Layer::Allocator, ns))));
    }
    assert_eq!(only(&run).finding, Finding::Unresolved);
    let text = flat(&render(&run, 100).expect("it is attributed"));
    assert!(text.contains("1 could not be resolved by this run"), "{text}");
    run.trials.retain(|trial| trial.round < 4);
    assert_eq!(only(&run).finding, Finding::TooFewLaunches);
}

#[test]
fn the_csv_has_a_line_for_each_planted_cost() {
    let run = run(OWN, Layer::Allocator, &with(Layer::UserCopies, ADDED_NS));
    let text = csv::render(&run);
    let line = text.lines().find(|line| line.contains("+500 ns in allocator")).expect("a line");
    assert!(line.contains(",elsewhere,") && line.contains("NOT found there"), "{line}");
    let counts: Vec<usize> = {
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        reader.records().map(|record| record.expect("as many fields as heads").len()).collect()
    };
    assert_eq!(counts.len(), 2, "{text}");
}
