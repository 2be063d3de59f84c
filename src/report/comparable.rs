//! Conditions of a run that change the cost of a server. Two runs are compared only if they agree.
//!
//! The length of a slice is the exception: it moves a figure by little, so a difference is only
//! reported.

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::Malloc;
use crate::record::trial_spec::{Length, LoadSpec, RequestHeaders};
use crate::record::{Trial, Variant};

use super::Run;
use super::warning::is_client_on_poll;

/// Differences between two runs, one line each: what differs, the old value and the new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Differences that make a comparison meaningless.
    pub fatal: Vec<String>,
    pub minor: Vec<String>,
}

pub fn differences(old: &Run, new: &Run) -> Differences {
    let runs = [old, new];
    let machine = (old.header.host != new.header.host)
        .then(|| "the machine, or its settings, changed between the runs".to_owned());
    let fatal = [
        machine,
        line("the client", runs.map(client)),
        line("polling of the load generator", runs.map(busy_poll)),
        line("system calls of the load generator", runs.map(system_calls)),
        line("request headers", runs.map(|run| of_loads(run, headers))),
        line("HTTP/2 settings of the load generator", runs.map(|run| of_loads(run, http2))),
    ];
    let slices = line("the length of a slice", runs.map(|run| of_loads(run, slice)));
    Differences {
        fatal: fatal.into_iter().flatten().chain(mallocs(old, new)).collect(),
        minor: slices.into_iter().collect(),
    }
}

fn line(what: &str, [old, new]: [Option<String>; 2]) -> Option<String> {
    let (old, new) = old.zip(new).filter(|(old, new)| old != new)?;
    Some(format!("{what}: {old} in the old run, {new} in the new one"))
}

fn client(run: &Run) -> Option<String> {
    Some(run.header.client.clone().unwrap_or_else(|| "own".to_owned()))
}

fn busy_poll(run: &Run) -> Option<String> {
    Some(match run.header.client_busy_poll_ns {
        0 => "none (--client-busy-poll 0us)".to_owned(),
        ns => format!("--client-busy-poll {ns}ns"),
    })
}

fn system_calls(run: &Run) -> Option<String> {
    let name = if is_client_on_poll(&run.trials) { "poll(2)" } else { "io_uring" };
    Some(name.to_owned())
}

fn loads(run: &Run) -> impl Iterator<Item = (&Trial, &LoadSpec)> {
    let usual = run.trials.iter().filter(|trial| trial.variant == Variant::Usual);
    usual.filter_map(|trial| Some((trial, &trial.spec.as_ref()?.load)))
}

/// Returns the values of all loads of the run; `None` if no trial tells them.
fn of_loads(run: &Run, value: fn(&LoadSpec) -> String) -> Option<String> {
    let values: BTreeSet<String> = loads(run).map(|(_, load)| value(load)).collect();
    let values: Vec<String> = values.into_iter().collect();
    (!values.is_empty()).then(|| values.join(" and "))
}

fn headers(load: &LoadSpec) -> String {
    let name = match load.knobs.headers {
        RequestHeaders::Equal => "equal",
        RequestHeaders::Changing => "changing",
        RequestHeaders::Indexed => "changing and indexed",
    };
    name.to_owned()
}

fn http2(load: &LoadSpec) -> String {
    let knobs = &load.knobs;
    format!("a window of {} B and frames of {} B", knobs.h2_window_bytes, knobs.h2_frame_bytes_max)
}

fn slice(load: &LoadSpec) -> String {
    match (load.slice_head, load.window) {
        (Some(_), Length::Time(time)) => format!("{time:?}"),
        _ => "no slices".to_owned(),
    }
}

/// Compares the allocators of the rungs that are in both runs.
fn mallocs(old: &Run, new: &Run) -> Vec<String> {
    let new = malloc_of_rungs(new);
    let of_rung = |(rung, old): (&str, Malloc)| {
        let new = *new.get(rung)?;
        line(&format!("malloc of {rung}"), [old, new].map(|malloc| Some(malloc.to_string())))
    };
    malloc_of_rungs(old).into_iter().filter_map(of_rung).collect()
}

fn malloc_of_rungs(run: &Run) -> BTreeMap<&str, Malloc> {
    let timed =
        run.trials.iter().filter(|trial| trial.variant == Variant::Usual && trial.is_timed());
    let of_trial = |trial: &Trial| trial.spec.as_ref()?.servers.first()?.malloc;
    timed.filter_map(|trial| Some((trial.rung.as_str(), of_trial(trial)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::axis::Encoding;
    use crate::record::Header;
    use crate::record::tests::{header, trial};
    use crate::record::trial_spec::{ServerSpec, TrialSpec};

    const RUNG: &str = "tokio/tonic/protobuf:prost";

    fn spec() -> TrialSpec {
        let url = "grpc://127.0.0.1:1".parse().unwrap();
        let load = LoadSpec {
            window: Length::Time(Duration::from_millis(40)),
            slice_head: Some(Duration::ZERO),
            ..LoadSpec::new(url, Encoding::Protobuf)
        };
        let server = ServerSpec { malloc: Some(Malloc::Default), ..ServerSpec::default() };
        TrialSpec { servers: vec![server], load }
    }

    fn run(change: impl Fn(&mut TrialSpec)) -> Run {
        let mut spec = spec();
        change(&mut spec);
        let trial = Trial { spec: Some(Box::new(spec)), ..trial(RUNG, 0, 1000) };
        Run::new(header(), vec![trial])
    }

    fn fatal(new: &Run) -> Vec<String> {
        differences(&run(|_| {}), new).fatal
    }

    #[test]
    fn equal_loads_do_not_differ() {
        assert_eq!(differences(&run(|_| {}), &run(|_| {})), Differences::default());
        let untold = Run::new(header(), vec![trial(RUNG, 0, 1000)]);
        assert_eq!(differences(&run(|_| {}), &untold), Differences::default());
    }

    #[test]
    fn each_condition_that_changes_a_cost_is_named_with_both_values() {
        let equal = fatal(&run(|spec| spec.load.knobs.headers = RequestHeaders::Equal));
        assert_eq!(equal, ["request headers: changing in the old run, equal in the new one"]);
        let keep = fatal(&run(|spec| spec.servers[0].malloc = Some(Malloc::Keep)));
        let malloc = format!("malloc of {RUNG}: default in the old run, keep in the new one");
        assert_eq!(keep, [malloc]);
        let frames = fatal(&run(|spec| spec.load.knobs.h2_frame_bytes_max = 16_384));
        assert!(frames[0].ends_with("frames of 16384 B in the new one"), "{frames:?}");
        let of_header = |header: Header| fatal(&Run { header, ..run(|_| {}) });
        let client = of_header(Header { client: Some("h2load 1.52".into()), ..header() });
        assert_eq!(client, ["the client: own in the old run, h2load 1.52 in the new one"]);
        let polls = of_header(Header { client_busy_poll_ns: 1000, ..header() });
        assert!(polls[0].ends_with("--client-busy-poll 1000ns in the new one"), "{polls:?}");
        let host = crate::probe::host::Host { cpu_model: "another".into(), ..header().host };
        assert_eq!(of_header(Header { host, ..header() }).len(), 1);
    }

    #[test]
    fn another_length_of_a_slice_is_only_reported() {
        let longer = run(|spec| spec.load.window = Length::Time(Duration::from_millis(200)));
        let Differences { fatal, minor } = differences(&run(|_| {}), &longer);
        let line = "the length of a slice: 40ms in the old run, 200ms in the new one";
        assert_eq!((fatal.len(), minor), (0, vec![line.to_owned()]));
    }
}
