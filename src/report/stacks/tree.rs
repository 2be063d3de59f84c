//! Samples of a profile as a tree: below each layer the crate, the file and the function that
//! decided, then its callers with a layer, outwards.
//!
//! A profile keeps the inner part of a stack, so that this direction is the one in which every
//! stack is whole. Functions inside of the one that decided are part of it. Callers that decide
//! nothing by themselves are left out.

use std::collections::BTreeMap;

use crate::axis::Layer;
use crate::probe::profile::CallStack;

use super::Profiled;

/// Samples of a name, or of a layer, with what stands below it.
#[derive(Default)]
pub(in crate::report) struct Node<'a> {
    pub(in crate::report) samples: u64,
    below: BTreeMap<Name<'a>, Node<'a>>,
}

/// Crate, source file or function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::report) struct Name<'a> {
    pub(in crate::report) whole: &'a str,
    /// Part that the row above does not say.
    pub(in crate::report) part: &'a str,
    pub(in crate::report) layer: Layer,
}

impl<'a> Node<'a> {
    /// Returns what stands below, the largest first.
    pub(in crate::report) fn below(&self) -> Vec<(&Name<'a>, &Node<'a>)> {
        let mut below: Vec<(&Name<'_>, &Node<'_>)> = self.below.iter().collect();
        below.sort_by_key(|(name, node)| (std::cmp::Reverse(node.samples), **name));
        below
    }

    pub(in crate::report) fn is_last(&self) -> bool {
        self.below.is_empty()
    }
}

/// Adds the stacks below each layer, from the function that decided outwards.
pub(in crate::report) fn layers(profiled: &Profiled) -> BTreeMap<Layer, Node<'_>> {
    let mut layers: BTreeMap<Layer, Node<'_>> = BTreeMap::new();
    for CallStack { functions, decided, layer, samples } in profiled.stacks.iter() {
        let mut node = layers.entry(layer).or_default();
        node.samples += samples;
        let callers = functions[..decided].iter().rev().filter_map(|function| {
            let (whole, layer) = (function.name.as_str(), function.layer?);
            Some(Name { whole, part: whole, layer })
        });
        for name in names(&functions[decided].name, layer).into_iter().chain(callers) {
            node = node.below.entry(name).or_default();
            node.samples += samples;
        }
    }
    layers
}

/// Splits the name of a function, as in `h2/hpack/decoder.rs take`, into crate, file and function.
fn names(function: &str, layer: Layer) -> Vec<Name<'_>> {
    let mut names = Vec::new();
    let mut part = function;
    if let Some((file, own)) = function.split_once(' ')
        && let Some((of_crate, path)) = file.split_once('/')
    {
        names.push(Name { whole: of_crate, part: of_crate, layer });
        names.push(Name { whole: file, part: path, layer });
        part = own;
    }
    names.push(Name { whole: function, part, layer });
    names
}
