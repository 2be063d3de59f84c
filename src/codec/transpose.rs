//! Transposition from Fortran order to C order. It copies items as bytes and knows no dtype.

use crate::array::RANK_MAX;

use super::multi_index::MultiIndex;

/// Returns whether C and Fortran order are the same bytes: at most one dimension is longer than 1.
pub(super) fn is_both_orders(dims: &[u64]) -> bool {
    dims.contains(&0) || dims.iter().filter(|&&dim| dim > 1).count() <= 1
}

/// Replaces `out` by `data` in C order. `data` has `dims` in Fortran order; no dimension is 0.
pub(super) fn to_c_order(item_size: usize, dims: &[u64], data: &[u8], out: &mut Vec<u8>) {
    match item_size {
        1 => gather::<1>(dims, data, out),
        2 => gather::<2>(dims, data, out),
        4 => gather::<4>(dims, data, out),
        8 => gather::<8>(dims, data, out),
        _ => gather::<16>(dims, data, out),
    }
}

/// For each index of the middle dimensions, transposes the first dimension (contiguous in `data`)
/// and the last one (contiguous in `out`).
fn gather<const SIZE: usize>(dims: &[u64], data: &[u8], out: &mut Vec<u8>) {
    // Dimensions of length 1 change neither order; all others are at least 2.
    let (mut steps, mut rank) = ([0; RANK_MAX], 0);
    for &dim in dims.iter().filter(|&&dim| dim > 1) {
        steps[rank] = dim;
        rank += 1;
    }
    let [first, between @ .., last] = &steps[..rank] else {
        unreachable!("an array of one dimension is in both orders")
    };
    out.resize(data.len(), 0);
    let (from, to) = (data.as_chunks::<SIZE>().0, out.as_chunks_mut::<SIZE>().0);
    let (first, last) = (*first as usize, *last as usize);
    let matrix = Matrix { first, last, from_step: from.len() / last, to_step: to.len() / first };
    let mut strides = [(0, 0); RANK_MAX];
    let (mut from_stride, mut to_stride) = (first, to.len() / first);
    for (slot, &dim) in strides.iter_mut().zip(between) {
        to_stride /= dim as usize;
        *slot = (from_stride, to_stride);
        from_stride *= dim as usize;
    }
    let mut index = MultiIndex::new(between);
    let (mut from_base, mut to_base) = (0, 0);
    loop {
        matrix.copy(&from[from_base..], &mut to[to_base..]);
        let Some(moved) = index.advance() else { return };
        from_base += strides[moved].0;
        to_base += strides[moved].1;
        for (&(from, to), &dim) in strides[moved + 1..].iter().zip(&between[moved + 1..]) {
            from_base -= (dim as usize - 1) * from;
            to_base -= (dim as usize - 1) * to;
        }
    }
}

/// Strides of a transposed matrix, in items.
struct Matrix {
    first: usize,
    last: usize,
    from_step: usize,
    to_step: usize,
}

impl Matrix {
    /// Copies in tiles, so that each cache line is used completely while it is in the cache.
    fn copy<const SIZE: usize>(&self, from: &[[u8; SIZE]], to: &mut [[u8; SIZE]]) {
        let tile = (TILE_BYTES / SIZE).max(1);
        for first_start in (0..self.first).step_by(tile) {
            let first_end = self.first.min(first_start + tile);
            for last_start in (0..self.last).step_by(tile) {
                let count = (self.last - last_start).min(tile);
                for at in first_start..first_end {
                    let source = from[last_start * self.from_step + at..].iter();
                    let target = &mut to[at * self.to_step + last_start..][..count];
                    for (item, from) in target.iter_mut().zip(source.step_by(self.from_step)) {
                        *item = *from;
                    }
                }
            }
        }
    }
}

/// Length of a tile's edge in bytes: two cache lines. A tile of doubles has 32 lines on each side.
const TILE_BYTES: usize = 128;
