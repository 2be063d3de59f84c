//! How long a connection is waited for: a deadline of its own for each phase of a request.
//!
//! It reads no clock. A trickled head does not renew its deadline; a body renews its own with every byte, because
//! what is bounded there is the pause; idle time runs from the last byte of a whole request.

use std::time::{Duration, Instant};

use super::Limits;

/// What is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The first byte of a request.
    Idle,
    /// The rest of its head.
    Head,
    /// More of its body.
    Body,
}

/// One connection's deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    waiting: Waiting,
    deadline: Option<Instant>,
}

impl Patience {
    /// Waits for nothing yet.
    pub(super) fn new() -> Patience {
        Patience { waiting: Waiting::Idle, deadline: None }
    }

    /// A request has been answered: whatever is waited for next starts anew.
    pub(super) fn restart(&mut self) {
        self.waiting = Waiting::Idle;
    }

    /// Bytes came at `now` and `waiting` is what is missing next.
    pub(super) fn wait(&mut self, waiting: Waiting, now: Instant, limits: &Limits) {
        if waiting == Waiting::Head && self.waiting == Waiting::Head {
            return;
        }
        self.waiting = waiting;
        self.deadline = Some(now + timeout(waiting, limits));
    }

    /// When it ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What was waited for in vain, if the deadline has passed.
    pub(super) fn expired(&self, now: Instant) -> Option<Waiting> {
        self.deadline.filter(|deadline| *deadline <= now).map(|_| self.waiting)
    }
}

fn timeout(waiting: Waiting, limits: &Limits) -> Duration {
    match waiting {
        Waiting::Idle => limits.idle_timeout,
        Waiting::Head => limits.head_timeout,
        Waiting::Body => limits.body_gap_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickled_head_does_not_renew_its_deadline_and_a_body_does() {
        let (limits, start) = (Limits::default(), Instant::now());
        let mut patience = Patience::new();
        assert_eq!(patience.deadline(), None);
        for second in 0..10 {
            patience.wait(Waiting::Head, start + Duration::from_secs(second), &limits);
        }
        assert_eq!(patience.deadline(), Some(start + limits.head_timeout));
        assert_eq!(patience.expired(start + limits.head_timeout), Some(Waiting::Head));
        patience.restart();
        patience.wait(Waiting::Head, start + Duration::from_secs(9), &limits);
        assert_eq!(patience.expired(start + limits.head_timeout), None);
        for second in 20..25 {
            let now = start + Duration::from_secs(second);
            patience.wait(Waiting::Body, now, &limits);
            assert_eq!(patience.deadline(), Some(now + limits.body_gap_timeout));
        }
    }
}
