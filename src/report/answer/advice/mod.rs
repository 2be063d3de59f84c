//! Advice for one array: which server and encoding to take, how sure that is, and what would change
//! it. It uses no other figures than those of the record.
//!
//! | part | content |
//! |---|---|
//! | `decision` | the choice among the candidates of one load |
//! | [`clients`] | example clients by language and encoding |
//! | `sentences` | the text |

pub mod clients;
mod decision;
mod sentences;

use std::collections::BTreeSet;

use crate::array::DType;
use crate::axis::{Encoding, Rung};
use crate::record::{ArrayInfo, Trial, Variant};

use super::super::{Run, units};
use super::load_cells::LoadCells;
use clients::{Client, Language};
use decision::{Candidate, Decision};

/// Candidates that get requests at a rate.
const FEW: usize = 4;

/// Ratio to the cheapest in one launch above which more launches would hardly change the choice.
pub const FAR: f64 = 1.5;

/// Share of the lowest rate among these that they are offered if nobody names a rate.
const RATE_SHARE: f64 = 0.6;

#[derive(Clone, Debug)]
pub struct Question {
    pub array: ArrayInfo,
    /// Connections, each with one request in flight.
    pub connections: u32,
    /// Language of the client; `None` for any.
    pub language: Option<Language>,
    /// Names of the rungs to choose from.
    pub rungs: Vec<String>,
    /// Requests per second, over all connections; `None` for a closed loop.
    pub rate_hz: Option<f64>,
    pub limit: Option<Limit>,
}

impl Question {
    /// Finds a client for the array in the language.
    fn client(&self, encoding: Encoding) -> Option<&'static Client> {
        clients::find(self.language, encoding, DType::parse(&self.array.dtype).ok()?)
    }
}

/// Highest latency, as a quantile of all requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// `p99`.
    pub name: String,
    pub quantile: f64,
    pub ns: u64,
}

/// Reason why a record gives no advice.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoAdvice {
    #[error("the record has no array {wanted}; it has {found}")]
    Array { wanted: String, found: String },
    #[error(
        "the record has {array} not with {wanted} connections and one request in flight on each; \
         it has it with {found}"
    )]
    Load { array: String, wanted: u32, found: String },
    #[error("the record has no requests offered at {wanted}/s; it has {found}")]
    Rate { wanted: String, found: String },
    #[error(
        "the record has no requests at one rate, which a limit of the latency needs; name a rate \
         with --rate"
    )]
    OneRate,
    #[error("no candidate was measured{}{reasons}", if reasons.is_empty() { "" } else { ": " })]
    Candidates { reasons: String },
}

/// Advice on a question, in text, and the choice.
#[derive(Clone, Debug)]
pub struct Advice {
    /// Choice, margin, and what would change it, in lines of a limited width.
    pub text: String,
    pub choice: Option<Choice>,
}

#[derive(Clone, Copy, Debug)]
pub struct Choice {
    pub rung: Rung,
    pub client: &'static Client,
}

/// Answers `question` from the record `run`, in lines of at most `width` characters.
pub fn advise(run: &Run, question: &Question, width: usize) -> Result<Advice, NoAdvice> {
    let load = find(run, question, question.rate_hz)?;
    let decision = Decision::evaluate(&load, question);
    if decision.rows.is_empty() {
        let reasons: Vec<String> =
            load.obstacles().map(|(rung, reason)| format!("{rung}: {reason}")).collect();
        return Err(NoAdvice::Candidates { reasons: reasons.join("; ") });
    }
    let choice = decision.chosen().and_then(|row| {
        let client = question.client(row.rung.encoding())?;
        Some(Choice { rung: row.rung, client })
    });
    Ok(Advice { text: sentences::render(run, &load, question, &decision, width), choice })
}

/// Returns the candidates that get requests at a rate, by their cost in a closed loop: the cheapest
/// ones, among them a server of others; and the highest rate that all of them bear.
pub fn candidates_at_rate(run: &Run, question: &Question) -> Result<(Vec<String>, f64), NoAdvice> {
    let closed = Question { rate_hz: None, limit: None, ..question.clone() };
    let load = find(run, &closed, None)?;
    let decision = Decision::evaluate(&load, &closed);
    let able: Vec<_> = decision.rows.iter().filter(|row| row.objection.is_none()).collect();
    let mut few: Vec<_> = able.iter().take(FEW).copied().collect();
    if few.iter().all(|row| row.is_ours())
        && let Some(standard) = able.iter().find(|row| !row.is_ours())
    {
        few.truncate(FEW - 1);
        few.push(*standard);
    }
    let lowest = few.iter().filter_map(|row| load.rate_hz(row.name)).fold(f64::INFINITY, f64::min);
    if few.is_empty() || !lowest.is_finite() {
        return Err(NoAdvice::Candidates { reasons: String::new() });
    }
    let names = few.iter().map(|row| row.name.to_owned()).collect();
    Ok((names, (RATE_SHARE * lowest).round().max(1.0)))
}

/// Returns the candidates that cost much more than the cheapest one with a client, each with the
/// reason to leave it out of further launches. The cheapest server of others stays, and so does a
/// rung with a twin, which tells the noise.
pub fn far(run: &Run, question: &Question) -> Result<Vec<(String, String)>, NoAdvice> {
    let closed = Question { rate_hz: None, limit: None, ..question.clone() };
    let load = find(run, &closed, None)?;
    let decision = Decision::evaluate(&load, &closed);
    let Some(cheapest) = decision.cheapest.map(|index| &decision.rows[index]) else {
        return Ok(Vec::new());
    };
    let standard = decision.cheapest_that(|row| !row.is_ours()).map(|row| row.name);
    let has_twin =
        |name: &str| run.trials.iter().any(|it| it.variant == Variant::Twin && it.rung == name);
    let reason = |row: &Candidate<'_>| {
        let factor = row.cost_ns.estimate / cheapest.cost_ns.estimate;
        let is_far = factor > FAR && Some(row.name) != standard && !has_twin(row.name);
        is_far.then(|| {
            let reason = format!(
                "more than {FAR} times the cost of {} in the first launch ({factor:.1}), so later \
                 launches were without it",
                cheapest.name
            );
            (row.name.to_owned(), reason)
        })
    };
    Ok(decision.rows.iter().filter_map(reason).collect())
}

/// Returns the array of a record that has only one.
pub fn only_array(run: &Run) -> Option<ArrayInfo> {
    let first = &run.trials.first()?.array;
    run.trials.iter().all(|trial| trial.array == *first).then(|| first.clone())
}

/// Returns the connections with which the record has `array` and one request in flight on each, the
/// most first.
pub fn connections(run: &Run, array: &ArrayInfo) -> Vec<u32> {
    let is_it = |trial: &&Trial| trial.array == *array && trial.connections == trial.in_flight;
    let all: BTreeSet<u32> =
        run.trials.iter().filter(is_it).map(|trial| trial.connections).collect();
    all.into_iter().rev().collect()
}

/// Returns the rates at which the record has requests for `array`.
pub fn rates(run: &Run, array: &ArrayInfo, connections: u32) -> Vec<f64> {
    let is_it = |trial: &&Trial| trial.array == *array && trial.connections == connections;
    let mut rates: Vec<f64> =
        run.trials.iter().filter(is_it).filter_map(|trial| trial.offered_hz).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    rates
}

fn find<'a>(
    run: &'a Run,
    question: &Question,
    rate_hz: Option<f64>,
) -> Result<LoadCells<'a>, NoAdvice> {
    let Question { array, connections, .. } = question;
    if let Some(load) = LoadCells::find_load(run, array, *connections, rate_hz) {
        return Ok(load);
    }
    let list = |found: Vec<String>| match found.as_slice() {
        [] => "none".to_owned(),
        found => found.join(", "),
    };
    let wanted = units::array(array);
    if !run.trials.iter().any(|trial| trial.array == *array) {
        let found: BTreeSet<String> =
            run.trials.iter().map(|trial| units::array(&trial.array)).collect();
        return Err(NoAdvice::Array { wanted, found: list(found.into_iter().collect()) });
    }
    let counts = self::connections(run, array);
    if !counts.contains(connections) {
        let found = list(counts.iter().map(u32::to_string).collect());
        return Err(NoAdvice::Load { array: wanted, wanted: *connections, found });
    }
    let found = rates(run, array, *connections);
    let found = list(found.iter().map(|rate| format!("{}/s", units::rate(*rate))).collect());
    Err(NoAdvice::Rate { wanted: units::rate(rate_hz.unwrap_or_default()), found })
}
