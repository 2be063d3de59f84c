//! Injected delay: a busy wait of known length for every message. By it a run shows that it would
//! detect a difference of that size. The account keeps the time that was really spent, without the
//! time in which the thread had no core. docs/TRIED.md compares the ways to do this.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::record::DelayTotals;

const TRIES: usize = 25;
const DELAYS_OF_TRY: u32 = 1000;

#[derive(Clone, Copy, Debug, Default)]
pub struct InjectedDelay(Option<&'static Account>);

/// Time to spend and time spent. Only one thread writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Account {
    least: Duration,
    /// Time of a delay before its first clock reading and after its last one.
    unseen_ns: f64,
    messages: AtomicU64,
    /// Time between the first and the last reading.
    seen_ns: AtomicU64,
}

impl InjectedDelay {
    /// Makes a delay of about `time`, and at least of two clock readings. It stays allocated for
    /// the life of the process. Call it on the core that will spend the time.
    pub fn new(time: Duration) -> InjectedDelay {
        let (mut unseen_ns, mut shortest_ns): (Vec<f64>, Vec<f64>) =
            (0..TRIES).map(|_| shortest()).unzip();
        let middle = |values: &mut Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            values[TRIES / 2]
        };
        let (unseen_ns, reading_ns) = (middle(&mut unseen_ns), middle(&mut shortest_ns));
        // On average the reading that ends the loop comes half a reading late.
        let beyond = Duration::from_nanos((unseen_ns + reading_ns / 2.0) as u64);
        InjectedDelay::keep(Account {
            least: time.saturating_sub(beyond),
            unseen_ns,
            ..Account::default()
        })
    }

    pub fn for_another_thread(self) -> InjectedDelay {
        let Some(account) = self.0 else { return self };
        let &Account { least, unseen_ns, .. } = account;
        InjectedDelay::keep(Account { least, unseen_ns, ..Account::default() })
    }

    fn keep(account: Account) -> InjectedDelay {
        InjectedDelay(Some(Box::leak(Box::new(account))))
    }

    pub fn wait(self) {
        if let Some(account) = self.0 {
            account.spend();
        }
    }

    pub fn sum(self) -> Option<DelayTotals> {
        self.0.map(|account| {
            let messages = account.messages.load(Ordering::Relaxed);
            let seen_ns = account.seen_ns.load(Ordering::Relaxed);
            DelayTotals { messages, ns: seen_ns + (account.unseen_ns * messages as f64) as u64 }
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

/// Times the shortest delay in ns: the part outside of its account, and the part inside.
fn shortest() -> (f64, f64) {
    let account = black_box(Account::default());
    let begun = Instant::now();
    for _ in 0..DELAYS_OF_TRY {
        account.spend();
    }
    let taken_ns = begun.elapsed().as_nanos() as f64;
    let seen_ns = account.seen_ns.load(Ordering::Relaxed) as f64;
    let each = |ns: f64| ns.max(0.0) / f64::from(DELAYS_OF_TRY);
    (each(taken_ns - seen_ns), each(seen_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_delay_spends_nothing_and_keeps_no_account() {
        let none = InjectedDelay::default().for_another_thread();
        none.wait();
        assert_eq!(none.sum(), None);
    }

    #[test]
    fn an_account_holds_what_went_by_and_no_more() {
        const MESSAGES: u64 = 1000;
        let time = Duration::from_micros(20);
        let delay = InjectedDelay::new(time);
        let copy = delay;
        let begun = Instant::now();
        (0..MESSAGES).for_each(|_| copy.wait());
        let went_by = begun.elapsed().as_nanos() as u64;
        let DelayTotals { messages, ns } = delay.sum().expect("it is one");
        assert_eq!(messages, MESSAGES);
        let asked = MESSAGES * time.as_nanos() as u64;
        assert!(ns > asked * 9 / 10 && ns < went_by + went_by / 10, "{asked} {ns} {went_by}");
        let other = delay.for_another_thread();
        other.wait();
        assert_eq!(delay.sum().map(|sum| sum.messages), Some(MESSAGES));
        assert!(other.sum().is_some_and(|sum| sum.messages == 1 && sum.ns > 18_000));
    }

    #[test]
    fn one_that_is_shorter_than_the_clock_can_tell_says_what_it_costs() {
        let delay = InjectedDelay::new(Duration::from_nanos(1));
        delay.wait();
        assert!(delay.sum().is_some_and(|sum| sum.messages == 1 && sum.ns > 1));
    }
}
