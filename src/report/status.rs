//! Whether a cell's figures are what they are called.
//!
//! | status | means |
//! |---|---|
//! | `VALID` | the server's core was the busy one: the rate is what the server can do |
//! | `CLIENT-LIMITED` | it was not: the rate is a lower bound, printed `>=`; CPU per request stands |
//! | `NOISY` | most trials had to be discarded, so all were used: figures for the eye |
//! | `DNF` | out of its time budget |
//! | `INVALID` | a reply was wrong, or a process failed: no figures |
//!
//! A rate is also a lower bound when it comes near to what the load generator reaches under the same load against a server
//! that does nothing, or when several servers that have nothing in common reach the same one: what they then have in
//! common is the load generator.

use crate::record::{Measurement, Outcome, Trial};

use super::delta::{Ceiling, Figures, Row, measured};
use super::units;

/// Share of its core above which the load generator counts as the limit.
pub(super) const CLIENT_BUSY: f64 = 0.85;

/// Share of its core below which a server was waiting for the load generator.
const SERVER_BUSY: f64 = 0.95;

/// A rate is the server's only if the load generator can do as many times more ([`Ceiling`]).
const CEILING_FACTOR: f64 = 1.5;

/// Rates closer than this are the same.
const PLATEAU: f64 = 0.01;

/// As many rungs besides, of other protocols or drivers, at the same rate are no accident.
const PLATEAU_OTHERS: usize = 3;

/// What a cell's figures are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// What they are called.
    Valid,
    /// The rate is a lower bound.
    ClientLimited(String),
    /// Taken from trials that do not count.
    Noisy(String),
}

impl Status {
    /// The status of a cell that has figures.
    pub(super) fn of(trials: &[&Trial]) -> Status {
        if is_noisy(trials) {
            let discarded: Vec<&str> =
                trials.iter().filter_map(|trial| trial.discarded.as_deref()).collect();
            let (count, all) = (discarded.len(), trials.len());
            return Status::Noisy(format!("{count} of {all} trials: {}", discarded[0]));
        }
        let client = busy(trials, |m| Some(m.client_work_ns())).unwrap_or_default();
        let server = server_busy(trials);
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        match server {
            _ if client > CLIENT_BUSY => {
                Status::ClientLimited(format!("load generator {} busy", percent(client)))
            }
            Some(server) if server < SERVER_BUSY => {
                Status::ClientLimited(format!("server {} busy", percent(server)))
            }
            _ => Status::Valid,
        }
    }

    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Status::Valid => "VALID",
            Status::ClientLimited(_) => "CLIENT-LIMITED",
            Status::Noisy(_) => "NOISY",
        }
    }

    /// Why, where there is something to say.
    pub fn reason(&self) -> &str {
        match self {
            Status::Valid => "",
            Status::ClientLimited(reason) | Status::Noisy(reason) => reason,
        }
    }

    /// True when the server could do more than the rate says.
    pub fn is_bound(&self) -> bool {
        matches!(self, Status::ClientLimited(_))
    }
}

/// True if the server of these trials had to wait for the load generator.
pub(super) fn is_server_idle(trials: &[&Trial]) -> bool {
    server_busy(trials).is_some_and(|busy| busy < SERVER_BUSY)
}

/// Share of its core that the server used.
fn server_busy(trials: &[&Trial]) -> Option<f64> {
    busy(trials, |m| m.server_cpu.map(|cpu| cpu.total_ns))
}

/// Share of the time measured that `cpu` makes.
fn busy(trials: &[&Trial], cpu: impl Fn(&Measurement) -> Option<u64>) -> Option<f64> {
    let measured = measured(trials);
    let total = measured.iter().map(|(_, m)| cpu(m)).sum::<Option<u64>>()?;
    let wall: u64 = measured.iter().map(|(_, m)| m.wall_ns).sum();
    Some(total as f64 / wall.max(1) as f64)
}

/// Why a cell has no figures.
pub(super) fn obstacle(trials: &[&Trial]) -> Option<String> {
    let failures: Vec<&str> = trials.iter().filter_map(|trial| failure(trial)).collect();
    if let Some(reason) = failures.first() {
        return Some(format!("INVALID in {} of {} rounds: {reason}", failures.len(), trials.len()));
    }
    trials.iter().find_map(|trial| match &trial.outcome {
        Outcome::DidNotFinish { budget_ns, .. } => {
            Some(format!("DNF (budget {} s)", *budget_ns as f64 / 1e9))
        }
        Outcome::Skipped { reason } => Some(format!("skipped: {reason}")),
        Outcome::Measured(_) | Outcome::Failed { .. } => None,
    })
}

fn failure(trial: &Trial) -> Option<&str> {
    match &trial.outcome {
        Outcome::Failed { reason, .. } => Some(reason),
        _ => None,
    }
}

/// True when more than half of a cell's trials were discarded.
pub(super) fn is_noisy(trials: &[&Trial]) -> bool {
    2 * trials.iter().filter(|trial| trial.discarded.is_some()).count() > trials.len()
}

/// Marks a rate that is near to what the load generator can reach at all.
pub(super) fn mark_near(figures: &mut Figures, ceiling: &Ceiling) {
    let share = figures.rate_hz.estimate / ceiling.rate_hz;
    if ceiling.is_proved && share * CEILING_FACTOR > 1.0 && figures.status == Status::Valid {
        let reason = format!(
            "{:.0} % of the {}/s that the load generator reaches against a null server ({})",
            share * 100.0,
            units::rate(ceiling.rate_hz),
            ceiling.null
        );
        figures.status = Status::ClientLimited(reason);
    }
}

/// Marks the rates of `rows` that several unrelated rungs share.
pub(super) fn mark_plateaus(rows: &mut [Row]) {
    let rates: Vec<Option<(String, f64)>> = rows
        .iter()
        .map(|row| Some((stack(&row.rung), row.result.as_ref().ok()?.rate_hz.estimate)))
        .collect();
    for (index, row) in rows.iter_mut().enumerate() {
        let (Ok(figures), Some((ours, rate))) = (&mut row.result, &rates[index]) else { continue };
        let is_same =
            |other: &&(String, f64)| other.0 != *ours && (other.1 / rate - 1.0).abs() < PLATEAU;
        let mut stacks: Vec<&str> =
            rates.iter().flatten().filter(is_same).map(|(stack, _)| stack.as_str()).collect();
        stacks.sort_unstable();
        stacks.dedup();
        mark(figures, stacks.len());
    }
}

fn mark(figures: &mut Figures, others: usize) {
    if others >= PLATEAU_OTHERS && figures.status == Status::Valid {
        let reason = format!("{others} other stacks reach the same rate");
        figures.status = Status::ClientLimited(reason);
    }
}

/// Driver and protocol of a rung.
fn stack(rung: &str) -> String {
    rung.rsplit_once('/').map_or(rung, |(stack, _)| stack).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Variant;
    use crate::report::delta::tests::{trial, with};
    use crate::report::delta::{Section, sections};

    /// The status of a cell whose client and server kept their cores this busy.
    fn status(client: f64, server: f64) -> Status {
        let mut trial = trial("uring/raw/reflect", 0, 1);
        let Outcome::Measured(measured) = &mut trial.outcome else { unreachable!() };
        let part = |share: f64| (share * measured.wall_ns as f64) as u64;
        let (client, server) = (part(client), part(server));
        measured.client_cpu.total_ns = client;
        measured.server_cpu.as_mut().unwrap().total_ns = server;
        Status::of(&[&trial])
    }

    #[test]
    fn a_rate_is_the_servers_only_where_its_core_was_the_busy_one() {
        assert_eq!(status(0.5, 0.97), Status::Valid);
        assert_eq!(status(0.9, 0.97).reason(), "load generator 90 % busy");
        assert_eq!(status(0.5, 0.9).reason(), "server 90 % busy");
        assert!(status(0.5, 0.9).is_bound() && !status(0.5, 0.97).is_bound());
    }

    #[test]
    fn a_load_generator_that_only_stays_awake_is_not_busy() {
        let awake = |spun: f64| {
            let mut trial = trial("uring/raw/reflect", 0, 9_900);
            let Outcome::Measured(measured) = &mut trial.outcome else { unreachable!() };
            measured.client_cpu.total_ns = measured.wall_ns;
            measured.client_busy_poll_idle_ns = (spun * measured.wall_ns as f64) as u64;
            Status::of(&[&trial])
        };
        assert_eq!(awake(0.5), Status::Valid);
        assert_eq!(awake(0.1).reason(), "load generator 90 % busy");
    }

    #[test]
    fn a_cell_that_lost_most_of_its_trials_is_noisy() {
        let good = trial("uring/raw/reflect", 0, 1000);
        let bad = Trial { discarded: Some("a compiler ran".into()), ..good.clone() };
        assert!(!is_noisy(&[&good, &bad]));
        let status = Status::of(&[&good, &bad, &bad]);
        assert_eq!((status.word(), status.reason()), ("NOISY", "2 of 3 trials: a compiler ran"));
        assert_eq!(measured(&[&good, &bad]).len(), 1);
        assert_eq!(measured(&[&good, &bad, &bad]).len(), 3);
    }

    #[test]
    fn one_wrong_reply_makes_a_cell_invalid() {
        let good = trial("uring/raw/reflect", 0, 1000);
        let failed = Outcome::Failed { reason: "wrong reply".into(), stderr: String::new() };
        let bad = with(trial("uring/raw/reflect", 1, 1000), failed);
        let late = Outcome::DidNotFinish { budget_ns: 2_000_000_000, stderr: String::new() };
        assert_eq!(obstacle(&[&good, &bad]).unwrap(), "INVALID in 1 of 2 rounds: wrong reply");
        assert_eq!(obstacle(&[&with(good.clone(), late)]).unwrap(), "DNF (budget 2 s)");
        assert_eq!(obstacle(&[&good]), None);
    }

    /// A server that is the busy one, beside a null server against which the load generator was `busy` and reached
    /// `times` as much.
    fn beside_null(times: f64, busy: f64) -> Section {
        let (mut usual, mut null) = (trial("tokio/h1/npy", 0, 9_900), trial("uring/h1/npy", 0, 1));
        usual.null = Some(null.rung.clone());
        null.variant = Variant::Null;
        null.cell = 7;
        let Outcome::Measured(measured) = &mut null.outcome else { unreachable!() };
        measured.wall_ns = (measured.wall_ns as f64 / times) as u64;
        measured.client_cpu.total_ns = (busy * measured.wall_ns as f64) as u64;
        sections(&[usual, null]).remove(0)
    }

    #[test]
    fn a_rate_near_that_of_a_null_server_is_the_load_generators() {
        let status = |section: &Section| section.rows[0].result.as_ref().unwrap().status.clone();
        let near = beside_null(1.25, 0.99);
        assert_eq!(near.rows.len(), 1, "a null server is no row");
        assert_eq!(
            status(&near).reason(),
            "80 % of the 125k/s that the load generator reaches against a null server (uring/h1/npy)"
        );
        assert_eq!(status(&beside_null(1.6, 0.99)), Status::Valid);
        let unproved = beside_null(1.25, 0.5);
        assert_eq!(status(&unproved), Status::Valid);
        assert!(!unproved.ceilings[0].is_proved);
    }

    #[test]
    fn what_four_stacks_reach_alike_is_the_load_generators() {
        let names = ["uring/raw/npy", "tokio/raw/npy", "uring/h1/npy", "tokio/h1/npy"];
        let trials: Vec<Trial> =
            (0..).zip(names).map(|(cell, rung)| Trial { cell, ..trial(rung, 0, 9_900) }).collect();
        let is_bound = |trials: &[Trial]| {
            let rows = &sections(trials)[0].rows;
            rows.iter().all(|row| row.result.as_ref().unwrap().status.is_bound())
        };
        assert!(is_bound(&trials));
        assert!(!is_bound(&trials[..3]));
    }
}
