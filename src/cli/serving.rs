//! Life of a server program, from its ready line to its exit code.
//!
//! stdout gets one ready line and nothing else. stderr gets the alarms of the workers, and at the
//! end what was counted. The first SIGTERM or SIGINT drains and exits with 0. The second exits at
//! once with 128 plus its number.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::alarms::Alarms;
use super::interrupt::number;
use super::output::{status_of, tell};
use crate::axis::Encoding;
use crate::record::ServerReport;
use crate::record::trial_spec::ServerSpec;
use crate::server::{self, Event, Options, Plan, metrics};
use crate::sys::address::Address;

/// Name of the listener of the view for operators, in the ready line.
const METRICS: &str = "metrics";

/// Serves until a signal or the end of a worker.
pub(super) fn run(
    plan: &Plan,
    options: &Options,
    names: &[&str],
    spec: &ServerSpec,
) -> anyhow::Result<()> {
    let (events, arrivals) = channel();
    watch_signals(events.clone()).context("cannot watch for signals")?;
    server::raise_descriptor_limit()?;
    let server = server::start(plan, options, &events)?;
    let (mut names, mut addresses) = (names.to_vec(), server.addresses().to_vec());
    if let Some(address) = &spec.metrics {
        names.push(METRICS);
        addresses.push(metrics::serve(address, &server)?);
    }
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", ready_line(&names, &addresses))
        .and_then(|()| stdout.flush())
        .context("cannot print the ready line")?;
    drop(stdout);
    if let Some(call) = example_call(&names, &addresses) {
        tell(format!("try: {call}"));
    }
    if let Some(warning) = exposure(&addresses) {
        tell(warning);
    }
    let mut alarms = Alarms::new(server.counts());
    let event = wait(&arrivals, &mut alarms);
    let said = server.stop();
    alarms.tell_rest();
    let said = said?;
    report(&said);
    if let Some(path) = &spec.report {
        let json = serde_json::to_string(&said).expect("a report is plain data");
        std::fs::write(path, json + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    match event {
        Event::Ended => bail!("a worker ended by itself"),
        Event::Signal | Event::Alarm => Ok(()),
    }
}

/// Tells the alarms until another event comes.
fn wait(arrivals: &Receiver<Event>, alarms: &mut Alarms) -> Event {
    loop {
        let event = match alarms.next_line() {
            None => arrivals.recv().map_err(RecvTimeoutError::from),
            Some(at) => arrivals.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Alarm) | Err(RecvTimeoutError::Timeout) => alarms.tell(Instant::now()),
            Ok(event) => return event,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the caller holds a sender"),
        }
    }
}

/// Tells what was counted, and leaves out what never happened.
fn report(said: &ServerReport) {
    let list = |counts: &BTreeMap<String, u64>| {
        let counts = counts.iter().map(|(name, count)| format!("{name} {count}"));
        counts.collect::<Vec<_>>().join(", ")
    };
    if !said.refusals.is_empty() {
        tell(format!("refused requests: {}", list(&said.refusals)));
    }
    if !said.limits.is_empty() {
        tell(format!("limits that peers reached: {}", list(&said.limits)));
    }
    if said.peer_faults > 0 {
        tell(format!("connections closed for a fault of the peer: {}", said.peer_faults));
    }
}

/// Returns a warning if another machine may reach one of `addresses`.
fn exposure(addresses: &[Address]) -> Option<String> {
    let is_exposed = |address: &&Address| {
        address.tcp().is_some_and(|address| !address.ip().to_canonical().is_loopback())
    };
    let exposed: Vec<String> =
        addresses.iter().filter(is_exposed).map(ToString::to_string).collect();
    (!exposed.is_empty()).then(|| {
        format!(
            "warning: other machines may reach {}, and no client has to authenticate; bind \
             127.0.0.1, or let only trusted peers through a firewall or a proxy",
            exposed.join(" and ")
        )
    })
}

/// Formats `ready grpc=ADDR rest=ADDR`, or `ready ADDR` for one rung.
fn ready_line(names: &[&str], addresses: &[Address]) -> String {
    let mut line = "ready".to_owned();
    for (name, address) in names.iter().zip(addresses) {
        let separator = if name.is_empty() { "" } else { "=" };
        line += &format!(" {name}{separator}{address}");
    }
    line
}

/// Formats a call of the REST listener, for a shell; one rung alone has no listener of this name.
fn example_call(names: &[&str], addresses: &[Address]) -> Option<String> {
    const MESSAGE: &str = r#"{"data": [1.5, 2.5], "dtype": "<f8"}"#;
    let (_, address) = names.iter().zip(addresses).find(|(name, _)| **name == "rest")?;
    let (socket, host) = match address {
        Address::Tcp(address) => (String::new(), address.to_string()),
        Address::Unix(path) => {
            (format!("--unix-socket '{}' ", path.display()), "localhost".to_owned())
        }
    };
    let path = Encoding::Json.path();
    Some(format!("curl {socket}--data '{MESSAGE}' http://{host}{path}"))
}

/// Sends an event at the first signal. The second ends the process at once.
fn watch_signals(events: Sender<Event>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            let _ = events.send(Event::Signal);
        }
        if let Some(signal) = signals.next() {
            std::process::exit(status_of(number(signal)).into());
        }
    })?;
    Ok(())
}
