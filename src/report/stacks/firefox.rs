//! Stacks as JSON of the Firefox Profiler, in version 60 of its processed format, which newer
//! viewers upgrade.
//!
//! Each layer is a category. The category of a stack is that of its innermost function. From the
//! function that decided inwards, all functions have the layer of the sample; those around it have
//! the layer that they decide by themselves, or that of their caller. Each stack is one sample with
//! a weight. The order along the time axis means nothing, since times are not kept.
//!
//! The format is described in `docs-developer` and `src/types/profile.ts` of
//! <https://github.com/firefox-devtools/profiler>.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::axis::Layer;
use crate::probe::profile::{CallStack, FREQUENCY_HZ};

use super::Profiled;

/// Version of the processed format. Its tables are shared between threads.
const VERSION: u32 = 60;

/// Version of Gecko's own format, which has no meaning for a profile that Gecko did not write.
const GECKO_VERSION: u32 = 31;

const INTERVAL_MS: f64 = 1000.0 / FREQUENCY_HZ as f64;

/// Function and category of a frame.
type FrameKey = (usize, Option<Layer>);

/// Tables of the format, as columns.
#[derive(Default)]
struct Tables<'a> {
    strings: Vec<&'a str>,
    string_numbers: HashMap<&'a str, usize>,
    frames: Vec<FrameKey>,
    frame_numbers: HashMap<FrameKey, usize>,
    /// Frame and caller of each stack.
    stacks: Vec<(usize, Option<usize>)>,
    stack_numbers: HashMap<(usize, Option<usize>), usize>,
}

/// Renders the profile as one thread.
pub(super) fn render(profiled: &Profiled) -> String {
    let mut tables = Tables::default();
    let mut innermost = Vec::new();
    let mut weights = Vec::new();
    let stacks: Vec<CallStack<'_>> = profiled.stacks.iter().collect();
    for stack in &stacks {
        innermost.push(tables.stack(stack));
        weights.push(stack.samples);
    }
    let mut weight_before = 0;
    let times: Vec<f64> = weights
        .iter()
        .map(|weight| {
            let time = weight_before as f64 * INTERVAL_MS;
            weight_before += weight;
            time
        })
        .collect();
    let samples = json!({
        "length": innermost.len(),
        "stack": innermost,
        "time": times,
        "weight": weights,
        "weightType": "samples",
    });
    let profile = json!({
        "meta": meta(profiled),
        "libs": [],
        "shared": tables.shared(),
        "threads": [thread(profiled, samples)],
    });
    profile.to_string() + "\n"
}

fn meta(profiled: &Profiled) -> Value {
    let category = |layer: Layer| json!({ "name": layer.name(), "color": colour(layer), "subcategories": ["Other"] });
    json!({
        "interval": INTERVAL_MS,
        "startTime": 0,
        "processType": 0,
        "product": format!("ndecho: {}, {}", profiled.server, profiled.load),
        "stackwalk": 1,
        "version": GECKO_VERSION,
        "preprocessedProfileVersion": VERSION,
        "categories": Layer::ALL.map(category),
        "markerSchema": [],
        "debug": false,
        "symbolicated": true,
        "importedFrom": "ndecho",
        "usesOnlyOneStackType": true,
        "sourceCodeIsNotOnSearchfox": true,
    })
}

fn thread(profiled: &Profiled, samples: Value) -> Value {
    json!({
        "processType": "default",
        "processStartupTime": 0,
        "processShutdownTime": null,
        "registerTime": 0,
        "unregisterTime": null,
        "pausedRanges": [],
        "name": profiled.server,
        "isMainThread": true,
        "pid": "0",
        "tid": 0,
        "samples": samples,
        "markers": {
            "length": 0, "data": [], "name": [], "startTime": [], "endTime": [], "phase": [],
            "category": [],
        },
    })
}

impl<'a> Tables<'a> {
    /// Adds a stack with its callers. Returns its number.
    fn stack(&mut self, stack: &CallStack<'a>) -> Option<usize> {
        let mut caller = None;
        for (index, function) in stack.functions.iter().enumerate() {
            let layer = if index < stack.decided { function.layer } else { Some(stack.layer) };
            let name = number(&mut self.strings, &mut self.string_numbers, function.name.as_str());
            let frame = number(&mut self.frames, &mut self.frame_numbers, (name, layer));
            caller = Some(number(&mut self.stacks, &mut self.stack_numbers, (frame, caller)));
        }
        caller
    }

    fn shared(&self) -> Value {
        let functions = self.strings.len();
        let frames = self.frames.len();
        let category = |layer: &Option<Layer>| layer.map(index);
        let categories: Vec<_> = self.frames.iter().map(|(_, layer)| category(layer)).collect();
        let subcategories: Vec<_> = self.frames.iter().map(|(_, it)| it.map(|_| 0)).collect();
        let nulls = |length: usize| vec![Value::Null; length];
        json!({
            "stringArray": self.strings,
            "funcTable": {
                "length": functions,
                // Each function has its own name, so their numbers are equal.
                "name": (0..functions).collect::<Vec<_>>(),
                "isJS": vec![false; functions],
                "relevantForJS": vec![false; functions],
                "resource": vec![-1; functions],
                "source": nulls(functions),
                "lineNumber": nulls(functions),
                "columnNumber": nulls(functions),
            },
            "frameTable": {
                "length": frames,
                "address": vec![-1; frames],
                "inlineDepth": vec![0; frames],
                "category": categories,
                "subcategory": subcategories,
                "func": self.frames.iter().map(|(function, _)| function).collect::<Vec<_>>(),
                "nativeSymbol": nulls(frames),
                "innerWindowID": vec![0; frames],
                "line": nulls(frames),
                "column": nulls(frames),
            },
            "stackTable": {
                "length": self.stacks.len(),
                "frame": self.stacks.iter().map(|(frame, _)| frame).collect::<Vec<_>>(),
                "prefix": self.stacks.iter().map(|(_, caller)| caller).collect::<Vec<_>>(),
            },
            "resourceTable": { "length": 0, "lib": [], "name": [], "host": [], "type": [] },
            "nativeSymbols": {
                "length": 0, "libIndex": [], "address": [], "name": [], "functionSize": [],
            },
            "sources": { "length": 0, "uuid": [], "filename": [] },
        })
    }
}

/// Returns the number of `row` in a table, which gets it if it is new.
fn number<K: Copy + Eq + std::hash::Hash>(
    rows: &mut Vec<K>,
    numbers: &mut HashMap<K, usize>,
    row: K,
) -> usize {
    *numbers.entry(row).or_insert_with(|| {
        rows.push(row);
        rows.len() - 1
    })
}

/// Index of the layer among the categories.
fn index(layer: Layer) -> usize {
    layer as usize
}

/// Colour of a category, from the few of the format. Grey is the category of functions without one.
fn colour(layer: Layer) -> &'static str {
    match layer {
        Layer::CodecDecode | Layer::CodecEncode | Layer::Application => "green",
        Layer::GrpcSemantics => "yellow",
        Layer::Framework | Layer::Interpreter => "brown",
        Layer::HttpFraming => "red",
        Layer::Runtime => "orange",
        Layer::Allocator => "purple",
        Layer::UserCopies => "magenta",
        Layer::PageFaults => "lightred",
        Layer::SystemCallEntry | Layer::KernelRing | Layer::KernelCopy => "lightblue",
        Layer::KernelSocket => "blue",
        Layer::Scheduler => "transparent",
        Layer::Interrupts => "darkgrey",
        Layer::Unattributed => "grey",
    }
}
