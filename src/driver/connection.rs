//! What every driver does with a connection of an own protocol, apart from moving its bytes.
//!
//! It feeds the machine, keeps the buffer the machine lends, collects output into batches, and decides when to read,
//! to shut down and to close. It makes no system call and reads no clock, so that the drivers differ only in how
//! bytes move and the rules are tested here once.
//!
//! ```text
//!  Open ──finished, or the peer is at fault──▶ Flushing ──all sent──▶ Lingering ──FIN or time──▶ Closed
//!   │                                             └─the peer has ended, or was idle at drain──────▲
//!   └──the peer vanished, or does not read for STALL_TIMEOUT──────────────────────────────────────┘
//! ```
//!
//! Lingering: our side is shut down and what still comes is thrown away for a bounded time. Closing with unread
//! input would send a reset, and the peer might lose the reply that tells it why (RFC 9112 section 9.6).
//!
//! When it is dropped, every buffer goes to the allocator; [`Connection::close`] gives them to the pool.
//!
//! A driver handles one event by one call, then asks [`Connection::step`], [`Connection::wants_input`],
//! [`Connection::batch`] and [`Connection::deadline`] what to do next.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::driver::{Connected, Counters};
use crate::wire::{Batch, Context, LINGER_GAP, LINGER_TIME, Limit, Loan, Outbox, Pool, WireError};

/// A peer that takes no byte for this long is given up; nginx and h2o have the same default.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest time of lingering once the worker drains: a stop is not held up by peers that do not close.
pub(crate) const LINGER_DRAINING: Duration = Duration::from_millis(250);

/// What belongs to the worker and is lent for one call.
pub(crate) struct WorkerCx<'a> {
    /// The worker's message buffers.
    pub(crate) pool: &'a mut Pool,
    /// The worker's counters.
    pub(crate) counters: &'a mut Counters,
    /// The worker's clock, read once a turn.
    pub(crate) now: Instant,
}

/// What a driver does with its socket, asked after each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing but reading and sending.
    Go,
    /// Shut down the sending side; said once.
    ShutDown,
    /// Close.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Flushing,
    /// `told`: the driver has been told to shut down.
    Lingering {
        told: bool,
        idle: Instant,
        total: Instant,
    },
    Closed,
}

/// One connection of an own protocol.
pub(crate) struct Connection {
    machine: Box<dyn Connected>,
    outbox: Outbox,
    batch: Batch,
    loan: Option<Loan>,
    /// The driver has the loan and receives into it.
    loan_is_out: bool,
    state: State,
    /// Reading stops above it, and starts again below half of it.
    outbox_bytes_max: usize,
    paused: bool,
    ended: bool,
    draining: bool,
    at_fault: bool,
    stall: Option<Instant>,
    /// Bytes that [`Connection::detach`] has given out.
    detached: usize,
}

impl Connection {
    /// A connection that stands; call [`Connection::open`] next.
    pub(crate) fn new(machine: Box<dyn Connected>, outbox_bytes_max: usize) -> Connection {
        Connection {
            machine,
            outbox: Outbox::default(),
            batch: Batch::default(),
            loan: None,
            loan_is_out: false,
            state: State::Open,
            outbox_bytes_max,
            paused: false,
            ended: false,
            draining: false,
            at_fault: false,
            stall: None,
            detached: 0,
        }
    }

    /// Lets the machine speak first.
    pub(crate) fn open(&mut self, cx: &mut WorkerCx<'_>) {
        self.call(cx, |machine, cx| machine.open(cx));
        self.ask_for_loan(cx);
    }

    /// Takes bytes that arrived in the driver's own buffer; while lingering they are thrown away.
    pub(crate) fn feed(&mut self, mut input: &[u8], cx: &mut WorkerCx<'_>) {
        cx.counters.bytes_in += input.len() as u64;
        while !input.is_empty() && self.state == State::Open {
            if let Some(mut loan) = self.loan.take() {
                let taken = loan.want.min(input.len());
                loan.buffer.extend_from_slice(&input[..taken]);
                input = &input[taken..];
                self.settle(loan, taken, cx);
            } else {
                self.call(cx, |machine, cx| machine.receive(input, cx));
                input = &[];
                self.ask_for_loan(cx);
            }
        }
        if let State::Lingering { idle, .. } = &mut self.state {
            *idle = cx.now + LINGER_GAP;
        }
    }

    /// Lets the machine see what has changed outside.
    pub(crate) fn resume(&mut self, cx: &mut WorkerCx<'_>) {
        if self.state == State::Open {
            self.call(cx, |machine, cx| machine.resume(cx));
            self.ask_for_loan(cx);
        }
    }

    /// True until nothing more is fed to the machine.
    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// True when [`Connection::take_loan`] would give a buffer.
    pub(crate) fn has_loan(&self) -> bool {
        self.loan.is_some()
    }

    /// The machine's buffer, to receive into directly; goes back by [`Connection::received`].
    pub(crate) fn take_loan(&mut self) -> Option<Loan> {
        self.loan_is_out = self.loan.is_some();
        self.loan.take()
    }

    /// Takes the buffer back, to which the driver has appended `count` bytes.
    pub(crate) fn received(&mut self, loan: Loan, count: usize, cx: &mut WorkerCx<'_>) {
        cx.counters.bytes_in += count as u64;
        self.loan_is_out = false;
        if self.state == State::Open {
            self.settle(loan, count, cx);
        } else {
            cx.pool.give(loan.buffer);
        }
    }

    /// Lets the machine see what its buffer holds before it is full.
    pub(crate) fn show_loan(&mut self, cx: &mut WorkerCx<'_>) {
        self.repay(cx);
        self.ask_for_loan(cx);
    }

    /// The peer has sent FIN.
    pub(crate) fn end(&mut self, cx: &mut WorkerCx<'_>) {
        if let State::Lingering { .. } = self.state {
            self.state = State::Closed;
        }
        self.finish_input(cx);
    }

    /// The peer has reset the connection, or the socket has failed.
    pub(crate) fn vanish(&mut self, cx: &mut WorkerCx<'_>) {
        let unsent = self.pending() > 0;
        self.finish_input(cx);
        if unsent && self.state != State::Closed {
            self.blame(cx);
        }
        self.state = State::Closed;
    }

    /// The worker is shutting down.
    pub(crate) fn drain(&mut self, cx: &mut WorkerCx<'_>) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        match &mut self.state {
            State::Open => {
                self.call(cx, |machine, cx| {
                    machine.drain(cx);
                    Ok(())
                });
                if self.state == State::Flushing && self.pending() == 0 {
                    self.state = State::Closed;
                }
            }
            State::Lingering { total, .. } => *total = (*total).min(cx.now + LINGER_DRAINING),
            State::Flushing | State::Closed => {}
        }
    }

    /// When [`Connection::expire`] is to be called, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Open => earlier(self.machine.deadline(), self.stall),
            State::Flushing => self.stall,
            State::Lingering { idle, total, .. } => Some(idle.min(total)),
            State::Closed => None,
        }
    }

    /// Time has passed. May be called early, or with a loan taken: then the driver gives the loan back first.
    pub(crate) fn expire(&mut self, cx: &mut WorkerCx<'_>) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= cx.now);
        match self.state {
            State::Lingering { idle, total, .. } if idle.min(total) <= cx.now => {
                self.state = State::Closed;
            }
            State::Open | State::Flushing if due(self.stall) => {
                cx.counters.limits.hit(Limit::StallTime);
                self.blame(cx);
                self.state = State::Closed;
            }
            State::Open if due(self.machine.deadline()) => self.expire_machine(cx),
            _ => {}
        }
    }

    /// Bytes that a held buffer has gathered are news to the machine, so it gets them before the verdict.
    fn expire_machine(&mut self, cx: &mut WorkerCx<'_>) {
        self.repay(cx);
        let still_due = self.machine.deadline().is_some_and(|at| at <= cx.now);
        if self.state == State::Open && still_due {
            self.call(cx, |machine, cx| machine.expire(cx));
        }
        self.ask_for_loan(cx);
    }

    /// What to do with the socket.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if self.state == State::Flushing && self.pending() == 0 {
            self.state = self.after_flush(now);
        }
        match self.state {
            State::Closed => Step::Close,
            State::Lingering { told: false, idle, total } => {
                self.state = State::Lingering { told: true, idle, total };
                Step::ShutDown
            }
            _ => Step::Go,
        }
    }

    fn after_flush(&self, now: Instant) -> State {
        if self.ended {
            return State::Closed;
        }
        let total = if self.draining { LINGER_DRAINING } else { LINGER_TIME };
        State::Lingering { told: false, idle: now + LINGER_GAP, total: now + total }
    }

    /// Whether to read; if not, bytes are left in the socket.
    pub(crate) fn wants_input(&mut self) -> bool {
        match self.state {
            State::Open => !self.ended && !self.is_full() && !self.machine.is_full(),
            State::Lingering { .. } => true,
            State::Flushing | State::Closed => false,
        }
    }

    /// True when nothing is left to do until the peer acts, once the `bytes` that are being sent have gone.
    pub(crate) fn rests_after(&mut self, bytes: usize) -> bool {
        let open = self.state == State::Open && !self.machine.awaits_flush();
        open && self.pending() == bytes && self.wants_input()
    }

    fn is_full(&mut self) -> bool {
        let pending = self.pending();
        let half = self.outbox_bytes_max / 2;
        self.paused = pending > if self.paused { half } else { self.outbox_bytes_max };
        self.paused
    }

    /// What to send next; refilled from the outbox when it has been sent.
    pub(crate) fn batch(&mut self, now: Instant) -> &Batch {
        if self.batch.is_empty() && !self.outbox.is_empty() {
            self.outbox.take(&mut self.batch);
            self.stall = Some(now + STALL_TIMEOUT);
        }
        &self.batch
    }

    /// Bytes not sent yet, over all.
    pub(crate) fn pending(&self) -> usize {
        self.outbox.len() + self.batch.len() + self.detached
    }

    /// The next piece to send, for a driver whose operations own their buffers; goes back by
    /// [`Connection::reattach`], the last one first, before [`Connection::sent`].
    pub(crate) fn detach(&mut self, cx: &mut WorkerCx<'_>) -> Option<(Vec<u8>, Range<usize>)> {
        if self.detached == 0 {
            self.batch(cx.now);
        }
        let (buffer, range) = self.batch.pop(cx.pool)?;
        self.detached += range.len();
        Some((buffer, range))
    }

    /// Takes a piece back.
    pub(crate) fn reattach(&mut self, buffer: Vec<u8>, range: Range<usize>) {
        self.detached -= range.len();
        self.batch.unpop(buffer, range);
    }

    /// The first `count` bytes of the batch have been sent.
    pub(crate) fn sent(&mut self, count: usize, cx: &mut WorkerCx<'_>) {
        cx.counters.bytes_out += count as u64;
        self.batch.advance(count, cx.pool);
        self.stall = (!self.batch.is_empty()).then(|| cx.now + STALL_TIMEOUT);
        if self.pending() == 0 && self.state == State::Open {
            self.call(cx, |machine, cx| machine.flushed(cx));
            self.ask_for_loan(cx);
        }
    }

    /// Gives the buffers of a connection that is done to the pool and counts what limits it ran into.
    pub(crate) fn close(mut self, cx: &mut WorkerCx<'_>) {
        cx.counters.limits.add(&self.machine.limits());
        self.batch.discard(cx.pool);
        self.outbox.discard(cx.pool);
        self.forget_loan(cx);
    }

    fn forget_loan(&mut self, cx: &mut WorkerCx<'_>) {
        if let Some(loan) = self.loan.take() {
            cx.pool.give(loan.buffer);
        }
    }

    fn finish_input(&mut self, cx: &mut WorkerCx<'_>) {
        if std::mem::replace(&mut self.ended, true) || self.state != State::Open {
            return;
        }
        self.repay(cx);
        if self.state == State::Open {
            self.call(cx, |machine, cx| machine.end(cx));
        }
    }

    fn settle(&mut self, mut loan: Loan, count: usize, cx: &mut WorkerCx<'_>) {
        loan.want -= count;
        let full = loan.want == 0;
        self.loan = Some(loan);
        if full {
            self.show_loan(cx);
        }
    }

    fn repay(&mut self, cx: &mut WorkerCx<'_>) {
        if let Some(loan) = self.loan.take() {
            self.call(cx, |machine, cx| machine.repay(loan.buffer, cx));
        }
    }

    fn ask_for_loan(&mut self, cx: &mut WorkerCx<'_>) {
        let lent = self.loan_is_out || self.loan.is_some();
        if self.state == State::Open && !self.ended && !lent {
            self.loan = self.machine.lend(cx.pool);
        }
    }

    fn call(
        &mut self,
        cx: &mut WorkerCx<'_>,
        work: impl FnOnce(&mut dyn Connected, &mut Context<'_>) -> Result<(), WireError>,
    ) {
        let mut machine_cx = Context { out: &mut self.outbox, pool: cx.pool, now: cx.now };
        let failed = work(self.machine.as_mut(), &mut machine_cx).is_err();
        if failed {
            self.blame(cx);
        }
        if failed || self.machine.finished() {
            self.state = State::Flushing;
            self.forget_loan(cx);
        }
    }

    fn blame(&mut self, cx: &mut WorkerCx<'_>) {
        if !std::mem::replace(&mut self.at_fault, true) {
            cx.counters.peer_faults += 1;
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
