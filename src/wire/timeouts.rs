//! Deadlines of the read phases of a request, one at a time.
//!
//! The time for a whole head is limited, so its bytes do not renew the deadline; bytes of a body
//! do, because the pause between them is limited. Idle time counts from the last byte of a request.

use std::time::{Duration, Instant};

use super::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Head,
    Body,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ReadTimeout {
    phase: Phase,
    deadline: Option<Instant>,
}

impl ReadTimeout {
    pub(super) fn new() -> ReadTimeout {
        ReadTimeout { phase: Phase::Idle, deadline: None }
    }

    /// Ends the phase of a request that has been answered.
    pub(super) fn restart(&mut self) {
        self.phase = Phase::Idle;
    }

    pub(super) fn wait(&mut self, phase: Phase, now: Instant, limits: &Limits) {
        if phase == Phase::Head && self.phase == Phase::Head {
            return;
        }
        self.phase = phase;
        self.deadline = Some(now + time(phase, limits));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn expired(&self, now: Instant) -> Option<Phase> {
        self.deadline.filter(|deadline| *deadline <= now).map(|_| self.phase)
    }
}

fn time(phase: Phase, limits: &Limits) -> Duration {
    match phase {
        Phase::Idle => limits.idle_timeout,
        Phase::Head => limits.head_timeout,
        Phase::Body => limits.body_gap_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickled_head_does_not_renew_its_deadline_and_a_body_does() {
        let (limits, start) = (Limits::default(), Instant::now());
        let mut timeout = ReadTimeout::new();
        assert_eq!(timeout.deadline(), None);
        for second in 0..10 {
            timeout.wait(Phase::Head, start + Duration::from_secs(second), &limits);
        }
        assert_eq!(timeout.deadline(), Some(start + limits.head_timeout));
        assert_eq!(timeout.expired(start + limits.head_timeout), Some(Phase::Head));
        timeout.restart();
        timeout.wait(Phase::Head, start + Duration::from_secs(9), &limits);
        assert_eq!(timeout.expired(start + limits.head_timeout), None);
        for second in 20..25 {
            let now = start + Duration::from_secs(second);
            timeout.wait(Phase::Body, now, &limits);
            assert_eq!(timeout.deadline(), Some(now + limits.body_gap_timeout));
        }
    }
}
