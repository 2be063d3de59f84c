//! Layers of the CPU time of servers, from the profiled cells of a run.
//!
//! The shares of the layers come from the profiled server, and the CPU time of a request from the
//! unprofiled server of the same launch. So what the samples cost does not count.

use std::collections::BTreeMap;

use crate::axis::Layer;
use crate::probe::profile::{Basis, FunctionSamples, Profile, PythonSamples};
use crate::record::{Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::location::Sample;

use super::aggregate;
use super::cell::{self, CellTrials};
use super::text::{WIDTH_MAX, connections};
use super::wrap::wrap;
use super::{Run, kernel_counts, units};

/// Rungs beside each other.
const COLUMNS: usize = 2;

const NAME_WIDTH: usize = 20;
const CELL_WIDTH: usize = (WIDTH_MAX - NAME_WIDTH) / COLUMNS - 2;

/// Share of a layer from which its functions are listed.
const LISTED_SHARE: f64 = 0.05;

/// Share of a crate from which it is listed.
const CRATE_SHARE: f64 = 0.01;

/// Functions of a layer that are listed.
pub(super) const FUNCTIONS: usize = 3;

/// Python functions that are listed.
const PYTHON_FUNCTIONS: usize = 8;

const PYTHON_RULE: &str = "the innermost one, with the C code that it calls; time in the kernel has \
                           no Python function";

/// Rule by which a sample gets its layer.
const RULE: &str = "The innermost function with a layer decides. A function without one, as in \
                    std, alloc, core and bytes, belongs to its caller.";

/// Share of lost samples from which the rest may be a biased choice.
const LOST_MAX: f64 = 0.01;

/// One rung of a table.
struct Column<'a> {
    rung: &'a str,
    cost_ns: Option<Interval>,
    /// CPU time of a request in each layer, and its share.
    layers: BTreeMap<Layer, (Option<Interval>, f64)>,
    /// The same by the crate whose code decided.
    crates: BTreeMap<&'a str, (Option<Interval>, f64)>,
    /// Samples of all launches.
    sum: Sum<'a>,
    /// Cost of the profiled server as a ratio to the unprofiled one.
    of_unprofiled: Option<Interval>,
}

/// Samples of several launches.
#[derive(Default)]
struct Sum<'a> {
    launches: usize,
    samples: u64,
    kernel: u64,
    lost: u64,
    interrupts_enabled: u64,
    bases: BTreeMap<Basis, u64>,
    crates: BTreeMap<&'a str, u64>,
    functions: BTreeMap<Layer, BTreeMap<&'a str, u64>>,
    unknown: BTreeMap<&'a str, u64>,
    /// Samples with a Python function, and the innermost ones.
    of_python: u64,
    python: BTreeMap<&'a str, u64>,
    has_kernel_symbols: bool,
    is_user_only: bool,
}

/// Prints a table for each array and load. Returns `None` for a run without a profile.
pub fn render(run: &Run) -> Option<String> {
    let mut text = String::new();
    for cells in aggregate::cells_by_section(&run.trials) {
        let columns: Vec<Column<'_>> = cells
            .iter()
            .filter(|cell| cell.first().variant == Variant::Profiled)
            .filter_map(|profiled| Column::new(&cells, profiled))
            .collect();
        if columns.is_empty() {
            continue;
        }
        text.push_str(&title(cells[0].first()));
        for band in columns.chunks(COLUMNS) {
            text.push('\n');
            text.push_str(&table(band));
        }
        for column in &columns {
            text.push('\n');
            text.push_str(&column.details());
        }
        text.push('\n');
    }
    text.push_str(&kernel_counts::render(run).map_or_else(String::new, |counts| counts + "\n"));
    for (rung, reason) in obstacles(run) {
        text.push_str(&wrap("", &format!("{rung} was not profiled: {reason}"), WIDTH_MAX));
    }
    (!text.is_empty()).then(|| text + &legend())
}

/// Prints the layers of one process, as shares of its CPU time.
pub fn of_process(profile: &Profile) -> String {
    let mut sum = Sum { has_kernel_symbols: true, ..Sum::default() };
    sum.add(profile);
    let share = |layer: &Layer| count(profile, *layer) as f64 / profile.samples as f64;
    let layers = profile.layers.keys().map(|layer| (*layer, (None, share(layer)))).collect();
    let share = |samples: &u64| *samples as f64 / profile.samples as f64;
    let crates = profile.crates.iter().map(|(it, count)| (it.as_str(), (None, share(count))));
    let crates = crates.collect();
    let column =
        Column { rung: "process", cost_ns: None, layers, crates, sum, of_unprofiled: None };
    let line = |name: &str, share: f64| format!("{name:<NAME_WIDTH$}{:>6.1} %\n", share * 100.0);
    let layers = column.layers.iter();
    let mut text: String = layers.map(|(layer, (_, share))| line(layer.name(), *share)).collect();
    let crates = listed_crates(std::slice::from_ref(&column));
    if !crates.is_empty() {
        text.push('\n');
    }
    for name in crates {
        text.push_str(&line(&crate_row(name), column.crates[name].1));
    }
    text + "\n" + &column.details() + "\n" + &wrap("", RULE, WIDTH_MAX) + &layer_names()
}

/// Layers of a rung, by its profiled and its unprofiled servers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RungLayers {
    pub(super) rung: String,
    /// CPU time of a request in each layer, and its share.
    pub(super) layers: BTreeMap<Layer, (Option<Interval>, f64)>,
}

/// Returns the layers of each profiled rung among the cells of a load.
pub(super) fn of_cells(cells: &[CellTrials<'_>]) -> Vec<RungLayers> {
    let profiled = cells.iter().filter(|cell| cell.first().variant == Variant::Profiled);
    let layers = |cell: &CellTrials<'_>| {
        let Column { rung, layers, .. } = Column::new(cells, cell)?;
        Some(RungLayers { rung: rung.to_owned(), layers })
    };
    profiled.filter_map(layers).collect()
}

impl<'a> Column<'a> {
    fn new(cells: &[CellTrials<'a>], profiled: &CellTrials<'a>) -> Option<Column<'a>> {
        let rung = profiled.first().rung.as_str();
        let launches: Vec<(u32, &'a Profile)> = profiled.profiles().collect();
        if launches.is_empty() {
            return None;
        }
        let usual = cell::find(cells, rung, Variant::Usual);
        let costs: Vec<Sample> = usual.map(CellTrials::server_costs).unwrap_or_default();
        let mut sum = Sum { has_kernel_symbols: true, ..Sum::default() };
        launches.iter().for_each(|(_, profile)| sum.add(profile));
        let part = |samples: &dyn Fn(&Profile) -> u64| {
            let share = |profile: &Profile| samples(profile) as f64 / profile.samples as f64;
            // Shares of the program's part alone say nothing about the whole cost.
            let of_launch = |(launch, profile): &(u32, &Profile)| {
                if profile.is_user_only {
                    return None;
                }
                let cost = costs.iter().find(|cost| cost.round == *launch)?;
                Some(Sample { round: *launch, value: share(profile) * cost.value })
            };
            let ns: Vec<Sample> = launches.iter().filter_map(of_launch).collect();
            let all: u64 = launches.iter().map(|(_, profile)| samples(profile)).sum();
            (Bootstrap::default().blocks(&ns), all as f64 / sum.samples as f64)
        };
        let layers = sum.functions.keys();
        let layers =
            layers.map(|layer| (*layer, part(&|profile| count(profile, *layer)))).collect();
        let of_crate = |name: &str, profile: &Profile| profile.crates.get(name).copied();
        let crates = sum.crates.keys();
        let crates = crates
            .map(|name| (*name, part(&|profile| of_crate(name, profile).unwrap_or(0))))
            .collect();
        let of_unprofiled = usual.and_then(|usual| {
            Bootstrap::default().blocks(&profiled.log_ratios(usual)).map(Interval::exp)
        });
        let cost_ns = cell::geometric_center(&costs);
        Some(Column { rung, cost_ns, layers, crates, sum, of_unprofiled })
    }

    fn cell(part: Option<&(Option<Interval>, f64)>) -> String {
        match part {
            Some((Some(ns), share)) => format!("{} {:>4.1} %", time(ns), share * 100.0),
            Some((None, share)) => format!("{:.1} %", share * 100.0),
            None => "-".to_owned(),
        }
    }

    fn details(&self) -> String {
        let Sum { launches, samples, kernel, lost, interrupts_enabled, .. } = self.sum;
        let share = |part: u64| part as f64 / samples as f64 * 100.0;
        let own_cost = self.of_unprofiled.map_or(String::new(), |ratio| {
            format!("; the profiled server costs {} of the other", units::ratio(&ratio))
        });
        let of_launches = match self.of_unprofiled {
            Some(_) => format!(" in {launches} launches"),
            None => String::new(),
        };
        let bases: Vec<String> = self
            .sum
            .bases
            .iter()
            .map(|(basis, samples)| format!("{} {:.1} %", words(*basis), share(*samples)))
            .collect();
        let mut text = wrap(
            "",
            &format!(
                "{}: {samples} samples{of_launches}, {:.1} % of them in the kernel{own_cost}; \
                 {:.1} % lie where interrupts are allowed again and may belong to a neighbour; \
                 decided by {}",
                self.rung,
                share(kernel),
                share(interrupts_enabled),
                bases.join(", ")
            ),
            WIDTH_MAX,
        );
        let warn =
            |text: &mut String, line: &str| text.push_str(&wrap("  warning: ", line, WIDTH_MAX));
        if lost as f64 > LOST_MAX * (samples + lost) as f64 {
            warn(
                &mut text,
                &format!("perf lost {lost} samples, so the others may be a biased choice"),
            );
        }
        if self.sum.is_user_only {
            warn(
                &mut text,
                "this user may not sample the kernel, so the shares are those of the program's own part; run as root, or set kernel.perf_event_paranoid to 1",
            );
        } else if !self.sum.has_kernel_symbols {
            warn(
                &mut text,
                "the kernel hides its symbols from this user, so its part has no layers; run as root, or set kernel.kptr_restrict to 0",
            );
        }
        let mut listed: Vec<(&Layer, &(Option<Interval>, f64))> =
            self.layers.iter().filter(|(_, (_, share))| *share >= LISTED_SHARE).collect();
        listed.sort_by(|one, other| other.1.1.total_cmp(&one.1.1));
        for (layer, (_, layer_share)) in listed {
            let label = format!("  {:<NAME_WIDTH$} {:>4.1} %  ", layer.name(), layer_share * 100.0);
            let functions = most(&self.sum.functions[layer], FUNCTIONS, samples);
            text.push_str(&wrap(&label, &functions.join(", "), WIDTH_MAX));
        }
        text.push_str(&self.python());
        if !self.sum.unknown.is_empty() {
            let unknown = most(&self.sum.unknown, FUNCTIONS, samples);
            text.push_str(&wrap("  no rule for           ", &unknown.join(", "), WIDTH_MAX));
        }
        text
    }
}

impl Column<'_> {
    /// Lists the functions of a server in Python.
    fn python(&self) -> String {
        let Sum { samples, of_python, .. } = self.sum;
        if of_python == 0 {
            let is_python = self.layers.contains_key(&Layer::Interpreter);
            let hint = "have names with Python 3.13 or later; put its python3 first in PATH, and the \
                        environment is set up with it";
            let line = wrap("  Python functions      ", hint, WIDTH_MAX);
            return if is_python { line } else { String::new() };
        }
        let share = of_python as f64 / samples as f64 * 100.0;
        let label = format!("  {:<NAME_WIDTH$} {share:>4.1} %  ", "Python functions");
        let functions = most(&self.sum.python, PYTHON_FUNCTIONS, samples);
        let line = wrap(&label, &functions.join(", "), WIDTH_MAX);
        line + &wrap("                                ", PYTHON_RULE, WIDTH_MAX)
    }
}

impl<'a> Sum<'a> {
    fn add(&mut self, profile: &'a Profile) {
        self.launches += 1;
        self.samples += profile.samples;
        self.lost += profile.lost;
        self.interrupts_enabled += profile.interrupts_enabled;
        self.has_kernel_symbols &= profile.has_kernel_symbols;
        self.is_user_only |= profile.is_user_only;
        for (basis, samples) in &profile.bases {
            *self.bases.entry(*basis).or_default() += samples;
        }
        for (name, samples) in &profile.crates {
            *self.crates.entry(name).or_default() += samples;
        }
        let add = |into: &mut BTreeMap<&'a str, u64>, functions: &'a [FunctionSamples]| {
            for FunctionSamples { function, samples } in functions {
                *into.entry(function).or_default() += samples;
            }
        };
        for (layer, samples) in &profile.layers {
            self.kernel += samples.kernel;
            add(self.functions.entry(*layer).or_default(), &samples.functions);
        }
        add(&mut self.unknown, &profile.unknown);
        if let Some(PythonSamples { samples, functions }) = &profile.python {
            self.of_python += samples;
            add(&mut self.python, functions);
        }
    }
}

fn count(profile: &Profile, layer: Layer) -> u64 {
    profile.layers.get(&layer).map_or(0, |samples| samples.user + samples.kernel)
}

fn title(trial: &Trial) -> String {
    let title = format!(
        "{}, {}, {} in flight: server CPU per request by layer",
        units::array(&trial.array),
        connections(trial.connections),
        trial.in_flight_sent()
    );
    wrap("", &title, WIDTH_MAX)
}

fn table(columns: &[Column<'_>]) -> String {
    let part = |rung: &str, index: usize| match rung.rsplit_once('/') {
        Some((stack, codec)) => [stack, codec][index].to_owned(),
        None => {
            if index == 0 {
                rung.to_owned()
            } else {
                String::new()
            }
        }
    };
    let mut text = line("", columns.iter().map(|column| part(column.rung, 0)));
    text.push_str(&line("", columns.iter().map(|column| part(column.rung, 1))));
    for layer in Layer::ALL {
        if columns.iter().any(|column| column.layers.contains_key(&layer)) {
            let cells = columns.iter().map(|column| Column::cell(column.layers.get(&layer)));
            text.push_str(&line(layer.name(), cells));
        }
    }
    let total = |column: &Column<'_>| column.cost_ns.map_or("-".to_owned(), |cost| time(&cost));
    text.push_str(&line("CPU/request", columns.iter().map(total)));
    for name in listed_crates(columns) {
        let cells = columns.iter().map(|column| Column::cell(column.crates.get(name)));
        text.push_str(&line(&crate_row(name), cells));
    }
    text
}

/// Returns the crates with a share that is listed in any column, the largest first.
fn listed_crates<'a>(columns: &[Column<'a>]) -> Vec<&'a str> {
    let mut largest: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, (_, share)) in columns.iter().flat_map(|column| &column.crates) {
        let known = largest.entry(name).or_default();
        *known = known.max(*share);
    }
    largest.retain(|_, share| *share >= CRATE_SHARE);
    let mut crates: Vec<(&str, f64)> = largest.into_iter().collect();
    crates.sort_by(|one, other| other.1.total_cmp(&one.1));
    crates.into_iter().map(|(name, _)| name).collect()
}

/// Names the row of a crate, or of a library without the end of its file's name, which is long:
/// `_json.cpython-313-x86_64-linux-gnu.so`.
fn crate_row(name: &str) -> String {
    let end = [".cpython-", ".abi3", ".so"].iter().filter_map(|end| name.find(end)).min();
    format!("  by {}", &name[..end.unwrap_or(name.len())])
}

fn line(name: &str, cells: impl Iterator<Item = String>) -> String {
    let mut line = format!("{name:<NAME_WIDTH$}");
    for cell in cells {
        line.push_str(&format!("  {cell:>CELL_WIDTH$}"));
    }
    line.trim_end().to_owned() + "\n"
}

/// `6.61 µs [6.20-7.05]`, all in one unit.
fn time(interval: &Interval) -> String {
    let steps = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    let step = steps.into_iter().find(|(step, _)| interval.estimate >= *step);
    let (step, unit) = step.unwrap_or((1.0, "ns"));
    let digits = |ns: f64| match ns / step {
        value if value.abs() >= 99.95 || (step == 1.0 && value.abs() >= 9.95) => {
            format!("{value:.0}")
        }
        value if value.abs() >= 9.995 || step == 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    let estimate = digits(interval.estimate);
    match interval.range {
        Some((low, high)) => format!("{estimate} {unit} [{}-{}]", digits(low), digits(high)),
        None => format!("{estimate} {unit}"),
    }
}

fn most(functions: &BTreeMap<&str, u64>, count: usize, of: u64) -> Vec<String> {
    let mut sorted: Vec<(&&str, &u64)> = functions.iter().collect();
    sorted.sort_by_key(|(_, samples)| std::cmp::Reverse(**samples));
    let text = |(function, samples): (&&str, &u64)| {
        format!("{function} {:.1} %", *samples as f64 / of as f64 * 100.0)
    };
    sorted.into_iter().take(count).map(text).collect()
}

fn words(basis: Basis) -> &'static str {
    match basis {
        Basis::Kernel => "a kernel function",
        Basis::OwnFrame => "the source file of the function",
        Basis::CFunction => "a C function",
        Basis::DropType => "the type that is dropped",
        Basis::Caller => "the source file of a caller",
        Basis::AnyType => "a type in a name",
        Basis::Nothing => "nothing",
    }
}

/// Returns the rungs that could not be profiled, each with the reason.
pub(super) fn obstacles(run: &Run) -> Vec<(&str, String)> {
    let cells = aggregate::cells_by_section(&run.trials);
    let profiled = cells.iter().flatten().filter(|cell| cell.first().variant == Variant::Profiled);
    profiled.filter_map(|cell| Some((cell.first().rung.as_str(), cell.obstacle()?))).collect()
}

fn legend() -> String {
    let figures = "Samples of the CPU clock, as shares of a profiled server, times the CPU time of an \
                   unprofiled one in the same launches; 95 % intervals over launches. The rows below \
                   the sum divide the same time once more, by the crate whose code decides, the C \
                   library and the kernel; crates below 1 % are left out.";
    wrap("", &format!("{figures} {RULE}"), WIDTH_MAX) + &layer_names()
}

fn layer_names() -> String {
    let line = |layer: Layer| {
        wrap(&format!("  {:<NAME_WIDTH$}", layer.name()), layer.spec().about, WIDTH_MAX)
    };
    Layer::ALL.into_iter().map(line).collect()
}
