//! Limits on frames that are harmful in large numbers.
//!
//! Past a limit the connection ends with ENHANCE_YOUR_CALM. No peer is slowed down instead, because
//! a queue of its work would take the memory that the limits protect.
//!
//! | counted | limit | given back |
//! |---|---|---|
//! | resets by the peer, and by us for its errors | 1,024 at once, as streams | 50 per second |
//! | answers to PING and SETTINGS, and RST_STREAM | 1,000 | when they have been sent |
//! | windows that SETTINGS move | those of 1,024 streams, 256 times | 50 times per second |
//! | DATA frames with little content | 2 MiB, 256 bytes for an empty one | with their message |
//!
//! CVE-2023-44487, CVE-2025-8671, CVE-2019-9512, -9515 and -9518.

use std::time::Instant;

use super::STREAMS_MAX;
use super::error::Fault;
use crate::wire::grpc::{Code, Status};
use crate::wire::{Limit, Outbox, WorkerCounts};

/// All calls of a client may be cancelled at once, by one deadline.
pub(crate) const RESETS_BURST: u32 = STREAMS_MAX;
pub(crate) const RESETS_RATE_HZ: f64 = 50.0;
pub(crate) const CONTROL_FRAMES_MAX: u32 = 1_000;

/// Send windows of streams that changes of the initial window may move: far more than the few
/// changes of a client that estimates the bandwidth, and some milliseconds of work.
pub(crate) const WINDOWS_BURST: u32 = 256 * STREAMS_MAX;
pub(crate) const WINDOWS_RATE_HZ: f64 = 50.0 * STREAMS_MAX as f64;

/// Longest DATA frame that is charged for the missing bytes, unless it ends its stream.
pub(crate) const DATA_BYTES_FREE: usize = 256;

pub(crate) const DATA_OVERHEAD_MAX: usize = 2 * 1024 * 1024;

/// Bytes charged to one stream. Only [`AbuseLimits`] changes it.
#[derive(Debug, Default)]
pub(crate) struct Charge(usize);

/// Sum that time takes back at a fixed rate.
#[derive(Debug, Default)]
struct LeakySum {
    sum: f64,
    added_at: Option<Instant>,
}

/// Answers that are not yet sent. The next batch is taken when the one before it has been sent.
#[derive(Debug, Default)]
struct UnsentAnswers {
    batches_sent: u64,
    in_batch: u32,
    in_outbox: u32,
}

/// Sums of one connection. `data_overhead` is the sum of all charges not refunded.
#[derive(Debug)]
pub(crate) struct AbuseLimits {
    resets: LeakySum,
    windows: LeakySum,
    answers: UnsentAnswers,
    data_overhead: usize,
    /// WorkerCounts of the worker, which include limits that other files check.
    pub(crate) counts: &'static WorkerCounts,
}

impl LeakySum {
    fn add(&mut self, more: u32, rate_hz: f64, now: Instant) -> f64 {
        let quiet = self.added_at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.added_at = Some(now);
        self.sum = (self.sum - quiet * rate_hz).max(0.0) + f64::from(more);
        self.sum
    }
}

impl UnsentAnswers {
    /// Counts an answer that is in the outbox, and returns the number of those not yet sent.
    fn add(&mut self, out: &Outbox) -> u32 {
        match out.batches_sent().wrapping_sub(self.batches_sent) {
            0 => {}
            1 => self.in_batch = std::mem::take(&mut self.in_outbox),
            _ => (self.in_batch, self.in_outbox) = (0, 0),
        }
        self.batches_sent = out.batches_sent();
        self.in_outbox += 1;
        self.in_batch.saturating_add(self.in_outbox)
    }

    fn forget_one(&mut self) {
        let some = if self.in_outbox > 0 { &mut self.in_outbox } else { &mut self.in_batch };
        *some = some.saturating_sub(1);
    }
}

impl AbuseLimits {
    pub(crate) fn new(counts: &'static WorkerCounts) -> AbuseLimits {
        AbuseLimits {
            resets: LeakySum::default(),
            windows: LeakySum::default(),
            answers: UnsentAnswers::default(),
            data_overhead: 0,
            counts,
        }
    }

    pub(crate) fn reset(&mut self, now: Instant) -> Result<(), Fault> {
        if self.resets.add(1, RESETS_RATE_HZ, now) > f64::from(RESETS_BURST) {
            self.counts.hit(Limit::Resets);
            return Err(Fault::calm("too many streams are reset"));
        }
        Ok(())
    }

    /// Counts an answer of ours that `out` holds.
    pub(crate) fn control_frame(&mut self, out: &Outbox) -> Result<(), Fault> {
        if self.answers.add(out) > CONTROL_FRAMES_MAX {
            self.counts.hit(Limit::ControlFrames);
            return Err(Fault::calm("too many frames that need an answer while no answer is read"));
        }
        Ok(())
    }

    /// Counts a change of the initial window, which goes through the places of `streams` streams.
    pub(crate) fn windows_change(&mut self, streams: usize, now: Instant) -> Result<(), Fault> {
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        if self.windows.add(streams, WINDOWS_RATE_HZ, now) > f64::from(WINDOWS_BURST) {
            self.counts.hit(Limit::WindowChanges);
            return Err(Fault::calm("too many changes of the initial window of many streams"));
        }
        Ok(())
    }

    /// Makes room for a frame of ours that answers nothing: each stream has one at most.
    pub(crate) fn own_frame(&mut self) {
        self.answers.forget_one();
    }

    pub(crate) fn flushed(&mut self) {
        (self.answers.in_batch, self.answers.in_outbox) = (0, 0);
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
        let (mut abuse, out) = (AbuseLimits::new(WorkerCounts::unread()), Outbox::default());
        for _ in 0..3 {
            (0..CONTROL_FRAMES_MAX).for_each(|_| abuse.control_frame(&out).unwrap());
            abuse.flushed();
        }
        (0..CONTROL_FRAMES_MAX).for_each(|_| abuse.control_frame(&out).unwrap());
        assert!(abuse.control_frame(&out).is_err());
    }

    #[test]
    fn control_frames_are_forgotten_once_their_batch_is_sent_though_others_wait() {
        let mut abuse = AbuseLimits::new(WorkerCounts::unread());
        let mut out = Outbox::default();
        // The peer reads, but is always one batch behind: nothing is ever all sent.
        for _ in 0..10 {
            (0..CONTROL_FRAMES_MAX / 2).for_each(|_| abuse.control_frame(&out).unwrap());
            out.batch_sent();
        }
        (0..CONTROL_FRAMES_MAX / 2).for_each(|_| abuse.control_frame(&out).unwrap());
        assert!(abuse.control_frame(&out).is_err());
    }

    #[test]
    fn windows_that_settings_move_are_forgotten_with_time() {
        let (mut abuse, start) = (AbuseLimits::new(WorkerCounts::unread()), Instant::now());
        let streams = STREAMS_MAX as usize;
        (0..256).for_each(|_| abuse.windows_change(streams, start).unwrap());
        assert_eq!(abuse.windows_change(0, start), Ok(()));
        assert!(abuse.windows_change(streams, start).is_err());
        let later = start + Duration::from_secs(1);
        (0..48).for_each(|_| abuse.windows_change(streams, later).unwrap());
        assert!((0..3).any(|_| abuse.windows_change(streams, later).is_err()));
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
