//! The order of trials: in each round every cell once, in an order of its own drawn from the run's seed.
//!
//! Taking turns in random order spreads whatever the machine does meanwhile (another guest, a warm cache, a slow
//! minute) evenly over the cells, so that it cannot favour one. The same seed gives the same order.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

/// For each round, the numbers 0 to `cells` in the order they are tried.
pub fn rounds(cells: usize, rounds: u32, seed: u64) -> Vec<Vec<usize>> {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut shuffled = || {
        let mut order: Vec<usize> = (0..cells).collect();
        order.shuffle(&mut random);
        order
    };
    (0..rounds).map(|_| shuffled()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_cell_once() {
        for round in rounds(20, 5, 7) {
            let mut sorted = round.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        }
    }

    #[test]
    fn rounds_differ_and_a_seed_gives_them_again() {
        let first = rounds(20, 5, 7);
        assert!(first.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(first, rounds(20, 5, 7));
        assert_ne!(first, rounds(20, 5, 8));
    }
}
