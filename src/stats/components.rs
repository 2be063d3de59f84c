//! Components of scatter: how much values differ within a launch, and how much launches differ.

/// Standard deviations of the two components.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Components {
    pub within: f64,
    /// Scatter of launches beyond what their values explain.
    pub between: f64,
    /// Mean number of values in a launch.
    pub values: f64,
}

impl Components {
    /// Estimates the components of one figure, or of several that scatter alike; each has a list of
    /// launches with their values. `None` unless a figure has two launches of two values.
    pub fn estimate(figures: &[Vec<Vec<f64>>]) -> Option<Components> {
        let (mut within, mut within_degrees) = (0.0, 0);
        let (mut means, mut means_degrees) = (0.0, 0);
        let (mut values, mut launches) = (0, 0);
        for figure in figures {
            let figure: Vec<&Vec<f64>> = figure.iter().filter(|launch| launch.len() > 1).collect();
            if figure.len() < 2 {
                continue;
            }
            for launch in &figure {
                within += squares(launch);
                within_degrees += launch.len() - 1;
                values += launch.len();
            }
            launches += figure.len();
            means += squares(&figure.iter().map(|launch| mean(launch)).collect::<Vec<_>>());
            means_degrees += figure.len() - 1;
        }
        if means_degrees == 0 {
            return None;
        }
        let within = within / within_degrees as f64;
        let values = values as f64 / launches as f64;
        let between = means / means_degrees as f64 - within / values;
        Some(Components { within: within.sqrt(), between: between.max(0.0).sqrt(), values })
    }

    /// Returns true if the scatter of a launch's mean is mostly that of launches, so that more
    /// values in a launch would hardly help.
    pub fn launches_dominate(&self) -> bool {
        self.between > self.within / self.values.sqrt()
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the sum of the squared differences from the mean.
pub(super) fn squares(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    fn figure(random: &mut Pcg64, within: f64, between: f64) -> Vec<Vec<f64>> {
        let normal =
            |random: &mut Pcg64| (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let launch = |_| {
            let center = between * normal(random);
            (0..8).map(|_| center + within * normal(random)).collect()
        };
        (0..6).map(launch).collect()
    }

    #[test]
    fn planted_components_are_found() {
        let mut random = Pcg64::seed_from_u64(1);
        let figures: Vec<_> = (0..100).map(|_| figure(&mut random, 0.06, 0.03)).collect();
        let found = Components::estimate(&figures).unwrap();
        assert!((found.within - 0.06).abs() < 0.004, "{found:?}");
        assert!((found.between - 0.03).abs() < 0.004, "{found:?}");
        assert!(found.launches_dominate() && found.values == 8.0);
    }

    #[test]
    fn launches_that_differ_no_more_than_their_values_have_no_component() {
        let mut random = Pcg64::seed_from_u64(2);
        let figures: Vec<_> = (0..100).map(|_| figure(&mut random, 0.06, 0.0)).collect();
        let found = Components::estimate(&figures).unwrap();
        assert!(found.between < 0.01 && !found.launches_dominate(), "{found:?}");
    }

    #[test]
    fn one_launch_or_single_values_tell_nothing() {
        assert_eq!(Components::estimate(&[vec![vec![1.0, 2.0]]]), None);
        assert_eq!(Components::estimate(&[vec![vec![1.0], vec![2.0]]]), None);
        assert_eq!(Components::estimate(&[]), None);
    }
}
