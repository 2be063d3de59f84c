//! Latencies of one trial as an HDR histogram: three significant digits from 1 ns to 60 s.
//!
//! Histograms of several trials are merged, which loses nothing; quantiles are never averaged. The
//! text form is the usual one (V2, base64), so any HDR tool can read a record.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

/// Longest latency that is recorded. Longer latencies count as this one.
pub const LATENCY_NS_MAX: u64 = 60_000_000_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
    pub mean: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    #[error("histogram: not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("histogram: not the V2 form: {0}")]
    Form(#[from] hdrhistogram::serialization::DeserializeError),
    #[error("histogram: contains a latency above the maximum of {LATENCY_NS_MAX} ns")]
    Range,
}

impl Default for Histogram {
    fn default() -> Histogram {
        let inner = hdrhistogram::Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Histogram(inner.expect("the bounds are constants in range"))
    }
}

impl Histogram {
    pub fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns);
    }

    pub fn len(&self) -> u64 {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the latency that a share `quantile` of all requests did not exceed; 0 if empty.
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub fn max(&self) -> u64 {
        self.0.max()
    }

    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.max(),
            mean: self.mean().round() as u64,
        }
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    pub fn to_text(&self) -> String {
        let mut bytes = Vec::new();
        let written = V2Serializer::new().serialize(&self.0, &mut bytes);
        written.expect("a vector takes everything");
        STANDARD.encode(bytes)
    }

    pub fn from_text(text: &str) -> Result<Histogram, HistogramError> {
        let bytes = STANDARD.decode(text)?;
        let read: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice())?;
        let mut histogram = Histogram::default();
        histogram.0.add(&read).map_err(|_| HistogramError::Range)?;
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram_of(latencies: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        latencies.into_iter().for_each(|latency| histogram.record(latency));
        histogram
    }

    #[test]
    fn quantiles_to_three_digits() {
        let histogram = histogram_of((1..=1000).map(|us| us * 1000));
        let p50 = histogram.quantile(0.5);
        assert!(p50.abs_diff(500_000) <= 500, "{p50}");
        assert!(histogram.max().abs_diff(1_000_000) <= 1000);
        assert!((histogram.mean() - 500_500.0).abs() < 500.0);
    }

    #[test]
    fn text_form_keeps_every_count() {
        let histogram = histogram_of([1, 20_000, 20_000, 3_000_000_000]);
        let read = Histogram::from_text(&histogram.to_text()).unwrap();
        assert_eq!(read.len(), 4);
        assert_eq!(read.quantile(0.5), histogram.quantile(0.5));
        assert_eq!(read.max(), histogram.max());
        assert!(Histogram::from_text("*").is_err());
        assert!(Histogram::from_text("AAAA").is_err());
    }

    #[test]
    fn merging_is_counting_together() {
        let mut left = histogram_of([1000, 2000]);
        left.merge(&histogram_of([1_000_000]));
        assert_eq!(left.len(), 3);
        assert!(left.max() >= 999_000);
    }

    #[test]
    fn a_latency_beyond_the_range_counts_as_the_longest() {
        let histogram = histogram_of([u64::MAX]);
        assert!(histogram.max() >= LATENCY_NS_MAX);
    }
}
