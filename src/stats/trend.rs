//! Whether a few values in a row go up or down, or only scatter: Mann and Kendall's test, exact.
//!
//! It ends a warm-up: as long as the slices of it show a trend, the server is not what it is going to be. The test
//! looks at order only, so one slice that something else disturbed does not make a trend.

/// Probability below which an order is a trend.
pub const SIGNIFICANCE: f64 = 0.05;

/// True when `values` go one way more clearly than chance lets them: in fewer than [`SIGNIFICANCE`] of all orders.
/// Fewer than five values never do.
pub fn has_trend(values: &[f64]) -> bool {
    chance(values) < SIGNIFICANCE
}

/// The share of all orders of as many values that go one way as clearly as these, up or down.
pub fn chance(values: &[f64]) -> f64 {
    let count = values.len();
    let pairs = count * count.saturating_sub(1) / 2;
    let mut rises = 0_i64;
    for (index, value) in values.iter().enumerate() {
        for later in &values[index + 1..] {
            rises += i64::from(later > value) - i64::from(later < value);
        }
    }
    // Orders by how many of their pairs fall: a value added at the end falls below none to all of those before.
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
    fn what_only_rises_is_a_trend_of_five_and_more() {
        assert!(has_trend(&[1.0, 2.0, 3.0, 4.0, 5.0]));
        assert!(has_trend(&[6.0, 5.0, 4.0, 2.0, 3.0, 1.0]));
        assert!(!has_trend(&[1.0, 2.0, 3.0, 4.0]));
        assert!(!has_trend(&[]));
    }

    #[test]
    fn scatter_is_none_and_neither_is_one_outlier() {
        assert!(!has_trend(&[3.0, 1.0, 4.0, 1.5, 5.0, 2.0]));
        assert!(!has_trend(&[1.0, 1.1, 0.9, 1.05, 99.0, 1.0]));
        assert!(!has_trend(&[2.0; 8]));
    }

    #[test]
    fn the_chances_are_those_of_the_published_table() {
        // Kendall's table: of 5! orders one rises throughout and one falls; of 6! orders 5 more have one fall.
        assert!((chance(&[1.0, 2.0, 3.0, 4.0, 5.0]) - 2.0 / 120.0).abs() < 1e-12);
        assert!((chance(&[1.0, 2.0, 3.0, 4.0, 6.0, 5.0]) - 12.0 / 720.0).abs() < 1e-12);
        assert!((chance(&[2.0, 2.0]) - 1.0).abs() < 1e-12);
    }
}
