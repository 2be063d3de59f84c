//! Cost of a request as a fixed part and a part per byte, `cost(n) = a + b n`, and its knees.
//!
//! The fit minimizes relative errors, since a microsecond is much at 8 bytes and nothing at 16 MiB.
//! A knee is a size at which the price of a byte changes by a factor of [`BEND_MIN`] or more,
//! proved by its own interval: data leaves a cache, or a message needs several frames.

use std::collections::BTreeSet;

use rand::{RngExt as _, SeedableRng};
use rand_pcg::Pcg64;

use super::bootstrap::{Bootstrap, Draws, Interval};
use super::location::{Sample, by_round, location};

/// Smallest change in the price of a byte that is a knee, as a factor in either direction.
pub const BEND_MIN: f64 = 1.25;

#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub bytes: u64,
    pub costs_ns: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub fixed_ns: Interval,
    pub byte_ns: Interval,
    /// Largest error of the fit, as a share of the measured cost.
    pub error_max: f64,
    pub knees: Vec<Knee>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knee {
    pub bytes: u64,
    pub before_ns: f64,
    pub after_ns: f64,
}

/// Fits `points`, which have different sizes in ascending order; `None` for fewer than two points,
/// or if a point has no costs.
pub fn fit(bootstrap: &Bootstrap, points: &[Point]) -> Option<Model> {
    let rounds: BTreeSet<u32> =
        points.iter().flat_map(|point| &point.costs_ns).map(|sample| sample.round).collect();
    let rounds: Vec<u32> = rounds.into_iter().collect();
    let table: Vec<Vec<Option<f64>>> =
        points.iter().map(|point| by_round(&point.costs_ns, &rounds)).collect();
    let bytes: Vec<f64> = points.iter().map(|point| point.bytes as f64).collect();
    let units = points.iter().map(|point| point.costs_ns.len()).min()?;
    if points.len() < 2 || units == 0 {
        return None;
    }
    let centers = |picked: &[usize]| -> Vec<f64> {
        let center = |costs: &Vec<Option<f64>>| {
            location(&mut picked.iter().filter_map(|&index| costs[index]).collect::<Vec<_>>())
        };
        table.iter().map(center).collect()
    };
    let costs = centers(&(0..rounds.len()).collect::<Vec<_>>());
    let (fixed, per_byte) = line(&bytes, &costs);
    let mut random = Pcg64::seed_from_u64(bootstrap.seed);
    let mut draws: Vec<Vec<f64>> = Vec::with_capacity(bootstrap.resamples);
    while draws.len() < bootstrap.resamples {
        let picked: Vec<usize> =
            (0..rounds.len()).map(|_| random.random_range(0..rounds.len())).collect();
        let drawn = centers(&picked);
        // A draw that lacks a size has no line.
        if units == rounds.len() || drawn.iter().all(|cost| cost.is_finite()) {
            draws.push(drawn);
        }
    }
    let interval = |estimate: f64, figure: &dyn Fn(&[f64]) -> f64| {
        let values = draws.iter().map(|costs| figure(costs)).collect();
        Draws { estimate, units, values }.interval()
    };
    let error = |(n, cost): (&f64, &f64)| ((fixed + per_byte * n) / cost - 1.0).abs();
    Some(Model {
        fixed_ns: interval(fixed, &|costs| line(&bytes, costs).0),
        byte_ns: interval(per_byte, &|costs| line(&bytes, costs).1),
        error_max: bytes.iter().zip(&costs).map(error).fold(0.0, f64::max),
        knees: knees(points, &costs, interval),
    })
}

fn line(bytes: &[f64], costs: &[f64]) -> (f64, f64) {
    let (mut w, mut wx, mut wxx, mut wy, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (&x, &y) in bytes.iter().zip(costs) {
        let weight = 1.0 / (y * y);
        w += weight;
        wx += weight * x;
        wxx += weight * x * x;
        wy += weight * y;
        wxy += weight * x * y;
    }
    let per_byte = (w * wxy - wx * wy) / (w * wxx - wx * wx);
    ((wy - per_byte * wx) / w, per_byte)
}

fn knees(
    points: &[Point],
    costs: &[f64],
    interval: impl Fn(f64, &dyn Fn(&[f64]) -> f64) -> Interval,
) -> Vec<Knee> {
    let price = |costs: &[f64], size: usize| {
        (costs[size + 1] - costs[size]) / (points[size + 1].bytes - points[size].bytes) as f64
    };
    let knee = |size: usize| {
        let bend = |costs: &[f64]| (price(costs, size) / price(costs, size - 1)).ln();
        // If a price is not positive, the bend is not a number and has no range.
        let bent = interval(bend(costs), &bend);
        let (low, high) = bent.range?;
        let is_proved = low > 0.0 || high < 0.0;
        let is_large = bent.estimate.abs() >= BEND_MIN.ln();
        (is_proved && is_large).then(|| Knee {
            bytes: points[size].bytes,
            before_ns: price(costs, size - 1),
            after_ns: price(costs, size),
        })
    };
    (1..points.len() - 1).filter_map(knee).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [u64; 5] = [8, 2048, 65_536, 1 << 20, 16 << 20];

    /// Ten blocks per size, each off by up to one percent.
    fn points(cost: impl Fn(f64) -> f64) -> Vec<Point> {
        let off = |size: usize, round: u32| {
            let step = (size as u32 * 7 + round * 3) % 11;
            1.0 + (f64::from(step) - 5.0) / 500.0
        };
        let point = |(index, &bytes): (usize, &u64)| Point {
            bytes,
            costs_ns: (0..10)
                .map(|round| Sample { round, value: cost(bytes as f64) * off(index, round) })
                .collect(),
        };
        SIZES.iter().enumerate().map(point).collect()
    }

    #[test]
    fn a_line_is_found_with_its_intervals() {
        let model = fit(&Bootstrap::default(), &points(|n| 5000.0 + 0.3 * n)).unwrap();
        assert_eq!(model.fixed_ns.contains(5000.0), Some(true), "{model:?}");
        assert_eq!(model.byte_ns.contains(0.3), Some(true), "{model:?}");
        assert!(model.fixed_ns.half_width().unwrap() < 100.0, "{model:?}");
        assert!(model.error_max < 0.02, "{model:?}");
        assert_eq!(model.knees, []);
    }

    #[test]
    fn a_higher_price_of_a_byte_beyond_a_size_is_a_knee() {
        let bent = |n: f64| 5000.0 + 0.3 * n + 0.3 * (n - 1_048_576.0).max(0.0);
        let model = fit(&Bootstrap::default(), &points(bent)).unwrap();
        let [knee] = model.knees.as_slice() else { panic!("one knee, {model:?}") };
        assert_eq!(knee.bytes, 1 << 20);
        assert!((knee.before_ns - 0.3).abs() < 0.02 && (knee.after_ns - 0.6).abs() < 0.02);
        assert!(model.error_max > 0.1, "{model:?}");
    }

    #[test]
    fn one_size_has_no_line_and_few_blocks_no_intervals() {
        let all = points(|n| 5000.0 + 0.3 * n);
        assert_eq!(fit(&Bootstrap::default(), &all[..1]), None);
        assert_eq!(fit(&Bootstrap::default(), &[]), None);
        let few = |point: &Point| Point { costs_ns: point.costs_ns[..4].to_vec(), ..point.clone() };
        let model = fit(&Bootstrap::default(), &all.iter().map(few).collect::<Vec<_>>()).unwrap();
        assert_eq!((model.fixed_ns.range, model.byte_ns.range), (None, None));
    }
}
