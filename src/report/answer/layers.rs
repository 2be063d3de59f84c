//! Cost of each layer between the socket and tonic.
//!
//! Neighbours of the chain differ in one axis, so the difference of their costs is the price of a
//! layer. The ratio of the two has the interval; the difference is that ratio less 1, in units of
//! the lower one's cost.

use crate::stats::bootstrap::Interval;
use crate::stats::verdict::Verdict;

use super::bars::{Scale, bar};
use super::load_cells::{LoadCells, Ratio, Ratios};

/// Rungs from tonic down to the bare socket, each with the name of what it adds to the next one.
pub(in crate::report) const CHAIN: [(&str, &str); 7] = [
    ("tokio/tonic/protobuf:prost", "default windows"),
    ("tokio/tonic:tuned/protobuf:prost", "tonic"),
    ("tokio/hyper-h2:tuned/protobuf:prost", "hyper"),
    ("tokio/h2-crate:tuned/protobuf:prost", "epoll vs. io_uring"),
    ("uring/h2-crate:tuned/protobuf:prost", "h2 crate vs. own"),
    ("uring/h2/protobuf:prost", "own HTTP/2 and gRPC"),
    ("uring/raw/protobuf:prost", "bare io_uring socket"),
];

const TONIC: &str = CHAIN[0].0;
pub(super) const BEST: &str = "tokio/tonic:best/protobuf:prost_bytes";
pub(super) const OWN: &str = "uring/h2/protobuf";

pub(super) const TITLE: &str =
    "What each layer costs: gRPC, one connection; CPU of the server per call";

/// Widths of the first column, of a cell, and of its bar.
const NAME: usize = 24;
const CELL: usize = 17;
const BAR: usize = 6;

/// Prices of the layers under one load.
pub(in crate::report) struct Layers {
    /// Number of the load among those of the run.
    pub(in crate::report) load: usize,
    pub(super) title: String,
    pub(super) tonic_ns: f64,
    /// Cost of each rung of [`CHAIN`]; `None` if the rung was not measured.
    pub(in crate::report) costs: Vec<Option<Interval>>,
    /// Cost that each rung of [`CHAIN`] adds; `None` if the rung was not measured. A step down to a
    /// rung that was not measured goes on to the next one.
    pub(in crate::report) steps: Vec<Option<Step>>,
    pub(super) best: Option<Ratio>,
    pub(super) own: Option<Ratio>,
    pub(super) own_to_best: Option<Ratio>,
    pub(super) ratios: Ratios,
}

pub(in crate::report) struct Step {
    pub(in crate::report) name: &'static str,
    pub(in crate::report) ns: Interval,
    /// False if the interval holds 0, or the difference is within the noise.
    pub(in crate::report) is_shown: bool,
}

impl Layers {
    /// Returns `None` if the load has no chain: tonic and the floor at least.
    pub(super) fn evaluate((number, load): (usize, &LoadCells<'_>)) -> Option<Layers> {
        if load.connections() != 1 {
            return None;
        }
        let tonic_ns = load.cost_ns(TONIC)?.estimate;
        let costs: Vec<Option<Interval>> =
            CHAIN.iter().map(|(rung, _)| load.cost_ns(rung)).collect();
        let present: Vec<usize> =
            (0..CHAIN.len()).filter(|index| costs[*index].is_some()).collect();
        if present.len() < 3 {
            return None;
        }
        let mut pairs: Vec<(&str, &str)> =
            present.windows(2).map(|pair| (CHAIN[pair[0]].0, CHAIN[pair[1]].0)).collect();
        pairs.extend([(BEST, TONIC), (OWN, TONIC), (OWN, BEST)]);
        let ratios = load.ratios(&pairs);
        let mut steps: Vec<Option<Step>> = CHAIN.iter().map(|_| None).collect();
        for (pair, window) in present.windows(2).enumerate() {
            let lower_ns = costs[window[1]].map_or(0.0, |cost| cost.estimate);
            steps[window[0]] = ratios.log(pair).map(|(log, verdict)| Step {
                name: CHAIN[window[0]].1,
                ns: log.map(|log| log.exp_m1() * lower_ns),
                is_shown: matches!(verdict, Verdict::Faster | Verdict::Slower),
            });
        }
        let last = present[present.len() - 1];
        steps[last] = costs[last].map(|ns| Step { name: CHAIN[last].1, ns, is_shown: true });
        let extra = present.len() - 1;
        let [best, own, own_to_best] = [0, 1, 2].map(|index| ratios.ratio(extra + index));
        Some(Layers {
            load: number,
            title: load.title(),
            tonic_ns,
            costs,
            steps,
            best,
            own,
            own_to_best,
            ratios,
        })
    }

    /// Returns the layer that adds the most.
    pub(super) fn largest(&self) -> Option<&Step> {
        let shown = self.steps.iter().flatten().filter(|step| step.is_shown);
        shown.max_by(|a, b| a.ns.estimate.total_cmp(&b.ns.estimate))
    }

    pub(super) fn scale(&self) -> Scale {
        Scale::for_largest(self.tonic_ns)
    }

    /// Returns the price of a rung of [`CHAIN`]: `2.51 [2.20-2.80]`, or `= -0.10 to 0.30`.
    pub(super) fn price(&self, index: usize) -> String {
        let Some(step) = &self.steps[index] else {
            return "-".to_owned();
        };
        match step.ns.range {
            None => "?".to_owned(),
            Some(range) if !step.is_shown => format!("= {}", self.scale().range(range)),
            Some(_) => self.scale().interval(&step.ns),
        }
    }

    fn cell(&self, index: usize, has_bars: bool) -> String {
        let price = self.price(index);
        match &self.steps[index] {
            Some(step) if has_bars && step.is_shown => {
                format!("{price:<CELL$} {}", bar(step.ns.estimate / self.tonic_ns, BAR))
            }
            _ => price,
        }
    }
}

/// Tabulates the prices. Loads that do not fit side by side stand below each other.
pub(super) fn table(loads: &[Layers], width: usize) -> String {
    let has_bars = NAME + loads.len() * (CELL + BAR + 2) <= width;
    let rows = rows(loads, has_bars);
    let widest = rows.iter().flat_map(|(_, cells)| cells).map(|cell| cell.chars().count()).max();
    let cell_width = if has_bars { CELL + BAR + 2 } else { widest.unwrap_or_default() + 2 };
    // The last column needs no gap behind it.
    let per_band = ((width + 2).saturating_sub(NAME) / cell_width).clamp(1, loads.len().max(1));
    let mut text = format!("1  {TITLE}\n");
    for (index, band) in (0..loads.len()).step_by(per_band).enumerate() {
        text.push_str(if index > 0 { "\n" } else { "" });
        for (name, cells) in &rows {
            let cells = &cells[band..loads.len().min(band + per_band)];
            let cells: String = cells.iter().map(|cell| format!("{cell:<cell_width$}")).collect();
            text.push_str(format!("   {name:<0$}{cells}", NAME - 3).trim_end());
            text.push('\n');
        }
    }
    text
}

fn rows(loads: &[Layers], has_bars: bool) -> Vec<(&'static str, Vec<String>)> {
    let row = |name, cell: &dyn Fn(&Layers) -> String| (name, loads.iter().map(cell).collect());
    let mut rows = vec![
        row("", &|load| load.title.clone()),
        row("", &|load| format!("{} [95 %]", load.scale().unit)),
    ];
    rows.extend(
        CHAIN.iter().enumerate().map(|(at, (_, name))| row(name, &|load| load.cell(at, has_bars))),
    );
    rows.push(row("tonic as documented", &|load| {
        format!("{} in all", load.scale().number(load.tonic_ns))
    }));
    // Ratio to tonic as documented, and in the last row to the best tonic.
    let of_it = |ratio: Option<Ratio>| match ratio {
        Some(ratio) if ratio.is_shown() => format!("x {}", ratio.text()),
        Some(ratio) => ratio.text(),
        None => "-".to_owned(),
    };
    rows.push(row("tonic at its best", &|load| of_it(load.best)));
    rows.push(row("our own server", &|load| of_it(load.own)));
    rows.push(row("  to the best tonic", &|load| of_it(load.own_to_best)));
    rows
}
