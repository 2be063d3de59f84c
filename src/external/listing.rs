//! External servers as text, for `ndecho rungs --external`.

use std::fmt::Write;
use std::sync::Arc;

use super::ExternalServer;
use super::environment::{self, Site, State};
use super::manifest::{Limits, Manifest};
use crate::axis::external::PREFIX;
use crate::record::Client;

pub fn list(servers: &[Arc<ExternalServer>], site: &Site) -> String {
    let one = |server: &Arc<ExternalServer>| {
        describe(&server.manifest, &environment::state(server, site))
    };
    servers.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn describe(manifest: &Manifest, state: &State) -> String {
    let state = match state {
        State::Ready => "installed",
        State::NotMade => "not installed: the first run that uses it installs it",
        State::Stale => {
            "will be installed again: its files have changed, or the last set-up was interrupted"
        }
        State::Missing(reason) => reason,
    };
    let mut text = format!("{PREFIX}{}  {state}\n", manifest.name);
    let codecs: Vec<String> = manifest.codecs.iter().map(ToString::to_string).collect();
    let rows: Vec<&str> = manifest.seed.values().map(String::as_str).collect();
    let mut add = |head: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {head:<9} {value}");
        }
    };
    add("about", &format!("{} ({})", manifest.about, manifest.language));
    add("version", &format!("{}, {}", manifest.version, manifest.licence));
    add("speaks", &format!("{}: {}", manifest.protocol, codecs.join(" ")));
    add("limits", &limits(&manifest.limits));
    add("rows", &rows.join(", "));
    for fault in &manifest.faults {
        add("fault", fault);
    }
    text
}

fn limits(limits: &Limits) -> String {
    let body = limits.body_bytes_max.map(|bytes| format!("{} per message", size(bytes)));
    let in_flight = limits.in_flight_max.map(|most| format!("{most} in flight"));
    let when = limits.when.iter().map(|when| {
        let client = match when.client {
            Some(Client::Python) => " with the Python client",
            Some(Client::H2load) => " with h2load",
            Some(Client::Wrk) => " with wrk",
            Some(Client::Own) => " with ndecho's client",
            None => "",
        };
        let smallest = size(when.array_bytes_min);
        format!("{} in flight for arrays of {smallest} or more{client}", when.in_flight_max)
    });
    body.into_iter().chain(in_flight).chain(when).collect::<Vec<_>>().join(", ")
}

/// Formats `bytes` in the largest unit that gives a whole number.
fn size(bytes: u64) -> String {
    let units = [(1_u64 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
    let whole = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, "B"));
    format!("{} {name}", bytes / unit)
}
