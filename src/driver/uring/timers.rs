//! Deadlines of one worker, in order of time.
//!
//! A later deadline does not move an armed one, which fires early and is armed again.

use std::collections::BTreeSet;
use std::time::Instant;

use super::op::Key;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Connection(Key),
    Listener(usize),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    armed: BTreeSet<(Instant, Due)>,
}

impl Timers {
    /// Arms a deadline at `want` or before; `armed` is the caller's record of it.
    pub(super) fn arm(&mut self, want: Option<Instant>, due: Due, armed: &mut Option<Instant>) {
        let Some(want) = want else { return };
        if armed.is_none_or(|at| at > want) {
            self.disarm(due, armed);
            self.armed.insert((want, due));
            *armed = Some(want);
        }
    }

    pub(super) fn disarm(&mut self, due: Due, armed: &mut Option<Instant>) {
        if let Some(at) = armed.take() {
            self.armed.remove(&(at, due));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.armed.len()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.armed.first().map(|&(at, _)| at)
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        self.next().filter(|&at| at <= now)?;
        self.armed.pop_first().map(|(_, due)| due)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_an_earlier_deadline_is_armed_anew() {
        let begin = Instant::now();
        let at = |seconds| Some(begin + Duration::from_secs(seconds));
        let (mut timers, mut armed, due) = (Timers::default(), None, Due::Listener(0));
        timers.arm(at(5), due, &mut armed);
        timers.arm(at(9), due, &mut armed);
        assert_eq!((armed, timers.next()), (at(5), at(5)));
        timers.arm(at(2), due, &mut armed);
        assert_eq!((armed, timers.armed.len()), (at(2), 1));
        assert_eq!(timers.pop(begin), None);
        assert_eq!(timers.pop(begin + Duration::from_secs(2)), Some(due));
        assert_eq!(timers.next(), None);
    }
}
