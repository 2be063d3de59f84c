//! What is counted against a peer that sends too much of what is allowed in moderation.
//!
//! Each count has a limit, and past it the connection ends with ENHANCE_YOUR_CALM: nothing here slows a peer down,
//! since a queue of its work would be the very memory that is to be saved.
//!
//! | counted | limit | given back |
//! |---|---|---|
//! | resets by the peer, and by us for its errors | 200 at once | 50 a second |
//! | answers to PING and SETTINGS, and RST_STREAM | 1,000 | when the output has been sent |
//! | DATA frames that carry little | 2 MiB at 256 bytes for an empty one | when their message is complete or dropped |
//!
//! CVE-2023-44487, CVE-2025-8671, CVE-2019-9512, -9515 and -9518.

use std::time::Instant;

use super::error::Fault;
use crate::wire::grpc::{Code, Status};
use crate::wire::{Limit, LimitCounts};

/// Resets that may come at once.
pub(crate) const RESETS_BURST: u32 = 200;

/// Resets that are forgotten each second.
pub(crate) const RESETS_RATE_HZ: f64 = 50.0;

/// Control frames of ours that may wait to be sent.
pub(crate) const CONTROL_FRAMES_MAX: u32 = 1_000;

/// A DATA frame with fewer bytes, and not the last of its stream, is charged for what it lacks.
pub(crate) const DATA_BYTES_FREE: usize = 256;

/// Most that incomplete messages may be charged.
pub(crate) const DATA_OVERHEAD_MAX: usize = 2 * 1024 * 1024;

/// One connection's counts.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    resets: f64,
    /// When `resets` was true.
    at: Option<Instant>,
    control_frames: u32,
    data_overhead: usize,
    /// Limits that the peer has run into, those of other files as well.
    pub(crate) counts: LimitCounts,
}

impl Guard {
    /// A stream was reset.
    pub(crate) fn reset(&mut self, now: Instant) -> Result<(), Fault> {
        let quiet = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.resets = (self.resets - quiet * RESETS_RATE_HZ).max(0.0) + 1.0;
        if self.resets > f64::from(RESETS_BURST) {
            self.counts.hit(Limit::Resets);
            return Err(Fault::calm("too many streams are reset"));
        }
        Ok(())
    }

    /// A control frame was put in the outbox because of the peer.
    pub(crate) fn control_frame(&mut self) -> Result<(), Fault> {
        self.control_frames += 1;
        if self.control_frames > CONTROL_FRAMES_MAX {
            self.counts.hit(Limit::ControlFrames);
            return Err(Fault::calm("too many frames that want an answer while none is read"));
        }
        Ok(())
    }

    /// The outbox has been sent.
    pub(crate) fn flushed(&mut self) {
        self.control_frames = 0;
    }

    /// A DATA frame of `bytes` that is not the last of its stream arrived; returns its charge.
    pub(crate) fn data(&mut self, bytes: usize) -> Result<usize, Fault> {
        let charge = DATA_BYTES_FREE.saturating_sub(bytes);
        self.data_overhead += charge;
        if self.data_overhead > DATA_OVERHEAD_MAX {
            self.counts.hit(Limit::SmallData);
            return Err(Fault::calm("too many DATA frames with little in them"));
        }
        Ok(charge)
    }

    /// Counts a message that is too long, if it is refused for that.
    pub(crate) fn refused<T>(&mut self, taken: &Result<T, Status>) {
        if taken.as_ref().is_err_and(|status| status.code == Code::ResourceExhausted) {
            self.counts.hit(Limit::Message);
        }
    }

    /// The message that was charged is complete or dropped.
    pub(crate) fn give_back(&mut self, charge: usize) {
        self.data_overhead -= charge;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn resets_are_forgotten_with_time() {
        let (mut guard, start) = (Guard::default(), Instant::now());
        (0..RESETS_BURST).for_each(|_| guard.reset(start).unwrap());
        assert!(guard.reset(start).is_err());
        let later = start + Duration::from_secs(1);
        (0..48).for_each(|_| guard.reset(later).unwrap());
        assert!((0..3).any(|_| guard.reset(later).is_err()));
    }

    #[test]
    fn control_frames_are_forgotten_once_sent() {
        let mut guard = Guard::default();
        for _ in 0..3 {
            (0..CONTROL_FRAMES_MAX).for_each(|_| guard.control_frame().unwrap());
            guard.flushed();
        }
        (0..CONTROL_FRAMES_MAX).for_each(|_| guard.control_frame().unwrap());
        assert!(guard.control_frame().is_err());
    }

    #[test]
    fn small_data_is_charged_until_its_message_is_complete() {
        let mut guard = Guard::default();
        assert_eq!(guard.data(DATA_BYTES_FREE), Ok(0));
        for _ in 0..10 {
            let charge: usize = (0..8000).map(|_| guard.data(0).unwrap()).sum();
            guard.give_back(charge);
        }
        assert!((0..10_000).any(|_| guard.data(1).is_err()));
    }
}
