//! Counts through the places of an array in C order, for codecs that walk nested rows.

use crate::array::RANK_MAX;

/// A place in an array of dimensions none of which is 0.
pub(super) struct Odometer<'a> {
    dims: &'a [u64],
    index: [u64; RANK_MAX],
}

impl<'a> Odometer<'a> {
    /// The first place: all zeros.
    pub(super) fn new(dims: &'a [u64]) -> Odometer<'a> {
        debug_assert!(dims.len() <= RANK_MAX && !dims.contains(&0));
        Odometer { dims, index: [0; RANK_MAX] }
    }

    /// Goes to the next place. Returns the dimension that moved on by one, while all those inside it went from
    /// their last step back to 0; `None` after the last place.
    pub(super) fn turn(&mut self) -> Option<usize> {
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
    fn it_goes_through_every_place_once() {
        let mut odometer = Odometer::new(&[2, 1, 3]);
        let moves: Vec<_> = std::iter::from_fn(|| odometer.turn()).collect();
        assert_eq!(moves, [2, 2, 0, 2, 2]);
        assert_eq!(Odometer::new(&[]).turn(), None);
    }
}
