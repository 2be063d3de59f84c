//! Connections of own protocols of one worker. Each belongs to a task; the list lets the worker
//! give one up for the sake of others.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Instant;

use crate::driver::connection::leave::longest_idle;
use crate::driver::connection::memory::choose_dropped;
use crate::wire::Pool;

#[derive(Default)]
pub(super) struct Registry {
    entries: RefCell<BTreeMap<u64, Rc<Entry>>>,
    next: Cell<u64>,
}

/// A connection, as others see it.
struct Entry {
    pool: Pool,
    waker: RefCell<Option<Waker>>,
    idle_since: Cell<Option<Instant>>,
    is_retired: Cell<bool>,
}

/// Place of a connection in the list, until it is dropped.
pub(super) struct Registered {
    registry: Rc<Registry>,
    number: u64,
    entry: Rc<Entry>,
}

impl Registry {
    pub(super) fn add(self: &Rc<Registry>, pool: &Pool) -> Registered {
        let number = self.next.replace(self.next.get() + 1);
        let entry = Rc::new(Entry {
            pool: pool.clone(),
            waker: RefCell::default(),
            idle_since: Cell::new(None),
            is_retired: Cell::new(false),
        });
        self.entries.borrow_mut().insert(number, Rc::clone(&entry));
        Registered { registry: Rc::clone(self), number, entry }
    }

    /// Drops the connections that hold most, until the others fit the memory of `of_worker`.
    #[cold]
    pub(super) fn shed_memory(&self, of_worker: &Pool) {
        while of_worker.must_drop() {
            let entries = self.entries.borrow();
            let pools = entries.values().map(|entry| (entry, &entry.pool));
            let Some(largest) = choose_dropped(of_worker, pools) else { return };
            largest.wake();
        }
    }
}

impl Registry {
    /// Ends as many idle connections as places are `needed`, those that are idle for longest first.
    pub(super) fn shed_idle(&self, needed: usize) {
        let entries = self.entries.borrow();
        let retired = entries.values().filter(|entry| entry.is_retired.get()).count();
        let idle = entries.values().filter(|entry| !entry.is_retired.get());
        let idle = idle.filter_map(|entry| Some((entry.idle_since.get()?, entry)));
        for entry in longest_idle(idle.collect(), needed.saturating_sub(retired), Instant::now()) {
            entry.is_retired.set(true);
            entry.wake();
        }
    }
}

impl Entry {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Registered {
    /// Notes the task of the connection.
    pub(super) fn belongs_to(&self, cx: &Context<'_>) {
        let mut waker = self.entry.waker.borrow_mut();
        if waker.is_none() {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Notes the time since which the connection is idle.
    pub(super) fn set_idle_since(&self, since: Option<Instant>) {
        self.entry.idle_since.set(since);
    }

    /// Returns true if the connection is to end, as another one needs its place.
    pub(super) fn is_retired(&self) -> bool {
        self.entry.is_retired.get()
    }

    /// Keeps the place of a connection that is idle no more.
    pub(super) fn keep(&self) {
        self.entry.is_retired.set(false);
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.entry.pool.is_dropped()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.entries.borrow_mut().remove(&self.number);
    }
}
