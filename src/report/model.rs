//! Cost of a rung as a fixed part and a part per byte, over the sizes of a run.
//!
//! Only sizes under one load make a line: a small request that shares its system calls with a
//! thousand others is cheaper than one of a few.

use std::collections::BTreeMap;

use crate::record::{Client, Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::model::{self, Model, Point};

use super::cell::CellTrials;
use super::text::{WIDTH_MAX, align, load};
use super::wrap::wrap;
use super::{Run, units};

pub(super) const KIB: f64 = 1024.0;

/// Key of a line: client, connections, requests in flight over all of them, rung.
pub(super) type Line<'a> = (Client, u32, u32, &'a str);

/// A line with the points that it was fitted to.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    pub(super) points: Vec<Point>,
    pub(super) model: Model,
}

/// Returns `None` without a rung that was tried at two sizes or more under one load.
pub fn render(run: &Run) -> Option<String> {
    let fits = fits(&run.trials);
    if fits.is_empty() {
        return None;
    }
    let heads =
        ["rung", "load", "ns per request", "ns per KiB", "worst fit", "price of a KiB bends at"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for ((client, connections, in_flight, rung), Fit { model, .. }) in &fits {
        let load = load(*connections, *in_flight);
        lines.push(vec![
            (*rung).to_owned(),
            if *client == Client::Own { load } else { format!("{load} {}", client.name()) },
            text(&model.fixed_ns, 1.0),
            text(&model.byte_ns, KIB),
            format!("{:.0} %", model.error_max * 100.0),
            knees(model),
        ]);
    }
    let title = "server CPU per request = a + b x size of the array, under one load (connections x \
                 requests in flight on each), with 95 % intervals";
    Some(wrap("", title, WIDTH_MAX) + &align(&lines))
}

/// Returns the fit of every rung that was tried at two sizes or more under one load.
pub(super) fn fits(trials: &[Trial]) -> BTreeMap<Line<'_>, Fit> {
    let mut cells: BTreeMap<Line<'_>, BTreeMap<u64, CellTrials<'_>>> = BTreeMap::new();
    let usual = trials.iter().filter(|t| t.variant == Variant::Usual && t.is_timed());
    for trial in usual {
        let connections = trial.connections.max(1);
        let line = (trial.client, connections, trial.in_flight, trial.rung.as_str());
        let sizes = cells.entry(line).or_default();
        sizes.entry(trial.array.bytes).or_default().0.push(trial);
    }
    let point = |(bytes, cell): (&u64, &CellTrials<'_>)| Point {
        bytes: *bytes,
        costs_ns: cell.server_costs(),
    };
    let fit = |(name, sizes): (_, BTreeMap<u64, CellTrials<'_>>)| {
        let points: Vec<Point> =
            sizes.iter().map(point).filter(|point| !point.costs_ns.is_empty()).collect();
        let model = model::fit(&Bootstrap::default(), &points)?;
        Some((name, Fit { points, model }))
    };
    cells.into_iter().filter_map(fit).collect()
}

/// `12.5 [11.9 to 13.1]`, of `times` the interval.
pub(super) fn text(interval: &Interval, times: f64) -> String {
    let digits = |value: f64| match (value * times).abs() {
        scaled if scaled >= 100.0 => format!("{:.0}", value * times),
        scaled if scaled >= 10.0 => format!("{:.1}", value * times),
        _ => format!("{:.2}", value * times),
    };
    match interval.range {
        Some((low, high)) => {
            format!("{} [{} to {}]", digits(interval.estimate), digits(low), digits(high))
        }
        None => digits(interval.estimate),
    }
}

fn knees(model: &Model) -> String {
    let knee = |knee: &model::Knee| {
        let factor = knee.after_ns / knee.before_ns;
        format!("{} (x{factor:.1})", units::bytes(knee.bytes))
    };
    let knees: Vec<String> = model.knees.iter().map(knee).collect();
    if knees.is_empty() { "-".to_owned() } else { knees.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ArrayInfo;
    use crate::record::tests::{header, trial};

    fn sized(bytes: u64, round: u32, cost_ns: u64) -> Trial {
        let array =
            ArrayInfo { dtype: "<f8".into(), shape: vec![bytes / 8], bytes, data_set: None };
        Trial { array, cell: bytes as u32, ..trial("uring/raw/npy", round, cost_ns) }
    }

    #[test]
    fn a_rung_at_three_sizes_has_its_two_prices_and_its_knee() {
        let cost = |bytes: u64| 10_000 + bytes + 2 * bytes.saturating_sub(65_536);
        let sizes = [8, 65_536, 1 << 20];
        let trials: Vec<Trial> = (0..6)
            .flat_map(|round| {
                sizes.map(|bytes| {
                    sized(bytes, round, cost(bytes) * u64::from(100 + round % 3) / 100)
                })
            })
            .collect();
        let text = render(&Run::new(header(), trials)).unwrap();
        let row = text.split("uring/raw/npy").nth(1);
        assert!(row.is_some_and(|row| row.contains("64 KiB (x3.0)")), "{text}");
    }

    #[test]
    fn one_size_has_no_model_nor_have_sizes_under_different_loads() {
        let render = |trials| render(&Run::new(header(), trials));
        assert_eq!(render(vec![sized(8, 0, 1000)]), None);
        let few = |trial: Trial| Trial { in_flight: 64, ..trial };
        assert_eq!(render(vec![sized(8, 0, 1000), few(sized(65_536, 0, 9000))]), None);
        let text =
            render(vec![few(sized(8, 0, 1000)), few(sized(65_536, 0, 9000)), sized(8, 0, 100)]);
        let text = text.expect("two sizes under one load");
        assert!(text.contains(" 1x64 ") && !text.contains("1x1000"), "{text}");
    }
}
