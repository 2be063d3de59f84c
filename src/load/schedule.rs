//! Schedule of a run: when to send, and which replies count. Pure, with time as an argument.
//!
//! ```text
//!            warm-up            window             drain
//!   start ─────────────▶ open ───────────▶ close ─────────▶ finished
//!          sent, checked       and counted       checked only
//! ```
//! Both boundaries of the window fall on a reply, so its length is measured and a slow server has
//! at least one reply in it. Replies at the instant of the opening reply are not counted; those at
//! the instant of the closing reply are. So costs and replies belong to the same turns of the loop.
//!
//! A load in slices goes on from slice to slice. A slice has no warm-up, starts with an idle
//! server, counts every request, and closes at the last reply, when the server is idle again:
//!
//! ```text
//!             window         closing
//!   open ───────────────▶ ───────────▶ close, finished
//!        sent and counted   counted only
//! ```

use std::time::{Duration, Instant};

use super::steady_state::SteadyState;
use crate::record::trial_spec::Length;

#[derive(Clone, Debug)]
pub struct Schedule {
    warmup: Length,
    settle: Option<Duration>,
    settling: Option<SteadyState>,
    is_steady: Option<bool>,
    window: Length,
    phase: Phase,
    sent: u64,
    answered: u64,
    /// True in a slice, which closes at its last reply.
    counts_all: bool,
    counted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Warmup {
        since: Instant,
    },
    Window {
        since: Instant,
    },
    /// The window is over, and requests of a slice that count are without a reply.
    Closing,
    Drain {
        since: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub counts: bool,
    /// Boundary that this reply crosses, where costs are read.
    pub boundary: Option<Boundary>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    Open,
    Close,
}

const COUNTS: Verdict = Verdict { counts: true, boundary: None };

impl Schedule {
    pub fn new(warmup: Length, window: Length) -> Schedule {
        Schedule {
            warmup,
            settle: None,
            settling: None,
            is_steady: None,
            window,
            phase: Phase::Idle,
            sent: 0,
            answered: 0,
            counts_all: false,
            counted: 0,
        }
    }

    /// Prepares the next slice, once the schedule is [`Schedule::finished`].
    pub fn next_slice(&mut self, window: Length) {
        debug_assert!(self.finished());
        (self.warmup, self.settling) = (Length::Requests(0), None);
        (self.window, self.counts_all) = (window, true);
        (self.phase, self.counted) = (Phase::Idle, 0);
    }

    /// Extends the warm-up until there is no trend, at most to `settle`.
    pub fn settling(self, settle: Option<Duration>) -> Schedule {
        Schedule { settle, ..self }
    }

    /// Returns true if the warm-up ended without a trend; `None` before its end or undetected.
    pub fn is_steady(&self) -> Option<bool> {
        self.is_steady
    }

    /// Starts the run, at the first request. Without a warm-up the window opens here.
    pub fn start(&mut self, now: Instant) -> Option<Boundary> {
        if self.warmup.is_reached(0, Duration::ZERO) {
            self.phase = Phase::Window { since: now };
            return Some(Boundary::Open);
        }
        self.phase = Phase::Warmup { since: now };
        if let (Length::Time(min), Some(max)) = (self.warmup, self.settle) {
            self.settling = Some(SteadyState::new(min, max, now));
        }
        None
    }

    pub fn may_send(&self) -> bool {
        match (self.phase, self.window) {
            (Phase::Idle | Phase::Closing | Phase::Drain { .. }, _) => false,
            (Phase::Window { .. }, Length::Requests(wanted)) => {
                self.counted + self.outstanding() < wanted
            }
            (Phase::Warmup { .. } | Phase::Window { .. }, _) => true,
        }
    }

    /// Counts a request and returns its number, from 0.
    pub fn sent(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    pub fn answered(&mut self, now: Instant) -> Verdict {
        self.answered += 1;
        match self.phase {
            Phase::Idle => Verdict { counts: false, boundary: None },
            Phase::Warmup { since } => {
                if !self.is_warm(since, now) {
                    return Verdict { counts: false, boundary: None };
                }
                self.phase = Phase::Window { since: now };
                Verdict { counts: false, boundary: Some(Boundary::Open) }
            }
            Phase::Window { since } if self.counts_all => {
                self.counted += 1;
                let is_over = self.window.is_reached(self.counted, now - since);
                if is_over { self.close(now) } else { COUNTS }
            }
            Phase::Window { since } => self.in_window(since, now),
            Phase::Closing => {
                self.counted += 1;
                self.close(now)
            }
            Phase::Drain { since } => {
                let counts = now == since && !matches!(self.window, Length::Requests(_));
                self.counted += u64::from(counts);
                Verdict { counts, boundary: None }
            }
        }
    }

    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// Returns the number of correct replies, including those outside the window.
    pub fn answered_in_all(&self) -> u64 {
        self.answered
    }

    pub fn sent_in_all(&self) -> u64 {
        self.sent
    }

    pub fn outstanding(&self) -> u64 {
        self.sent - self.answered
    }

    /// Returns true once the window is closed and nothing is outstanding.
    pub fn finished(&self) -> bool {
        matches!(self.phase, Phase::Drain { .. }) && self.outstanding() == 0
    }

    fn is_warm(&mut self, since: Instant, now: Instant) -> bool {
        match &mut self.settling {
            Some(settling) => {
                self.is_steady = settling.answered(now);
                self.is_steady.is_some()
            }
            None => self.warmup.is_reached(self.answered, now - since),
        }
    }

    /// Closes a slice once every request has its reply.
    fn close(&mut self, now: Instant) -> Verdict {
        if self.outstanding() > 0 {
            self.phase = Phase::Closing;
            return COUNTS;
        }
        self.phase = Phase::Drain { since: now };
        Verdict { boundary: Some(Boundary::Close), ..COUNTS }
    }

    fn in_window(&mut self, since: Instant, now: Instant) -> Verdict {
        // Without a warm-up no reply opened the window, so there is none to leave out.
        let counts = now > since || self.warmup.is_reached(0, Duration::ZERO);
        self.counted += u64::from(counts);
        if !counts || !self.window.is_reached(self.counted, now - since) {
            return Verdict { counts, boundary: None };
        }
        self.phase = Phase::Drain { since: now };
        Verdict { counts, boundary: Some(Boundary::Close) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn by_time(warmup: Duration, window: Duration) -> Schedule {
        Schedule::new(Length::Time(warmup), Length::Time(window))
    }

    fn verdict(counts: bool, boundary: Option<Boundary>) -> Verdict {
        Verdict { counts, boundary }
    }

    #[test]
    fn counts_between_the_boundaries_and_drains() {
        let start = Instant::now();
        let mut schedule = by_time(2 * MS, 3 * MS);
        assert!(!schedule.may_send(), "not before the start");
        assert_eq!(schedule.start(start), None);
        for number in 0..9 {
            assert!(schedule.may_send());
            assert_eq!(schedule.sent(), number);
        }
        assert_eq!(schedule.answered(start + MS), verdict(false, None));
        let open = start + 2 * MS;
        assert_eq!(schedule.answered(open), verdict(false, Some(Boundary::Open)));
        assert_eq!(schedule.answered(open), verdict(false, None), "same turn as the opening");
        assert_eq!(schedule.answered(open + MS), verdict(true, None));
        let close = open + 4 * MS;
        assert_eq!(schedule.answered(close), verdict(true, Some(Boundary::Close)));
        assert!(!schedule.may_send());
        assert_eq!(schedule.answered(close), verdict(true, None), "same turn as the closing");
        assert_eq!(schedule.answered(close + MS), verdict(false, None));
        assert_eq!((schedule.counted(), schedule.outstanding()), (3, 2));
        assert!(!schedule.finished());
        schedule.answered(close + MS);
        schedule.answered(close + MS);
        assert!(schedule.finished());
    }

    #[test]
    fn a_number_of_requests_is_sent_exactly() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Length::Requests(0), Length::Requests(3));
        assert_eq!(schedule.start(now), Some(Boundary::Open));
        let mut sent = 0;
        while schedule.may_send() {
            schedule.sent();
            sent += 1;
        }
        assert_eq!(sent, 3);
        assert_eq!(schedule.answered(now), verdict(true, None));
        assert!(!schedule.may_send(), "the two outstanding ones make it three");
        assert_eq!(schedule.answered(now + MS), verdict(true, None));
        assert_eq!(schedule.answered(now + MS), verdict(true, Some(Boundary::Close)));
        assert!(schedule.finished());
    }

    #[test]
    fn warm_up_may_be_counted_too() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Length::Requests(2), Length::Requests(1));
        schedule.start(now);
        for _ in 0..4 {
            schedule.sent();
        }
        assert_eq!(schedule.answered(now), verdict(false, None));
        assert_eq!(schedule.answered(now), verdict(false, Some(Boundary::Open)));
        assert_eq!(schedule.answered(now + MS), verdict(true, Some(Boundary::Close)));
        assert_eq!(schedule.answered(now + MS), verdict(false, None), "one was asked for");
        assert_eq!(schedule.counted(), 1);
        assert!(schedule.finished());
    }

    #[test]
    fn a_warm_up_that_settles_ends_without_a_trend_and_says_so() {
        let start = Instant::now();
        let mut schedule = by_time(5 * MS, 3 * MS).settling(Some(50 * MS));
        schedule.start(start);
        let opened = (1..).find(|&ms| {
            schedule.sent();
            schedule.answered(start + ms * MS).boundary == Some(Boundary::Open)
        });
        assert_eq!((opened, schedule.is_steady()), (Some(5), Some(true)));
    }

    #[test]
    fn a_slice_counts_every_request_and_closes_at_the_last_reply() {
        let now = Instant::now();
        let mut schedule = by_time(Duration::ZERO, MS);
        schedule.start(now);
        schedule.sent();
        schedule.answered(now + MS);
        assert!(schedule.finished());
        schedule.next_slice(Length::Time(2 * MS));
        assert!(!schedule.finished() && !schedule.may_send());
        let start = now + 9 * MS;
        assert_eq!(schedule.start(start), Some(Boundary::Open));
        assert_eq!([schedule.sent(), schedule.sent(), schedule.sent()], [1, 2, 3]);
        assert_eq!(schedule.answered(start), COUNTS);
        assert!(schedule.may_send());
        assert_eq!(schedule.answered(start + 2 * MS), COUNTS);
        assert!(!schedule.may_send() && !schedule.finished());
        let close = verdict(true, Some(Boundary::Close));
        assert_eq!(schedule.answered(start + 5 * MS), close);
        assert!(schedule.finished());
        assert_eq!((schedule.counted(), schedule.answered_in_all()), (3, 4));
    }

    #[test]
    fn a_slow_server_has_one_reply_in_its_window() {
        let now = Instant::now();
        let mut schedule = by_time(Duration::ZERO, MS);
        assert_eq!(schedule.start(now), Some(Boundary::Open));
        schedule.sent();
        assert_eq!(schedule.answered(now + 70 * MS), verdict(true, Some(Boundary::Close)));
    }
}
