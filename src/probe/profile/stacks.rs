//! Call stacks of samples in a compact form, each with its layer.
//!
//! A function is kept once, with its name as a table shows it. Stacks are in the order of their
//! functions, from the outermost inwards, so that a stored stack names only what differs from the
//! stack before. The times of the samples are not kept.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::axis::Layer;

/// Functions of a stack that is read from a file. A recorded one has far fewer.
const FUNCTIONS_MAX: usize = 4096;

/// Function on a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StackFunction {
    pub name: String,
    /// Layer that the function decides by itself; `None` if its caller decides.
    pub layer: Option<Layer>,
}

/// Stack of some samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallStack<'a> {
    /// From the outermost one inwards, at least one.
    pub functions: Vec<&'a StackFunction>,
    /// Index of the function that decided the layer.
    pub decided: usize,
    pub layer: Layer,
    pub samples: u64,
}

/// Stacks of the samples of one or more processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Packed", into = "Packed")]
pub struct Stacks {
    functions: Vec<StackFunction>,
    samples: BTreeMap<Key, u64>,
}

/// Numbers of the functions, number of those around the one that decided, and the layer.
type Key = (Vec<u32>, usize, Layer);

/// Stored form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packed {
    functions: Vec<StackFunction>,
    stacks: Vec<PackedStack>,
}

/// Number of outer functions that the stack before has too, numbers of the others, index of the one
/// that decided, layer, samples.
#[derive(Serialize, Deserialize)]
struct PackedStack(usize, Vec<u32>, usize, Layer, u64);

#[derive(Debug, thiserror::Error)]
pub enum StacksError {
    #[error("stack {stack} shares {shared} functions with the one before, which has {has}")]
    Shared { stack: usize, shared: usize, has: usize },
    #[error("stack {stack} has {has} functions, expected 1 to {FUNCTIONS_MAX}")]
    Length { stack: usize, has: usize },
    #[error("stack {stack} names function {number}, but there are {has}")]
    Function { stack: usize, number: u32, has: usize },
    #[error("stack {stack} was decided by its function {decided}, but it has {has}")]
    Decided { stack: usize, decided: usize, has: usize },
}

impl Stacks {
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = CallStack<'_>> {
        self.samples.iter().map(|((numbers, decided, layer), samples)| CallStack {
            functions: numbers.iter().map(|it| &self.functions[*it as usize]).collect(),
            decided: *decided,
            layer: *layer,
            samples: *samples,
        })
    }
}

impl<'a> FromIterator<CallStack<'a>> for Stacks {
    fn from_iter<T: IntoIterator<Item = CallStack<'a>>>(stacks: T) -> Stacks {
        let mut all = Stacks::default();
        let mut numbers: HashMap<&StackFunction, u32> = HashMap::new();
        for CallStack { functions, decided, layer, samples } in stacks {
            let mut number = |function: &'a StackFunction| {
                *numbers.entry(function).or_insert_with(|| {
                    all.functions.push(function.clone());
                    all.functions.len() as u32 - 1
                })
            };
            let functions = functions.into_iter().map(&mut number).collect();
            *all.samples.entry((functions, decided, layer)).or_default() += samples;
        }
        all
    }
}

impl From<Stacks> for Packed {
    fn from(stacks: Stacks) -> Packed {
        let mut before: Vec<u32> = Vec::new();
        let mut pack = |((numbers, decided, layer), samples): (Key, u64)| {
            let shared =
                before.iter().zip(&numbers).take_while(|(one, other)| one == other).count();
            let own = numbers[shared..].to_vec();
            before = numbers;
            PackedStack(shared, own, decided, layer, samples)
        };
        let packed = stacks.samples.into_iter().map(&mut pack).collect();
        Packed { functions: stacks.functions, stacks: packed }
    }
}

impl TryFrom<Packed> for Stacks {
    type Error = StacksError;

    fn try_from(packed: Packed) -> Result<Stacks, StacksError> {
        let mut stacks = Stacks { functions: packed.functions, samples: BTreeMap::new() };
        let mut numbers: Vec<u32> = Vec::new();
        for (stack, PackedStack(shared, own, decided, layer, samples)) in
            packed.stacks.into_iter().enumerate()
        {
            if shared > numbers.len() {
                return Err(StacksError::Shared { stack, shared, has: numbers.len() });
            }
            numbers.truncate(shared);
            numbers.extend(own);
            let (has, known) = (numbers.len(), stacks.functions.len());
            if has == 0 || has > FUNCTIONS_MAX {
                return Err(StacksError::Length { stack, has });
            }
            if let Some(number) = numbers.iter().find(|it| **it as usize >= known) {
                return Err(StacksError::Function { stack, number: *number, has: known });
            }
            if decided >= has {
                return Err(StacksError::Decided { stack, decided, has });
            }
            *stacks.samples.entry((numbers.clone(), decided, layer)).or_default() += samples;
        }
        Ok(stacks)
    }
}
