//! The layer of a sample, from the frames of its stack.

use crate::axis::Layer;

use super::rules::{Rules, Target};

/// Innermost frames in which a copy of the C library counts. Further out it is a caller.
const COPY_DEPTH: usize = 3;

/// Function on a stack, inlined or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Frame {
    pub(super) place: Place,
    pub(super) function: String,
}

/// Origin of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    Kernel,
    /// Source file below the root of a crate, e.g. `src/proto/mod.rs` of `h2`.
    Source {
        name: String,
        path: String,
    },
    /// C code: the C library, or code without a source file.
    C,
    /// Other object without source files, by its file name.
    Object(String),
    /// Python code, by its file. What runs is the interpreter, or the C code that it calls.
    Python(String),
}

/// Basis of a decision.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    Kernel,
    /// Source file of the innermost function.
    OwnFrame,
    /// Function of the C library.
    CFunction,
    /// Type whose drop glue runs.
    DropType,
    /// Source file of a caller, over transparent frames.
    Caller,
    /// Type in the name of any function, because no source file decides.
    AnyType,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) layer: Layer,
    pub(super) basis: Basis,
    /// Index of the frame that decided; 0 if none did.
    pub(super) frame: usize,
}

/// Decides the layer of a stack, whose innermost frame is the first one.
pub(super) fn classify(rules: &Rules, stack: &[Frame]) -> Decision {
    let nothing = Decision { layer: Layer::Unattributed, basis: Basis::Nothing, frame: 0 };
    if stack.first().is_some_and(|frame| frame.place == Place::Kernel) {
        // The program below the kernel's frames only tells who asked.
        let kernel = stack.iter().take_while(|frame| frame.place == Place::Kernel);
        let decided = kernel.enumerate().find_map(|(frame, it)| {
            let layer = rules.kernel(&it.function)?;
            Some(Decision { layer, basis: Basis::Kernel, frame })
        });
        return decided.unwrap_or(nothing);
    }
    for (index, frame) in stack.iter().enumerate() {
        if let Some((target, basis)) = decide(rules, index, frame) {
            let layer = layer(rules, target, &stack[index..]);
            return Decision { layer, basis, frame: index };
        }
    }
    let by_type = stack.iter().enumerate().find_map(|(index, frame)| {
        let layer = layer(rules, rules.first_type(&frame.function)?, &stack[index..]);
        Some(Decision { layer, basis: Basis::AnyType, frame: index })
    });
    by_type.unwrap_or(nothing)
}

/// Returns the layer that a function decides by itself, wherever it stands on a stack.
pub(super) fn own_layer(rules: &Rules, frame: &Frame) -> Option<Layer> {
    if frame.place == Place::Kernel {
        return rules.kernel(&frame.function);
    }
    let (target, _) = decide(rules, 0, frame)?;
    Some(layer(rules, target, std::slice::from_ref(frame)))
}

fn decide(rules: &Rules, index: usize, frame: &Frame) -> Option<(Target, Basis)> {
    let by_source = if index == 0 { Basis::OwnFrame } else { Basis::Caller };
    match &frame.place {
        Place::Kernel | Place::Python(_) => None,
        Place::C => c_function(rules, index, frame),
        Place::Object(name) => match c_function(rules, index, frame) {
            Some(decided) => Some(decided),
            None => Some((rules.object(name)?, by_source)),
        },
        Place::Source { name, path } => {
            if is_drop_glue(&frame.function)
                && let Some(target) = rules.first_type(&frame.function)
            {
                return Some((target, Basis::DropType));
            }
            Some((rules.source(name, path, &frame.function)?, by_source))
        }
    }
}

fn c_function(rules: &Rules, index: usize, frame: &Frame) -> Option<(Target, Basis)> {
    let layer = rules.c_function(&frame.function)?;
    let counts = layer != Layer::UserCopies || index < COPY_DEPTH;
    counts.then_some((Target::Layer(layer), Basis::CFunction))
}

/// Completes a target with the direction that the nearest function of the codec tells. Work that
/// serves both directions counts as decoding.
fn layer(rules: &Rules, target: Target, from: &[Frame]) -> Layer {
    match target {
        Target::Layer(layer) => layer,
        Target::Codec => direction(rules, from).unwrap_or(Layer::CodecDecode),
    }
}

fn direction(rules: &Rules, from: &[Frame]) -> Option<Layer> {
    let is_codec =
        |frame: &&Frame| decide(rules, 0, frame).is_none_or(|(target, _)| target == Target::Codec);
    let mut codec = from.iter().take_while(is_codec);
    codec.find_map(|frame| rules.direction(&frame.function))
}

/// Returns whether `from`, a stack from the function that decided outwards, is the work of a codec
/// and does not tell its direction.
pub(super) fn lacks_direction(rules: &Rules, from: &[Frame]) -> bool {
    let decided = from.first().and_then(|frame| decide(rules, 0, frame));
    decided.is_some_and(|(target, _)| target == Target::Codec) && direction(rules, from).is_none()
}

/// Returns whether a function drops a value: code that the compiler makes for a type.
pub(super) fn is_drop_glue(function: &str) -> bool {
    let name = function.strip_prefix("core::ptr::").unwrap_or(function);
    ["drop_in_place<", "drop<", "drop_slow<"].iter().any(|start| name.starts_with(start))
}
