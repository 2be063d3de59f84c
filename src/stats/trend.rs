//! Test for a trend in a few consecutive values: the exact test of Mann and Kendall.
//!
//! The test uses the order of the values only, so one disturbed slice does not make a trend.

/// Probability below which an order counts as a trend.
pub const SIGNIFICANCE: f64 = 0.05;

/// Returns true if `values` rise or fall more clearly than in a share [`SIGNIFICANCE`] of all
/// orders. Fewer than five values never have a trend.
pub fn has_trend(values: &[f64]) -> bool {
    chance(values) < SIGNIFICANCE
}

/// Returns the share of all orders that rise or fall at least as clearly as `values`.
pub fn chance(values: &[f64]) -> f64 {
    let count = values.len();
    let pairs = count * count.saturating_sub(1) / 2;
    let mut rises = 0_i64;
    for (index, value) in values.iter().enumerate() {
        for later in &values[index + 1..] {
            rises += i64::from(later > value) - i64::from(later < value);
        }
    }
    // Shares of orders by their number of falling pairs. A value appended at the end makes a
    // falling pair with any number of the earlier ones.
    let mut orders = vec![1.0];
    for placed in 1..count {
        let mut next = vec![0.0; orders.len() + placed];
        for (falls, share) in orders.iter().enumerate() {
            for more in 0..=placed {
                next[falls + more] += share / (placed as f64 + 1.0);
            }
        }
        orders = next;
    }
    let clear = |falls: usize| (pairs as i64 - 2 * falls as i64).abs() >= rises.abs();
    orders.iter().enumerate().filter(|(falls, _)| clear(*falls)).map(|(_, share)| share).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_rising_values_are_a_trend() {
        assert!(has_trend(&[1.0, 2.0, 3.0, 4.0, 5.0]));
        assert!(has_trend(&[6.0, 5.0, 4.0, 2.0, 3.0, 1.0]));
        assert!(!has_trend(&[1.0, 2.0, 3.0, 4.0]));
        assert!(!has_trend(&[]));
    }

    #[test]
    fn scatter_or_one_outlier_is_no_trend() {
        assert!(!has_trend(&[3.0, 1.0, 4.0, 1.5, 5.0, 2.0]));
        assert!(!has_trend(&[1.0, 1.1, 0.9, 1.05, 99.0, 1.0]));
        assert!(!has_trend(&[2.0; 8]));
    }

    #[test]
    fn the_probabilities_agree_with_the_published_table() {
        // Kendall's table: of 5! orders one rises throughout and one falls; of 6! orders 5 more
        // have one fall.
        assert!((chance(&[1.0, 2.0, 3.0, 4.0, 5.0]) - 2.0 / 120.0).abs() < 1e-12);
        assert!((chance(&[1.0, 2.0, 3.0, 4.0, 6.0, 5.0]) - 12.0 / 720.0).abs() < 1e-12);
        assert!((chance(&[2.0, 2.0]) - 1.0).abs() < 1e-12);
    }
}
