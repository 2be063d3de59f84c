//! The text of an advice: a table of the candidates, then sentences.

use std::collections::BTreeMap;

use crate::array::{DType, Kind};
use crate::axis::{Encoding, Family, Protocol};
use crate::record::trial_spec::ArraySpec;
use crate::stats::bootstrap::Interval;

use super::super::super::cell::SKIPPED;
use super::super::super::text::WIDTH_MAX;
use super::super::super::warning::Warning;
use super::super::super::wrap::wrap;
use super::super::super::{Run, units};
use super::super::bars::Scale;
use super::super::load_cells::{LoadCells, Ratio};
use super::super::{WIDTH_MIN, facts, warnings};
use super::clients::Language;
use super::decision::{Candidate, Decision, Objection};
use super::{Limit, Question};

/// Size of a message above which tonic and grpcio refuse it, if their limits stay as they are.
const GRPC_BYTES_MAX: u64 = 4 << 20;

/// Size of an array from which a minute holds too few launches.
const LARGE_BYTES_MIN: u64 = 8 << 20;

/// Width of the names of the sections.
const LABEL: usize = 17;

pub(super) fn render(
    run: &Run,
    load: &LoadCells<'_>,
    question: &Question,
    decision: &Decision<'_>,
    width: usize,
) -> String {
    let width = width.clamp(WIDTH_MIN, WIDTH_MAX);
    let mut text = head(run, load, width);
    text.push_str(&wrap("For ", &subject(question), width));
    text.push('\n');
    text.push_str(&table(question, decision));
    text.push('\n');
    let parts = [
        ("Choice", choice(question, decision)),
        ("Settings", settings(decision)),
        ("Margin", margin(run, question, decision)),
        ("Would change it", changes(question, decision)),
        ("Left out", left_out(load, question, decision)),
        ("Not shown", not_shown(run, question)),
    ];
    for (name, sentences) in parts.into_iter().filter(|(_, sentences)| !sentences.is_empty()) {
        text.push_str(&wrap(&format!("{name:<LABEL$}"), &sentences, width));
    }
    text
}

/// Returns the machine, the time, the noise and the warnings. The margin tells of few launches.
fn head(run: &Run, load: &LoadCells<'_>, width: usize) -> String {
    let facts = facts(run, std::slice::from_ref(load));
    let mut text = wrap("ndecho advise: ", &facts.join(", "), width);
    let is_few = |warning: &Warning| matches!(warning, Warning::FewBlocks { .. });
    for warning in warnings(run).into_iter().filter(|warning| !is_few(warning)) {
        text.push_str(&wrap("warning: ", &warning.to_string(), width));
    }
    text
}

/// Describes array, load, language and limits.
fn subject(question: &Question) -> String {
    let Question { array, connections, language, rate_hz, limit, .. } = question;
    let load = match connections {
        1 => "1 connection with one request in flight".to_owned(),
        count => format!("{count} connections with one request in flight on each"),
    };
    let client = match language {
        Some(language) => format!("a client in {}", language.name()),
        None => "a client in any language".to_owned(),
    };
    let mut parts = vec![units::array(array), load, client];
    parts.extend(rate_hz.map(|rate| format!("{} requests/s", units::rate(rate))));
    parts.extend(limit.as_ref().map(|limit| format!("{} of at most {}", limit.name, limit.time())));
    parts.join(", ")
}

fn table(question: &Question, decision: &Decision<'_>) -> String {
    let quantile = question.limit.as_ref().map_or("", |limit| limit.name.as_str());
    let mut text = String::new();
    let mut line = |cells: [&str; 5]| {
        let [stack, codec, cost, extra, ratio] = cells;
        let line = format!("   {stack:<18}{codec:<21}{cost:>8}  {extra:>8}  {ratio}");
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(["server", "codec", "CPU/call", quantile, "to the cheapest"]);
    for (index, row) in decision.rows.iter().enumerate() {
        let extra = match row.latency {
            Some(latency) => units::time(latency.ns as f64),
            None if question.limit.is_some() => "-".to_owned(),
            None => units::half_width(&row.cost_ns),
        };
        let ratio = match row.to_cheapest {
            _ if decision.cheapest == Some(index) => "1".to_owned(),
            Some(ratio) => ratio.text(),
            None => "-".to_owned(),
        };
        line([row.stack, row.codec(), &units::time(row.cost_ns.estimate), &extra, &ratio]);
    }
    text
}

fn choice(question: &Question, decision: &Decision<'_>) -> String {
    let Some(row) = decision.chosen() else { return none(question, decision) };
    let mut text =
        format!("{} ({}): {} of server CPU per call.", describe(row), row.name, cost(&row.cost_ns));
    if let (Some(limit), Some(latency)) = (&question.limit, row.latency) {
        let took = units::time(latency.ns as f64);
        text.push_str(&format!(
            " Its {} was {took}, from {} requests.",
            limit.name, latency.requests
        ));
    }
    let standard = decision.cheapest_that(|row| !row.is_ours()).filter(|_| row.is_ours());
    if let Some(standard) = standard {
        text.push_str(&format!(
            " Of servers of others, {} is the cheapest{}.",
            describe(standard),
            unless_next(decision, standard, ": ")
        ));
    }
    text
}

/// Says where the settings of a chosen stack at its best are.
fn settings(decision: &Decision<'_>) -> String {
    let Some(row) = decision.chosen() else { return String::new() };
    let file = match row.rung.protocol() {
        Protocol::TonicBest => "src/stack/tonic/mod.rs",
        Protocol::AxumBest => "src/stack/axum.rs",
        _ => return String::new(),
    };
    format!("{file} has those of {}; docs/BIAS.md says what each saves.", row.stack)
}

/// Says that no candidate may be chosen, and why: each objection with the number of candidates.
fn none(question: &Question, decision: &Decision<'_>) -> String {
    let mut kinds: Vec<(String, String, usize)> = Vec::new();
    for objection in decision.rows.iter().filter_map(|row| row.objection.as_ref()) {
        let (of_all, of_some) = refusals(objection, question);
        match kinds.iter_mut().find(|(other, ..)| *other == of_all) {
            Some((.., count)) => *count += 1,
            None => kinds.push((of_all, of_some, 1)),
        }
    }
    if let [(of_all, ..)] = kinds.as_slice() {
        return format!("none: {of_all}.");
    }
    let parts: Vec<String> =
        kinds.iter().map(|(_, of_some, count)| format!("{count} {of_some}")).collect();
    format!("none: of {} candidates, {}.", decision.rows.len(), parts.join("; "))
}

/// Returns an objection as that of all candidates, and as the predicate of some of them.
fn refusals(objection: &Objection, question: &Question) -> (String, String) {
    let limit = question.limit.as_ref();
    let rate = question.rate_hz.map(units::rate);
    let quantile = limit.map_or("latency", |limit| limit.name.as_str());
    match objection {
        Objection::NoClient => {
            let language = question.language.map_or("any language", Language::name);
            (
                format!("tools/clients has no client for any of these encodings in {language}"),
                format!("had no client in {language} in tools/clients"),
            )
        }
        Objection::Behind(_) => {
            let rate = rate.unwrap_or_default();
            (
                format!("no candidate answered {rate} requests/s"),
                format!("answered fewer than the {rate} requests/s offered"),
            )
        }
        Objection::Late(_) => {
            let most = limit.map_or_else(String::new, Limit::time);
            let at_rate = rate.map_or_else(String::new, |rate| format!(" at {rate}/s"));
            (
                format!("no candidate had a {quantile} of at most {most}{at_rate}"),
                format!("had a {quantile} above {most}{at_rate}"),
            )
        }
        Objection::FewRequests(_) => (
            format!(
                "every candidate got too few requests to know its {quantile}; name a higher --rate \
                 or a lower quantile"
            ),
            format!("got too few requests to know the {quantile}"),
        ),
    }
}

fn margin(run: &Run, question: &Question, decision: &Decision<'_>) -> String {
    let Some(chosen) = decision.chosen() else { return String::new() };
    let mut text = String::new();
    let equals: Vec<&Candidate<'_>> =
        decision.equals().filter(|row| row.name != chosen.name).collect();
    let launches = run.blocks();
    let is_unknown = |row: &Candidate<'_>| row.to_cheapest.is_some_and(|r| r.ratio.range.is_none());
    if decision.rows.iter().any(is_unknown) {
        return format!(
            "unknown: {launches} launch{} of each server are too few for intervals, so the order \
             may be chance. Measure for longer: --time {}.",
            if launches == 1 { "" } else { "es" },
            if question.array.bytes > LARGE_BYTES_MIN { "10m" } else { "3m" }
        );
    }
    let is_apart = |row: &Candidate<'_>| {
        row.name != chosen.name && row.to_cheapest.is_none() && row.objection.is_none()
    };
    if equals.is_empty() && decision.next().is_none() && decision.rows.iter().any(is_apart) {
        return "unknown: the other servers were never launched together with the cheapest one, \
                since the memory does not hold all of them at the same time, so there is no ratio \
                with an interval. The table has their costs."
            .to_owned();
    }
    if !equals.is_empty() {
        let names: Vec<String> = equals.iter().map(|row| describe(row)).collect();
        let ratio = chosen.to_cheapest.map_or_else(String::new, |ratio| {
            format!("; the choice costs {} times the cheapest", ratio.text_known())
        });
        text.push_str(&format!(
            "No difference was shown between it and {}{ratio}. ",
            names.join(", ")
        ));
    }
    if !equals.is_empty() {
        text.push_str(
            "Of equals, the easiest is taken: a server of others before ours, a stack as \
             documented before one with more settings, .npy before other encodings. ",
        );
    }
    match decision.next() {
        Some(next) => text.push_str(&format!(
            "The next choice, {}, costs {}{}.",
            describe(next),
            cost(&next.cost_ns),
            times(decision, next)
        )),
        None if equals.is_empty() => text.push_str("There is no other candidate to compare with."),
        None => {}
    }
    text.trim_end().to_owned()
}

/// Lists what would lead to another choice, as far as the record tells.
fn changes(question: &Question, decision: &Decision<'_>) -> String {
    let mut parts = Vec::new();
    if let Some(chosen) = decision.chosen() {
        if chosen.is_ours() {
            parts.extend(other("Without io_uring", decision, |row| !row.is_ours()));
        }
        let family = chosen.rung.family();
        let label =
            if family == Family::Rest { "If it has to be gRPC" } else { "If it has to be REST" };
        parts.extend(other(label, decision, |row| row.rung.family() != family));
        parts.extend(text_factor(decision));
    }
    parts.extend(cheaper_without_client(question, decision));
    parts.extend(decision.chosen().and_then(|chosen| nan_in_json(question, chosen)));
    parts.extend(json_in_javascript(question));
    let is_grpc = |row: &Candidate<'_>| row.rung.family() == Family::Grpc;
    if question.array.bytes > GRPC_BYTES_MAX && decision.rows.iter().any(is_grpc) {
        parts.push(
            "tonic and grpcio refuse messages above 4 MiB unless both sides raise their limits, as \
             was done here."
                .to_owned(),
        );
    }
    parts.push(format!(
        "Another array, or another number of connections than {}, was not measured: --clients N \
         measures it.",
        question.connections
    ));
    parts.join(" ")
}

fn other(
    condition: &str,
    decision: &Decision<'_>,
    is_it: impl Fn(&Candidate<'_>) -> bool,
) -> Option<String> {
    let row = decision.cheapest_that(is_it)?;
    Some(format!("{condition}: {}{}.", describe(row), unless_next(decision, row, ", ")))
}

/// Returns cost and ratio after `separator`; nothing for the next choice, whose margin has both.
fn unless_next(decision: &Decision<'_>, row: &Candidate<'_>, separator: &str) -> String {
    if decision.next().is_some_and(|next| next.name == row.name) {
        return String::new();
    }
    format!("{separator}{}{}", cost(&row.cost_ns), times(decision, row))
}

/// Says by how much a JSON list is dearer at best.
fn text_factor(decision: &Decision<'_>) -> Option<String> {
    let is_list = |row: &&Candidate<'_>| row.rung.encoding() == Encoding::Json;
    let row = decision.rows.iter().find(is_list)?;
    let ratio = row.to_cheapest.filter(Ratio::is_shown)?;
    Some(format!("As a JSON list the array costs at least {} times as much.", ratio.text_known()))
}

/// Names the cheapest candidate that costs less than the choice, and has no client.
fn cheaper_without_client(question: &Question, decision: &Decision<'_>) -> Option<String> {
    let is_it =
        |row: &&Candidate<'_>| row.objection == Some(Objection::NoClient) && row.is_shown_cheaper();
    let row = decision.rows.iter().find(is_it)?;
    let language = question.language.map_or("any language", Language::name);
    Some(format!(
        "{} costs less, {}{}; tools/clients has no client for it in {language}.",
        describe(row),
        cost(&row.cost_ns),
        times(decision, row)
    ))
}

/// Says that an array with NaN needs another choice than a JSON list.
fn nan_in_json(question: &Question, chosen: &Candidate<'_>) -> Option<String> {
    let dtype = DType::parse(&question.array.dtype).ok()?;
    let is_it = chosen.rung.encoding() == Encoding::Json && dtype.kind() == Kind::Float;
    is_it.then(|| "NaN and infinities: serde_json and most other readers refuse them.".to_owned())
}

fn json_in_javascript(question: &Question) -> Option<String> {
    let is_measured = question.rungs.iter().any(|rung| rung.contains("/json"));
    let is_it = question.language.is_none_or(|language| language == Language::JavaScript);
    let dtype = DType::parse(&question.array.dtype).ok().filter(|_| is_it && is_measured)?;
    let limit = match dtype.kind() {
        Kind::Float => "refuses NaN and Infinity",
        Kind::Int | Kind::Uint if dtype.item_size() == 8 => "loses digits of integers beyond 2^53",
        _ => return None,
    };
    Some(format!("JSON.parse in JavaScript {limit}, which .npy carries."))
}

/// Lists the candidates that were not chosen for another reason than their cost.
fn left_out(load: &LoadCells<'_>, question: &Question, decision: &Decision<'_>) -> String {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |reason: String, name: &str| {
        reasons.entry(reason).or_default().push(name.to_owned());
    };
    for row in &decision.rows {
        if let Some(objection) = &row.objection {
            add(reason(objection, question), row.name);
        }
    }
    let known: Vec<&str> = load.rungs().collect();
    for (rung, obstacle) in load.obstacles().filter(|(rung, _)| is_asked(question, rung)) {
        add(obstacle.trim_start_matches(SKIPPED).to_owned(), rung);
    }
    let missing = if question.rate_hz.is_some() {
        "not among the cheapest in the closed loop, so no requests were offered at the rate"
    } else {
        "not in this record"
    };
    for rung in question.rungs.iter().filter(|rung| !known.contains(&rung.as_str())) {
        add(missing.to_owned(), rung);
    }
    let lines: Vec<String> = reasons
        .into_iter()
        .map(|(reason, names)| format!("{}: {reason}.", names.join(", ")))
        .collect();
    lines.join(" ")
}

fn is_asked(question: &Question, name: &str) -> bool {
    question.rungs.iter().any(|rung| rung == name)
}

fn reason(objection: &Objection, question: &Question) -> String {
    let limit = question.limit.as_ref().map_or("latency", |limit| limit.name.as_str());
    match objection {
        Objection::NoClient => format!(
            "tools/clients has no client for it in {}",
            question.language.map_or("any language", Language::name)
        ),
        Objection::Behind(share) => {
            format!("it answered {:.0} % of the requests", share * 100.0)
        }
        Objection::Late(ns) => format!("its {limit} was {}", units::time(*ns as f64)),
        Objection::FewRequests(count) => {
            format!("{count} requests are too few to know its {limit}")
        }
    }
}

fn not_shown(run: &Run, question: &Question) -> String {
    let shared = if run.shares_core() {
        "; server and load generator shared a core, so latencies are not those of the server"
    } else {
        ""
    };
    let browser = match question.language {
        Some(Language::JavaScript) => {
            " A browser cannot call gRPC without a proxy, which was not measured."
        }
        _ => "",
    };
    let values =
        if is_drawn(run, question) { "the values of your array (drawn here), " } else { "" };
    format!(
        "{values}a network, more than one core, work in the handler, TLS, and the CPU of the client: \
         the load generator is ours{shared}.{browser}"
    )
}

/// Returns whether the items of the array were drawn from a seed.
fn is_drawn(run: &Run, question: &Question) -> bool {
    let specs = run.trials.iter().filter(|trial| trial.array == question.array);
    let mut arrays = specs.filter_map(|trial| Some(&trial.spec.as_ref()?.load.array));
    arrays.any(|array| matches!(array, ArraySpec::Seeded { .. }))
}

/// `axum with npy over REST`.
fn describe(row: &Candidate<'_>) -> String {
    let family = if row.rung.family() == Family::Grpc { "gRPC" } else { "REST" };
    match row.stack.split_once(", gRPC") {
        Some((stack, _)) => format!("{stack} with {} over {family}", row.codec()),
        None => format!("{} with {} over {family}", row.stack, row.codec()),
    }
}

/// `8.51 [8.40-8.62] µs`.
fn cost(cost_ns: &Interval) -> String {
    let scale = Scale::for_largest(cost_ns.estimate);
    format!("{} {}", scale.interval(cost_ns), scale.unit)
}

/// `, 1.20 [1.10-1.30] times as much`; empty without an interval, and for the cheapest.
fn times(decision: &Decision<'_>, row: &Candidate<'_>) -> String {
    let than = if decision.choice == decision.cheapest { "as much" } else { "the cheapest" };
    match row.to_cheapest.filter(|ratio| ratio.ratio.range.is_some()) {
        Some(ratio) => format!(", {} times {than}", ratio.text()),
        None => String::new(),
    }
}

impl Limit {
    fn time(&self) -> String {
        units::time(self.ns as f64)
    }
}
