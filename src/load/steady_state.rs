//! Steady-state detection: a warm-up ends once the rate of replies shows no trend. Pure.
//!
//! From `SLICES` slices of the warm-up on, the latest ones are tested for a [`trend`] at the end of
//! each. The warm-up goes on while there is one, up to its bound. A server that is slow for its
//! slices has the same small count in most of them, which is no trend.

use std::time::{Duration, Instant};

use crate::stats::trend;

/// Slices of the shortest warm-up. Fewer slices show no trend in any order.
const SLICES: u32 = 5;

const SLICES_LOOKED_AT: usize = 8;

#[derive(Clone, Debug)]
pub struct SteadyState {
    slice: Duration,
    slice_end: Instant,
    max_end: Instant,
    replies: Vec<f64>,
    in_slice: u32,
}

impl SteadyState {
    pub fn new(min: Duration, max: Duration, now: Instant) -> SteadyState {
        let slice = (min / SLICES).max(Duration::from_micros(1));
        let (slice_end, max_end) = (now + slice, now + max.max(min));
        SteadyState { slice, slice_end, max_end, replies: Vec::new(), in_slice: 0 }
    }

    /// Counts a reply. `Some` ends the warm-up and tells whether it became steady.
    pub fn answered(&mut self, now: Instant) -> Option<bool> {
        let mut ended = None;
        while now >= self.slice_end && ended.is_none() {
            self.replies.push(f64::from(std::mem::take(&mut self.in_slice)));
            self.slice_end += self.slice;
            let latest = &self.replies[self.replies.len().saturating_sub(SLICES_LOOKED_AT)..];
            let is_enough = self.replies.len() >= SLICES as usize;
            ended = (is_enough && !trend::has_trend(latest)).then_some(true);
        }
        self.in_slice += 1;
        ended.or_else(|| (now >= self.max_end).then_some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn end(mut gap: impl FnMut(Duration) -> Duration) -> (Duration, bool) {
        let begin = Instant::now();
        let mut settling = SteadyState::new(50 * MS, 500 * MS, begin);
        let mut passed = Duration::ZERO;
        loop {
            passed += gap(passed);
            if let Some(is_steady) = settling.answered(begin + passed) {
                return (passed, is_steady);
            }
        }
    }

    #[test]
    fn a_steady_server_is_warm_at_once() {
        assert_eq!(end(|_| MS), (50 * MS, true));
    }

    #[test]
    fn a_server_that_speeds_up_is_waited_for() {
        let speeding = |passed: Duration| {
            let slower = (0.2 - passed.as_secs_f64()).max(0.0) * 10.0;
            Duration::from_micros(20).mul_f64(1.0 + slower)
        };
        let (after, is_steady) = end(speeding);
        assert!(is_steady && after > 100 * MS, "{after:?}");
    }

    #[test]
    fn one_that_never_settles_is_measured_and_told() {
        let ever_faster = |passed: Duration| {
            Duration::from_micros(10).mul_f64(0.1 + 2.0 * (-passed.as_secs_f64() * 4.0).exp())
        };
        let (after, is_steady) = end(ever_faster);
        assert!(!is_steady && after >= 500 * MS, "{after:?}");
    }

    #[test]
    fn a_server_slower_than_a_slice_shows_no_trend() {
        assert_eq!(end(|_| 70 * MS), (70 * MS, true));
    }
}
