//! Fields that differ in each request of a client, as tracing and deadlines make them differ.
//!
//! A counter stands behind the values, so a connection with the same seed sends the same ones.

use std::time::Duration;

pub(crate) const TRACEPARENT: &[u8] = b"traceparent";
pub(crate) const GRPC_TIMEOUT: &[u8] = b"grpc-timeout";

/// Version, trace id, parent id and flags in hexadecimal, with hyphens between them.
pub(crate) const TRACEPARENT_BYTES: usize = 55;

/// Largest number of a `grpc-timeout`, which has at most eight digits.
const TIMEOUT_MAX: u64 = 99_999_999;

/// Digits and unit.
pub(crate) const TIMEOUT_BYTES_MAX: usize = 9;

/// Spread of the timeouts, in milliseconds.
const TIMEOUT_SPREAD: u64 = 0x7FFF;

/// Generator of `traceparent` (W3C Trace Context) and `grpc-timeout`. It allocates nothing.
#[derive(Clone, Debug)]
pub struct ChangingFields {
    seed: u64,
    timeout_ms_min: u64,
    /// True if an HTTP/2 client puts the fields into the peer's dynamic table.
    pub(crate) indexed: bool,
}

impl ChangingFields {
    /// Creates a generator whose timeouts last from `timeout_min` to 33 s more.
    pub fn new(seed: u64, timeout_min: Duration, indexed: bool) -> ChangingFields {
        let least = u64::try_from(timeout_min.as_millis()).unwrap_or(u64::MAX);
        ChangingFields { seed, timeout_ms_min: least.min(TIMEOUT_MAX - TIMEOUT_SPREAD), indexed }
    }

    /// Returns a `traceparent` with a trace of its own.
    pub(crate) fn next_traceparent(&mut self) -> [u8; TRACEPARENT_BYTES] {
        let mut text = *b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
        for at in [3, 19, 36] {
            text[at..at + 16].copy_from_slice(&hex(self.next()));
        }
        text
    }

    /// Calls `each` with a timeout in milliseconds.
    pub(crate) fn with_next_timeout<T>(&mut self, each: impl FnOnce(&[u8]) -> T) -> T {
        let number = self.timeout_ms_min + (self.next() & TIMEOUT_SPREAD);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let mut text = [b'm'; TIMEOUT_BYTES_MAX];
        text[..digits.len()].copy_from_slice(digits);
        each(&text[..=digits.len()])
    }

    /// Returns the next number of the sequence SplitMix64.
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

fn hex(number: u64) -> [u8; 16] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 0xF])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::grpc::parse_timeout;

    #[test]
    fn no_two_requests_have_the_same_trace() {
        let mut fields = ChangingFields::new(1, Duration::ZERO, false);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let text = fields.next_traceparent();
            let parts: Vec<&[u8]> = text.split(|byte| *byte == b'-').collect();
            assert_eq!([parts[0], parts[3]], [b"00", b"01"]);
            assert_eq!([parts[1].len(), parts[2].len()], [32, 16]);
            let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            assert!(parts.concat().iter().all(is_hex));
            assert!(seen.insert(parts[1].to_vec()));
        }
        assert_eq!(&hex(0x0123_4567_89ab_cdef), b"0123456789abcdef");
    }

    #[test]
    fn a_timeout_is_never_below_the_least() {
        for least in [0, 1, 60_000, 10_000_000, u64::MAX] {
            let mut fields = ChangingFields::new(1, Duration::from_millis(least), false);
            let timeouts: Vec<_> = (0..1000)
                .map(|_| fields.with_next_timeout(parse_timeout).expect("one to eight digits"))
                .collect();
            let floor = Duration::from_millis(least.min(TIMEOUT_MAX - TIMEOUT_SPREAD));
            assert!(timeouts.iter().all(|timeout| *timeout >= floor), "{least}");
            assert!(timeouts.iter().any(|timeout| *timeout != timeouts[0]), "{least}");
        }
    }
}
