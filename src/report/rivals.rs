//! Servers that are not part of this crate next to our own: a table for gRPC, for REST, and for
//! ZMTP, which no server of ours speaks.
//!
//! A row is a server, and each array has two columns: CPU per request, and its ratio to our own
//! server on the ring of the same family and encoding under the same load. All connections carry
//! one request at a time, over gRPC too, so no server can gather more requests than another.

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::{Encoding, Family as Protocols, Rung};
use crate::record::Variant;
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::family::Family;
use crate::stats::verdict::{Floor, Verdict};

use super::aggregate::{cells_by_section, noise};
use super::cell::{CellTrials, geometric_center};
use super::text::{WIDTH_MAX, align, load};
use super::wrap::wrap;
use super::{Run, units};

/// Name of the preset whose runs have these tables.
const PRESET: &str = "rivals";

/// Cost of a server for one array, or the reason why there is none.
type Figure = Result<Cost, String>;

#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu_ns: Interval,
    /// Logarithm of the ratio to our own server; `None` for that server itself.
    to_own: Option<ToOwn>,
}

#[derive(Clone, Copy, Debug)]
struct ToOwn {
    log: Interval,
    verdict: Verdict,
}

/// One array under one load.
struct Size {
    name: String,
    load: String,
    /// By the name of the rung.
    figures: BTreeMap<String, Figure>,
}

/// Returns `None` for a run of another preset.
pub fn render(run: &Run) -> Option<String> {
    if run.header.preset != PRESET {
        return None;
    }
    let sections = cells_by_section(&run.trials);
    let families = [Protocols::Grpc, Protocols::Rest, Protocols::Zmtp];
    let tables = families.into_iter().filter_map(|family| {
        let sizes: Vec<Size> =
            sections.iter().filter_map(|cells| Size::new(cells, family)).collect();
        (!sizes.is_empty()).then(|| table(family, &sizes))
    });
    let text: Vec<String> = tables.collect();
    (!text.is_empty()).then(|| text.join("\n"))
}

/// Returns the name of our own server of the same family and encoding.
fn own<'a>(cell: &CellTrials<'a>) -> Option<&'a str> {
    cell.first().null.as_deref()
}

fn family(cell: &CellTrials<'_>) -> Option<Protocols> {
    match own(cell) {
        Some(own) => Some(own.parse::<Rung>().ok()?.family()),
        None => {
            let (_, codec) = cell.first().rung.rsplit_once('/')?;
            let encoding: Encoding = codec.split(':').next()?.parse().ok()?;
            let mut without_own = Protocols::ALL.into_iter().filter(|it| it.own().is_none());
            without_own.find(|family| family.carries(encoding))
        }
    }
}

impl Size {
    /// Evaluates the cells of one family; `None` if there are none.
    fn new(cells: &[CellTrials<'_>], of_family: Protocols) -> Option<Size> {
        let is_row = |cell: &&CellTrials<'_>| {
            cell.first().variant == Variant::Usual && family(cell) == Some(of_family)
        };
        let rows: Vec<&CellTrials<'_>> = cells.iter().filter(is_row).collect();
        let first = rows.first()?.first();
        let noise = noise(cells);
        let own_cell = |cell: &CellTrials<'_>| {
            let own = own(cell).filter(|own| *own != cell.first().rung)?;
            rows.iter().copied().find(|other| other.first().rung == own)
        };
        let logs = |cell: &&CellTrials<'_>| {
            let ratios = own_cell(cell).map_or_else(Vec::new, |own| cell.log_ratios(own));
            vec![ratios.into_iter().map(|sample| sample.value).collect()]
        };
        let members: Vec<_> = rows.iter().map(logs).collect();
        let intervals = Family::new(Bootstrap::default(), &members).intervals();
        let figure = |(cell, log): (&&CellTrials<'_>, Option<Interval>)| {
            let to_own = own_cell(cell).zip(log).map(|(own, log)| {
                let floor: Floor = noise.floor_of([cell, own]);
                ToOwn { log, verdict: Verdict::judge(&log, floor) }
            });
            let cost = || geometric_center(&cell.server_costs()).ok_or("no figure".to_owned());
            let cpu_ns = cell.obstacle().map_or_else(cost, Err);
            (cell.first().rung.clone(), cpu_ns.map(|cpu_ns| Cost { cpu_ns, to_own }))
        };
        Some(Size {
            name: units::bytes(first.array.bytes),
            load: load(first.connections, first.in_flight_sent()),
            figures: rows.iter().zip(intervals).map(figure).collect(),
        })
    }

    /// Returns the logarithm of the cost of a rung.
    fn log_cost(&self, rung: &str) -> Option<f64> {
        Some(self.figures.get(rung)?.as_ref().ok()?.cpu_ns.estimate.ln())
    }
}

fn table(family: Protocols, sizes: &[Size]) -> String {
    let rungs: BTreeSet<&str> =
        sizes.iter().flat_map(|size| size.figures.keys().map(String::as_str)).collect();
    let mut rungs: Vec<&str> = rungs.into_iter().collect();
    rungs.sort_by(|a, b| rank(a, sizes).total_cmp(&rank(b, sizes)));
    let mut head = vec!["rung".to_owned()];
    head.extend(sizes.iter().flat_map(|size| [size.name.clone(), "x own".to_owned()]));
    let mut lines = vec![head];
    lines.extend(rungs.iter().map(|rung| line(rung, sizes)));
    let loads: BTreeSet<&str> = sizes.iter().map(|size| size.load.as_str()).collect();
    let loads: Vec<&str> = loads.into_iter().collect();
    let name = match family {
        Protocols::Grpc => "gRPC",
        Protocols::Zmtp => "ZMTP",
        Protocols::Rest | Protocols::Raw => "REST",
    };
    let title = format!(
        "Rivals over {name}: CPU per request, load {} (connections x requests in flight on each). \
         x own: ratio to our own server of the same encoding; the intervals of a column hold \
         together at 95 %.",
        loads.join(" and ")
    );
    let notes = rungs.iter().flat_map(|rung| gaps(rung, sizes));
    let notes: String = notes.map(|note| wrap("  ", &note, WIDTH_MAX)).collect();
    let end = match family.own() {
        Some(_) => cheaper(sizes),
        None => format!("No server of ours speaks {name}, so there is no ratio."),
    };
    wrap("", &title, WIDTH_MAX) + &align(&lines) + &notes + &wrap("", &end, WIDTH_MAX)
}

/// Returns the place of a rung: the mean logarithm of its costs. A rung without a figure for some
/// size stands last.
fn rank(rung: &str, sizes: &[Size]) -> f64 {
    let logs: Option<Vec<f64>> = sizes.iter().map(|size| size.log_cost(rung)).collect();
    logs.map_or(f64::INFINITY, |logs| logs.iter().sum::<f64>() / sizes.len() as f64)
}

/// Returns the cells of a row, or the reason why the rung has no figure at any size.
fn line(rung: &str, sizes: &[Size]) -> Vec<String> {
    let figures: Vec<Option<&Figure>> = sizes.iter().map(|size| size.figures.get(rung)).collect();
    let has_figure = figures.iter().flatten().any(|figure| figure.is_ok());
    let reason = figures.iter().flatten().find_map(|figure| figure.as_ref().err());
    if let (false, Some(reason)) = (has_figure, reason) {
        return vec![rung.to_owned(), reason.clone()];
    }
    let cells = figures.into_iter().flat_map(|figure| match figure {
        Some(Ok(cost)) => [units::time(cost.cpu_ns.estimate), ratio(cost)],
        _ => ["-".to_owned(), "-".to_owned()],
    });
    std::iter::once(rung.to_owned()).chain(cells).collect()
}

/// Formats a ratio, after `=` if it is no difference.
fn ratio(cost: &Cost) -> String {
    let Some(to_own) = cost.to_own else { return "-".to_owned() };
    let ratio = to_own.log.exp();
    let same = if to_own.verdict == Verdict::Same { "=" } else { "" };
    let estimate = units::ratio(&Interval { range: None, ..ratio });
    format!("{same}{estimate} {}", units::half_width(&ratio))
}

/// Tells why a rung with figures has none for some size.
fn gaps(rung: &str, sizes: &[Size]) -> Vec<String> {
    let has_figure = |size: &Size| size.figures.get(rung).is_some_and(Result::is_ok);
    if !sizes.iter().any(has_figure) {
        return Vec::new();
    }
    let gap = |size: &Size| {
        let reason = size.figures.get(rung)?.as_ref().err()?;
        Some(format!("{rung}, {}: {reason}", size.name))
    };
    sizes.iter().filter_map(gap).collect()
}

/// Names the rungs that cost less than our own server beyond the noise.
fn cheaper(sizes: &[Size]) -> String {
    let all = sizes.iter().flat_map(|size| size.figures.iter().map(move |entry| (size, entry)));
    let is_cheaper = |(size, (rung, figure)): (&Size, (&String, &Figure))| {
        let to_own = figure.as_ref().ok()?.to_own?;
        let ratio = units::ratio(&to_own.log.exp());
        let is_shown = to_own.verdict != Verdict::Same && to_own.log.range?.1 < 0.0;
        is_shown.then(|| format!("{rung} at {}, {ratio}", size.name))
    };
    let cheaper: Vec<String> = all.filter_map(is_cheaper).collect();
    match cheaper.as_slice() {
        [] => "No server was shown to cost less than our own of its encoding.".to_owned(),
        cheaper => format!("Cheaper than our own of its encoding: {}.", cheaper.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::record::tests::{header, trial, with};

    const OWN: &str = "uring/h2/protobuf";
    const CHEAP: &str = "external/cheap/protobuf";
    const DEAR: &str = "external/dear/protobuf";
    const REST: &str = "external/web/npy";
    const ZMTP: &str = "external/queue/multipart";

    /// Six launches with these costs in nanoseconds, for two sizes.
    fn run(costs: &[(&str, u64)]) -> Run {
        let mut header = header();
        header.preset = PRESET.into();
        let mut trials = Vec::new();
        for (size, bytes) in [8, 1 << 16].into_iter().enumerate() {
            for (number, (rung, cost_ns)) in costs.iter().enumerate() {
                for round in 0..6 {
                    let mut trial = trial(rung, round, cost_ns + u64::from(round % 2));
                    trial.cell = (10 * size + number) as u32;
                    trial.array.bytes = bytes;
                    trial.array.shape = vec![bytes / 8];
                    (trial.connections, trial.in_flight) = (8, 8);
                    let null = if *rung == REST { "uring/h1/npy" } else { OWN };
                    trial.null = (*rung != ZMTP).then(|| null.to_owned());
                    trials.push(trial);
                }
            }
        }
        Run::new(header, trials)
    }

    fn rows(text: &str) -> Vec<Vec<&str>> {
        text.lines().map(|line| line.split_whitespace().collect()).collect()
    }

    #[test]
    fn each_family_has_a_table_with_its_servers_from_cheap_to_dear() {
        let run = run(&[(DEAR, 40_000), (REST, 5000), (OWN, 10_000), (CHEAP, 8000)]);
        let text = render(&run).expect("a run of the preset");
        let (grpc, rest) = text.split_once("\n\n").expect("two tables");
        assert!(grpc.starts_with("Rivals over gRPC") && grpc.contains("8x1"), "{grpc}");
        let rows = rows(grpc);
        let at = |rung: &str| rows.iter().position(|row| row.first() == Some(&rung)).expect(rung);
        assert!(at(CHEAP) < at(OWN) && at(OWN) < at(DEAR), "{grpc}");
        assert_eq!(rows[at(CHEAP)][1..5], ["8.00", "µs", "0.80", "±0%"], "{grpc}");
        assert_eq!(rows[at(OWN)][3..6], ["-", "10.0", "µs"], "{grpc}");
        assert_eq!(rows[at(DEAR)][3], "4.00");
        let flat = grpc.split_whitespace().collect::<Vec<_>>().join(" ");
        let cheaper = "Cheaper than our own of its encoding: external/cheap/protobuf at 8 B, 0.80";
        assert!(flat.contains(cheaper) && !flat.contains(&format!("encoding: {DEAR}")), "{flat}");
        assert!(rest.starts_with("Rivals over REST") && rest.contains(REST), "{rest}");
        assert!(!rest.contains(CHEAP) && rest.contains("No server was shown"), "{rest}");
    }

    #[test]
    fn a_family_that_we_do_not_speak_has_a_table_without_ratios() {
        let text = render(&run(&[(OWN, 10_000), (ZMTP, 30_000)])).expect("a run of the preset");
        let (grpc, zmtp) = text.split_once("\n\n").expect("two tables");
        assert!(grpc.contains(OWN) && !grpc.contains(ZMTP), "{grpc}");
        assert!(zmtp.starts_with("Rivals over ZMTP") && zmtp.contains("8x1"), "{zmtp}");
        let rows = rows(zmtp);
        let row = rows.iter().find(|row| row.first() == Some(&ZMTP)).expect(ZMTP);
        assert_eq!(row[1..], ["30.0", "µs", "-", "30.0", "µs", "-"], "{zmtp}");
        assert!(zmtp.ends_with("No server of ours speaks ZMTP, so there is no ratio.\n"), "{zmtp}");
    }

    #[test]
    fn a_server_without_a_figure_has_a_row_or_a_note_with_the_reason() {
        let mut run = run(&[(OWN, 10_000), (CHEAP, 8000), (DEAR, 40_000)]);
        for trial in &mut run.trials {
            if trial.rung == DEAR || (trial.rung == CHEAP && trial.array.bytes == 8) {
                let reason = format!("{} lost a reply", trial.rung);
                *trial = with(trial.clone(), Outcome::Failed { reason, stderr: String::new() });
            }
        }
        let text = render(&run).expect("a run of the preset");
        let rows = rows(&text);
        let row = |rung: &str| rows.iter().find(|row| row.first() == Some(&rung)).expect(rung);
        assert_eq!(row(DEAR)[1], "INVALID", "{text}");
        assert_eq!(row(CHEAP)[1..5], ["-", "-", "8.00", "µs"], "{text}");
        let note = format!("{CHEAP}, 8 B: INVALID in 6 of 6 rounds: {CHEAP} lost a reply");
        assert!(text.contains(&note), "{text}");
    }

    #[test]
    fn a_run_of_another_preset_has_no_such_table() {
        let mut run = run(&[(OWN, 10_000)]);
        run.header.preset = "broad".into();
        assert!(render(&run).is_none());
    }
}
