//! Tests of comparisons.

use crate::probe::background_load::BackgroundLoad;
use crate::probe::tracer::Allocations;
use crate::record::tests::{header, trial, with};
use crate::record::{Counts, Header, Outcome, RequestCounts, Side, Trial, Variant};
use crate::report::Run;
use crate::report::compare::{Comparison, is_resolved};
use crate::stats::verdict::Floor;

fn run(trials: Vec<Trial>) -> Run {
    Run::new(header(), trials)
}

fn build(side: Side, number: u32, round: u32, cost_ns: u64) -> Trial {
    let variant = Variant::Build { side, number };
    Trial { variant, ..trial("uring/h1/npy", round, cost_ns) }
}

fn builds(ratio: f64) -> Vec<Trial> {
    let both = |round: u32| {
        let cost = |scatter: u32| 100_000 + u64::from(scatter * 7 % 5) * 300;
        let new = (cost(round + 2) as f64 * ratio) as u64;
        [build(Side::Old, 0, round, cost(round)), build(Side::New, 0, round, new)]
    };
    (0..10).flat_map(both).collect()
}

fn counted(side: Side, calls: u64, allocations: Option<u64>, more: u64) -> Trial {
    let counted = |requests: u64| RequestCounts {
        requests,
        calls: 50 + requests * calls,
        bytes_in: 100 * requests,
        bytes_out: 100 * requests,
        allocations: allocations.map(|each| {
            let count = 30 + each * requests;
            Allocations { count, bytes: 64 * count }
        }),
    };
    let (few, mut many) = (counted(200), counted(400));
    many.calls += more;
    Trial { counts: Some(Counts { few, many }), ..build(side, 0, 0, 1) }
}

#[test]
fn a_slower_build_is_an_objection_and_an_equal_build_is_not() {
    let threshold = Floor::of_share(0.02);
    let verdict = |ratio| Comparison::of_builds(&run(builds(ratio)), threshold);
    assert_eq!(verdict(1.1).objections(), ["uring/h1/npy 8 B 1x1000 is slower"]);
    assert_eq!(verdict(1.0).objections(), [""; 0]);
    assert_eq!(verdict(0.9).objections(), [""; 0]);
    assert!(verdict(0.9).render().contains("faster"));
    assert!(is_resolved(&builds(1.0)) && !is_resolved(&builds(1.0)[..4]));
}

#[test]
fn a_comparison_tells_of_a_busy_machine() {
    let load = BackgroundLoad {
        watched_ns: 100,
        client_core_ns: 70,
        all_cores_ns: 70,
        ..BackgroundLoad::default()
    };
    let header = Header { background_load: Some(load), ..header() };
    let run = Run::new(header, builds(1.0));
    let text = Comparison::of_builds(&run, Floor::default()).render();
    assert!(
        text.starts_with("warning: before the first launch, other programs used 70 %"),
        "{text}"
    );
}

fn comparison(counted: impl IntoIterator<Item = Trial>) -> Comparison {
    let mut trials = builds(0.9);
    trials.extend(counted);
    Comparison::of_builds(&run(trials), Floor::of_share(0.02))
}

#[test]
fn a_count_that_grows_is_an_objection_even_if_time_does_not() {
    let both = |old: (u64, u64), new: (u64, u64)| {
        let [old, new] =
            [(Side::Old, old), (Side::New, new)].map(|(side, (calls, allocations))| {
                [0, 40].map(|more| counted(side, calls, Some(allocations), more))
            });
        comparison(old.into_iter().chain(new))
    };
    let calls = both((2, 5), (3, 5)).objections();
    assert_eq!(calls, ["uring/h1/npy 8 B: 2.00 -> 3.00 system calls per request: MORE"]);
    let allocations = both((2, 5), (2, 6)).objections();
    assert_eq!(allocations, ["uring/h1/npy 8 B: 5.00 -> 6.00 allocations per request: MORE"]);
    let fewer = both((2, 5), (1, 0));
    assert_eq!(fewer.objections(), [""; 0]);
    assert!(fewer.render().contains("100.00 -> 100.00 bytes to the client"));
    assert!(fewer.render().contains("320.00 -> 0.00 bytes allocated per request\n"));
}

#[test]
fn uncountable_allocations_are_no_objection() {
    let comparison =
        comparison([counted(Side::Old, 2, None, 0), counted(Side::New, 2, Some(9), 0)]);
    assert_eq!(comparison.objections(), [""; 0]);
    let text = comparison.render();
    assert!(text.contains("allocations per request: cannot be counted in the old build"), "{text}");
}

#[test]
fn page_faults_are_shown() {
    let text = comparison([]).render();
    assert!(text.contains(" 0.5 -> 0.5 "), "{text}");
}

#[test]
fn a_cell_that_fails_on_one_side_is_an_objection() {
    let mut trials = builds(1.0);
    let failed = Outcome::Failed { reason: "died".into(), stderr: String::new() };
    trials.push(with(build(Side::New, 0, 10, 1), failed));
    let objections = Comparison::of_builds(&run(trials), Floor::of_share(0.02)).objections();
    assert_eq!(objections, ["uring/h1/npy 8 B 1x1000: new: INVALID in 1 of 11 rounds: died"]);
}

#[test]
fn runs_are_compared_by_their_cells() {
    let of = |cost| run((0..8).map(|round| trial("uring/h1/npy", round, cost)).collect());
    let comparison = Comparison::of_runs(&of(1000), &of(1200), Floor::of_share(0.02));
    assert_eq!(comparison.objections(), ["uring/h1/npy 8 B 1x1000 is slower"]);
}

#[test]
fn a_comparison_without_a_verdict_says_why() {
    let threshold = Floor::of_share(0.02);
    let of = |rung: &str, rounds| run((0..rounds).map(|round| trial(rung, round, 1000)).collect());
    let compared = |old: &Run, new: &Run| Comparison::of_runs(old, new, threshold);
    let decided = compared(&of("uring/h1/npy", 8), &of("uring/h1/npy", 8));
    assert_eq!(decided.no_verdict(), None);
    assert!(decided.render().contains("same: no difference"));
    let nothing = compared(&run(Vec::new()), &run(Vec::new()));
    let apart = compared(&of("uring/h1/npy", 8), &of("uring/h1/json", 8));
    let failed = Outcome::Failed { reason: "died".into(), stderr: String::new() };
    let failed = run(vec![with(trial("uring/h1/npy", 0, 1), failed)]);
    let failed = compared(&failed, &failed);
    let few = compared(&of("uring/h1/npy", 2), &of("uring/h1/npy", 2));
    for (comparison, why) in [
        (nothing, "nothing was compared: there is no timed trial on either side"),
        (apart, "nothing was compared: the two sides have no cell in common"),
        (failed, "nothing was compared: no cell has a figure on both sides"),
        (few, "no verdict: all cells that were compared are unknown"),
    ] {
        let reason = comparison.no_verdict().expect(why);
        assert!(reason.starts_with(why), "{reason}");
        assert_eq!(comparison.objections(), [""; 0]);
        let text = comparison.render();
        assert!(text.ends_with(&(reason + "\n")) && !text.contains("same: no"), "{text}");
    }
}

#[test]
fn cells_without_a_verdict_are_counted_where_others_have_one() {
    let mut trials = builds(1.0);
    let other = |side| Trial { rung: "uring/h1/json".into(), ..build(side, 0, 0, 1000) };
    trials.extend([other(Side::Old), other(Side::New)]);
    let comparison = Comparison::of_builds(&run(trials), Floor::of_share(0.02));
    assert_eq!(comparison.no_verdict(), None);
    let text = comparison.render();
    assert!(text.ends_with("there is no verdict on 1 of 2 cells\n"), "{text}");
}

#[test]
fn a_cell_that_fails_on_the_old_side_only_is_no_objection() {
    let mut trials = builds(1.0);
    let failed = Outcome::Failed { reason: "died".into(), stderr: String::new() };
    trials.push(with(build(Side::Old, 0, 10, 1), failed));
    let comparison = Comparison::of_builds(&run(trials), Floor::of_share(0.02));
    assert_eq!(comparison.objections(), [""; 0]);
    assert!(comparison.render().contains("old: INVALID in 1 of 11 rounds: died"));
}
