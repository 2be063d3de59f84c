//! Tests of rows and sections.

use crate::record::tests::{trial, with};
use crate::record::{Outcome, Trial};
use crate::report::aggregate::*;
use crate::stats::verdict::Verdict;

fn only_section(trials: &[Trial]) -> Section {
    let mut sections = sections(trials);
    assert_eq!(sections.len(), 1);
    sections.remove(0)
}

#[test]
fn a_row_has_its_cost_and_its_ratio_to_its_parent() {
    let section = only_section(&[
        trial("uring/h1/reflect", 0, 3000),
        trial("uring/raw/reflect", 0, 1000),
        trial("uring/raw/reflect", 1, 2000),
        trial("uring/h1/reflect", 1, 5000),
    ]);
    let [root, child] = section.rows.as_slice() else { panic!("two rows") };
    assert_eq!(root.rung, "uring/raw/reflect");
    assert_eq!(root.result.as_ref().unwrap().to_parent, None);
    let figures = child.result.as_ref().unwrap();
    assert!((figures.cell.server_cpu_ns.unwrap().estimate - 15e6_f64.sqrt()).abs() < 1e-6);
    let Ratio { ratio, verdict, .. } = figures.to_parent.unwrap();
    assert!((ratio.estimate - 7.5_f64.sqrt()).abs() < 1e-9);
    assert_eq!((ratio.range, verdict), (None, Verdict::Unknown));
    assert!((figures.cell.rate_hz.estimate - 100_000.0).abs() < 1e-6);
    assert!(figures.cell.latencies.as_ref().unwrap().quantile(0.5).abs_diff(50_000) < 100);
}

#[test]
fn one_failure_leaves_a_row_and_its_children_without_figures() {
    let failed = Outcome::Failed { reason: "died: no ring".into(), stderr: "a\nno ring".into() };
    let section = only_section(&[
        trial("uring/raw/reflect", 0, 1000),
        with(trial("uring/raw/reflect", 1, 1000), failed),
        trial("uring/h1/reflect", 0, 3000),
    ]);
    let reason = section.rows[0].result.as_ref().unwrap_err();
    assert_eq!(reason, "INVALID in 1 of 2 rounds: died: no ring");
    assert_eq!(section.rows[1].result.as_ref().unwrap().to_parent, None);
}

#[test]
fn a_row_without_figures_has_its_reason() {
    let late = Outcome::DidNotFinish { budget_ns: 2_000_000_000, stderr: String::new() };
    let section = only_section(&[with(trial("uring/raw/reflect", 0, 1), late)]);
    assert_eq!(section.rows[0].result, Err("DNF (budget 2 s)".into()));
    let skipped = Outcome::Skipped { reason: "complex".into() };
    let section = only_section(&[with(trial("uring/raw/reflect", 0, 1), skipped)]);
    assert_eq!(section.rows[0].result, Err("skipped: complex".into()));
}

#[test]
fn another_load_is_another_section() {
    let narrow = trial("uring/raw/reflect", 0, 1000);
    let wide = Trial { connections: 50, in_flight: 50, cell: 2, ..narrow.clone() };
    assert_eq!(sections(&[narrow, wide]).len(), 2);
}

#[test]
fn discarded_trials_do_not_count() {
    let mut trials: Vec<Trial> = (0..6).map(|round| trial("uring/raw/npy", round, 1000)).collect();
    let odd = Trial { discarded: Some("a compiler ran".into()), ..trial("uring/raw/npy", 6, 9000) };
    trials.push(odd);
    let section = only_section(&trials);
    let figures = section.rows[0].result.as_ref().unwrap();
    assert_eq!((figures.cell.rate_hz.units, figures.cell.discarded), (6, 1));
    assert!((figures.cell.server_cpu_ns.unwrap().estimate - 1000.0).abs() < 1e-6);
    assert_eq!(discarded(&trials), (1, 7));
}

fn pair(blocks: u32, ratio: f64) -> Vec<Trial> {
    let cost = |round: u32| 100_000 + u64::from(round * 7 % 5) * 500;
    let both = |round| {
        let child = cost(round + 2) as f64 * ratio;
        [
            trial("uring/raw/reflect", round, cost(round)),
            trial("uring/h1/reflect", round, child as u64),
        ]
    };
    (0..blocks).flat_map(both).collect()
}

#[test]
fn a_difference_needs_enough_blocks_to_be_shown() {
    let verdict = |blocks, ratio| {
        let section = only_section(&pair(blocks, ratio));
        section.rows[1].result.as_ref().unwrap().to_parent.unwrap().verdict
    };
    assert_eq!(verdict(10, 1.1), Verdict::Slower);
    assert_eq!(verdict(10, 0.9), Verdict::Faster);
    assert_eq!(verdict(10, 1.0), Verdict::Same);
    assert_eq!(verdict(4, 1.1), Verdict::Unknown);
}

#[test]
fn a_run_is_resolved_when_its_ratios_are_known() {
    assert!(is_resolved(&pair(10, 1.1)));
    assert!(!is_resolved(&pair(4, 1.1)));
    let mut wild = pair(10, 1.1);
    for trial in wild.iter_mut().filter(|trial| trial.round % 2 == 0 && trial.cell == 1) {
        let Outcome::Measured(measured) = &mut trial.outcome else { unreachable!() };
        measured.server_cpu.as_mut().unwrap().total_ns *= 2;
    }
    assert!(!is_resolved(&wild));
}
