//! Collapsed stacks: a line for each stack, from the outermost function inwards, and its samples.
//!
//! The first frame is the layer, so that a flame graph of these lines begins with the layers. A
//! stack without a layer begins with `unattributed`. A profile keeps the inner part of a stack, so
//! that the second frame need not be the start of a thread.

use std::collections::BTreeMap;

use crate::probe::profile::Stacks;

/// Character between two frames.
const SEPARATOR: char = ';';

/// Renders the stacks, sorted.
pub(super) fn render(stacks: &Stacks) -> String {
    // Stacks that differ in the function that decided are one line.
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for stack in stacks.iter() {
        let names = stack.functions.iter().map(|function| frame(&function.name));
        let frames: Vec<String> = std::iter::once(frame(stack.layer.name())).chain(names).collect();
        *lines.entry(frames.join(&SEPARATOR.to_string())).or_default() += stack.samples;
    }
    lines.into_iter().map(|(stack, samples)| format!("{stack} {samples}\n")).collect()
}

/// Replaces the characters that would end a frame or a line.
fn frame(name: &str) -> String {
    let letter = |letter: char| match letter {
        SEPARATOR => ',',
        control if control.is_control() => ' ',
        other => other,
    };
    name.chars().map(letter).collect()
}
