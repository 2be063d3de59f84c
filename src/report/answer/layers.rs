//! Cost of each layer between the socket and tonic.
//!
//! Neighbours of the chain differ in one axis, so the difference of their costs is the price of a
//! layer. The ratio of the two has the interval; the difference is that ratio less 1, in units of
//! the lower one's cost.

use crate::stats::bootstrap::Interval;
use crate::stats::verdict::Verdict;

use super::super::wrap::wrap;
use super::bars::{Scale, bar};
use super::load_cells::{LoadCells, Ratio};

/// Rungs from tonic down to the floor, each with the name of what it adds to the next one.
pub(in crate::report) const CHAIN: [(&str, &str); 7] = [
    ("tokio/tonic/protobuf:prost", "default windows"),
    ("tokio/tonic:tuned/protobuf:prost", "tonic"),
    ("tokio/hyper-h2:tuned/protobuf:prost", "hyper"),
    ("tokio/h2-crate:tuned/protobuf:prost", "epoll vs. io_uring"),
    ("uring/h2-crate:tuned/protobuf:prost", "h2 crate vs. own"),
    ("uring/h2/protobuf:prost", "own HTTP/2 and gRPC"),
    ("uring/raw/protobuf:prost", "bare io_uring socket"),
];

/// Short names of the layers of [`CHAIN`], for steps that skip a rung.
const SHORT: [&str; CHAIN.len()] =
    ["windows", "tonic", "hyper", "epoll", "h2 crate", "own HTTP/2", "socket"];

const FLOOR: usize = CHAIN.len() - 1;

const TONIC: &str = CHAIN[0].0;
pub(super) const BEST: &str = "tokio/tonic:best/protobuf:prost_bytes";
pub(super) const OWN: &str = "uring/h2/protobuf";

pub(super) const TITLE: &str =
    "What each layer costs: gRPC, one connection; CPU of the server per call";

/// Least width of the first column with its indent and gap, and widths of a cell and of its bar.
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
    /// Cost that each rung of [`CHAIN`] adds to the next one that was measured; `None` if the rung
    /// was not measured.
    pub(in crate::report) steps: Vec<Option<Step>>,
    pub(super) best: Option<Ratio>,
    pub(super) own: Option<Ratio>,
    pub(super) own_to_best: Option<Ratio>,
}

pub(in crate::report) struct Step {
    pub(in crate::report) name: String,
    pub(in crate::report) ns: Interval,
    /// False if the interval holds 0, or the difference is within the noise.
    pub(in crate::report) is_shown: bool,
    /// True for the bare socket, below which there is no layer.
    pub(in crate::report) is_floor: bool,
}

/// Rows of the prices: numbers of rungs of [`CHAIN`], with the names of their steps.
pub(super) fn step_rows(loads: &[Layers]) -> Vec<(usize, &str)> {
    let mut rows: Vec<(usize, &str)> = Vec::new();
    for index in 0..CHAIN.len() {
        for step in loads.iter().filter_map(|load| load.steps[index].as_ref()) {
            if !rows.contains(&(index, &step.name)) {
                rows.push((index, &step.name));
            }
        }
    }
    rows
}

/// Name of the first layer of [`CHAIN`] if malloc keeps its pages in the rungs below it.
const WITH_MALLOC: &str = "windows and malloc";

/// Names the step from the rung `from` of [`CHAIN`] down to `to`, with all layers that it spans.
fn name_of_step(load: &LoadCells<'_>, from: usize, to: usize) -> String {
    let [upper, lower] = [from, to].map(|rung| load.malloc(CHAIN[rung].0));
    let with_malloc = (from == 0 && upper != lower).then_some(WITH_MALLOC);
    let first = with_malloc.unwrap_or(SHORT[from]);
    match to - from {
        1 => with_malloc.unwrap_or(CHAIN[from].1).to_owned(),
        2 => format!("{first} + {}", SHORT[from + 1]),
        _ => format!("{first} to {}", SHORT[to - 1]),
    }
}

/// Names the cost of the lowest rung that was measured: all layers that no other rung tells apart.
fn name_of_lowest(rung: usize) -> String {
    match rung {
        FLOOR => CHAIN[FLOOR].1.to_owned(),
        _ => format!("everything below {}", SHORT[rung - 1]),
    }
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
                name: name_of_step(load, window[0], window[1]),
                ns: log.map(|log| log.exp_m1() * lower_ns),
                is_shown: matches!(verdict, Verdict::Faster | Verdict::Slower),
                is_floor: false,
            });
        }
        let last = present[present.len() - 1];
        steps[last] = costs[last].map(|ns| Step {
            name: name_of_lowest(last),
            ns,
            is_shown: true,
            is_floor: last == FLOOR,
        });
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
        })
    }

    /// Returns the layer that adds the most, apart from the floor.
    pub(super) fn largest_above_floor(&self) -> Option<&Step> {
        let shown = self.steps.iter().flatten().filter(|step| step.is_shown && !step.is_floor);
        shown.max_by(|a, b| a.ns.estimate.total_cmp(&b.ns.estimate))
    }

    /// Returns the cost of the bare socket.
    pub(super) fn floor(&self) -> Option<&Step> {
        self.steps.iter().flatten().find(|step| step.is_floor)
    }

    pub(super) fn scale(&self) -> Scale {
        Scale::for_largest(self.tonic_ns)
    }

    /// Returns the step of one of the [`step_rows`].
    pub(super) fn step(&self, (index, name): (usize, &str)) -> Option<&Step> {
        self.steps[index].as_ref().filter(|step| step.name == name)
    }

    /// Returns the price in one of the [`step_rows`]: `2.51 [2.20-2.80]`, or `= -0.10 to 0.30`.
    pub(super) fn price(&self, row: (usize, &str)) -> String {
        let Some(step) = self.step(row) else {
            return "-".to_owned();
        };
        match step.ns.range {
            None => "?".to_owned(),
            Some(range) if !step.is_shown => format!("= {}", self.scale().range(range)),
            Some(_) => self.scale().interval(&step.ns),
        }
    }

    fn cell(&self, row: (usize, &str), has_bars: bool) -> String {
        let price = self.price(row);
        match self.step(row) {
            Some(step) if has_bars && step.is_shown => {
                format!("{price:<CELL$} {}", bar(step.ns.estimate / self.tonic_ns, BAR))
            }
            _ => price,
        }
    }
}

/// Explains the marks of the table, and of the ones below it.
const KEY: &str = "[ ]: 95 % interval. =: no difference shown: the interval holds none, or a server \
                   differs as much from itself. x: of tonic as documented, in the last row of \
                   tonic at its best (docs/BIAS.md).";

/// Tabulates the prices. Loads that do not fit side by side stand below each other.
pub(super) fn table(loads: &[Layers], width: usize) -> String {
    let names = step_rows(loads).into_iter().map(|(_, name)| name.chars().count() + 4);
    let name_width = names.fold(NAME, usize::max);
    // The last column needs no gap behind it.
    let room = (width + 2).saturating_sub(name_width);
    let with_bars = rows(loads, true);
    let bars_width = cell_width(&with_bars).max(CELL + BAR + 2);
    let (rows, cell_width) = if loads.len() * bars_width <= room {
        (with_bars, bars_width)
    } else {
        let rows = rows(loads, false);
        let width = cell_width(&rows);
        (rows, width)
    };
    let per_band = (room / cell_width).clamp(1, loads.len().max(1));
    let mut text = format!("1  {TITLE}\n");
    for (index, band) in (0..loads.len()).step_by(per_band).enumerate() {
        text.push_str(if index > 0 { "\n" } else { "" });
        for (name, cells) in &rows {
            let cells = &cells[band..loads.len().min(band + per_band)];
            let cells: String = cells.iter().map(|cell| format!("{cell:<cell_width$}")).collect();
            text.push_str(format!("   {name:<0$}{cells}", name_width - 3).trim_end());
            text.push('\n');
        }
    }
    text + &wrap("   ", KEY, width)
}

/// Returns the width of a column that holds every cell, with a gap.
fn cell_width(rows: &[(&str, Vec<String>)]) -> usize {
    let cells = rows.iter().flat_map(|(_, cells)| cells);
    cells.map(|cell| cell.chars().count() + 2).max().unwrap_or(2)
}

fn rows(loads: &[Layers], has_bars: bool) -> Vec<(&str, Vec<String>)> {
    let row = |name, cell: &dyn Fn(&Layers) -> String| (name, loads.iter().map(cell).collect());
    let mut rows = vec![row("", &|load| format!("{}, {}", load.title, load.scale().unit))];
    let steps = step_rows(loads).into_iter();
    rows.extend(steps.map(|step| row(step.1, &|load| load.cell(step, has_bars))));
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
