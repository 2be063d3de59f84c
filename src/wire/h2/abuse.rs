//! Limits on frames that are harmful in large numbers.
//!
//! Past a limit the connection ends with ENHANCE_YOUR_CALM. No peer is slowed down instead, because
//! a queue of its work would take the memory that the limits protect.
//!
//! | counted | limit | given back |
//! |---|---|---|
//! | resets by the peer, and by us for its errors | 1,024 at once, as streams | 50 per second |
//! | answers to PING and SETTINGS, and RST_STREAM | 1,000 | when the output has been sent |
//! | DATA frames with little content | 2 MiB, 256 bytes for an empty one | with their message |
//!
//! CVE-2023-44487, CVE-2025-8671, CVE-2019-9512, -9515 and -9518.

use std::time::Instant;

use super::STREAMS_MAX;
use super::error::Fault;
use crate::wire::grpc::{Code, Status};
use crate::wire::{Limit, WorkerCounts};

/// All calls of a client may be cancelled at once, by one deadline.
pub(crate) const RESETS_BURST: u32 = STREAMS_MAX;
pub(crate) const RESETS_RATE_HZ: f64 = 50.0;
pub(crate) const CONTROL_FRAMES_MAX: u32 = 1_000;

/// Longest DATA frame that is charged for the missing bytes, unless it ends its stream.
pub(crate) const DATA_BYTES_FREE: usize = 256;

pub(crate) const DATA_OVERHEAD_MAX: usize = 2 * 1024 * 1024;

/// Bytes charged to one stream. Only [`AbuseLimits`] changes it.
#[derive(Debug, Default)]
pub(crate) struct Charge(usize);

/// Sums of one connection. `data_overhead` is the sum of all charges not refunded.
#[derive(Debug)]
pub(crate) struct AbuseLimits {
    resets: f64,
    reset_at: Option<Instant>,
    control_frames: u32,
    data_overhead: usize,
    /// WorkerCounts of the worker, which include limits that other files check.
    pub(crate) counts: &'static WorkerCounts,
}

impl AbuseLimits {
    pub(crate) fn new(counts: &'static WorkerCounts) -> AbuseLimits {
        AbuseLimits { resets: 0.0, reset_at: None, control_frames: 0, data_overhead: 0, counts }
    }

    pub(crate) fn reset(&mut self, now: Instant) -> Result<(), Fault> {
        let quiet = self.reset_at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.reset_at = Some(now);
        self.resets = (self.resets - quiet * RESETS_RATE_HZ).max(0.0) + 1.0;
        if self.resets > f64::from(RESETS_BURST) {
            self.counts.hit(Limit::Resets);
            return Err(Fault::calm("too many streams are reset"));
        }
        Ok(())
    }

    pub(crate) fn control_frame(&mut self) -> Result<(), Fault> {
        self.control_frames += 1;
        if self.control_frames > CONTROL_FRAMES_MAX {
            self.counts.hit(Limit::ControlFrames);
            return Err(Fault::calm("too many frames that need an answer while no answer is read"));
        }
        Ok(())
    }

    /// Makes room for a frame of ours that answers nothing: each stream has one at most.
    pub(crate) fn own_frame(&mut self) {
        self.control_frames = self.control_frames.saturating_sub(1);
    }

    pub(crate) fn flushed(&mut self) {
        self.control_frames = 0;
    }

    /// Charges a stream for a DATA frame that is not its last.
    pub(crate) fn data(&mut self, bytes: usize, charge: &mut Charge) -> Result<(), Fault> {
        let overhead = DATA_BYTES_FREE.saturating_sub(bytes);
        charge.0 += overhead;
        self.data_overhead += overhead;
        if self.data_overhead > DATA_OVERHEAD_MAX {
            self.counts.hit(Limit::SmallData);
            return Err(Fault::calm("too many DATA frames with little content"));
        }
        Ok(())
    }

    pub(crate) fn refused<T>(&mut self, taken: &Result<T, Status>) {
        if taken.as_ref().is_err_and(|status| status.code == Code::ResourceExhausted) {
            self.counts.hit(Limit::Message);
        }
    }

    /// Takes a charge back; a second refund has no effect.
    pub(crate) fn refund(&mut self, charge: &mut Charge) {
        self.data_overhead -= std::mem::take(charge).0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn resets_are_forgotten_with_time() {
        let (mut abuse, start) = (AbuseLimits::new(WorkerCounts::unread()), Instant::now());
        (0..RESETS_BURST).for_each(|_| abuse.reset(start).unwrap());
        assert!(abuse.reset(start).is_err());
        let later = start + Duration::from_secs(1);
        (0..48).for_each(|_| abuse.reset(later).unwrap());
        assert!((0..3).any(|_| abuse.reset(later).is_err()));
    }

    #[test]
    fn control_frames_are_forgotten_once_sent() {
        let mut abuse = AbuseLimits::new(WorkerCounts::unread());
        for _ in 0..3 {
            (0..CONTROL_FRAMES_MAX).for_each(|_| abuse.control_frame().unwrap());
            abuse.flushed();
        }
        (0..CONTROL_FRAMES_MAX).for_each(|_| abuse.control_frame().unwrap());
        assert!(abuse.control_frame().is_err());
    }

    #[test]
    fn small_data_is_charged_until_its_message_is_complete() {
        let (mut abuse, mut charge) = (AbuseLimits::new(WorkerCounts::unread()), Charge::default());
        assert_eq!(abuse.data(DATA_BYTES_FREE, &mut charge), Ok(()));
        assert_eq!(charge.0, 0);
        for _ in 0..10 {
            (0..8000).for_each(|_| abuse.data(0, &mut charge).unwrap());
            abuse.refund(&mut charge);
            abuse.refund(&mut charge);
        }
        assert!((0..10_000).any(|_| abuse.data(1, &mut charge).is_err()));
    }
}
