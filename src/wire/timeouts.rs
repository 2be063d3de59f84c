//! Deadlines of the read phases of a request, one at a time.
//!
//! | phase | deadline | renewed by |
//! |---|---|---|
//! | idle | `idle_timeout` after the last response has been sent | a request |
//! | idle in a shutdown | `drain_grace` after it began or after the last response | a request |
//! | head | `head_timeout` after its first byte | nothing |
//! | body | `body_gap_timeout` and `rate_min`, see [`super::progress`] | enough bytes |
//!
//! While a response is being sent no phase ends: the peer may be busy with reading, and the driver
//! has a deadline for that. The phase starts again when all has been sent. A driver may notice that
//! late, so the last deadline stays meanwhile; it passes without an effect if it comes too early.

use std::time::{Duration, Instant};

use super::counts::Limit;
use super::limits::Limits;
use super::progress::{Pace, Progress};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// Idle during a shutdown.
    Draining,
    Head,
    Body,
}

impl Phase {
    /// Returns the limit that a peer reaches when the phase times out.
    pub(super) fn limit(self) -> Option<Limit> {
        match self {
            Phase::Idle => Some(Limit::IdleTime),
            Phase::Draining => None,
            Phase::Head => Some(Limit::HeadTime),
            Phase::Body => Some(Limit::MessageTime),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ReadTimeout {
    phase: Phase,
    /// `None` until the connection opens.
    progress: Option<Progress>,
    is_sending: bool,
}

impl ReadTimeout {
    pub(super) fn new() -> ReadTimeout {
        ReadTimeout { phase: Phase::Idle, progress: None, is_sending: false }
    }

    /// Ends the phase of a request that needs no more bytes.
    pub(super) fn restart(&mut self) {
        self.phase = Phase::Idle;
    }

    /// Notes output; [`ReadTimeout::flushed`] follows.
    #[inline]
    pub(super) fn sends(&mut self) {
        self.is_sending = true;
    }

    #[inline]
    pub(super) fn flushed(&mut self, now: Instant, limits: &Limits) {
        if std::mem::replace(&mut self.is_sending, false) {
            self.progress = Some(Progress::start(pace(self.phase, limits), now));
        }
    }

    /// Notes the phase after `bytes` have arrived.
    #[inline]
    pub(super) fn wait(&mut self, phase: Phase, bytes: usize, now: Instant, limits: &Limits) {
        let is_same = std::mem::replace(&mut self.phase, phase) == phase;
        if self.is_sending && self.progress.is_some() {
            return;
        }
        let pace = pace(phase, limits);
        match (&mut self.progress, phase) {
            (Some(_), Phase::Head) if is_same => {}
            (Some(progress), Phase::Body) if is_same => progress.moved(bytes, pace, now),
            (progress, _) => *progress = Some(Progress::start(pace, now)),
        }
    }

    /// Leaves `time` out.
    pub(super) fn pause(&mut self, time: Duration) {
        if let Some(progress) = &mut self.progress {
            progress.pause(time);
        }
    }

    /// Returns the time since which no request is in progress.
    pub(super) fn idle_since(&self, limits: &Limits) -> Option<Instant> {
        let is_idle = self.phase == Phase::Idle && !self.is_sending;
        self.deadline().filter(|_| is_idle)?.checked_sub(limits.idle_timeout)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.progress.map(Progress::due)
    }

    /// Returns the phase that has ended. During a response, sets the next deadline instead.
    pub(super) fn expire(&mut self, now: Instant, limits: &Limits) -> Option<Phase> {
        self.deadline().filter(|deadline| *deadline <= now)?;
        if self.is_sending {
            self.progress = Some(Progress::start(pace(self.phase, limits), now));
            return None;
        }
        Some(self.phase)
    }
}

fn pace(phase: Phase, limits: &Limits) -> Pace {
    match phase {
        Phase::Idle => Pace { gap: limits.idle_timeout, rate_min: 0 },
        Phase::Draining => Pace { gap: limits.drain_grace, rate_min: 0 },
        Phase::Head => Pace { gap: limits.head_timeout, rate_min: 0 },
        Phase::Body => limits.body_pace(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickled_head_does_not_renew_its_deadline_and_a_body_does_at_its_pace() {
        let (limits, start) = (Limits::default(), Instant::now());
        let mut timeout = ReadTimeout::new();
        assert_eq!(timeout.deadline(), None);
        for second in 0..10 {
            timeout.wait(Phase::Head, 1, start + Duration::from_secs(second), &limits);
        }
        assert_eq!(timeout.deadline(), Some(start + limits.head_timeout));
        assert_eq!(timeout.expire(start + limits.head_timeout, &limits), Some(Phase::Head));
        timeout.restart();
        timeout.wait(Phase::Head, 1, start + Duration::from_secs(9), &limits);
        assert_eq!(timeout.expire(start + limits.head_timeout, &limits), None);
        let begun = start + Duration::from_secs(20);
        timeout.wait(Phase::Body, 1, begun, &limits);
        let later = begun + Duration::from_secs(5);
        timeout.wait(Phase::Body, 0, later, &limits);
        assert_eq!(timeout.deadline(), Some(begun + limits.body_gap_timeout));
        timeout.wait(Phase::Body, 1 << 20, later, &limits);
        assert_eq!(timeout.deadline(), Some(later + limits.body_gap_timeout));
    }

    #[test]
    fn no_phase_ends_while_a_response_is_being_sent() {
        let (limits, start) = (Limits::default(), Instant::now());
        let mut timeout = ReadTimeout::new();
        for (phase, time) in [
            (Phase::Idle, limits.idle_timeout),
            (Phase::Head, limits.head_timeout),
            (Phase::Body, limits.body_gap_timeout),
        ] {
            timeout.sends();
            timeout.wait(phase, 1, start, &limits);
            for _ in 0..100 {
                let due = timeout.deadline().expect("one, in case that a flush is noticed late");
                assert_eq!(timeout.expire(due, &limits), None);
                assert_eq!(timeout.deadline(), Some(due + time));
            }
            let sent = start + Duration::from_secs(100);
            timeout.flushed(sent, &limits);
            assert_eq!(timeout.deadline(), Some(sent + time));
            assert_eq!(timeout.expire(sent + time, &limits), Some(phase));
        }
    }
}
