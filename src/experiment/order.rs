//! The order of trials: each round tries every cell once, in an order drawn from the run's seed.
//!
//! A random order spreads disturbances of the machine evenly over the cells. The same seed gives
//! the same order.

use rand::seq::SliceRandom;
use rand::{RngExt as _, SeedableRng};
use rand_pcg::Pcg64;

/// Draws for each round the order of the cells 0 to `cells`.
pub fn rounds(cells: usize, rounds: u32, seed: u64) -> Vec<Vec<usize>> {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut shuffled = || {
        let mut order: Vec<usize> = (0..cells).collect();
        order.shuffle(&mut random);
        order
    };
    (0..rounds).map(|_| shuffled()).collect()
}

const ENVIRONMENT_BYTES_MAX: u32 = 4096;

/// Draws the padding of a server's environment, in bytes. It differs from launch to launch, since
/// the address of the stack can move a figure by more than the cost of a layer.
pub fn environment_bytes(seed: u64, round: u32, cell: usize) -> u32 {
    let launch = (u64::from(round) << 32) | cell as u64;
    Pcg64::seed_from_u64(seed ^ launch.rotate_left(17)).random_range(0..ENVIRONMENT_BYTES_MAX)
}

/// Puts the servers of a launch into the order in which they start. If it were always the same, the
/// ratio of two servers would contain what a later start costs (docs/TRIED.md).
pub fn mix_starts<T>(servers: &mut [T], seed: u64, round: u32, cell: usize) {
    let launch = (u64::from(round) << 32) | cell as u64;
    servers.shuffle(&mut Pcg64::seed_from_u64(seed ^ launch.rotate_left(29)));
}

/// Draws the seed of the order in which a launch visits its servers.
pub fn visits_seed(seed: u64, round: u32, cell: usize) -> u64 {
    seed ^ ((u64::from(round) << 32) | cell as u64).rotate_left(41)
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
    fn every_server_starts_first_in_some_launches() {
        let mut firsts = [0; 4];
        for round in 0..400 {
            let mut servers = [0, 1, 2, 3];
            mix_starts(&mut servers, 1, round, 7);
            firsts[servers[0]] += 1;
            let mut again = [0, 1, 2, 3];
            mix_starts(&mut again, 1, round, 7);
            assert_eq!(servers, again, "a seed gives the same order");
        }
        assert!(firsts.iter().all(|count| (70..130).contains(count)), "{firsts:?}");
    }

    #[test]
    fn rounds_differ_and_a_seed_gives_them_again() {
        let first = rounds(20, 5, 7);
        assert!(first.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(first, rounds(20, 5, 7));
        assert_ne!(first, rounds(20, 5, 8));
    }

    #[test]
    fn environments_differ_from_launch_to_launch_and_a_seed_gives_them_again() {
        let lengths: Vec<u32> = (0..20).map(|round| environment_bytes(1, round, 3)).collect();
        assert!(lengths.windows(2).all(|pair| pair[0] != pair[1]), "{lengths:?}");
        assert_eq!(lengths[7], environment_bytes(1, 7, 3));
        assert_ne!(environment_bytes(2, 7, 3), lengths[7]);
    }
}
