//! Tests of comparisons.

use crate::probe::background_load::BackgroundLoad;
use crate::probe::tracer::Allocations;
use crate::record::tests::{header, trial, with};
use crate::record::{Counts, Header, Outcome, RequestCounts, Side, Trial, Variant};
use crate::report::compare::{Comparison, Measure, is_resolved};
use crate::report::{Run, compare_runs};
use crate::stats::verdict::{Floor, Verdict};

/// Returns the text on one line.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

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
        ..RequestCounts::default()
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
        flat(&text).starts_with("warning: before the first launch, other programs used 70 %"),
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
    let line = "allocations per request: cannot be counted in the old build";
    assert!(flat(&text).contains(line), "{text}");
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
    let comparison = compare_runs::compare(&of(1000), &of(1200), Floor::of_share(0.02));
    assert_eq!(comparison.objections(), ["uring/h1/npy 8 B 1x1000 is slower"]);
    assert!(comparison.has_costs());
}

const OWN: &str = "uring/h2/protobuf";

const TONIC: &str = "tokio/tonic/protobuf:prost";

/// Launches of a run in which a call to tonic costs `tonic_ns`, and one to our server `ratio` of
/// it. In each launch, the machine has another speed for both. `twin` is a second tonic's share.
fn run_with(launches: u32, tonic_ns: f64, ratio: f64, twin: f64) -> Run {
    let launch = |round: u32| {
        let speed = 1.0 + 0.1 * f64::from(round * 7 % 5);
        let scatter = 1.0 + 0.004 * f64::from(round * 3 % 5);
        let of = |cell: u32, rung: &str, cost_ns: f64| Trial {
            cell,
            reference: Some(TONIC.to_owned()),
            ..trial(rung, round, cost_ns as u64)
        };
        let tonic_ns = tonic_ns * speed;
        let again = of(2, TONIC, tonic_ns * if round.is_multiple_of(2) { twin } else { 1.0 });
        [
            of(0, TONIC, tonic_ns),
            of(1, OWN, tonic_ns * ratio * scatter),
            Trial { variant: Variant::Twin, ..again },
        ]
    };
    run((0..launches).flat_map(launch).collect())
}

fn verdicts(old: &Run, new: &Run) -> Vec<(String, Verdict)> {
    let comparison = compare_runs::compare(old, new, Floor::of_share(0.02));
    let judged = comparison.cells.iter().filter(|cell| cell.measure == Measure::ToStandard);
    judged.map(|cell| (cell.name.clone(), cell.result.as_ref().expect("a ratio").1)).collect()
}

#[test]
fn a_slower_machine_is_no_slower_server() {
    let before = run_with(8, 500_000.0, 0.35, 1.0);
    let own = format!("{OWN} 8 B 1x1000");
    for (ratio, want) in [
        (0.35, Verdict::Same),
        (0.353, Verdict::Same),
        (0.385, Verdict::Slower),
        (0.315, Verdict::Faster),
    ] {
        // A third less of everything per second, and some launches less.
        let now = run_with(7, 750_000.0, ratio, 1.0);
        assert_eq!(verdicts(&before, &now), [(own.clone(), want)], "{ratio}");
    }
    let few = run_with(2, 500_000.0, 0.35, 1.0);
    assert_eq!(verdicts(&before, &few), [(own, Verdict::Unknown)]);
}

#[test]
fn a_standard_server_is_shown_without_a_verdict() {
    let old = run_with(8, 500_000.0, 0.35, 1.0);
    let comparison =
        compare_runs::compare(&old, &run_with(8, 750_000.0, 0.35, 1.0), Floor::default());
    assert_eq!((comparison.objections().len(), comparison.no_verdict()), (0, None));
    assert!(!comparison.has_costs());
    let text = comparison.render();
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).expect(start);
    assert!(
        line("  tokio/tonic").ends_with("]") && line("  tokio/tonic").contains("1.50 ["),
        "{text}"
    );
    assert!(line("  uring/h2").ends_with("same"), "{text}");
    assert!(flat(&text).contains("and the noise of both runs"), "{text}");
}

#[test]
fn a_difference_within_the_noise_of_a_run_is_none() {
    let [old, new] = [1.0, 1.2].map(|twin| run_with(8, 500_000.0, 0.35, twin));
    let slower = run_with(8, 500_000.0, 0.375, 1.0);
    assert_eq!(verdicts(&old, &slower)[0].1, Verdict::Slower);
    assert_eq!(verdicts(&new, &slower)[0].1, Verdict::Same);
}

#[test]
fn a_rung_without_its_standard_server_is_compared_by_cost() {
    let old = run_with(8, 500_000.0, 0.35, 1.0);
    let mut new = run_with(8, 500_000.0, 0.35, 1.0);
    for trial in new.trials.iter_mut().filter(|trial| trial.rung == TONIC) {
        trial.outcome = Outcome::Failed { reason: "died".into(), stderr: String::new() };
    }
    let comparison = compare_runs::compare(&old, &new, Floor::of_share(0.02));
    assert!(comparison.has_costs());
    let failed = format!("{TONIC} 8 B 1x1000: new: INVALID in 8 of 8 rounds: died");
    assert_eq!(comparison.objections(), [failed]);
}

#[test]
fn a_comparison_without_a_verdict_says_why() {
    let threshold = Floor::of_share(0.02);
    let of = |rung: &str, rounds| run((0..rounds).map(|round| trial(rung, round, 1000)).collect());
    let compared = |old: &Run, new: &Run| compare_runs::compare(old, new, threshold);
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
        assert!(flat(&text).ends_with(&reason) && !text.contains("same: no"), "{text}");
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
    assert!(flat(&text).ends_with("there is no verdict on 1 of 2 cells"), "{text}");
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

#[test]
fn lines_of_a_comparison_fit_a_hundred_columns() {
    let reason = format!("ended early: {}", "/a/long/path".repeat(20));
    let failed = Outcome::Failed { reason, stderr: String::new() };
    let named = |trial: Trial| Trial { rung: format!("external/{}/npy", "n".repeat(70)), ..trial };
    let mut trials = builds(1.0);
    trials.extend([Side::Old, Side::New].map(|side| named(counted(side, 2, None, 0))));
    trials.extend(builds(1.1).into_iter().map(named));
    let run = |trials: &[Trial]| run(trials.to_vec());
    let fine = Comparison::of_builds(&run(&trials), Floor::of_share(0.02)).render();
    let failed = trials.iter().map(|trial| with(trial.clone(), failed.clone()));
    let failed =
        Comparison::of_builds(&run(&failed.collect::<Vec<_>>()), Floor::default()).render();
    for text in [fine, failed] {
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{widest:?}\n{text}");
    }
}
