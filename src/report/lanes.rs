//! Lanes in text: a list, and a table of layers.

use std::collections::BTreeMap;

use crate::axis::Layer;
use crate::probe::profile::Instructions;

use super::text::WIDTH_MAX;
use super::units;
use super::wrap::wrap;

/// Lanes beside each other.
const COLUMNS: usize = 3;
const NAME_WIDTH: usize = 20;
const CELL_WIDTH: usize = (WIDTH_MAX - NAME_WIDTH) / COLUMNS - 2;

/// Share of a layer from which its functions are named.
const NAMED_SHARE: f64 = 0.05;
const FUNCTIONS: usize = 3;

/// Measured lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasuredLane {
    pub name: String,
    /// Calls that were counted.
    pub calls: u32,
    /// CPU time of a call.
    pub time_ns: Option<f64>,
    pub instructions: Option<Instructions>,
}

impl MeasuredLane {
    /// Returns the instructions of a call by layer.
    pub(super) fn of_call(&self) -> BTreeMap<Layer, u64> {
        let calls = f64::from(self.calls.max(1));
        let layers = self.instructions.iter().flat_map(|it| &it.layers);
        layers.map(|(layer, it)| (*layer, (it.count as f64 / calls).round() as u64)).collect()
    }

    pub(super) fn all(&self) -> u64 {
        let calls = f64::from(self.calls.max(1));
        let layers = self.instructions.iter().flat_map(|it| it.layers.values());
        (layers.map(|layer| layer.count).sum::<u64>() as f64 / calls).round() as u64
    }
}

/// Renders a line for each lane.
pub fn list(lanes: &[MeasuredLane]) -> String {
    let width = lanes.iter().map(|lane| lane.name.len()).max().unwrap_or(0);
    let has_instructions = lanes.iter().any(|lane| lane.instructions.is_some());
    let head = if has_instructions { "instructions" } else { "" };
    let mut text =
        format!("{:<width$}  {:>10}  {head:>12}", "lane", "CPU/call").trim_end().to_owned();
    text.push('\n');
    for lane in lanes {
        let time = lane.time_ns.map_or("-".to_owned(), units::time);
        let count = lane.instructions.as_ref().map_or(String::new(), |_| lane.all().to_string());
        let line = format!("{:<width$}  {time:>10}  {count:>12}", lane.name);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text + "\n" + &wrap("", ABOUT, WIDTH_MAX)
}

const ABOUT: &str = "Calls in memory, without socket, driver and kernel; the shortest of some rounds. \
                     A codec lane is one array of 64 KiB; HTTP/1.1 has one call in flight, the other \
                     protocols 100 at 8 B and 16 at 64 KiB.";

/// Renders the instructions of each layer.
pub fn layers(lanes: &[MeasuredLane]) -> String {
    let mut text = String::new();
    for band in lanes.chunks(COLUMNS) {
        let row = |name: &str, cell: &dyn Fn(&MeasuredLane) -> String| {
            let cells: String =
                band.iter().map(|lane| format!("  {:>CELL_WIDTH$}", cell(lane))).collect();
            format!("{name:<NAME_WIDTH$}{cells}").trim_end().to_owned() + "\n"
        };
        let part = |lane: &MeasuredLane, index: usize| {
            let (stack, rest) = lane.name.split_once('/').unwrap_or((&lane.name, ""));
            [stack, rest][index].to_owned()
        };
        text.push_str(&row("", &|lane| part(lane, 0)));
        text.push_str(&row("", &|lane| part(lane, 1)));
        for layer in Layer::ALL {
            if band.iter().any(|lane| lane.of_call().contains_key(&layer)) {
                text.push_str(&row(layer.name(), &|lane| cell(lane, layer)));
            }
        }
        text.push_str(&row("instructions/call", &|lane| lane.all().to_string()));
        for lane in band {
            text.push_str(&functions(lane));
        }
        text.push('\n');
    }
    text
}

fn cell(lane: &MeasuredLane, layer: Layer) -> String {
    match lane.of_call().get(&layer) {
        Some(count) => {
            format!("{count} {:>4.1} %", *count as f64 / lane.all().max(1) as f64 * 100.0)
        }
        None => "-".to_owned(),
    }
}

/// Names the functions of the large layers.
fn functions(lane: &MeasuredLane) -> String {
    let Some(instructions) = &lane.instructions else { return String::new() };
    let all: u64 = instructions.layers.values().map(|layer| layer.count).sum();
    let share = |count: u64| count as f64 / all.max(1) as f64;
    let mut text = format!("{}\n", lane.name);
    for (layer, of_layer) in &instructions.layers {
        let is_large = share(of_layer.count) >= NAMED_SHARE || *layer == Layer::Unattributed;
        if is_large && !of_layer.functions.is_empty() {
            let names = of_layer.functions.iter().take(FUNCTIONS);
            let names =
                names.map(|it| format!("{} {:.1} %", it.function, share(it.samples) * 100.0));
            let label = format!("  {:<NAME_WIDTH$}", layer.name());
            text.push_str(&wrap(&label, &names.collect::<Vec<_>>().join(", "), WIDTH_MAX));
        }
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::probe::profile::LayerInstructions;

    /// Lane of 100 calls.
    pub(in crate::report) fn lane(name: &str, layers: &[(Layer, u64)]) -> MeasuredLane {
        let layers = layers
            .iter()
            .map(|(layer, count)| {
                (*layer, LayerInstructions { count: *count * 100, functions: Vec::new() })
            })
            .collect();
        let instructions = Some(Instructions { layers, left_out: 5, ..Instructions::default() });
        MeasuredLane { name: name.to_owned(), calls: 100, time_ns: Some(183.4), instructions }
    }

    #[test]
    fn tables_fit_and_show_shares() {
        let long = "tonic:best/protobuf:prost_bytes/64K";
        let lanes = [lane(long, &[(Layer::HttpFraming, 750), (Layer::Allocator, 250)])];
        let lanes = [lanes.clone(), lanes.clone(), lanes.clone(), lanes].concat();
        let text = layers(&lanes);
        assert!(text.contains("750 75.0 %"), "{text}");
        for text in [text, list(&lanes)] {
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(widest <= WIDTH_MAX, "{widest}: {text}");
            assert!(text.contains("1000"), "{text}");
        }
        assert!(list(&lanes).contains("183 ns"));
    }
}
