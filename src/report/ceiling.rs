//! The ceiling: the rate that the load generator itself can reach under a load.
//!
//! A null server is tried only once and perhaps at a bad moment, so a faster rate against any
//! server of the section raises the ceiling.

use crate::record::CLIENT_BUSY;

#[derive(Clone, Debug, PartialEq)]
pub struct Ceiling {
    /// Rung of the null server.
    pub null: String,
    pub rate_hz: f64,
    /// True if the load generator was the busy side, so that the rate is its limit.
    pub is_proved: bool,
}

impl Ceiling {
    pub(super) fn new(null: &str, rate_hz: f64, client_cpu_ns: f64) -> Ceiling {
        let is_proved = rate_hz * client_cpu_ns / 1e9 > CLIENT_BUSY;
        Ceiling { null: null.to_owned(), rate_hz, is_proved }
    }

    pub(super) fn raised(self, rate_hz: f64, client_cpu_ns: f64) -> Ceiling {
        if rate_hz > self.rate_hz { Ceiling::new(&self.null, rate_hz, client_cpu_ns) } else { self }
    }
}
