//! A known cost beside the echo: none, but in the rung by which a run shows that it would see a difference of that size.
//!
//! It is time by the clock, and what it came to is kept. Tried: arithmetic of as many steps as took the time when the
//! server started, which nothing can be read off afterwards. It takes 4 % longer while somebody uses the other half of the
//! physical core, and 2 % longer among other work than by itself. A time that was set right beforehand, without an account,
//! came to 3 % more under load: a core is taken away more often while the others are busy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Readings of the clock that its own cost is the mean of: some milliseconds of them.
const READINGS: u32 = 100_000;

/// Time that is spent on every message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin(Option<&'static Account>);

/// What is to be spent, and what was.
#[derive(Debug)]
struct Account {
    /// Between the reading it begins with and the one before the last.
    least: Duration,
    /// What a reading of the clock takes: of the two that a spin lies between, as much as one is in neither figure.
    reading: Duration,
    messages: AtomicU64,
    spent_ns: AtomicU64,
}

/// What was spent so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Messages.
    pub messages: u64,
    /// Nanoseconds on all of them, by the clock.
    pub ns: u64,
}

impl Spin {
    /// One that costs `time` a message in the mean, or, if that is less than two readings of the clock, these. It is for
    /// the life of the process. To be called on the core that will spend it, since it times what a reading takes there.
    pub fn of(time: Duration) -> Spin {
        let begun = Instant::now();
        for _ in 0..READINGS {
            std::hint::black_box(Instant::now());
        }
        let reading = begun.elapsed() / READINGS;
        // The reading that sees that it is over comes half a reading late, and one more is in neither figure.
        let least = time.saturating_sub(reading * 3 / 2);
        let (messages, spent_ns) = Default::default();
        Spin(Some(Box::leak(Box::new(Account { least, reading, messages, spent_ns }))))
    }

    /// Spends it, if there is any.
    pub fn run(self) {
        if let Some(account) = self.0 {
            account.spend();
        }
    }

    /// What all copies of it have spent; `None` of none.
    pub fn spent(self) -> Option<Spent> {
        self.0.map(|account| Spent {
            messages: account.messages.load(Ordering::Relaxed),
            ns: account.spent_ns.load(Ordering::Relaxed),
        })
    }
}

impl Account {
    #[inline(never)]
    fn spend(&self) {
        let begun = Instant::now();
        let taken = loop {
            let taken = begun.elapsed();
            if taken >= self.least {
                break taken + self.reading;
            }
        };
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.spent_ns.fetch_add(taken.as_nanos() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spin_spends_nothing_and_keeps_no_account() {
        let none = Spin::default();
        none.run();
        assert_eq!(none.spent(), None);
    }

    #[test]
    fn an_account_holds_what_went_by_and_no_more() {
        const MESSAGES: u64 = 1000;
        let time = Duration::from_micros(20);
        let spin = Spin::of(time);
        let copy = spin;
        let begun = Instant::now();
        (0..MESSAGES).for_each(|_| copy.run());
        let went_by = begun.elapsed().as_nanos() as u64;
        let Spent { messages, ns } = spin.spent().expect("it is one");
        assert_eq!(messages, MESSAGES);
        let asked = MESSAGES * time.as_nanos() as u64;
        assert!(ns > asked * 9 / 10 && ns < went_by + went_by / 10, "{asked} {ns} {went_by}");
    }

    #[test]
    fn one_that_is_shorter_than_the_clock_can_tell_says_what_it_costs() {
        let spin = Spin::of(Duration::from_nanos(1));
        spin.run();
        assert!(spin.spent().is_some_and(|spent| spent.messages == 1 && spent.ns > 1));
    }
}
