//! Tests of the delay control.

use crate::probe::disturbance::Disturbance;
use crate::probe::sched_stats::SchedStats;
use crate::record::tests::trial;
use crate::record::{DelayTotals, Outcome, ServerReport, Trial, Variant};
use crate::report::cell::CellTrials;
use crate::report::control::{Base, Control};
use crate::stats::bootstrap::Bootstrap;
use crate::stats::family::Family;

/// Trial with `delay_ns` of counted delay per message and a server busy for `busy_percent`.
fn delayed(round: u32, requested_ns: u64, cost_ns: u64, delay_ns: u64, busy_percent: u64) -> Trial {
    let mut trial = trial("tokio/tonic/npy", round, cost_ns);
    if let Outcome::Measured(measured) = &mut trial.outcome {
        measured.wall_ns = cost_ns * measured.requests * 100 / busy_percent;
    }
    if requested_ns > 0 {
        trial.cell = requested_ns as u32;
        trial.variant = Variant::Delayed { ns: requested_ns };
        let injected_delay = Some(DelayTotals { messages: 10, ns: delay_ns * 10 });
        trial.server = Some(ServerReport { injected_delay, ..ServerReport::default() });
    }
    trial
}

fn control(trials: &[Trial]) -> Control {
    let cell = |cell| CellTrials(trials.iter().filter(|trial| trial.cell == cell).collect());
    let mut cells = [1, 2, 500, 700].map(cell).to_vec();
    cells.retain(|cell| !cell.0.is_empty());
    Control::evaluate(&cells, &Family::new(Bootstrap::default(), &[]))
        .expect("a delayed cell is among them")
}

/// Ten blocks of a busy rung, and of the rung with a delay of 500 ns that costs `found_ns`.
fn busy(found_ns: u64) -> Control {
    let block = |round| {
        let scatter = u64::from(round * 7 % 5) * 20;
        let delay = delayed(round, 500, 5040 + found_ns, 500, 99);
        [delayed(round, 0, 5000 + scatter, 0, 99), delay]
    };
    control(&(0..10).flat_map(block).collect::<Vec<_>>())
}

#[test]
fn a_known_delay_is_found_or_reported_as_missed() {
    let cases = [
        (5, "cannot resolve"),
        (400, "NOT found"),
        (500, "more: found"),
        (600, "more: found, with more"),
        (700, "NOT found"),
    ];
    for (found, want) in cases {
        let line = busy(found).line();
        assert!(line.contains(want), "{line}");
        assert!(line.contains("npy with 500 ns added to each request costs"), "{line}");
        assert_eq!(line.ends_with("more: found"), found == 500, "{line}");
    }
}

#[test]
fn the_counted_delay_stands_not_the_requested_one() {
    let block = |round| {
        let delay_ns = 480 + u64::from(round * 7 % 5) * 20;
        let delay = delayed(round, 500, 5000 + delay_ns, delay_ns, 99);
        [delayed(round, 0, 5000, 0, 99), delay]
    };
    let control = control(&(0..10).flat_map(block).collect::<Vec<_>>());
    assert_eq!((control.added_ns, control.base), (520.0, Base::Busy));
    assert_eq!(control.found_ns.range, Some((520.0, 520.0)));
}

/// A rung at 200 ns, which costs 470 ns more with a delay of 500 ns, and 670 more with 700 ns.
fn idle(busy_percent: u64, delayed_percent: u64) -> Vec<Trial> {
    twice_delayed(busy_percent, delayed_percent, 99)
}

/// The same, with the share of its time for which each of the three servers is busy.
fn twice_delayed(busy_percent: u64, delayed_percent: u64, more_percent: u64) -> Vec<Trial> {
    let block = |round| {
        let scatter = u64::from(round * 7 % 5) * 2;
        [
            delayed(round, 0, 200 + scatter, 0, busy_percent),
            delayed(round, 500, 674 - scatter, 500, delayed_percent),
            delayed(round, 700, 870, 700, more_percent),
        ]
    };
    (0..10).flat_map(block).collect()
}

#[test]
fn a_waiting_server_is_kept_busy_by_a_first_delay() {
    let line = |busy, delayed| control(&idle(busy, delayed)).line();
    let kept = line(60, 99);
    assert!(kept.contains("npy with 200 ns") && kept.contains("keeps the server busy"), "{kept}");
    assert!(kept.ends_with("more: found"), "{kept}");
    let busy = line(99, 99);
    assert!(busy.contains("npy with 500 ns") && busy.contains("NOT found"), "{busy}");
    let idle = line(60, 80);
    assert!(
        idle.contains("npy with 500 ns") && idle.contains("the server waits for requests"),
        "{idle}"
    );
    assert!(idle.contains("NOT found"), "{idle}");
}

#[test]
fn a_first_delay_keeps_a_server_busy_if_a_second_keeps_it_no_busier() {
    let base = |busy, delayed, more| control(&twice_delayed(busy, delayed, more)).base;
    assert_eq!(base(75, 88, 90), Base::KeptBusy);
    assert_eq!(base(75, 83, 90), Base::Idle, "the second delay still fills idle time");
    assert_eq!(base(40, 42, 43), Base::Idle, "a delay does not keep a server of one call busy");
}

#[test]
fn without_a_second_delay_the_first_is_compared_with_the_plain_rung() {
    let mut trials = idle(60, 99);
    let failed = Outcome::Failed { reason: "it fell over".into(), stderr: String::new() };
    for trial in trials.iter_mut().filter(|trial| trial.cell == 700) {
        trial.outcome = failed.clone();
    }
    assert_eq!(control(&trials).base, Base::Idle);
    trials.retain(|trial| trial.cell != 700);
    assert_eq!(control(&trials).base, Base::Idle);
}

#[test]
fn the_twin_counts_as_the_plain_rung() {
    let block = |round| {
        let twin = Trial { cell: 2, variant: Variant::Twin, ..delayed(round, 0, 5200, 0, 99) };
        [delayed(round, 0, 5000, 0, 99), twin, delayed(round, 500, 5600, 500, 99)]
    };
    let control = control(&(0..10).flat_map(block).collect::<Vec<_>>());
    // The ratio is taken to the geometric mean of 5000 and 5200, which is 1 below their mean.
    let (low, high) = control.found_ns.range.expect("ten blocks");
    assert!((500.9..501.1).contains(&low) && high - low < 1e-6, "{low} {high}");
}

#[test]
fn the_delay_is_taken_from_the_blocks_that_count() {
    let block = |round| [delayed(round, 0, 5000, 0, 99), delayed(round, 500, 5500, 500, 99)];
    let mut trials: Vec<Trial> = (0..10).flat_map(block).collect();
    let server = |ns| {
        let injected_delay = Some(DelayTotals { messages: 1, ns });
        Some(ServerReport { injected_delay, ..ServerReport::default() })
    };
    (trials[1].discarded, trials[1].server) = (Some("disturbed".into()), server(9000));
    trials[3].server = server(9000);
    trials[3].sched_stats = Some(SchedStats { others_ns: 100_000, ..SchedStats::default() });
    trials[3].disturbance = Some(Disturbance { wall_ns: 1_000_000, ..Disturbance::default() });
    trials[5].server = None;
    let control = control(&trials);
    assert_eq!((control.added_ns, control.found_ns.units), (500.0, 7));
    assert_eq!(control.found_ns.range, Some((500.0, 500.0)));
}

#[test]
fn without_a_count_the_requested_delay_stands() {
    let mut trials = idle(99, 99);
    for trial in &mut trials {
        trial.server = None;
    }
    assert_eq!(control(&trials).added_ns, 500.0);
}

#[test]
fn few_blocks_do_not_tell() {
    let mut trials = idle(99, 99);
    trials.retain(|trial| trial.round < 3);
    assert!(control(&trials).line().ends_with("too few blocks to tell"));
}
