//! Icicle of one profiled server, with thin areas folded.
//!
//! Areas stand in the order in which they are drawn: each is followed by those below it, the widest
//! first. Names that are too thin for an area of their own share one.

use crate::axis::Layer;
use crate::report::stacks::Profiled;
use crate::report::stacks::tree::{self, Node};

/// Rows below the layers: crate, source file, function, and callers.
pub(super) const ROWS_MAX: usize = 7;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Icicle {
    pub(super) server: String,
    /// Array and load.
    pub(super) load: String,
    pub(super) samples: u64,
    /// Share of the samples from which a name has an area of its own.
    pub(super) least_permille: u64,
    /// Names without an area of their own.
    pub(super) folded: usize,
    /// True if callers beyond [`ROWS_MAX`] are left out.
    pub(super) is_cut: bool,
    pub(super) areas: Vec<Area>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Area {
    /// 0 for a layer.
    pub(super) row: usize,
    pub(super) layer: Layer,
    pub(super) samples: u64,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Name(String),
    /// Number of thin names that share an area.
    Folded(usize),
}

impl Icicle {
    pub(super) fn fold(profiled: &Profiled, least_permille: u64) -> Icicle {
        let mut icicle = Icicle {
            server: profiled.server.clone(),
            load: profiled.load.clone(),
            samples: profiled.samples(),
            least_permille,
            folded: 0,
            is_cut: false,
            areas: Vec::new(),
        };
        for (layer, node) in tree::layers(profiled) {
            let content = Content::Name(layer.name().to_owned());
            icicle.areas.push(Area { row: 0, layer, samples: node.samples, content });
            icicle.add_below(&node, layer, 1);
        }
        icicle
    }

    fn add_below(&mut self, node: &Node<'_>, layer: Layer, row: usize) {
        if row > ROWS_MAX {
            self.is_cut |= !node.is_last();
            return;
        }
        let (wide, thin): (Vec<_>, Vec<_>) =
            node.below().into_iter().partition(|(_, node)| self.is_wide(node.samples));
        for (name, node) in wide {
            let content = Content::Name(name.part.to_owned());
            self.areas.push(Area { row, layer: name.layer, samples: node.samples, content });
            self.add_below(node, name.layer, row + 1);
        }
        self.folded += thin.len();
        let samples: u64 = thin.iter().map(|(_, node)| node.samples).sum();
        if self.is_wide(samples) {
            let content = Content::Folded(thin.len());
            self.areas.push(Area { row, layer, samples, content });
        }
    }

    fn is_wide(&self, samples: u64) -> bool {
        u128::from(samples) * 1000 >= u128::from(self.samples) * u128::from(self.least_permille)
            && samples > 0
    }
}
