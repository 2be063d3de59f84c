//! Peers as text, for `ndecho rungs --peers`.

use std::fmt::Write;
use std::sync::Arc;

use super::Peer;
use super::environment::{self, Site, State};
use super::manifest::{Limits, Manifest};
use crate::experiment::client::Client;

/// Every peer: what it is, whether it is installed, and what is known of it.
pub fn list(peers: &[Arc<Peer>], site: &Site) -> String {
    let one = |peer: &Arc<Peer>| describe(&peer.manifest, &environment::state(peer, site));
    peers.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn describe(manifest: &Manifest, state: &State) -> String {
    let state = match state {
        State::Ready => "installed",
        State::NotMade => "not installed: the first run that uses it does that",
        State::Stale => {
            "to be installed anew: what it is made from has changed, or it was interrupted"
        }
        State::Missing(reason) => reason,
    };
    let mut text = format!("peer/{}  {state}\n", manifest.name);
    let codecs: Vec<String> = manifest.codecs.iter().map(ToString::to_string).collect();
    let rows: Vec<&str> = manifest.seed.values().map(String::as_str).collect();
    let mut say = |head: &str, what: &str| {
        if !what.is_empty() {
            let _ = writeln!(text, "  {head:<9} {what}");
        }
    };
    say("about", &format!("{} ({})", manifest.about, manifest.language));
    say("version", &format!("{}, {}", manifest.version, manifest.licence));
    say("speaks", &format!("{}: {}", manifest.protocol, codecs.join(" ")));
    say("limits", &limits(&manifest.limits));
    say("rows", &rows.join(", "));
    for fault in &manifest.faults {
        say("fault", fault);
    }
    text
}

fn limits(limits: &Limits) -> String {
    let body = limits.body_bytes_max.map(|bytes| format!("{} a message", size(bytes)));
    let in_flight = limits.in_flight_max.map(|most| format!("{most} in flight"));
    let when = limits.when.iter().map(|when| {
        let client = match when.client {
            Some(Client::Python) => " under the Python client",
            Some(Client::Own) => " under ndecho's client",
            None => "",
        };
        format!("{} in flight from {} on{client}", when.in_flight_max, size(when.array_bytes_min))
    });
    body.into_iter().chain(in_flight).chain(when).collect::<Vec<_>>().join(", ")
}

/// In MiB or KiB where that is a whole number.
fn size(bytes: u64) -> String {
    let units = [(1_u64 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
    let whole = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, "B"));
    format!("{} {name}", bytes / unit)
}
