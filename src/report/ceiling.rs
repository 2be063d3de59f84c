//! The ceiling: the rate that the load generator itself can reach under a load.
//!
//! It is measured against a null server, which is tried only once and perhaps at a bad moment. So a
//! faster rate against any server of the section raises the ceiling.

use crate::record::CLIENT_BUSY;

/// Rate that the load generator reached against a null server, or against a cheaper server.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceiling {
    /// Rung of the null server.
    pub null: String,
    pub rate_hz: f64,
    /// True if the load generator was the busy side, so that the rate is its limit.
    pub is_proved: bool,
}

impl Ceiling {
    /// Creates the ceiling of null server `null`.
    pub(super) fn new(null: &str, rate_hz: f64, client_cpu_ns: f64) -> Ceiling {
        let is_proved = rate_hz * client_cpu_ns / 1e9 > CLIENT_BUSY;
        Ceiling { null: null.to_owned(), rate_hz, is_proved }
    }

    /// Returns the higher of this ceiling and a rate against another server.
    pub(super) fn raised(self, rate_hz: f64, client_cpu_ns: f64) -> Ceiling {
        if rate_hz > self.rate_hz { Ceiling::new(&self.null, rate_hz, client_cpu_ns) } else { self }
    }
}
