//! Machine with a known cost of each message around it: a control, which a run must find again.
//!
//! The control wraps the machine of a connection, which a driver calls through a table of functions
//! in any case. So the machine and the driver of a server without such a cost stay as they are.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::probe::injected_delay::PlacedDelay;
use crate::wire::{self, Context, Loan, Machine, Pool, PooledBuf, WireError};

use super::Connected;

/// Layer that spends the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Framing,
    Runtime,
}

/// Machine that spends a delay after each input, for all messages that it answered.
pub struct Planted {
    inner: Box<dyn Connected>,
    delay: PlacedDelay,
    place: Place,
}

impl Planted {
    pub fn new(inner: Box<dyn Connected>, delay: PlacedDelay, place: Place) -> Planted {
        Planted { inner, delay, place }
    }

    fn settle(&self) {
        match self.place {
            Place::Framing => wire::planted::spend(PlacedDelay::settle, self.delay),
            Place::Runtime => spend(self.delay),
        };
    }
}

/// Spends a delay in a function of this room.
#[inline(never)]
fn spend(delay: PlacedDelay) -> u64 {
    black_box(delay.settle())
}

impl Machine for Planted {
    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.inner.open(cx)
    }

    fn receive(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<(), WireError> {
        let received = self.inner.receive(input, cx);
        self.settle();
        received
    }

    fn lend(&mut self, pool: &Pool) -> Option<Loan> {
        self.inner.lend(pool)
    }

    fn repay(&mut self, buffer: PooledBuf, cx: &mut Context<'_>) -> Result<(), WireError> {
        let repaid = self.inner.repay(buffer, cx);
        self.settle();
        repaid
    }

    fn jobs_ended(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.inner.jobs_ended(cx)
    }

    fn is_working(&self) -> bool {
        self.inner.is_working()
    }

    fn flushed(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.inner.flushed(cx)
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.inner.end(cx)
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        self.inner.drain(cx);
    }

    fn input_follows(&mut self, follows: bool) {
        self.inner.input_follows(follows);
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.deadline()
    }

    fn paused(&mut self, time: Duration) {
        self.inner.paused(time);
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.inner.expire(cx)
    }

    fn is_gathering(&self) -> bool {
        self.inner.is_gathering()
    }

    fn idle_since(&self) -> Option<Instant> {
        self.inner.idle_since()
    }

    fn restrict(&mut self) {
        self.inner.restrict();
    }

    fn retire(&mut self, cx: &mut Context<'_>) {
        self.inner.retire(cx);
    }

    fn finished(&self) -> bool {
        self.inner.finished()
    }
}

impl Connected for Planted {
    fn resume(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        self.inner.resume(cx)
    }

    fn awaits_flush(&self) -> bool {
        self.inner.awaits_flush()
    }

    fn is_full(&self) -> bool {
        self.inner.is_full()
    }
}
