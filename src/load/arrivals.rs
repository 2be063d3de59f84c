//! Arrival schedule of an open loop. Pure, with time as an argument.
//!
//! Requests are due at even steps from the first one on. When a server stalls, the requests that
//! fall due meanwhile wait, and the latency of each counts from its intended send time. A latency
//! that began when a connection was free would omit most of the stall.

use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub struct Arrivals {
    rate_hz: f64,
    first: Option<Instant>,
    taken: u64,
}

impl Arrivals {
    pub fn new(rate_hz: f64) -> Arrivals {
        Arrivals { rate_hz, first: None, taken: 0 }
    }

    pub fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    /// Returns the intended time of the next request. The first one is due at once.
    pub fn due(&mut self, now: Instant) -> Instant {
        let first = *self.first.get_or_insert(now);
        // Computed from the first request, so that rounding does not accumulate.
        first + Duration::from_secs_f64(self.taken as f64 / self.rate_hz)
    }

    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due(now);
        (due <= now).then(|| {
            self.taken += 1;
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fall_due_at_even_steps_however_late_they_are_taken() {
        let begin = Instant::now();
        let at = |us| begin + Duration::from_micros(us);
        let mut arrivals = Arrivals::new(10_000.0);
        assert_eq!(arrivals.take(begin), Some(begin));
        assert_eq!(arrivals.take(at(99)), None);
        assert_eq!(arrivals.due(at(99)), at(100));
        let late: Vec<_> = std::iter::from_fn(|| arrivals.take(at(350))).collect();
        assert_eq!(late, [at(100), at(200), at(300)]);
    }

    #[test]
    fn steps_do_not_drift() {
        let begin = Instant::now();
        let mut arrivals = Arrivals::new(3.0);
        arrivals.due(begin);
        while arrivals.take(begin + Duration::from_secs(1000)).is_some() {}
        assert_eq!(arrivals.taken, 3001);
    }
}
