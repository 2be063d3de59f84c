//! Columns of a row, derived from its figures.
//!
//! An entry of [`COLUMNS`] has head and text for people, and the names and values of the CSV.

use crate::axis::{Axis, Rung};
use crate::stats::bootstrap::Interval;
use crate::stats::verdict::Verdict;

use super::aggregate::{Figures, Ratio, Row, Section};
use super::units;

#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) section: &'a Section,
    pub(super) row: &'a Row,
    pub(super) figures: &'a Figures,
    /// Server and load generator shared a core, so rates and latencies are hidden.
    pub(super) shares_core: bool,
}

pub(super) struct Column {
    pub(super) shown: Option<Shown>,
    pub(super) csv: &'static [Field],
}

pub(super) struct Shown {
    pub(super) head: &'static str,
    pub(super) table: Table,
    pub(super) text: Text,
}

/// Table of a section in which a column stands on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Costs,
    Rates,
}

/// Fields of a column in the CSV: plain numbers, empty if unknown.
pub(super) enum Field {
    Value(&'static str, fn(&View<'_>) -> String),
    /// Three fields: the estimate, and the ends with `_low` and `_high` appended to the name.
    Interval(&'static str, fn(&View<'_>) -> Option<Interval>),
}

use Field::{Interval as Range, Value};

/// All columns, in the order of the tables and of the CSV.
pub(super) const COLUMNS: &[Column] = &[
    costs(
        "CPU/request",
        |view| {
            or_dash(view.figures.cell.server_cpu_ns, |cpu| {
                format!("{} {}", units::time(cpu.estimate), units::half_width(&cpu))
            })
        },
        &[
            Range("server_cpu_ns", |view| view.figures.cell.server_cpu_ns),
            Value("server_system_share", |view| plain(view.figures.cell.system_share)),
            Value("client_cpu_ns", |view| view.figures.cell.client_cpu_ns.estimate.to_string()),
        ],
    ),
    costs(
        "x parent",
        |view| or_dash(view.figures.to_parent, |to| ratio(&to)),
        &[
            Range("to_parent", |view| view.figures.to_parent.map(|to| to.ratio)),
            Value("parent_verdict", |view| verdict(view.figures.to_parent)),
        ],
    ),
    costs(
        "x standard",
        |view| or_dash(view.figures.to_reference, |to| ratio(&to)),
        &[
            Range("to_reference", |view| view.figures.to_reference.map(|to| to.ratio)),
            Value("reference_verdict", |view| verdict(view.figures.to_reference)),
            Value("noise_floor", |view| {
                let ratio = view.figures.to_reference.or(view.figures.to_parent);
                let floor = ratio.map_or_else(|| view.section.noise.floor(), |ratio| ratio.floor);
                floor.share().to_string()
            }),
        ],
    ),
    rates(
        "differs in",
        |view| {
            let parent = view.row.parent.as_deref().filter(|_| view.figures.to_parent.is_some());
            let axis = parent.and_then(|parent| changed_axis(&view.row.rung, parent));
            or_dash(axis, |axis| axis.to_string())
        },
        &[],
    ),
    rates(
        "requests/s",
        |view| {
            let bound = if view.figures.status.is_bound() { ">=" } else { "" };
            let rate = units::rate(view.figures.cell.rate_hz.estimate);
            unless_shared(view, format!("{bound}{rate}"))
        },
        &[Range("requests_per_s", |view| Some(view.figures.cell.rate_hz))],
    ),
    rates(
        "p50",
        |view| latency_text(view, 0.5),
        &[Value("p50_ns", |view| plain(latency_ns(view, 0.5)))],
    ),
    rates(
        "p99",
        |view| latency_text(view, 0.99),
        &[Value("p99_ns", |view| plain(latency_ns(view, 0.99)))],
    ),
    Column {
        shown: None,
        csv: &[
            Value("bytes_in", |view| view.figures.cell.bytes_in.to_string()),
            Value("bytes_out", |view| view.figures.cell.bytes_out.to_string()),
            Value("server_rss_peak_bytes", |view| plain(view.figures.cell.rss_peak_bytes)),
            Value("server_faults", |view| plain(view.figures.cell.page_faults)),
            Value("ceiling_per_s", |view| plain(view.figures.ceiling_hz)),
            Value("blocks", |view| view.figures.cell.rate_hz.units.to_string()),
            Value("discarded", |view| view.figures.cell.discarded.to_string()),
        ],
    },
    rates(
        "status",
        |view| view.figures.status.word().to_owned(),
        &[Value("status", |view| view.figures.status.word().to_owned())],
    ),
];

pub(super) const LEGEND: [&str; 8] = [
    "CPU/request: user and system time of the server's whole process; center of the blocks, with its \
     95 % interval.",
    "x parent: ratio to the parent rung; both differ in one axis (differs in). x standard: ratio to \
     tokio/tonic (gRPC) or tokio/axum (REST) with defaults and the usual library for the encoding. \
     Ratios are taken within blocks; the intervals of all ratios of a table hold together at 95 %.",
    "= before a ratio: no difference was shown, or it is within the noise floor (A/A).",
    "requests/s: >= is a lower bound; the server could do more (status CLIENT-LIMITED).",
    "status: VALID, CLIENT-LIMITED, NOISY (most trials were disturbed; for orientation only), \
     RECONNECTED (the server ended connections), DNF, INVALID; the reasons stand below the table.",
    "headers of the requests: changing = another traceparent in each, and over gRPC another \
     grpc-timeout; indexed = the same, in the server's table of fields; equal = one head again and \
     again, which is all that h2load and wrk send.",
    "p50, p99: latency in a closed loop, which follows from concurrency and rate; compare it only \
     under the same load.",
    "buffers: axum and tonic take new ones for every request, as their users do; the other stacks \
     reuse those of the worker. docs/BIAS.md counts the copies.",
];

pub(super) fn shown_columns() -> impl Iterator<Item = &'static Shown> {
    COLUMNS.iter().filter_map(|column| column.shown.as_ref())
}

type Text = fn(&View<'_>) -> String;

const fn costs(head: &'static str, text: Text, csv: &'static [Field]) -> Column {
    Column { shown: Some(Shown { head, table: Table::Costs, text }), csv }
}

const fn rates(head: &'static str, text: Text, csv: &'static [Field]) -> Column {
    Column { shown: Some(Shown { head, table: Table::Rates, text }), csv }
}

impl View<'_> {
    /// Returns the text of each shown column, and the first of its values in the CSV.
    pub(super) fn cells(&self) -> Vec<(String, String)> {
        let cell = |column: &Column| {
            let shown = column.shown.as_ref()?;
            let value = column.csv.first().and_then(|field| field.values(self).into_iter().next());
            Some(((shown.text)(self), value.unwrap_or_default()))
        };
        COLUMNS.iter().filter_map(cell).collect()
    }
}

impl Field {
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Value(name, _) => vec![(*name).to_owned()],
            Range(name, _) => ["", "_low", "_high"].map(|end| format!("{name}{end}")).to_vec(),
        }
    }

    pub(super) fn values(&self, view: &View<'_>) -> Vec<String> {
        match self {
            Value(_, value) => vec![value(view)],
            Range(_, interval) => {
                let interval = interval(view);
                let (low, high) = interval.and_then(|interval| interval.range).unzip();
                [interval.map(|interval| interval.estimate), low, high].map(plain).to_vec()
            }
        }
    }
}

fn or_dash<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

fn plain(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn unless_shared(view: &View<'_>, text: String) -> String {
    if view.shares_core { "-".to_owned() } else { text }
}

fn latency_ns(view: &View<'_>, quantile: f64) -> Option<u64> {
    view.figures.cell.latencies.as_ref().map(|all| all.quantile(quantile))
}

fn latency_text(view: &View<'_>, quantile: f64) -> String {
    or_dash(latency_ns(view, quantile), |ns| unless_shared(view, units::time(ns as f64)))
}

fn verdict(ratio: Option<Ratio>) -> String {
    ratio.map_or("", |ratio| ratio.verdict.word()).to_owned()
}

/// Formats a ratio with its interval, after `=` if it is no difference.
fn ratio(to: &Ratio) -> String {
    let same = if to.verdict == Verdict::Same { "= " } else { "" };
    format!("{same}{}", units::ratio(&to.ratio))
}

/// Returns the axis in which two rungs differ; `None` if a name is not a rung of this program.
fn changed_axis(rung: &str, parent: &str) -> Option<Axis> {
    let (rung, parent): (Rung, Rung) = (rung.parse().ok()?, parent.parse().ok()?);
    rung.differs(parent).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Protocol;

    #[test]
    fn the_legend_names_the_stacks_that_take_new_buffers() {
        let line = LEGEND.iter().find(|line| line.starts_with("buffers: ")).expect("it is there");
        for protocol in Protocol::ALL {
            let is_named = line.split(' ').any(|word| word == protocol.stack());
            assert_eq!(is_named, protocol.only_driver().is_some(), "{protocol}");
        }
    }
}
