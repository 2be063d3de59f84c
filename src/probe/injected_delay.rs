//! Injected delay: a known cost of every message, in a known layer. By it a run shows that it would
//! detect a difference of that size, and that samples find a cost in the layer in which it lies.
//!
//! | layer | work | place |
//! |---|---|---|
//! | application | busy wait | handler |
//! | allocator | calls of the allocator | handler |
//! | user copies | copies of a buffer | handler |
//! | codec decode | busy wait | around the codec |
//! | framework | busy wait | around the service of tonic |
//! | HTTP framing, runtime | busy wait for the messages of a read | around a machine |
//!
//! Where a clock tells nothing, as under a tool that counts instructions, the delay is a number of
//! steps instead ([`InjectedDelay::of_steps`]): chains of multiplications, or calls.
//!
//! The handler calls [`InjectedDelay::wait`] for each message in any case. The other places exist
//! only in a server with a delay there. The account keeps the time that was really spent, without
//! the time in which the thread had no core. docs/TRIED.md compares the ways to do this.
//!
//! No rule of a profile names this file, so samples belong to the caller, or to the C library.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::axis::Layer;

const TRIES: usize = 25;
const DELAYS_OF_TRY: u32 = 1000;

/// Bytes of an allocation, more than malloc keeps in the cache of a thread, so that most of the
/// time is the allocator's.
const ALLOCATION_BYTES: usize = 2048;

/// Bytes of a copy: enough that the call and the loop around it cost little, and half of a small
/// first cache with the source.
const COPY_BYTES: usize = 8192;

/// Multiplications between two readings of the clock; a chain of them takes about 80 ns.
const CHAIN_LEN: usize = 64;

/// Messages with allocations or copies of which one is timed. A clock reading for each of them
/// would be time outside of their layer.
const TIMED_EVERY: u64 = 16;

#[derive(Clone, Copy, Debug, Default)]
pub struct InjectedDelay(Option<&'static Account>);

/// Delay in a place outside of the handler.
#[derive(Clone, Copy, Debug)]
pub struct PlacedDelay(&'static Account);

/// Delays of the workers of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayTotals {
    /// Messages, including those of the warm-up.
    pub messages: u64,
    pub ns: u64,
}

/// Time to spend and time spent. Only one thread writes it.
#[derive(Debug)]
#[repr(align(128))]
struct Account {
    layer: Layer,
    time: Duration,
    /// Time of a wait before its first clock reading and after its last one. Below zero for calls:
    /// the part of a reading that is inside, which messages that are not timed do not pay.
    unseen_ns: f64,
    /// Mean time by which the last reading of a wait comes late.
    late_ns: f64,
    /// Allocations, copies or chains of a message.
    steps: u64,
    /// True if a wait ends after its steps, whatever the clock says.
    is_counted: bool,
    messages: AtomicU64,
    /// Messages whose delay is still to be spent, in another place than the handler.
    owed: AtomicU64,
    /// Waits, or timed messages.
    timed: AtomicU64,
    /// Time of those between the first and the last reading.
    seen_ns: AtomicU64,
}

impl InjectedDelay {
    /// Makes a delay of about `time` for each message, and at least of two clock readings. It stays
    /// allocated for the life of the process. Call it on the core that will spend the time.
    pub fn new(time: Duration, layer: Layer) -> InjectedDelay {
        let (unseen_ns, shortest_ns): (Vec<f64>, Vec<f64>) =
            (0..TRIES).map(|_| shortest(layer)).unzip();
        let (unseen_ns, shortest_ns) = (middle(unseen_ns), middle(shortest_ns));
        let step_ns = middle((0..TRIES).map(|_| step_ns(layer)).collect());
        let inside_ns = || middle((0..TRIES).map(|_| reading_ns()).collect());
        InjectedDelay::keep(Account {
            unseen_ns: if is_called(layer) { -inside_ns() } else { unseen_ns },
            // On average the reading that ends the loop comes half a reading late.
            late_ns: shortest_ns / 2.0,
            steps: (time.as_nanos() as f64 / step_ns.max(0.1)).round().max(1.0) as u64,
            ..Account::new(layer, time)
        })
    }

    /// Makes a delay of some steps for each message. It reads no clock.
    pub fn of_steps(steps: u64, layer: Layer) -> InjectedDelay {
        InjectedDelay::keep(Account {
            steps,
            is_counted: true,
            ..Account::new(layer, Duration::ZERO)
        })
    }

    /// Returns the steps that take the time of a message.
    pub fn steps(self) -> Option<u64> {
        self.0.map(|account| account.steps)
    }

    pub fn for_another_thread(self) -> InjectedDelay {
        let Some(account) = self.0 else { return self };
        let &Account { layer, time, unseen_ns, late_ns, steps, is_counted, .. } = account;
        let new = Account::new(layer, time);
        InjectedDelay::keep(Account { unseen_ns, late_ns, steps, is_counted, ..new })
    }

    fn keep(account: Account) -> InjectedDelay {
        InjectedDelay(Some(Box::leak(Box::new(account))))
    }

    /// Handles a message in the handler.
    #[inline]
    pub fn wait(self) {
        if let Some(account) = self.0 {
            account.handle();
        }
    }

    /// Returns the delay if it is spent outside of the handler, in `layer`.
    pub fn placed_in(self, layer: Layer) -> Option<PlacedDelay> {
        self.0.filter(|account| account.layer == layer && !is_in_handler(layer)).map(PlacedDelay)
    }

    pub fn sum(self) -> Option<DelayTotals> {
        self.0.map(|account| {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            let messages = read(&account.messages);
            let timed = read(&account.timed);
            let ns = read(&account.seen_ns) as f64 + account.unseen_ns * timed as f64;
            // A wait may be for many messages; of calls, only some messages are timed.
            let messages_timed = if is_called(account.layer) { timed } else { messages };
            let each = if messages_timed == 0 { 0.0 } else { ns / messages_timed as f64 };
            DelayTotals { messages, ns: (each.max(0.0) * messages as f64) as u64 }
        })
    }
}

impl PlacedDelay {
    /// Spends the delay of one message, and returns the time that was seen to pass. The result
    /// keeps a caller from ending in this call, which would take it off the stack.
    #[inline(never)]
    pub fn spend(self) -> u64 {
        self.0.wait(1)
    }

    /// Spends the delays of the messages that the handler took since the last call.
    #[inline(never)]
    pub fn settle(self) -> u64 {
        match self.0.owed.swap(0, Ordering::Relaxed) {
            0 => 0,
            messages => self.0.wait(messages),
        }
    }
}

impl Account {
    fn new(layer: Layer, time: Duration) -> Account {
        Account {
            layer,
            time,
            unseen_ns: 0.0,
            late_ns: 0.0,
            steps: 1,
            is_counted: false,
            messages: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            timed: AtomicU64::new(0),
            seen_ns: AtomicU64::new(0),
        }
    }

    #[inline(never)]
    fn handle(&self) {
        match self.layer {
            Layer::Application => {
                self.wait(1);
            }
            Layer::Allocator => self.call(allocate),
            Layer::UserCopies => BUFFER.with_borrow_mut(|buffer| self.call(|| copy(buffer))),
            Layer::HttpFraming | Layer::Runtime => add(&self.owed, 1),
            // The place around the codec or the service has its own call for each message.
            _ => {}
        }
    }

    /// Waits for as long as `messages` delays take.
    fn wait(&self, messages: u64) -> u64 {
        if self.is_counted {
            (0..self.steps * messages).for_each(|_| multiply());
            add(&self.messages, messages);
            return messages;
        }
        let least_ns = self.time.as_nanos() as f64 * messages as f64;
        let least_ns = (least_ns - self.unseen_ns - self.late_ns).max(0.0) as u64;
        let begun = Instant::now();
        let seen_ns = loop {
            multiply();
            let seen_ns = begun.elapsed().as_nanos() as u64;
            if seen_ns >= least_ns {
                break seen_ns;
            }
        };
        add(&self.messages, messages);
        add(&self.timed, 1);
        add(&self.seen_ns, seen_ns);
        seen_ns
    }

    fn call(&self, mut work: impl FnMut()) {
        let messages = self.messages.load(Ordering::Relaxed);
        let is_timed = messages.is_multiple_of(TIMED_EVERY) && !self.is_counted;
        let begun = is_timed.then(Instant::now);
        (0..self.steps).for_each(|_| work());
        if let Some(begun) = begun {
            add(&self.seen_ns, begun.elapsed().as_nanos() as u64);
            add(&self.timed, 1);
        }
        add(&self.messages, 1);
    }
}

fn is_called(layer: Layer) -> bool {
    matches!(layer, Layer::Allocator | Layer::UserCopies)
}

fn is_in_handler(layer: Layer) -> bool {
    layer == Layer::Application || is_called(layer)
}

fn add(to: &AtomicU64, more: u64) {
    to.store(to.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

fn allocate() {
    drop(black_box(Vec::<u8>::with_capacity(black_box(ALLOCATION_BYTES))));
}

fn copy(buffer: &mut [u8; 2 * COPY_BYTES]) {
    buffer.copy_within(black_box(COPY_BYTES).., 0);
    black_box(buffer);
}

thread_local! {
    /// Source and destination of copies.
    static BUFFER: RefCell<[u8; 2 * COPY_BYTES]> = const { RefCell::new([0; 2 * COPY_BYTES]) };
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Passes time without branches. Each reading of the clock takes several: 2 µs of readings alone
/// cost tonic and the h2 crate 2.5 to 2.9 µs, perhaps because the processor then predicts branches
/// of the server worse (docs/TRIED.md).
#[inline(always)]
fn multiply() {
    let mut value = black_box(3_u64);
    for _ in 0..CHAIN_LEN {
        value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    }
    black_box(value);
}

/// Times the shortest wait in ns: the part outside of its account, and the part inside.
fn shortest(layer: Layer) -> (f64, f64) {
    let account = black_box(Account::new(layer, Duration::ZERO));
    let begun = Instant::now();
    for _ in 0..DELAYS_OF_TRY {
        account.wait(1);
    }
    let taken_ns = begun.elapsed().as_nanos() as f64;
    let seen_ns = account.seen_ns.load(Ordering::Relaxed) as f64;
    let each = |ns: f64| ns.max(0.0) / f64::from(DELAYS_OF_TRY);
    (each(taken_ns - seen_ns), each(seen_ns))
}

/// Times two readings of the clock with nothing between them, in ns.
fn reading_ns() -> f64 {
    let seen: Duration = (0..DELAYS_OF_TRY).map(|_| black_box(Instant::now()).elapsed()).sum();
    seen.as_nanos() as f64 / f64::from(DELAYS_OF_TRY)
}

/// Times one allocation, copy, or chain with its clock reading, in ns.
fn step_ns(layer: Layer) -> f64 {
    let mut buffer = [0; 2 * COPY_BYTES];
    let begun = Instant::now();
    for _ in 0..DELAYS_OF_TRY {
        match layer {
            Layer::UserCopies => copy(&mut buffer),
            Layer::Allocator => allocate(),
            _ => {
                multiply();
                black_box(begun.elapsed());
            }
        }
    }
    begun.elapsed().as_nanos() as f64 / f64::from(DELAYS_OF_TRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: u64 = 1000;
    const TIME: Duration = Duration::from_micros(20);

    /// Asserts that the account of `delay` holds `MESSAGES` delays of [`TIME`], within what passed.
    fn assert_spent(delay: InjectedDelay, passed: Duration) {
        let DelayTotals { messages, ns } = delay.sum().expect("it is one");
        assert_eq!(messages, MESSAGES);
        let asked = MESSAGES * TIME.as_nanos() as u64;
        let passed = passed.as_nanos() as u64;
        assert!(ns > asked * 9 / 10 && ns < passed + passed / 10, "{asked} {ns} {passed}");
    }

    #[test]
    fn no_delay_spends_nothing_and_keeps_no_account() {
        let none = InjectedDelay::default().for_another_thread();
        none.wait();
        assert_eq!(none.sum(), None);
        assert!(Layer::ALL.into_iter().all(|layer| none.placed_in(layer).is_none()));
    }

    #[test]
    fn an_account_holds_what_went_by_and_no_more() {
        let delay = InjectedDelay::new(TIME, Layer::Application);
        let copy = delay;
        let begun = Instant::now();
        (0..MESSAGES).for_each(|_| copy.wait());
        assert_spent(delay, begun.elapsed());
        let other = delay.for_another_thread();
        other.wait();
        assert_eq!(delay.sum().map(|sum| sum.messages), Some(MESSAGES));
        assert!(other.sum().is_some_and(|sum| sum.messages == 1 && sum.ns > 18_000));
    }

    #[test]
    fn one_that_is_shorter_than_the_clock_can_tell_says_what_it_costs() {
        let delay = InjectedDelay::new(Duration::from_nanos(1), Layer::Application);
        delay.wait();
        assert!(delay.sum().is_some_and(|sum| sum.messages == 1 && sum.ns > 1));
    }

    #[test]
    fn a_delay_outside_of_the_handler_is_spent_there() {
        for layer in [Layer::CodecDecode, Layer::Framework] {
            let delay = InjectedDelay::new(TIME, layer);
            let placed = delay.placed_in(layer).expect("it has a place");
            let begun = Instant::now();
            for _ in 0..MESSAGES {
                delay.wait();
                placed.spend();
            }
            assert_spent(delay, begun.elapsed());
        }
        for layer in [Layer::Application, Layer::Allocator, Layer::UserCopies] {
            assert!(InjectedDelay::new(TIME, layer).placed_in(layer).is_none());
        }
    }

    #[test]
    fn the_messages_of_a_read_are_settled_together() {
        let delay = InjectedDelay::new(TIME, Layer::HttpFraming);
        assert!(delay.placed_in(Layer::Runtime).is_none());
        let placed = delay.placed_in(Layer::HttpFraming).expect("it has a place");
        assert_eq!(placed.settle(), 0, "no message came");
        let begun = Instant::now();
        for _ in 0..10 {
            (0..MESSAGES / 10).for_each(|_| delay.wait());
            assert_eq!(delay.sum().map(|sum| sum.messages % (MESSAGES / 10)), Some(0));
            placed.settle();
        }
        assert_spent(delay, begun.elapsed());
    }

    #[test]
    fn calls_of_the_allocator_and_copies_are_timed_now_and_then() {
        for layer in [Layer::Allocator, Layer::UserCopies] {
            let delay = InjectedDelay::new(TIME, layer);
            (0..MESSAGES).for_each(|_| delay.wait());
            let DelayTotals { messages, ns } = delay.sum().expect("it is one");
            assert_eq!(messages, MESSAGES);
            let account = delay.0.expect("it is one");
            let timed = account.timed.load(Ordering::Relaxed);
            assert_eq!(timed, MESSAGES.div_ceil(TIMED_EVERY), "{layer}");
            assert!(ns > 0 && account.steps > 1, "{layer}: {ns} ns, {} calls", account.steps);
        }
    }

    #[test]
    fn a_number_of_steps_takes_no_time_by_the_account() {
        for layer in [Layer::Application, Layer::UserCopies, Layer::Runtime] {
            let delay = InjectedDelay::of_steps(7, layer).for_another_thread();
            (0..MESSAGES).for_each(|_| delay.wait());
            if let Some(placed) = delay.placed_in(layer) {
                assert_eq!(placed.settle(), MESSAGES);
            }
            assert_eq!(delay.sum(), Some(DelayTotals { messages: MESSAGES, ns: 0 }), "{layer}");
            assert_eq!(delay.steps(), Some(7));
        }
        let steps = InjectedDelay::new(TIME, Layer::CodecDecode).steps().expect("it is one");
        // A core that others slow down, without optimization, takes more than 1 us for a chain.
        let chains = TIME.as_nanos() as u64 / 10_000..TIME.as_nanos() as u64;
        assert!(chains.contains(&steps), "{steps} chains of 1 ns to 10 us in {TIME:?}");
    }
}
