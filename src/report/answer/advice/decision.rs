//! The choice among the candidates of one load.
//!
//! ```text
//! candidates, cheapest first ─▶ objections: no client, too late ─▶ the cheapest without one
//!     ─▶ ratios of all others to it: one family of intervals
//!     ─▶ equals: without an objection, and no difference was shown ─▶ the easiest of them
//! ```
//!
//! Too few launches for intervals show nothing, not even equals; the cheapest is then chosen.
//!
//! At an offered rate, cost and latency are those at this rate. The latency counts from the moment
//! when a request was due, so a load generator that is late makes it too long, never too short.

use crate::axis::{Driver, Encoding, Rung};
use crate::stats::bootstrap::Interval;
use crate::stats::verdict::Verdict;

use super::super::choice::STACKS;
use super::super::load_cells::{LoadCells, Ratio};
use super::{Limit, Question};

/// Fewest requests above a quantile that is known.
const BEYOND_MIN: f64 = 2.0;

/// A server and encoding with figures.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    pub(super) rung: Rung,
    /// Server in words.
    pub(super) stack: &'static str,
    pub(super) cost_ns: Interval,
    pub(super) latency: Option<Latency>,
    pub(super) objection: Option<Objection>,
    /// Ratio to the cheapest without an objection; `None` for that one and without a common launch.
    pub(super) to_cheapest: Option<Ratio>,
    pub(super) is_cheapest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Latency {
    pub(super) ns: u64,
    pub(super) requests: u64,
}

/// Reason why a candidate is not chosen, whatever it costs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Objection {
    /// `tools/clients` has no client for its encoding in the language.
    NoClient,
    /// Share of the offered requests that were answered, if it is too small.
    Behind(f64),
    /// Latency in ns, if it is above the limit.
    Late(u64),
    /// Too few requests to know its latency.
    FewRequests(u64),
}

/// Candidates, cheapest first, and the choice among them.
#[derive(Debug)]
pub(super) struct Decision<'a> {
    pub(super) rows: Vec<Candidate<'a>>,
    /// Place of the cheapest candidate without an objection.
    pub(super) cheapest: Option<usize>,
    pub(super) choice: Option<usize>,
}

impl<'a> Decision<'a> {
    pub(super) fn evaluate(load: &LoadCells<'a>, question: &Question) -> Decision<'a> {
        let mut rows: Vec<Candidate<'a>> = load
            .rungs()
            .filter(|name| question.rungs.iter().any(|rung| rung == name))
            .filter_map(|name| Candidate::find(load, name, question))
            .collect();
        rows.sort_by(|a, b| a.cost_ns.estimate.total_cmp(&b.cost_ns.estimate));
        let cheapest = rows.iter().position(|row| row.objection.is_none());
        if let Some(cheapest) = cheapest {
            rows[cheapest].is_cheapest = true;
            let first = rows[cheapest].name;
            let pairs: Vec<(&str, &str)> =
                rows.iter().map(|row| (row.name, first)).filter(|pair| pair.0 != first).collect();
            let ratios = load.ratios(&pairs);
            let others = rows.iter_mut().filter(|row| row.name != first);
            others.enumerate().for_each(|(index, row)| row.to_cheapest = ratios.ratio(index));
        }
        let equals = rows.iter().enumerate().filter(|(_, row)| row.is_equal());
        let choice = equals.min_by_key(|(_, row)| ease(row.rung)).map(|(index, _)| index);
        Decision { rows, cheapest, choice }
    }

    pub(super) fn chosen(&self) -> Option<&Candidate<'a>> {
        self.choice.map(|index| &self.rows[index])
    }

    /// Returns the cheapest and the candidates without an objection that no difference sets apart.
    pub(super) fn equals(&self) -> impl Iterator<Item = &Candidate<'a>> {
        self.rows.iter().filter(|row| row.is_equal())
    }

    /// Returns the cheapest candidate without an objection that fulfils `condition`.
    pub(super) fn cheapest_that(
        &self,
        condition: impl Fn(&Candidate<'a>) -> bool,
    ) -> Option<&Candidate<'a>> {
        self.rows.iter().find(|row| row.objection.is_none() && condition(row))
    }

    /// Returns the next candidate whose cost differs from the cheapest by more than noise.
    pub(super) fn next(&self) -> Option<&Candidate<'a>> {
        self.cheapest_that(|row| row.to_cheapest.is_some_and(|ratio| ratio.is_shown()))
    }
}

impl<'a> Candidate<'a> {
    /// Returns `None` for a rung that is no server to choose, or that has no figures.
    fn find(load: &LoadCells<'a>, name: &'a str, question: &Question) -> Option<Candidate<'a>> {
        let (path, _) = name.rsplit_once('/')?;
        let (_, stack) = STACKS.iter().find(|(known, _)| *known == path)?;
        let rung: Rung = name.parse().ok()?;
        let latency = question.limit.as_ref().and_then(|limit| {
            let all = load.latencies(name)?;
            Some(Latency { ns: all.quantile(limit.quantile), requests: all.len() })
        });
        Some(Candidate {
            name,
            rung,
            stack,
            cost_ns: load.cost_ns(name)?,
            latency,
            objection: objection(load, name, rung, latency, question),
            to_cheapest: None,
            is_cheapest: false,
        })
    }

    pub(super) fn is_ours(&self) -> bool {
        self.rung.driver() == Driver::Uring
    }

    pub(super) fn codec(&self) -> &'static str {
        self.rung.codec().name()
    }

    fn is_equal(&self) -> bool {
        let is_same = |ratio: Ratio| ratio.verdict == Verdict::Same;
        // Without a common launch there is no ratio, and nobody knows whether they are equal.
        let is_known_equal = self.is_cheapest || self.to_cheapest.is_some_and(is_same);
        self.objection.is_none() && is_known_equal
    }

    /// Returns whether a candidate that may not be chosen costs less than the choice.
    pub(super) fn is_shown_cheaper(&self) -> bool {
        self.to_cheapest.is_some_and(|ratio| ratio.verdict == Verdict::Faster)
    }
}

fn objection(
    load: &LoadCells<'_>,
    name: &str,
    rung: Rung,
    latency: Option<Latency>,
    question: &Question,
) -> Option<Objection> {
    if question.client(rung.encoding()).is_none() {
        return Some(Objection::NoClient);
    }
    let behind = question
        .rate_hz
        .and_then(|offered_hz| load.share_below_offered(name, offered_hz).map(Objection::Behind));
    let Some(Limit { ns: most, quantile, .. }) = question.limit.as_ref() else {
        return behind;
    };
    let late = |latency: Latency| match latency {
        Latency { ns, .. } if ns > *most => Some(Objection::Late(ns)),
        Latency { requests, .. } if requests as f64 * (1.0 - quantile) < BEYOND_MIN => {
            Some(Objection::FewRequests(requests))
        }
        _ => None,
    };
    let unknown = Latency { ns: 0, requests: 0 };
    behind.or_else(|| late(latency.unwrap_or(unknown)))
}

/// Ranks equals. A server that others maintain is easier than ours, a stack as documented easier
/// than one with more settings, and `.npy` easier than the other encodings: it carries every value,
/// and most languages have a client for it.
fn ease(rung: Rung) -> (bool, bool, usize) {
    let order = [
        Encoding::Npy,
        Encoding::Protobuf,
        Encoding::Msgpack,
        Encoding::JsonBinary,
        Encoding::Json,
    ];
    let encoding = order.iter().position(|encoding| *encoding == rung.encoding());
    let is_plain = rung.protocol().stack() == rung.protocol().name();
    (rung.driver() == Driver::Uring, !is_plain, encoding.unwrap_or(order.len()))
}
