//! Wakers for the calls of one connection: being woken puts a call's number on a list.
//!
//! A connection with a thousand calls must not ask each of them whether it has news, and must not have a task for
//! each. Every slot has one waker for good; the future that owns the list is woken only while it sleeps, since it
//! works the list off before it does. The list is behind a lock because a waker must be `Send`; nobody ever waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// The list, and a waker for each number that may be on it.
#[derive(Debug)]
pub struct Woken {
    shared: Arc<Shared>,
    slots: Vec<(Arc<Slot>, Waker)>,
    /// Numbers taken from the list, worked off from the end.
    taken: Vec<u32>,
}

#[derive(Debug, Default)]
struct Shared {
    list: Mutex<Vec<u32>>,
    asleep: AtomicBool,
    task: AtomicWaker,
}

#[derive(Debug)]
struct Slot {
    number: u32,
    listed: AtomicBool,
    shared: Arc<Shared>,
}

impl Woken {
    /// For the numbers below `count`; none is on the list.
    pub fn new(count: u32) -> Woken {
        let shared = Arc::new(Shared::default());
        let slot = |number| {
            let listed = AtomicBool::new(false);
            let slot = Arc::new(Slot { number, listed, shared: Arc::clone(&shared) });
            (Arc::clone(&slot), Waker::from(slot))
        };
        let slots = (0..count).map(slot).collect();
        Woken { shared, slots, taken: Vec::new() }
    }

    /// The owner is being polled: it looks at the list before it sleeps, and `task` is whom to wake after that.
    pub fn listen(&self, task: &Waker) {
        self.shared.asleep.store(false, Ordering::Relaxed);
        self.shared.task.register(task);
    }

    /// The owner has worked the list off and goes to sleep.
    pub fn sleep(&self) {
        self.shared.asleep.store(true, Ordering::Relaxed);
        if !self.shared.list().is_empty() {
            self.shared.task.wake();
        }
    }

    /// Puts `number` on the list.
    pub fn push(&self, number: u32) {
        self.slots[number as usize].1.wake_by_ref();
    }

    /// The next number on the list, with the waker that puts it there again.
    pub fn take(&mut self) -> Option<(u32, &Waker)> {
        if self.taken.is_empty() {
            std::mem::swap(&mut self.taken, &mut self.shared.list());
            self.taken.reverse();
        }
        let number = self.taken.pop()?;
        let (slot, waker) = &self.slots[number as usize];
        slot.listed.store(false, Ordering::Release);
        Some((number, waker))
    }
}

impl Shared {
    fn list(&self) -> MutexGuard<'_, Vec<u32>> {
        self.list.lock().expect("nothing panics while it holds the list")
    }
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.shared.list().push(self.number);
        if self.shared.asleep.load(Ordering::Relaxed) {
            self.shared.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn numbers_come_in_the_order_they_were_woken_and_once() {
        let mut woken = Woken::new(4);
        for number in [2, 0, 2, 3, 0] {
            woken.push(number);
        }
        let mut order = Vec::new();
        while let Some((number, _)) = woken.take() {
            order.push(number);
        }
        assert_eq!(order, [2, 0, 3]);
        woken.push(2);
        assert_eq!(woken.take().unwrap().0, 2);
    }

    #[test]
    fn the_owner_is_woken_only_while_it_sleeps() {
        let count = Arc::new(Count::default());
        let task = Waker::from(Arc::clone(&count));
        let wakes = || count.0.load(Ordering::Relaxed);
        let mut woken = Woken::new(2);
        woken.listen(&task);
        woken.push(0);
        assert_eq!(wakes(), 0, "it is awake");
        woken.sleep();
        assert_eq!(wakes(), 1, "the list was not empty");
        woken.listen(&task);
        assert_eq!(woken.take().unwrap().0, 0);
        woken.sleep();
        assert_eq!(wakes(), 1, "there was nothing to do");
        woken.push(1);
        assert_eq!(wakes(), 2);
    }
}
