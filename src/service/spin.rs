//! A known cost beside the echo: none, but in the rung by which a run shows that it would see a difference of that
//! size.
//!
//! It is time by the clock, which this room reads nowhere else, and what it came to is kept. Tried: arithmetic of as many
//! steps as took the time when the server started, which nothing can be read off afterwards. It takes 4 % longer while
//! somebody uses the other half of the physical core, and 2 % longer among other work than by itself. A time that was
//! set right beforehand, without an account, came to 3 % more under load: a core is taken away more often while the
//! others are busy. Time in which the thread itself had no core is in the account and not in what it used.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often what an account does not see is timed; the middle of all counts.
const TRIES: usize = 25;

/// Spins of a try.
const SPINS_OF_TRY: u32 = 1000;

/// Time that is spent on every message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin(Option<&'static Account>);

/// What is to be spent, and what was. One thread writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Account {
    /// What the loop is to last.
    least: Duration,
    /// What a spin takes before its first reading of the clock and after its last.
    unseen_ns: f64,
    messages: AtomicU64,
    /// Between first and last reading.
    seen_ns: AtomicU64,
}

/// What was spent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Messages.
    pub messages: u64,
    /// Nanoseconds on all of them, by the clock.
    pub ns: u64,
}

impl Spin {
    /// One that costs about `time` a message, or, if that is less than two readings of the clock, these. It is for the
    /// life of the process. To be called on the core that will spend it, since it times what a reading takes there.
    pub fn of(time: Duration) -> Spin {
        let (mut unseen_ns, mut shortest_ns): (Vec<f64>, Vec<f64>) =
            (0..TRIES).map(|_| shortest()).unzip();
        let middle = |values: &mut Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            values[TRIES / 2]
        };
        let (unseen_ns, reading_ns) = (middle(&mut unseen_ns), middle(&mut shortest_ns));
        // The reading that sees that it is over comes half a reading late.
        let beyond = Duration::from_nanos((unseen_ns + reading_ns / 2.0) as u64);
        Spin::keep(Account { least: time.saturating_sub(beyond), unseen_ns, ..Account::default() })
    }

    /// The same with an account of its own, for another thread.
    pub fn another(self) -> Spin {
        let Some(account) = self.0 else { return self };
        let &Account { least, unseen_ns, .. } = account;
        Spin::keep(Account { least, unseen_ns, ..Account::default() })
    }

    fn keep(account: Account) -> Spin {
        Spin(Some(Box::leak(Box::new(account))))
    }

    /// Spends it, if there is any.
    pub fn run(self) {
        if let Some(account) = self.0 {
            account.spend();
        }
    }

    /// What all copies of it have spent; `None` of none.
    pub fn spent(self) -> Option<Spent> {
        self.0.map(|account| {
            let messages = account.messages.load(Ordering::Relaxed);
            let seen_ns = account.seen_ns.load(Ordering::Relaxed);
            Spent { messages, ns: seen_ns + (account.unseen_ns * messages as f64) as u64 }
        })
    }
}

impl Account {
    #[inline(never)]
    fn spend(&self) {
        let begun = Instant::now();
        let seen = loop {
            let seen = begun.elapsed();
            if seen >= self.least {
                break seen;
            }
        };
        let add = |to: &AtomicU64, more| {
            to.store(to.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        };
        add(&self.messages, 1);
        add(&self.seen_ns, seen.as_nanos() as u64);
    }
}

/// Of the shortest spin there is, in nanoseconds: what its account does not see, and what it does, a reading.
fn shortest() -> (f64, f64) {
    let account = black_box(Account::default());
    let begun = Instant::now();
    for _ in 0..SPINS_OF_TRY {
        account.spend();
    }
    let taken_ns = begun.elapsed().as_nanos() as f64;
    let seen_ns = account.seen_ns.load(Ordering::Relaxed) as f64;
    let each = |ns: f64| ns.max(0.0) / f64::from(SPINS_OF_TRY);
    (each(taken_ns - seen_ns), each(seen_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spin_spends_nothing_and_keeps_no_account() {
        let none = Spin::default().another();
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
        let other = spin.another();
        other.run();
        assert_eq!(spin.spent().map(|spent| spent.messages), Some(MESSAGES));
        assert!(other.spent().is_some_and(|spent| spent.messages == 1 && spent.ns > 18_000));
    }

    #[test]
    fn one_that_is_shorter_than_the_clock_can_tell_says_what_it_costs() {
        let spin = Spin::of(Duration::from_nanos(1));
        spin.run();
        assert!(spin.spent().is_some_and(|spent| spent.messages == 1 && spent.ns > 1));
    }
}
