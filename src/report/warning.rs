//! Warnings of a report: properties of a run that limit its figures, each with the next step.

use std::collections::BTreeSet;
use std::fmt;

use crate::axis::external::PREFIX;
use crate::record::{Header, Outcome, Trial};
use crate::stats::bootstrap::UNITS_MIN;

use super::Run;
use super::aggregate::discarded;
use super::background_load::{Tense, guests, programs};
use super::core_speed::{self, Slowdown};

#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    ForeignClient {
        name: String,
    },
    SharedCore,
    ClientOnPoll,
    /// TCP options that could not be read, nor set on the servers in `external`.
    UnknownSockets {
        reason: String,
        external: Vec<String>,
    },
    Discarded {
        discarded: usize,
        all: usize,
        reason: String,
    },
    SlowedCore(Slowdown),
    /// Use of the machine by others before the first launch, as a sentence.
    BackgroundLoad {
        sentence: String,
    },
    FewBlocks {
        blocks: u32,
    },
    DebugBuild,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::ForeignClient { name } => write!(
                f,
                "{name} loaded servers; the rates and latencies of such a client include its own \
                 work, so compare them only with those of the same client"
            ),
            Warning::SharedCore => write!(
                f,
                "server and load generator shared one core, so rates and latencies are not shown; \
                 run on two cores to see them"
            ),
            Warning::ClientOnPoll => write!(
                f,
                "io_uring was not available, so the load generator ran on poll(2), which costs it \
                 more; compare rates and latencies only with such runs"
            ),
            Warning::UnknownSockets { reason, external } => {
                write!(f, "the TCP options of servers could not be read from outside: {reason}")?;
                if !external.is_empty() {
                    let names = external.join(", ");
                    write!(f, "; nor could those of {names} be set, which have their own")?;
                }
                write!(
                    f,
                    "; allow pidfd_getfd in the seccomp profile, and a parent to trace its \
                     children (kernel.yama.ptrace_scope 0 or 1)"
                )
            }
            Warning::Discarded { discarded, all, reason } => write!(
                f,
                "{discarded} of {all} trials were discarded (most frequent reason: {reason}); \
                 repeat the run on a quiet machine"
            ),
            Warning::SlowedCore(Slowdown { share, median }) => write!(
                f,
                "the server's core was slowed before or after {:.0} % of the trials, by {:.0} % in \
                 the median; repeat the run when no other program or guest uses the physical core",
                share * 100.0,
                median * 100.0
            ),
            Warning::BackgroundLoad { sentence } => write!(
                f,
                "before the first launch, {sentence}; if it went on, the intervals are wider than \
                 on a quiet machine"
            ),
            Warning::FewBlocks { blocks } => write!(
                f,
                "only {blocks} block{}: an interval needs {UNITS_MIN}, so no difference is shown; \
                 run with --rounds {UNITS_MIN} or more",
                if *blocks == 1 { "" } else { "s" }
            ),
            Warning::DebugBuild => {
                write!(f, "debug build: its figures do not show the speed; build with --release")
            }
        }
    }
}

/// Returns the warnings about a run, in the order of their weight.
pub fn warnings(run: &Run) -> Vec<Warning> {
    let foreign = run.header.client.clone().map(|name| Warning::ForeignClient { name });
    let (discarded, all) = discarded(&run.trials);
    let reason = || frequent_reason(&run.trials).to_owned();
    let blocks = run.blocks();
    let is_debug = run.header.build.profile == "debug";
    let first = [
        foreign,
        run.shares_core().then_some(Warning::SharedCore),
        is_client_on_poll(&run.trials).then_some(Warning::ClientOnPoll),
        unknown_sockets(&run.trials),
        (discarded > 0).then(|| Warning::Discarded { discarded, all, reason: reason() }),
        core_speed::slowdown(&run.trials).map(Warning::SlowedCore),
    ];
    let last = [
        (blocks < UNITS_MIN as u32).then_some(Warning::FewBlocks { blocks }),
        is_debug.then_some(Warning::DebugBuild),
    ];
    let background = background_load(&run.header);
    first.into_iter().flatten().chain(background).chain(last.into_iter().flatten()).collect()
}

/// Returns the warnings about programs and guests that used the machine before a run.
pub(super) fn background_load(header: &Header) -> Vec<Warning> {
    let Some(load) = &header.background_load else { return Vec::new() };
    let found = [programs(load, Tense::Past), guests(load, Tense::Past)];
    found.into_iter().flatten().map(|sentence| Warning::BackgroundLoad { sentence }).collect()
}

pub(super) fn is_client_on_poll(trials: &[Trial]) -> bool {
    let is_on_poll = |trial: &Trial| matches!(&trial.outcome, Outcome::Measured(measured) if measured.is_client_on_poll);
    trials.iter().any(is_on_poll)
}

fn unknown_sockets(trials: &[Trial]) -> Option<Warning> {
    let failed = || trials.iter().filter(|trial| trial.socket_failure.is_some());
    let reason = failed().find_map(|trial| trial.socket_failure.clone())?;
    let external: BTreeSet<&str> =
        failed().map(|trial| trial.rung.as_str()).filter(|rung| rung.starts_with(PREFIX)).collect();
    let external = external.into_iter().map(str::to_owned).collect();
    Some(Warning::UnknownSockets { reason, external })
}

fn frequent_reason(trials: &[Trial]) -> &str {
    let reasons = || trials.iter().filter_map(|trial| trial.discarded.as_deref());
    // Texts of one reason differ from the first figure on.
    let kind = |reason: &str| reason.split(|c: char| c.is_ascii_digit()).next().map(str::to_owned);
    let times = |reason: &&str| reasons().filter(|other| kind(other) == kind(reason)).count();
    reasons().rev().max_by_key(times).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::background_load::{BackgroundLoad, BusyProcess};
    use crate::record::tests::{header, trial};

    #[test]
    fn sockets_that_cannot_be_looked_at_are_one_line() {
        let of = |rung: &str, reason: Option<&str>| Trial {
            socket_failure: reason.map(str::to_owned),
            ..trial(rung, 0, 1000)
        };
        let warnings = |trials: Vec<Trial>| {
            let warnings = warnings(&Run::new(header(), trials));
            let lines = warnings.iter().map(Warning::to_string);
            lines.filter(|line| line.contains("TCP options")).collect::<Vec<_>>()
        };
        let denied = Some("Operation not permitted (os error 1)");
        let [line] = warnings(vec![
            of("external/grpcio/protobuf", denied),
            of("uring/raw/npy", denied),
            of("external/grpcio/protobuf", denied),
        ])
        .try_into()
        .expect("one line");
        assert!(line.contains("Operation not permitted"), "{line}");
        assert!(line.contains("nor could those of external/grpcio/protobuf be set"), "{line}");
        let [line] = warnings(vec![of("uring/raw/npy", denied)]).try_into().expect("one line");
        assert!(!line.contains("be set"), "{line}");
        assert_eq!(warnings(vec![of("uring/raw/npy", None)]), [""; 0]);
    }

    #[test]
    fn the_frequent_reason_is_named_with_its_first_figures() {
        let of = |round, reason: Option<&str>| Trial {
            discarded: reason.map(str::to_owned),
            ..trial("uring/raw/npy", round, 1000)
        };
        let trials = vec![
            of(0, Some("the load generator was 9 us late")),
            of(1, Some("tasks waited in 20 % of it")),
            of(2, Some("tasks waited in 30 % of it")),
            of(3, None),
            of(4, None),
        ];
        let warnings = warnings(&Run::new(header(), trials));
        let reason = "tasks waited in 20 % of it".to_owned();
        assert_eq!(warnings, [Warning::Discarded { discarded: 3, all: 5, reason }]);
    }

    #[test]
    fn a_program_that_kept_the_machine_busy_is_named() {
        let busiest = BusyProcess { name: "rustc".into(), pid: 7, cpu_ns: 900 };
        let load = BackgroundLoad {
            watched_ns: 1000,
            server_core_ns: 900,
            all_cores_ns: 900,
            busiest: Some(busiest),
            ..BackgroundLoad::default()
        };
        let header = Header { background_load: Some(load), ..header() };
        let trials = (0..5).map(|round| trial("uring/raw/npy", round, 1000)).collect();
        let warnings = warnings(&Run::new(header, trials));
        let [Warning::BackgroundLoad { sentence }] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!(sentence, "rustc (pid 7) used 90 % of a core");
    }
}
