//! Tests of statuses and ceilings.

use crate::record::tests::{trial, with};
use crate::record::{Outcome, Trial, Variant};
use crate::report::aggregate::{Section, sections};
use crate::report::cell::CellTrials;
use crate::report::status::Status;

fn cell<'a>(trials: &[&'a Trial]) -> CellTrials<'a> {
    CellTrials(trials.to_vec())
}

fn status(client: f64, server: f64) -> Status {
    let mut trial = trial("uring/raw/reflect", 0, 1);
    let Outcome::Measured(measured) = &mut trial.outcome else { unreachable!() };
    let part = |share: f64| (share * measured.wall_ns as f64) as u64;
    let (client, server) = (part(client), part(server));
    measured.client_cpu.total_ns = client;
    measured.server_cpu.as_mut().unwrap().total_ns = server;
    Status::judge(&cell(&[&trial]))
}

#[test]
fn a_rate_is_the_servers_only_if_its_core_was_the_busy_one() {
    assert_eq!(status(0.5, 0.97), Status::Valid);
    assert_eq!(status(0.9, 0.97).reason(), "load generator 90 % busy");
    assert_eq!(status(0.5, 0.9).reason(), "server 90 % busy");
    assert!(status(0.5, 0.9).is_bound() && !status(0.5, 0.97).is_bound());
}

#[test]
fn idle_polling_does_not_make_a_load_generator_busy() {
    let awake = |idle: f64| {
        let mut trial = trial("uring/raw/reflect", 0, 9_900);
        let Outcome::Measured(measured) = &mut trial.outcome else { unreachable!() };
        measured.client_cpu.total_ns = measured.wall_ns;
        measured.client_busy_poll_idle_ns = (idle * measured.wall_ns as f64) as u64;
        Status::judge(&cell(&[&trial]))
    };
    assert_eq!(awake(0.5), Status::Valid);
    assert_eq!(awake(0.1).reason(), "load generator 90 % busy");
}

#[test]
fn a_cell_that_lost_most_of_its_trials_is_noisy() {
    let good = trial("uring/raw/reflect", 0, 1000);
    let bad = Trial { discarded: Some("a compiler ran".into()), ..good.clone() };
    assert!(!cell(&[&good, &bad]).is_noisy());
    let status = Status::judge(&cell(&[&good, &bad, &bad]));
    assert_eq!((status.word(), status.reason()), ("NOISY", "2 of 3 trials: a compiler ran"));
    assert_eq!(cell(&[&good, &bad]).measured().len(), 1);
    assert_eq!(cell(&[&good, &bad, &bad]).measured().len(), 3);
}

#[test]
fn a_server_that_ended_connections_is_not_just_valid() {
    let dropping = |reconnects: u64, client: f64| {
        let mut trial = trial("external/short/npy", 0, 9_900);
        let Outcome::Measured(measured) = &mut trial.outcome else { unreachable!() };
        measured.reconnects = reconnects;
        measured.client_cpu.total_ns = (client * measured.wall_ns as f64) as u64;
        let again = Trial { round: 1, ..trial.clone() };
        let figures = sections(&[trial, again]).remove(0).rows.remove(0).result;
        figures.expect("figures").status
    };
    let said = |status: &Status| (status.word(), status.reason().to_owned());
    assert_eq!(said(&dropping(0, 0.5)), ("VALID", String::new()));
    let reason = "the server ended 6 connections, which were replaced";
    assert_eq!(said(&dropping(3, 0.5)), ("RECONNECTED", reason.to_owned()));
    let limited = said(&dropping(3, 0.9));
    assert_eq!(limited, ("CLIENT-LIMITED", format!("load generator 90 % busy; {reason}")));
}

#[test]
fn one_wrong_reply_makes_a_cell_invalid() {
    let good = trial("uring/raw/reflect", 0, 1000);
    let failed = Outcome::Failed { reason: "wrong reply".into(), stderr: String::new() };
    let bad = with(trial("uring/raw/reflect", 1, 1000), failed);
    let late = Outcome::DidNotFinish { budget_ns: 2_000_000_000, stderr: String::new() };
    assert_eq!(cell(&[&good, &bad]).obstacle().unwrap(), "INVALID in 1 of 2 rounds: wrong reply");
    assert_eq!(cell(&[&with(good.clone(), late)]).obstacle().unwrap(), "DNF (budget 2 s)");
    assert_eq!(cell(&[&good]).obstacle(), None);
}

/// Section with a null server. Its load generator was `busy` and reached `times` the rate.
fn against_null(times: f64, busy: f64) -> Section {
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
fn a_rate_close_to_the_ceiling_is_the_load_generators() {
    let status = |section: &Section| section.rows[0].result.as_ref().unwrap().status.clone();
    let near = against_null(1.25, 0.99);
    assert_eq!(near.rows.len(), 1, "a null server is no row");
    assert_eq!(
        status(&near).reason(),
        "80 % of the 125k/s that the load generator reaches against a null server (uring/h1/npy)"
    );
    assert_eq!(status(&against_null(1.6, 0.99)), Status::Valid);
    let unproved = against_null(1.25, 0.5);
    assert_eq!(status(&unproved), Status::Valid);
    assert!(!unproved.ceilings[0].is_proved);
}

#[test]
fn a_rate_that_four_stacks_share_is_the_load_generators() {
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
