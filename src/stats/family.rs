//! Intervals for many figures at once: all of them hold together at [`CONFIDENCE`].
//!
//! Of forty true 95 % intervals two are wrong on average, so a table that calls something different by them nearly
//! always calls one thing different that is not. Here the share that may be wrong is divided by the number of
//! figures (Bonferroni), and Student's t says how many of a figure's own standard errors that is.
//!
//! Tried: drawing the same blocks for all figures and widening them until 95 of 100 draws hold all. It is narrower for
//! figures that move together, but five blocks have too few draws to be read that far out: it told one of ten equal
//! arms apart in 17 % of simulated runs.

use super::bootstrap::{Bootstrap, CONFIDENCE, Draws, Interval, UNITS_MIN};
use super::student::reach;

/// A member's values: by build, then by block.
pub type Member = Vec<Vec<f64>>;

/// The middle of each member's values, with intervals that hold for all of them at once. A member with too few
/// blocks has no range and does not count for the others; one without any has no interval.
pub fn intervals(bootstrap: &Bootstrap, members: &[Member]) -> Vec<Option<Interval>> {
    let drawn: Vec<_> = members.iter().map(|member| bootstrap.draw(member)).collect();
    let counted = drawn.iter().flatten().filter(|draws| draws.units >= UNITS_MIN).count();
    let beyond = (1.0 - CONFIDENCE) / 2.0 / counted.max(1) as f64;
    let interval = |draws: Draws| {
        let half = reach(beyond, draws.units) * draws.error();
        let (estimate, units) = (draws.estimate, draws.units);
        let range = (units >= UNITS_MIN).then_some((estimate - half, estimate + half));
        Interval { estimate, range, units }
    };
    drawn.into_iter().map(|draws| draws.map(interval)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f64; 10] = [0.01, -0.02, 0.03, -0.01, 0.02, 0.0, -0.03, 0.015, -0.005, 0.01];

    #[test]
    fn more_members_make_wider_intervals() {
        let member = vec![VALUES.to_vec()];
        let bootstrap = Bootstrap::default();
        let alone = intervals(&bootstrap, std::slice::from_ref(&member))[0].unwrap();
        let among = intervals(&bootstrap, &vec![member; 10])[0].unwrap();
        assert_eq!(alone.estimate, among.estimate);
        assert!(among.half_width() > alone.half_width(), "{alone:?} {among:?}");
    }

    #[test]
    fn a_member_with_few_blocks_has_no_range_and_widens_none() {
        let full = vec![VALUES.to_vec()];
        let bootstrap = Bootstrap { resamples: 500, seed: 3 };
        let both = intervals(&bootstrap, &[full.clone(), vec![vec![0.0, 9.0]], vec![]]);
        let alone = intervals(&bootstrap, &[full]);
        assert_eq!(both[0], alone[0]);
        assert_eq!(both[1].unwrap().range, None);
        assert_eq!(both[2], None);
        assert_eq!(intervals(&bootstrap, &[]), []);
    }

    #[test]
    fn members_that_never_vary_have_intervals_of_no_width() {
        let same = intervals(&Bootstrap::default(), &[vec![vec![0.5; 6]]])[0].unwrap();
        assert_eq!(same.range, Some((0.5, 0.5)));
    }
}
