//! Ratios to the standard server under several clients, which loaded the same processes.
//!
//! A row compares the ratio of a rung under one client with its ratio under another. Both are taken
//! within a launch. A server that costs less under a client for a reason of the client's own shows
//! here, since the load is all that differs.

use std::collections::BTreeMap;

use crate::record::{ArrayInfo, Client, Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::family::{Family, Member};
use crate::stats::location::{self, Sample};
use crate::stats::verdict::{Floor, Verdict};

use super::cell::{CellTrials, headers};
use super::text::{WIDTH_MAX, align, connections};
use super::wrap::wrap;
use super::{Run, units};

/// Cells of one client by their number.
type Cells<'a> = BTreeMap<u32, CellTrials<'a>>;

/// Array, connections and requests in flight.
type Load<'a> = (u64, &'a str, &'a [u64], u32, u32);

/// Ratio of a rung to the standard under two clients.
struct Pair<'a> {
    rung: &'a str,
    ratios: [Option<Interval>; 2],
    /// Logarithms of the second ratio divided by the first, by launch.
    logs: Vec<f64>,
}

/// Returns `None` for a run of one client.
pub fn render(run: &Run) -> Option<String> {
    let mut loads: BTreeMap<Load<'_>, BTreeMap<Client, Cells<'_>>> = BTreeMap::new();
    let is_usual = |t: &&Trial| t.variant == Variant::Usual && t.is_timed();
    for trial in run.trials.iter().filter(is_usual) {
        let ArrayInfo { dtype, shape, bytes, .. } = &trial.array;
        let load = (*bytes, dtype.as_str(), shape.as_slice(), trial.connections, trial.in_flight);
        let cells = loads.entry(load).or_default().entry(trial.client).or_default();
        cells.entry(trial.cell).or_default().0.push(trial);
    }
    let texts: Vec<String> = loads.values().flat_map(tables).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Compares each further client with the first.
fn tables(clients: &BTreeMap<Client, Cells<'_>>) -> Vec<String> {
    let mut clients = clients.iter();
    let Some(first) = clients.next() else { return Vec::new() };
    clients.filter_map(|other| table([first, other])).collect()
}

fn table(clients: [(&Client, &Cells<'_>); 2]) -> Option<String> {
    let [(_, first), _] = clients;
    let pair = |number: &u32| Pair::new(clients.map(|(_, cells)| cells), *number);
    let pairs: Vec<Pair<'_>> = first.keys().filter_map(pair).collect();
    let trial = first.values().next()?.first();
    let names = clients.map(|(client, _)| client.name());
    let change = format!("{} / {}", names[1], names[0]);
    let mut lines = vec![vec!["rung".to_owned(), names[0].into(), names[1].into(), change]];
    let members: Vec<Member> = pairs.iter().map(|pair| vec![pair.logs.clone()]).collect();
    let intervals = Family::new(Bootstrap::default(), &members).intervals();
    lines.extend(pairs.iter().zip(intervals).map(|(pair, log)| pair.line(log)));
    let (array, connections) = (units::array(&trial.array), connections(trial.connections));
    let load = format!("{array}, {connections}, {} in flight", trial.in_flight);
    let head = format!("x standard by client: {load}, the same processes");
    let head = wrap("", &head, WIDTH_MAX);
    (!pairs.is_empty()).then(|| head + &align(&lines) + &note(clients))
}

/// Names the headers of clients that sent different ones.
fn note(clients: [(&Client, &Cells<'_>); 2]) -> String {
    let sent = clients.map(|(client, cells)| Some((client.name(), headers(cells.values())?)));
    match sent {
        [Some((first, headers)), Some((second, others))] if headers != others => {
            let note = format!(
                "{first} sent {} headers and {second} {} ones; --equal-headers makes both equal",
                headers.name(),
                others.name()
            );
            wrap("  ", &note, WIDTH_MAX)
        }
        _ => String::new(),
    }
}

impl<'a> Pair<'a> {
    /// Returns `None` for a rung that is the standard, or whose ratio one of the clients does not
    /// have.
    fn new(clients: [&Cells<'a>; 2], number: u32) -> Option<Pair<'a>> {
        let trial = clients[0].get(&number)?.first();
        let standard = trial.reference.as_deref().filter(|standard| *standard != trial.rung)?;
        let logs = |cells: &Cells<'a>| -> Option<Vec<Sample>> {
            let standard = cells.values().find(|cell| cell.first().rung == standard)?;
            Some(cells.get(&number)?.log_ratios(standard))
        };
        let [first, second] = [logs(clients[0])?, logs(clients[1])?];
        let ratio = |logs: &Vec<Sample>| Bootstrap::default().blocks(logs).map(Interval::exp);
        let logs: Vec<f64> =
            location::differences(&second, &first).iter().map(|log| log.value).collect();
        let ratios = [ratio(&first), ratio(&second)];
        (!logs.is_empty()).then_some(Pair { rung: &trial.rung, ratios, logs })
    }

    fn line(&self, log: Option<Interval>) -> Vec<String> {
        let estimate = |ratio: Option<Interval>| {
            let ratio = ratio.map(|ratio| units::ratio(&Interval { range: None, ..ratio }));
            ratio.unwrap_or_else(|| "-".to_owned())
        };
        let change = log.map(|log| {
            let is_same = Verdict::judge(&log, Floor::default()) == Verdict::Same;
            let same = if is_same { "= " } else { "" };
            format!("{same}{}", units::ratio(&log.exp()))
        });
        let [first, second] = self.ratios.map(estimate);
        vec![self.rung.to_owned(), first, second, change.unwrap_or_else(|| "-".to_owned())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Encoding;
    use crate::record::tests::{header, trial};
    use crate::record::trial_spec::{LoadSpec, RequestHeaders, TrialSpec};

    const STANDARD: &str = "tokio/tonic/protobuf:prost";

    /// Costs of a standard server and of a rung in six launches: the machine is up to 1.5 times
    /// slower in some, and the rung costs half of the standard under our client.
    fn trials(client: Client, headers: RequestHeaders, share: f64) -> Vec<Trial> {
        let url = "grpc://127.0.0.1:7".parse().expect("a URL");
        let mut load = LoadSpec::new(url, Encoding::Protobuf);
        load.knobs.headers = headers;
        let spec = Some(Box::new(TrialSpec { servers: Vec::new(), load }));
        let of = |cell, rung: &str, round: u32, cost: f64| {
            let slow = 1.0 + f64::from(round * 7 % 6) / 10.0 + f64::from(round % 2) / 100.0;
            let reference = Some(STANDARD.to_owned());
            let (spec, parent) = (spec.clone(), None);
            let trial = trial(rung, round, (cost * slow) as u64);
            Trial { cell, client, reference, spec, parent, ..trial }
        };
        let round = |round| {
            let own = of(1, "uring/h2/protobuf", round, 100_000.0 * share);
            [of(0, STANDARD, round, 100_000.0), own]
        };
        (0..6).flat_map(round).collect()
    }

    fn text(headers: RequestHeaders) -> Option<String> {
        let mut all = trials(Client::Own, headers, 0.5);
        all.extend(trials(Client::H2load, RequestHeaders::Equal, 0.75));
        render(&Run::new(header(), all))
    }

    #[test]
    fn the_ratio_of_ratios_is_taken_within_launches() {
        let text = text(RequestHeaders::Equal).expect("two clients");
        let lines: Vec<&str> = text.lines().collect();
        let head =
            "x standard by client: 8 B <f8 [1], 1 connection, 1000 in flight, the same processes";
        assert_eq!((lines.len(), lines[0]), (3, head), "{text}");
        assert!(lines[1].ends_with("h2load / own"), "{text}");
        let row = lines[2].split_whitespace().collect::<Vec<_>>();
        assert_eq!(row, ["uring/h2/protobuf", "0.50", "0.75", "1.50", "[1.50-1.50]"], "{text}");
    }

    #[test]
    fn headers_that_differ_are_told() {
        let text = text(RequestHeaders::Changing).expect("two clients");
        let note = "  own sent changing headers and h2load equal ones; \
                    --equal-headers makes both equal\n";
        assert!(text.ends_with(note), "{text}");
    }

    #[test]
    fn a_run_of_one_client_has_no_such_table() {
        let all = trials(Client::Wrk, RequestHeaders::Equal, 0.5);
        assert_eq!(render(&Run::new(header(), all)), None);
    }
}
