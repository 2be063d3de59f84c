//! Profile of a server: the layers in which its CPU time lies, by samples.
//!
//! Events of the kernel, or `perf`, sample the CPU clock of a process: the stack of the kernel, and
//! the innermost part of the program's stack. Nothing else of perf is used: symbols, inlined
//! functions and source files are looked up here. The rules of `rules.toml` then map each stack to
//! a [`Layer`].
//!
//! ```text
//! Recorder ─▶ perf.data ─▶ Recording ─▶ Resolver ─▶ stacks ─▶ classify ─▶ Profile
//! ```

mod c_functions;
mod callgrind;
mod callgrind_graph;
mod classify;
mod kernel_symbols;
mod modules;
mod perf_file;
mod perf_record;
mod program_file;
mod python;
mod recorder;
mod resolve;
mod rules;
mod sampler;
mod sampling;
mod stacks;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::axis::Layer;

pub use self::callgrind::{Instructions, LayerInstructions, ObjectFiles};
pub use self::callgrind_graph::CallgrindError;
pub use self::classify::Basis;
use self::classify::{Decision, Frame, Place, is_drop_glue};
use self::perf_file::Recording;
pub use self::python::{NamesFile, SETTING as NAME_PYTHON_FUNCTIONS};
pub use self::recorder::{Recorder, SampledBy};
use self::resolve::Resolver;
use self::rules::Rules;
pub use self::sampling::{FILE_BYTES_MAX, FREQUENCY_HZ, RecorderError};
pub use self::stacks::{CallStack, StackFunction, Stacks, StacksError};

/// Functions of a layer that a profile names.
const FUNCTIONS_MAX: usize = 5;

const UNKNOWN_MAX: usize = 10;

/// Python functions that a profile names.
const PYTHON_MAX: usize = 10;

/// Name in place of a function of samples without a stack.
const NO_STACK: &str = "(no stack)";

/// Names in place of a crate: of samples in the kernel, in the C library, and without a decision.
const KERNEL: &str = "kernel";
const C_LIBRARY: &str = "C library";
const NO_CRATE: &str = "unattributed";

/// Letters of a function that drops a value, whose name holds the whole type.
const TYPE_LETTERS: usize = 60;

/// Samples of one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub samples: u64,
    /// Samples that the kernel dropped because nobody read them in time.
    pub lost: u64,
    pub layers: BTreeMap<Layer, LayerSamples>,
    /// Samples by the crate of the function or type that decided; the kernel, the C library and
    /// samples without a decision have names of their own. Empty in older records.
    #[serde(default)]
    pub crates: BTreeMap<String, u64>,
    /// Samples by the basis of the decision.
    pub bases: BTreeMap<Basis, u64>,
    /// Samples in a function at whose end interrupts are allowed again: they may belong to a
    /// neighbour.
    pub interrupts_enabled: u64,
    /// Innermost functions of samples without a layer, the most frequent first.
    pub unknown: Vec<FunctionSamples>,
    /// Samples by Python function; `None` for a program that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<PythonSamples>,
    /// False if the kernel hid its symbols, so that its samples have no layer.
    pub has_kernel_symbols: bool,
    /// True if the user may not sample the kernel, so that the samples are those of the program.
    #[serde(default)]
    pub is_user_only: bool,
    /// Call stacks of the samples. They are larger than all the rest, so records leave them out and
    /// a file beside the records holds them.
    #[serde(skip)]
    pub stacks: Stacks,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerSamples {
    pub user: u64,
    pub kernel: u64,
    /// Functions that decided, the most frequent first.
    pub functions: Vec<FunctionSamples>,
}

/// Samples of a program in Python by its own functions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonSamples {
    /// Samples with a Python function on the recorded part of the stack.
    pub samples: u64,
    /// The innermost Python functions, with the C code that they called; the most frequent first.
    pub functions: Vec<FunctionSamples>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSamples {
    pub function: String,
    pub samples: u64,
}

/// Samples with the same stack, whose innermost function is the first one.
struct Decided {
    stack: Vec<Frame>,
    decision: Decision,
    samples: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("{path}: the recording cannot be read: {source}; try another version of perf")]
pub struct ProfileError {
    path: String,
    source: linux_perf_data::Error,
}

impl Profile {
    /// Reads a recording.
    pub fn read(path: &Path) -> Result<Profile, ProfileError> {
        let recording = Recording::read(path)
            .map_err(|source| ProfileError { path: path.display().to_string(), source })?;
        let mut resolver = Resolver::new(&recording.mappings);
        let mut stacks: BTreeMap<Vec<Frame>, u64> = BTreeMap::new();
        for sample in &recording.samples {
            *stacks.entry(resolver.stack(sample)).or_default() += 1;
        }
        let mut profile = Profile {
            lost: recording.lost,
            has_kernel_symbols: resolver.knows_kernel(),
            is_user_only: recording.is_user_only,
            ..Profile::default()
        };
        let rules = Rules::built_in();
        let mut functions: BTreeMap<Layer, BTreeMap<String, u64>> = BTreeMap::new();
        let decided: Vec<Decided> = stacks
            .into_iter()
            .map(|(stack, samples)| {
                let decision = classify::classify(rules, &stack);
                Decided { stack, decision, samples }
            })
            .collect();
        profile.stacks = call_stacks(&decided);
        profile.python = python_samples(&decided);
        for Decided { stack, decision, samples } in decided {
            profile.add(&stack, decision, samples);
            let function = stack.get(decision.frame).map_or_else(|| NO_STACK.to_owned(), label);
            *functions.entry(decision.layer).or_default().entry(function).or_default() += samples;
        }
        if let Some(unknown) = functions.get(&Layer::Unattributed) {
            profile.unknown = most(unknown, UNKNOWN_MAX);
        }
        for (layer, samples) in &mut profile.layers {
            samples.functions = most(&functions[layer], FUNCTIONS_MAX);
        }
        Ok(profile)
    }

    fn add(&mut self, stack: &[Frame], decision: Decision, samples: u64) {
        let is_kernel = stack.first().is_some_and(|frame| frame.place == Place::Kernel);
        let layer = self.layers.entry(decision.layer).or_default();
        *if is_kernel { &mut layer.kernel } else { &mut layer.user } += samples;
        *self.bases.entry(decision.basis).or_default() += samples;
        *self.crates.entry(crate_name(stack, decision).to_owned()).or_default() += samples;
        self.samples += samples;
        let rules = Rules::built_in();
        let is_enabling = |frame: &Frame| rules.enables_interrupts(&frame.function);
        if is_kernel && stack.first().is_some_and(is_enabling) {
            self.interrupts_enabled += samples;
        }
    }
}

/// Counts the samples by the innermost Python function; `None` if no stack has one.
fn python_samples(decided: &[Decided]) -> Option<PythonSamples> {
    let mut functions: BTreeMap<String, u64> = BTreeMap::new();
    for Decided { stack, samples, .. } in decided {
        let innermost = stack.iter().find(|frame| matches!(frame.place, Place::Python(_)));
        if let Some(frame) = innermost {
            *functions.entry(label(frame)).or_default() += samples;
        }
    }
    let samples = functions.values().sum();
    (samples > 0).then(|| PythonSamples { samples, functions: most(&functions, PYTHON_MAX) })
}

/// Names the crate, or what stands for it, of a decision.
fn crate_name(stack: &[Frame], decision: Decision) -> &str {
    let Some(frame) = stack.get(decision.frame) else { return NO_CRATE };
    if frame.place == Place::Kernel {
        return KERNEL;
    }
    let of_type = || Rules::built_in().crate_of_first_type(&frame.function);
    match (decision.basis, &frame.place) {
        (Basis::Nothing, _) => NO_CRATE,
        (Basis::CFunction, _) => C_LIBRARY,
        (Basis::DropType | Basis::AnyType, _) => of_type().unwrap_or(NO_CRATE),
        (_, Place::Source { name, .. }) => name,
        (_, Place::Object(name) | Place::Python(name)) => name,
        (_, Place::Kernel | Place::C) => C_LIBRARY,
    }
}

/// Names the functions of stacks as a table shows them.
fn call_stacks(samples: &[Decided]) -> Stacks {
    let rules = Rules::built_in();
    let mut known: HashMap<&Frame, StackFunction> = HashMap::new();
    for frame in samples.iter().flat_map(|sample| &sample.stack) {
        known.entry(frame).or_insert_with(|| StackFunction {
            name: label(frame),
            layer: classify::own_layer(rules, frame),
        });
    }
    let nothing = StackFunction { name: NO_STACK.to_owned(), layer: None };
    let stacks = samples.iter().map(|Decided { stack, decision, samples }| {
        let mut functions: Vec<&StackFunction> = stack.iter().rev().map(|it| &known[it]).collect();
        if functions.is_empty() {
            functions.push(&nothing);
        }
        let decided = functions.len() - 1 - decision.frame;
        CallStack { functions, decided, layer: decision.layer, samples: *samples }
    });
    stacks.collect()
}

/// Returns the name of a function as a table shows it: with its source file, without generic
/// arguments.
fn label(frame: &Frame) -> String {
    let function = if is_drop_glue(&frame.function) {
        // The type is what matters.
        frame.function.chars().take(TYPE_LETTERS).collect()
    } else {
        plain(&frame.function)
    };
    match &frame.place {
        Place::Source { name, path } => {
            format!("{name}/{} {function}", path.strip_prefix("src/").unwrap_or(path))
        }
        Place::Object(file) => format!("{file} {function}"),
        // Angle brackets are no generic arguments there: `<lambda>`, `<locals>`.
        Place::Python(file) => format!("{file} {}", frame.function),
        Place::Kernel if function.is_empty() => "(kernel function without a name)".to_owned(),
        Place::C if function.is_empty() => "(function without a name)".to_owned(),
        Place::Kernel | Place::C => function,
    }
}

/// Removes generic arguments, which are longer than a line.
fn plain(function: &str) -> String {
    let mut depth = 0_usize;
    let mut text = String::new();
    let mut last = ' ';
    for letter in function.chars() {
        match letter {
            '<' => depth += 1,
            // The arrow in the type of a function closes nothing.
            '>' if last != '-' => depth = depth.saturating_sub(1),
            _ if depth == 0 => text.push(letter),
            _ => {}
        }
        last = letter;
    }
    if text.trim_matches(':').is_empty() { function.to_owned() } else { text }
}

fn most(functions: &BTreeMap<String, u64>, count: usize) -> Vec<FunctionSamples> {
    let mut sorted: Vec<FunctionSamples> = functions
        .iter()
        .map(|(function, samples)| FunctionSamples {
            function: function.clone(),
            samples: *samples,
        })
        .collect();
    sorted.sort_by_key(|function| std::cmp::Reverse(function.samples));
    sorted.truncate(count);
    sorted
}
