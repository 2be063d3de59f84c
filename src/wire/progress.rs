//! Progress of a transfer, and the time at which a peer without enough of it is given up.
//!
//! One definition serves the bodies of requests, send windows and sends. A [`Pace`] has a longest
//! gap and a least rate, and a single instant keeps both:
//!
//! ```text
//! start          due = now + gap
//! bytes move     due = due + bytes / rate, but at most now + gap
//! ```
//! A peer that moves nothing is late after the gap. A peer that is slower than the rate is late
//! earlier, however often it moves a byte. Bytes of a fast time buy at most one gap. Zero bytes are
//! no progress.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Longest time without a byte.
    pub gap: Duration,
    /// Least rate in bytes per second. With 0 any byte renews the gap.
    pub rate_min: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    due: Instant,
}

impl Pace {
    /// Returns true if a peer of the least rate needs more than the gap for `bytes`.
    fn is_plenty(self, bytes: usize) -> bool {
        bytes as u64 >= self.rate_min.saturating_mul(self.gap.as_secs().saturating_add(1))
    }
}

impl Progress {
    pub(crate) fn start(pace: Pace, now: Instant) -> Progress {
        Progress { due: now + pace.gap }
    }

    pub(crate) fn moved(&mut self, bytes: usize, pace: Pace, now: Instant) {
        if bytes == 0 {
            return;
        }
        let latest = now + pace.gap;
        self.due = if pace.is_plenty(bytes) {
            latest
        } else {
            let ns = (bytes as u64).saturating_mul(1_000_000_000) / pace.rate_min;
            latest.min(self.due + Duration::from_nanos(ns))
        };
    }

    /// Leaves `time` out, in which the peer could not make progress.
    pub(crate) fn pause(&mut self, time: Duration) {
        self.due += time;
    }

    /// Returns the time at which the peer is late.
    pub(crate) fn due(self) -> Instant {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { gap: Duration::from_secs(30), rate_min: 1000 };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Returns the seconds until a peer that moves `bytes` every `every` seconds is late.
    fn late_after(pace: Pace, bytes: usize, every: u64) -> Option<u64> {
        let start = Instant::now();
        let mut progress = Progress::start(pace, start);
        for second in (every..100_000).step_by(every as usize) {
            if progress.due() < start + seconds(second) {
                return Some((progress.due() - start).as_secs());
            }
            progress.moved(bytes, pace, start + seconds(second));
        }
        None
    }

    #[test]
    fn a_gap_and_a_low_rate_are_late_and_an_honest_peer_is_not() {
        assert_eq!(late_after(PACE, 0, 1), Some(30), "zero bytes are no progress");
        assert_eq!(late_after(PACE, 1_000_000, 31), Some(30), "a gap, however many bytes follow");
        assert_eq!(late_after(PACE, 1, 29), Some(30));
        assert_eq!(late_after(PACE, 500, 1), Some(59));
        assert_eq!(late_after(PACE, 990, 1), Some(2901));
        assert_eq!(late_after(PACE, 1000, 1), None);
        assert_eq!(late_after(PACE, 29_000, 29), None);
        assert_eq!(late_after(Pace { rate_min: 0, ..PACE }, 1, 29), None);
        assert_eq!(late_after(Pace { rate_min: u64::MAX, ..PACE }, usize::MAX / 2, 1), Some(30));
    }

    #[test]
    fn a_fast_time_buys_one_gap_and_a_pause_does_not_count() {
        let start = Instant::now();
        let mut progress = Progress::start(PACE, start);
        progress.moved(usize::MAX, PACE, start);
        assert_eq!(progress.due(), start + seconds(30));
        progress.pause(seconds(7));
        assert_eq!(progress.due(), start + seconds(37));
    }
}
