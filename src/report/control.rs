//! Whether a known difference was found again.
//!
//! What is added to every request is time by the server's clock, which keeps an account of it, so that what is to be
//! found is known to some nanoseconds: the account is of the warm-up as well. It is looked for beside the rung as it is,
//! whose twin is the rung as well. Where that rung's server has to wait for the load generator, its cost has sleeping,
//! waking and small batches in it, and that of one that is kept busy has not: 500 ns more came to 458 to 497 so. There it
//! is looked for on top of as much again, if that keeps the server busy.

use crate::record::validity::OTHERS_MAX;
use crate::record::{DelayTotals, Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::location::{self, Sample};

use super::delta::server_costs;
use super::{noise, status, units};

/// A known cost and what was found of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// The rung.
    pub rung: String,
    /// What was added to every request, by the clocks of the servers.
    pub added_ns: f64,
    /// What was found.
    pub found_ns: Interval,
    /// What it was added to.
    pub base: Base,
}

/// What a known cost was added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The rung.
    Busy,
    /// The rung with as much added before: by itself its server has to wait for the load generator.
    KeptBusy,
    /// The rung, though its server has to wait for the load generator.
    Idle,
}

impl Control {
    /// What the control among `cells`, the trials of a table by cell, says; `None` if there is none.
    pub(super) fn of(cells: &[Vec<&Trial>]) -> Option<Control> {
        let mut spins: Vec<&[&Trial]> = cells.iter().map(Vec::as_slice).collect();
        spins.retain(|trials| asked_ns(trials).is_some() && !server_costs(trials).is_empty());
        spins.sort_by_key(|trials| asked_ns(trials));
        let (less, more) = (*spins.first()?, *spins.last()?);
        let rung = &less[0].rung;
        let usual = noise::cell(cells, rung, Variant::Usual)?;
        let base = match status::is_server_idle(usual) {
            false => Base::Busy,
            true if spins.len() > 1 && !status::is_server_idle(less) => Base::KeptBusy,
            true => Base::Idle,
        };
        let (costs, added) = if base == Base::KeptBusy {
            let costs = location::differences(&server_costs(more), &server_costs(less));
            (costs, location::differences(&spent(more), &spent(less)))
        } else {
            // Two trials of a block say more of it than one.
            let twin = noise::cell(cells, rung, Variant::Twin).map(server_costs);
            let usual = location::means(&server_costs(usual), &twin.unwrap_or_default());
            (location::differences(&server_costs(less), &usual), spent(less))
        };
        // The part of the cost that the servers' clocks do not account for is all that is uncertain.
        let beyond = location::differences(&costs, &added);
        let is_used = |added: &&Sample| beyond.iter().any(|used| used.round == added.round);
        let mut added: Vec<f64> = added.iter().filter(is_used).map(|added| added.value).collect();
        let added_ns = location::location(&mut added);
        let found_ns = Bootstrap::default().blocks(&beyond)?.plus(added_ns);
        Some(Control { rung: rung.clone(), added_ns, found_ns, base })
    }

    /// The line below the table.
    pub(super) fn line(&self) -> String {
        let Control { rung, added_ns, found_ns, base } = self;
        let found = units::time_interval(found_ns);
        let base = match base {
            Base::Busy => "",
            Base::KeptBusy => ", kept busy by as much again,",
            Base::Idle => ", whose server waits for requests,",
        };
        let said = match (found_ns.contains(0.0), found_ns.contains(*added_ns)) {
            (Some(true), _) => "this run cannot resolve such a difference",
            (Some(false), Some(true)) => "found",
            (Some(false), _) => "NOT found: do not trust small differences here",
            (None, _) => "too few blocks to say",
        };
        format!(
            "control: {rung}{base} with {added_ns:.0} ns added to each request costs {found} more: {said}"
        )
    }
}

/// What was to be added to each request of these trials, if something was.
fn asked_ns(trials: &[&Trial]) -> Option<u64> {
    match trials[0].variant {
        Variant::Delayed { ns } => Some(ns),
        Variant::Usual | Variant::Twin | Variant::Null | Variant::Build { .. } => None,
    }
}

/// What was added to each request, block by block; what was to be where no server kept an account. One that had to wait
/// for its core counted that time too, so that its account says nothing.
fn spent(trials: &[&Trial]) -> Vec<Sample> {
    let asked = asked_ns(trials).unwrap_or_default() as f64;
    let account = |trial: &Trial| match trial.server.as_ref()?.injected_delay? {
        DelayTotals { messages: 0, .. } => None,
        DelayTotals { messages, ns } => Some(ns as f64 / messages as f64),
    };
    let has_waited = |trial: &Trial| {
        trial.sched_stats.zip(trial.disturbance).is_some_and(|(waits, account)| {
            waits.others_ns as f64 > OTHERS_MAX * account.wall_ns as f64
        })
    };
    if trials.iter().all(|trial| account(trial).is_none()) {
        return trials.iter().map(|trial| Sample { round: trial.round, value: asked }).collect();
    }
    let sample = |trial: &&Trial| {
        let value = account(trial).filter(|_| !has_waited(trial))?;
        Some(Sample { round: trial.round, value })
    };
    trials.iter().filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::disturbance::Disturbance;
    use crate::probe::sched_stats::SchedStats;
    use crate::record::{Outcome, ServerReport};
    use crate::report::delta::tests::trial;

    /// A trial of a server that was `busy_percent` of the time, and spent `spun_ns` beside each echo.
    fn spinning(round: u32, asked_ns: u64, cost_ns: u64, spun_ns: u64, busy_percent: u64) -> Trial {
        let mut trial = trial("tokio/tonic/npy", round, cost_ns);
        if let Outcome::Measured(measured) = &mut trial.outcome {
            measured.wall_ns = cost_ns * measured.requests * 100 / busy_percent;
        }
        if asked_ns > 0 {
            trial.cell = asked_ns as u32;
            trial.variant = Variant::Delayed { ns: asked_ns };
            let spun = Some(DelayTotals { messages: 10, ns: spun_ns * 10 });
            trial.server = Some(ServerReport { injected_delay: spun, ..ServerReport::default() });
        }
        trial
    }

    fn control(trials: &[Trial]) -> Control {
        let mut cells: Vec<Vec<&Trial>> = Vec::new();
        for cell in [0, 1, 500, 1000] {
            cells.push(trials.iter().filter(|trial| trial.cell == cell).collect());
        }
        cells.retain(|trials| !trials.is_empty());
        Control::of(&cells).expect("a spin is among them")
    }

    /// Ten blocks of a busy rung and of the rung with a spin that costs `spun_ns` where 500 were asked and spent.
    fn busy(spun_ns: u64) -> Control {
        let block = |round| {
            let luck = u64::from(round * 7 % 5) * 20;
            let spin = spinning(round, 500, 5040 + spun_ns, 500, 99);
            [spinning(round, 0, 5000 + luck, 0, 99), spin]
        };
        control(&(0..10).flat_map(block).collect::<Vec<_>>())
    }

    #[test]
    fn a_known_cost_is_found_or_said_to_be_missed() {
        for (spun, want) in [(500, "more: found"), (5, "cannot resolve"), (900, "NOT found")] {
            let line = busy(spun).line();
            assert!(line.contains(want), "{line}");
            assert!(line.contains("npy with 500 ns added to each request costs"), "{line}");
        }
    }

    #[test]
    fn what_the_server_spent_counts_and_not_what_it_was_asked() {
        // Each block spends another time, and the cost is more by just that.
        let block = |round| {
            let spent = 480 + u64::from(round * 7 % 5) * 20;
            let spin = spinning(round, 500, 5000 + spent, spent, 99);
            [spinning(round, 0, 5000, 0, 99), spin]
        };
        let control = control(&(0..10).flat_map(block).collect::<Vec<_>>());
        assert_eq!((control.added_ns, control.base), (520.0, Base::Busy));
        assert_eq!(control.found_ns.range, Some((520.0, 520.0)));
    }

    /// Ten blocks of a rung at 200 ns, busy so much, and with 500 ns, busy so much, and 1000 ns more: 470 and 500.
    fn idle(busy_percent: u64, spinning_percent: u64) -> Vec<Trial> {
        let block = |round| {
            let luck = u64::from(round * 7 % 5) * 2;
            [
                spinning(round, 0, 200 + luck, 0, busy_percent),
                spinning(round, 500, 674 - luck, 500, spinning_percent),
                spinning(round, 1000, 1170, 1000, 99),
            ]
        };
        (0..10).flat_map(block).collect()
    }

    #[test]
    fn beside_a_server_that_waits_it_is_looked_for_on_top_of_another() {
        let line = |busy, spinning| control(&idle(busy, spinning)).line();
        let kept = line(60, 99);
        assert!(kept.contains("npy, kept busy by as much again, with 500 ns"), "{kept}");
        assert!(kept.ends_with("more: found"), "{kept}");
        let busy = line(99, 99);
        assert!(busy.contains("npy with 500 ns") && busy.contains("NOT found"), "{busy}");
        let idle = line(60, 80);
        assert!(idle.contains("npy, whose server waits for requests, with 500 ns"), "{idle}");
        assert!(idle.contains("NOT found"), "{idle}");
    }

    #[test]
    fn without_the_second_the_first_is_looked_for_all_the_same() {
        let mut trials = idle(60, 99);
        let failed = Outcome::Failed { reason: "it fell over".into(), stderr: String::new() };
        for trial in trials.iter_mut().filter(|trial| trial.cell == 1000) {
            trial.outcome = failed.clone();
        }
        assert_eq!(control(&trials).base, Base::Idle);
        trials.retain(|trial| trial.cell != 1000);
        assert_eq!(control(&trials).base, Base::Idle);
    }

    #[test]
    fn the_twin_is_the_rung_as_well() {
        let block = |round| {
            let twin = Trial { cell: 1, variant: Variant::Twin, ..spinning(round, 0, 5200, 0, 99) };
            [spinning(round, 0, 5000, 0, 99), twin, spinning(round, 500, 5600, 500, 99)]
        };
        let control = control(&(0..10).flat_map(block).collect::<Vec<_>>());
        assert_eq!(control.found_ns.range, Some((500.0, 500.0)));
    }

    #[test]
    fn blocks_that_do_not_count_say_nothing_of_what_was_added() {
        let block = |round| [spinning(round, 0, 5000, 0, 99), spinning(round, 500, 5500, 500, 99)];
        let mut trials: Vec<Trial> = (0..10).flat_map(block).collect();
        let spun = |ns| {
            Some(ServerReport {
                injected_delay: Some(DelayTotals { messages: 1, ns }),
                ..Default::default()
            })
        };
        (trials[1].discarded, trials[1].server) = (Some("disturbed".into()), spun(9000));
        trials[3].server = spun(9000);
        trials[3].sched_stats = Some(SchedStats { others_ns: 100_000, ..SchedStats::default() });
        trials[3].disturbance = Some(Disturbance { wall_ns: 1_000_000, ..Disturbance::default() });
        trials[5].server = None;
        let control = control(&trials);
        assert_eq!((control.added_ns, control.found_ns.units), (500.0, 7));
        assert_eq!(control.found_ns.range, Some((500.0, 500.0)));
    }

    #[test]
    fn servers_that_keep_no_account_added_what_they_were_asked_to() {
        let mut trials = idle(99, 99);
        for trial in &mut trials {
            trial.server = None;
        }
        assert_eq!(control(&trials).added_ns, 500.0);
    }

    #[test]
    fn a_few_blocks_say_nothing() {
        let mut trials = idle(99, 99);
        trials.retain(|trial| trial.round < 3);
        assert!(control(&trials).line().ends_with("too few blocks to say"));
    }
}
