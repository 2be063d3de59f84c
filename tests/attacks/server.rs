//! Servers under attack: programs with short timeouts, and their counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ndecho::probe::memory::rss_peak_bytes;

use crate::program::Program;
use crate::rest::Rest;
use crate::table::Row;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// Server of the table. Without a rung it is the reference.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) speaks: Speaks,
    /// Own protocol, whose answers and counters the rows demand.
    pub(crate) is_own: bool,
}

const fn own(name: &'static str, speaks: Speaks) -> Kind {
    Kind { name, speaks, is_own: true }
}

const fn borrowed(name: &'static str, speaks: Speaks) -> Kind {
    Kind { name, speaks, is_own: false }
}

pub(crate) const OWN: &[Kind] = &[
    own("uring/h1", Speaks::Http1),
    own("tokio/h1", Speaks::Http1),
    own("uring/h2", Speaks::Http2),
    own("tokio/h2", Speaks::Http2),
    borrowed("uring/h2-crate", Speaks::Http2),
    borrowed("tokio/h2-crate", Speaks::Http2),
];

pub(crate) const REFERENCE: &[Kind] =
    &[borrowed("tonic-server (REST)", Speaks::Http1), borrowed("tonic-server", Speaks::Http2)];

/// Limit that a row can exceed, and the view of the counts.
const FLAGS: [&str; 4] = ["--max-message", "256MiB", "--metrics", "127.0.0.1:0"];

/// Timeouts that let a row end soon.
const TIMEOUTS: [&str; 12] = [
    "--head-timeout",
    "2s",
    "--body-timeout",
    "2s",
    "--window-timeout",
    "2s",
    "--send-timeout",
    "2s",
    "--idle-timeout",
    "10s",
    "--drain-timeout",
    "10s",
];

impl Kind {
    pub(crate) fn is_reference(&self) -> bool {
        self.name.starts_with("tonic-server")
    }

    /// Starts the server for a row. `None` without a ring.
    pub(crate) fn start(&self, row: &Row) -> Option<Running> {
        let (program, mut args) = if self.is_reference() {
            let args = vec!["--grpc", "127.0.0.1:0", "--rest", "127.0.0.1:0"];
            (env!("CARGO_BIN_EXE_tonic-server"), args.into_iter().map(str::to_owned).collect())
        } else {
            let rung = format!("{}/reflect", self.name.replace("h2-crate", "h2-crate:tuned"));
            (env!("CARGO_BIN_EXE_ndecho"), vec!["serve".to_owned(), rung])
        };
        args.extend(FLAGS.map(str::to_owned));
        if !row.is_patient {
            args.extend(TIMEOUTS.map(str::to_owned));
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let program = match row.descriptors {
            None => Program::start_on_ring(program, &args),
            Some(count) => {
                let limited = format!("ulimit -n {count}; exec {program} {}", args.join(" "));
                Program::start_on_ring("sh", &["-c", &limited])
            }
        }?;
        let addresses = program.addresses();
        let place = usize::from(self.is_reference() && self.speaks == Speaks::Http1);
        let metrics = *addresses.last().expect("it serves its counts");
        Some(Running { address: addresses[place], metrics, program, speaks: self.speaks })
    }
}

pub(crate) struct Running {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    pub(crate) speaks: Speaks,
    metrics: SocketAddr,
}

impl Running {
    pub(crate) fn rss_peak_bytes(&self) -> u64 {
        rss_peak_bytes(self.program.child.id()).expect("it runs")
    }

    /// Reads the counts of limits, refusals and alarms that are not zero.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let mut peer = Rest::connect(self.metrics);
        peer.send(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
        let text = String::from_utf8(peer.reply().body).expect("text");
        text.lines().filter_map(count).collect()
    }
}

/// Returns the label and the value of a line that counts something bad.
fn count(line: &str) -> Option<(String, u64)> {
    let (name, value) = line.rsplit_once(' ')?;
    let families = ["ndecho_limits", "ndecho_refusals", "ndecho_alarms"];
    if let Some((_, label)) = name.split_once("{worker") {
        let _ = label;
        let faults = name.starts_with("ndecho_peer_faults");
        return faults.then(|| Some(("peer_faults".to_owned(), value.parse().ok()?)))?;
    }
    let (family, label) = name.split_once('{')?;
    families.iter().find(|known| family.starts_with(**known))?;
    let (_, label) = label.split_once('"')?;
    Some((label.trim_end_matches("\"}").to_owned(), value.parse().ok()?))
}
