//! Brackets, commas and white space of a nested list, and the shape that they define.
//!
//! The first list of each depth fixes that dimension, and all later lists must agree. Depth is a
//! counter, not recursion.

use super::error::Fault;
use crate::array::{RANK_MAX, Shape};

pub(super) struct ShapeTracker {
    depth: usize,
    rank: Option<usize>,
    /// Lengths, known from index `known` on: inner lists end before outer ones.
    dims: [u64; RANK_MAX],
    known: usize,
    counts: [u64; RANK_MAX],
}

impl ShapeTracker {
    pub(super) fn new() -> ShapeTracker {
        ShapeTracker {
            depth: 0,
            rank: None,
            dims: [0; RANK_MAX],
            known: RANK_MAX,
            counts: [0; RANK_MAX],
        }
    }

    /// Goes from `at`, before any item, to the first item. `None` if the list has no items.
    pub(super) fn first(&mut self, text: &[u8], at: usize) -> Result<Option<usize>, Fault> {
        self.go(text, at, false)
    }

    /// Goes from `at`, the end of an item, to the start of the next one. `items` counts the items
    /// since the last call. `None` after the last item.
    pub(super) fn next(
        &mut self,
        text: &[u8],
        at: usize,
        items: u64,
    ) -> Result<Option<usize>, Fault> {
        if let Some(around) = self.depth.checked_sub(1) {
            self.counts[around] += items;
        }
        match self.next_row(text, at) {
            Some(at) => Ok(Some(at)),
            None => self.go(text, at, true),
        }
    }

    /// Handles the usual case: the end of a row of the known length, and the start of the next.
    fn next_row(&mut self, text: &[u8], at: usize) -> Option<usize> {
        let around = self.depth.checked_sub(1).filter(|_| self.rank == Some(self.depth))?;
        let rest = text.get(at..)?;
        let taken = match rest {
            [b']', b',', b' ', b'[', item, ..] if is_item(*item) => 4,
            [b']', b',', b'[', item, ..] if is_item(*item) => 3,
            _ => return None,
        };
        if self.known > around || self.dims[around] != self.counts[around] || around == 0 {
            return None;
        }
        self.counts[around] = 0;
        self.counts[around - 1] += 1;
        Some(at + taken)
    }

    fn go(
        &mut self,
        text: &[u8],
        mut at: usize,
        mut is_behind_item: bool,
    ) -> Result<Option<usize>, Fault> {
        let fault = |at| move |what| Fault { at, what };
        loop {
            at = skip_space(text, at);
            if !is_behind_item {
                if text.get(at) != Some(&b'[') {
                    self.innermost().map_err(fault(at))?;
                    return Ok(Some(at));
                }
                self.open().map_err(fault(at))?;
                at = skip_space(text, at + 1);
                if text.get(at) != Some(&b']') {
                    continue;
                }
            }
            while self.depth > 0 && text.get(at) == Some(&b']') {
                self.close().map_err(fault(at))?;
                at = skip_space(text, at + 1);
            }
            match (self.depth, text.get(at)) {
                (0, None) => return Ok(None),
                (0, Some(_)) => return Err(Fault { at, what: "unexpected text after the list" }),
                (_, Some(b',')) => (at, is_behind_item) = (at + 1, false),
                _ => return Err(Fault { at, what: "expected a comma or the end of the list" }),
            }
        }
    }

    fn open(&mut self) -> Result<(), &'static str> {
        if self.depth == RANK_MAX {
            return Err("lists nest deeper than 64");
        }
        if self.rank.is_some_and(|rank| self.depth >= rank) {
            return Err("a list where a number is expected: lists have different depths");
        }
        self.counts[self.depth] = 0;
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), &'static str> {
        let inside = self.depth - 1;
        let count = self.counts[inside];
        if count == 0 {
            self.innermost()?;
        }
        if inside < self.known {
            (self.known, self.dims[inside]) = (inside, count);
        }
        if self.dims[inside] != count {
            return Err("a list whose length differs from the others at its depth");
        }
        self.depth -= 1;
        if let Some(around) = inside.checked_sub(1) {
            self.counts[around] += 1;
        }
        Ok(())
    }

    fn innermost(&mut self) -> Result<(), &'static str> {
        if *self.rank.get_or_insert(self.depth) != self.depth {
            return Err("a number where a list is expected: lists have different depths");
        }
        Ok(())
    }

    pub(super) fn shape(&self) -> Shape {
        let dims = &self.dims[self.known..self.rank.unwrap_or(0).max(self.known)];
        Shape::new(dims).expect("lists nest no deeper than a shape")
    }
}

/// Returns whether `byte` is neither white space nor a bracket: an item, or something invalid.
fn is_item(byte: u8) -> bool {
    !matches!(byte, b' ' | b'\n' | b'\t' | b'\r' | b'[' | b']')
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}
