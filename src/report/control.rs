//! Whether a known difference was found again.
//!
//! What is added to every request is time by the server's clock, which keeps an account of it, so that what is to be
//! found is known to a few nanoseconds. It is looked for beside the rung as it is, whose twin is the rung as well. Where that
//! rung's server has to wait for the load generator, sleeping and waking are in its cost, and in that of one that is kept busy
//! they are not: 500 ns more came to 460 to 500 so. There it is looked for on top of as much again, since both servers are
//! then busy.

use crate::record::{Spun, Trial, Variant};
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
    /// Whether as much had been added before.
    pub is_on_top: bool,
}

impl Control {
    /// What the control among `cells`, the trials of a table by cell, says; `None` if there is none.
    pub(super) fn of(cells: &[Vec<&Trial>]) -> Option<Control> {
        let mut spins: Vec<&[&Trial]> =
            cells.iter().map(Vec::as_slice).filter(|trials| asked_ns(trials).is_some()).collect();
        spins.sort_by_key(|trials| asked_ns(trials));
        let (less, more) = (*spins.first()?, *spins.last()?);
        let rung = &less[0].rung;
        let usual = noise::cell(cells, rung, Variant::Usual)?;
        let is_on_top = spins.len() > 1 && status::waits(usual);
        let (costs, added) = if is_on_top {
            let costs = location::differences(&server_costs(more), &server_costs(less));
            (costs, location::differences(&spent(more), &spent(less)))
        } else {
            // Two trials of a block say more of it than one.
            let twin = noise::cell(cells, rung, Variant::Twin).map(server_costs);
            let usual = location::means(&server_costs(usual), &twin.unwrap_or_default());
            (location::differences(&server_costs(less), &usual), spent(less))
        };
        // The part of the cost that the servers' clocks do not account for is all that is uncertain.
        let beyond = Bootstrap::default().blocks(&location::differences(&costs, &added))?;
        let added_ns = location::location(&mut added.iter().map(|s| s.value).collect::<Vec<_>>());
        let found_ns = beyond.plus(added_ns);
        Some(Control { rung: rung.clone(), added_ns, found_ns, is_on_top })
    }

    /// The line below the table.
    pub(super) fn line(&self) -> String {
        let Control { rung, added_ns, found_ns, is_on_top } = self;
        let found = units::time_interval(found_ns);
        let busy = if *is_on_top { ", kept busy by as much again," } else { "" };
        let said = match (found_ns.contains(0.0), found_ns.contains(*added_ns)) {
            (Some(true), _) => "this run cannot resolve such a difference",
            (Some(false), Some(true)) => "found",
            (Some(false), _) => "NOT found: do not trust small differences here",
            (None, _) => "too few blocks to say",
        };
        format!(
            "control: {rung}{busy} with {added_ns:.0} ns added to each request costs {found} more: {said}"
        )
    }
}

/// What was to be added to each request of these trials, if something was.
fn asked_ns(trials: &[&Trial]) -> Option<u64> {
    match trials[0].variant {
        Variant::Spin { ns } => Some(ns),
        Variant::Usual | Variant::Twin | Variant::Null | Variant::Build { .. } => None,
    }
}

/// What was added to each request, block by block; of a server that kept no account, what was to be.
fn spent(trials: &[&Trial]) -> Vec<Sample> {
    let asked = asked_ns(trials).unwrap_or_default() as f64;
    let value = |trial: &Trial| match trial.server.as_ref().and_then(|server| server.spun) {
        Some(Spun { messages, ns }) if messages > 0 => ns as f64 / messages as f64,
        _ => asked,
    };
    trials.iter().map(|trial| Sample { round: trial.round, value: value(trial) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
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
            trial.variant = Variant::Spin { ns: asked_ns };
            let spun = Some(Spun { messages: 10, ns: spun_ns * 10 });
            trial.server = Some(ServerReport { spun, ..ServerReport::default() });
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
        assert_eq!((control.added_ns, control.is_on_top), (520.0, false));
        assert_eq!(control.found_ns.range, Some((520.0, 520.0)));
    }

    #[test]
    fn beside_a_server_that_waits_it_is_looked_for_on_top_of_another() {
        let blocks = |busy_percent| {
            let block = move |round| {
                let luck = u64::from(round * 7 % 5) * 2;
                let waiting = spinning(round, 0, 200 + luck, 0, busy_percent);
                let (once, twice) = (674 - luck, 1170);
                [
                    waiting,
                    spinning(round, 500, once, 500, 99),
                    spinning(round, 1000, twice, 1000, 99),
                ]
            };
            control(&(0..10).flat_map(block).collect::<Vec<_>>())
        };
        let line = blocks(60).line();
        assert!(line.contains("npy, kept busy by as much again, with 500 ns"), "{line}");
        assert!(line.ends_with("more: found"), "{line}");
        let line = blocks(99).line();
        assert!(line.contains("npy with 500 ns") && line.contains("NOT found"), "{line}");
    }
}
