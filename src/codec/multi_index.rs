//! Indices of an n-dimensional array in C order, for codecs that walk nested rows.

use crate::array::RANK_MAX;

/// Index into an array without dimensions of length 0.
pub(super) struct MultiIndex<'a> {
    dims: &'a [u64],
    index: [u64; RANK_MAX],
}

impl<'a> MultiIndex<'a> {
    pub(super) fn new(dims: &'a [u64]) -> MultiIndex<'a> {
        debug_assert!(dims.len() <= RANK_MAX && !dims.contains(&0));
        MultiIndex { dims, index: [0; RANK_MAX] }
    }

    /// Goes to the next item. Returns the dimension that went up by one (all inner ones went back
    /// to 0); `None` after the last item.
    pub(super) fn advance(&mut self) -> Option<usize> {
        let moved = (0..self.dims.len()).rev().find(|&at| self.index[at] + 1 < self.dims[at])?;
        self.index[moved] += 1;
        self.index[moved + 1..].fill(0);
        Some(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_reached_once() {
        let mut index = MultiIndex::new(&[2, 1, 3]);
        let moves: Vec<_> = std::iter::from_fn(|| index.advance()).collect();
        assert_eq!(moves, [2, 2, 0, 2, 2]);
        assert_eq!(MultiIndex::new(&[]).advance(), None);
    }
}
