//! Conditions of a run that change the cost of a server. Two runs are compared only if they agree.
//!
//! Cells under different clients are never compared. So the conditions count that a client met in
//! both runs, and a client that is in one of them only changes nothing.
//!
//! The length of a slice is the exception: it moves a figure by little, so a difference is only
//! reported.

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::Malloc;
use crate::record::trial_spec::{Length, LoadSpec, RequestHeaders};
use crate::record::{Client, Trial, Variant};

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
    let common: Vec<Client> = clients(old).intersection(&clients(new)).copied().collect();
    let other_client = match common.as_slice() {
        [] => line("the client", runs.map(client_names)),
        _ => None,
    };
    let of_clients = |differences: fn([&Run; 2], Client) -> Vec<Option<String>>| {
        common.iter().flat_map(move |client| differences(runs, *client)).flatten()
    };
    Differences {
        fatal: [machine, other_client]
            .into_iter()
            .flatten()
            .chain(of_clients(conditions))
            .chain(mallocs(old, new))
            .collect(),
        minor: of_clients(|runs, client| vec![line_of_loads(SLICE, runs, client, slice)]).collect(),
    }
}

const SLICE: &str = "the length of a slice";

/// Compares the conditions of the trials of one client.
fn conditions(runs: [&Run; 2], client: Client) -> Vec<Option<String>> {
    let mut lines = match client {
        Client::Own => vec![
            line("polling of the load generator", runs.map(busy_poll)),
            line("system calls of the load generator", runs.map(system_calls)),
        ],
        other => {
            let what = format!("the version of {}", other.name());
            vec![line(&what, runs.map(|run| version(run, other)))]
        }
    };
    lines.push(line_of_loads("request headers", runs, client, headers));
    lines.push(line_of_loads("HTTP/2 settings of the load generator", runs, client, http2));
    lines
}

fn line(what: &str, [old, new]: [Option<String>; 2]) -> Option<String> {
    let (old, new) = old.zip(new).filter(|(old, new)| old != new)?;
    Some(format!("{what}: {old} in the old run, {new} in the new one"))
}

/// Compares a value of the loads of one client.
fn line_of_loads(
    what: &str,
    runs: [&Run; 2],
    client: Client,
    value: fn(&LoadSpec) -> String,
) -> Option<String> {
    let what = match client {
        Client::Own => what.to_owned(),
        other => format!("{what}, {}", other.name()),
    };
    line(&what, runs.map(|run| of_loads(run, client, value)))
}

/// Returns the clients of a run; our own for a run without trials.
fn clients(run: &Run) -> BTreeSet<Client> {
    let clients: BTreeSet<Client> = usual(run).map(|trial| trial.client).collect();
    if clients.is_empty() { BTreeSet::from([Client::Own]) } else { clients }
}

fn client_names(run: &Run) -> Option<String> {
    let names: Vec<&str> = clients(run).into_iter().map(Client::name).collect();
    Some(names.join(" and "))
}

/// Returns what the header of a run says about a client that is not ours.
fn version(run: &Run, client: Client) -> Option<String> {
    let names = run.header.client.as_deref()?;
    let is_named = |name: &&str| name.starts_with(client.name());
    Some(names.split(" and ").find(is_named).unwrap_or(names).to_owned())
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

fn usual(run: &Run) -> impl Iterator<Item = &Trial> {
    run.trials.iter().filter(|trial| trial.variant == Variant::Usual)
}

/// Returns the values of all loads of a client; `None` if no trial tells them.
fn of_loads(run: &Run, client: Client, value: fn(&LoadSpec) -> String) -> Option<String> {
    let trials = usual(run).filter(|trial| trial.client == client);
    let values: BTreeSet<String> =
        trials.filter_map(|trial| Some(value(&trial.spec.as_ref()?.load))).collect();
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
    let timed = usual(run).filter(|trial| trial.is_timed());
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
        let polls = of_header(Header { client_busy_poll_ns: 1000, ..header() });
        assert!(polls[0].ends_with("--client-busy-poll 1000ns in the new one"), "{polls:?}");
        let host = crate::probe::host::Host { cpu_model: "another".into(), ..header().host };
        assert_eq!(of_header(Header { host, ..header() }).len(), 1);
    }

    /// Run whose trials are by `clients`, with equal headers by all but our own.
    fn run_by(clients: &[Client], names: Option<&str>) -> Run {
        let mut all = run(|_| {});
        let usual = all.trials.remove(0);
        for client in clients {
            let mut trial = Trial { client: *client, ..usual.clone() };
            if *client != Client::Own {
                let load = &mut trial.spec.as_mut().unwrap().load;
                load.knobs.headers = RequestHeaders::Equal;
            }
            all.trials.push(trial);
        }
        all.header.client = names.map(str::to_owned);
        all
    }

    #[test]
    fn a_client_is_compared_with_itself_only() {
        let own = run_by(&[Client::Own], None);
        let both = run_by(&[Client::Own, Client::H2load], Some("h2load 1.52"));
        assert_eq!(differences(&own, &both), Differences::default());
        let h2load = run_by(&[Client::H2load], Some("h2load 1.52"));
        assert_eq!(differences(&both, &h2load), Differences::default());
        let fatal = differences(&own, &h2load).fatal;
        assert_eq!(fatal, ["the client: own in the old run, h2load in the new one"]);
        let newer = run_by(&[Client::H2load, Client::Wrk], Some("h2load 1.60 and wrk 4.1"));
        let fatal = differences(&both, &newer).fatal;
        let line = "the version of h2load: h2load 1.52 in the old run, h2load 1.60 in the new one";
        assert_eq!(fatal, [line]);
        let mut changed = h2load.clone();
        let load = &mut changed.trials[0].spec.as_mut().unwrap().load;
        load.knobs.h2_frame_bytes_max = 16_384;
        let fatal = differences(&both, &changed).fatal;
        assert!(
            fatal[0].starts_with("HTTP/2 settings of the load generator, h2load: "),
            "{fatal:?}"
        );
    }

    #[test]
    fn another_length_of_a_slice_is_only_reported() {
        let longer = run(|spec| spec.load.window = Length::Time(Duration::from_millis(200)));
        let Differences { fatal, minor } = differences(&run(|_| {}), &longer);
        let line = "the length of a slice: 40ms in the old run, 200ms in the new one";
        assert_eq!((fatal.len(), minor), (0, vec![line.to_owned()]));
    }
}
