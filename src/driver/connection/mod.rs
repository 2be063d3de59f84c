//! Policy of a connection of an own protocol, the same for every driver.
//!
//! [`Connection`] feeds the machine, keeps the buffer that the machine lends, collects output into
//! batches, and decides when to read, to shut down and to close. It makes no system call and reads
//! no clock, so drivers differ only in how bytes move.
//!
//! ```text
//! Open ─ finished, or the peer is at fault ─▶ Flushing ─ all sent ▶ Lingering ─ FIN, time ▶ Closed
//!  │                                            └─ the peer has ended ────────────────────────▲
//!  └─ the peer vanished, or reads slower than the pace of a send ─────────────────────────────┘
//! ```
//!
//! Lingering discards input for a bounded time after our shutdown: a close with unread input would
//! send a reset, and the peer might lose the last response (RFC 9112 section 9.6).
//!
//! A driver handles an event by one call, and then asks for the next operation by
//! [`Connection::step`], [`Connection::wants_input`], [`Connection::batch`] and
//! [`Connection::deadline`].

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::driver::addresses::Place;
use crate::driver::planted_bugs::{PlantedBug, is_planted};
use crate::driver::{Connected, Options};
use crate::sys::socket::Unread;
use crate::wire::progress::{Pace, Progress};
use crate::wire::{
    Batch, Charge, Context, LINGER_GAP, LINGER_TIME, Limit, Loan, Outbox, Pool, PooledBuf, Slice,
    WireError, WorkerCounts,
};

mod jobs;
mod lag;
pub(crate) mod leave;
pub(crate) mod memory;

use memory::Memory;

/// Time for the driver to read input that has arrived, during a shutdown.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// Longest lingering of a connection whose end others wait for: a shutdown, or a new connection
/// that needs the place. Slow peers cannot delay them for longer.
pub(crate) const LINGER_BRIEF: Duration = Duration::from_millis(250);

pub(crate) struct WorkerCx {
    pub(crate) counts: &'static WorkerCounts,
    pub(crate) now: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Go,
    /// Returned once.
    ShutDown,
    Close,
}

/// State of a connection; `told` is true once [`Step::ShutDown`] has been returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Flushing,
    Lingering { told: bool, idle: Instant, total: Instant },
    Closed,
}

pub(crate) struct Connection {
    machine: Box<dyn Connected>,
    outbox: Outbox,
    batch: Batch,
    loan: Option<Loan>,
    loan_is_out: bool,
    has_lent: bool,
    state: State,
    memory: Memory,
    /// Unsent bytes at which reading stops; it resumes at half of them.
    outbox_bytes_max: usize,
    send_pace: Pace,
    /// Time since which too many bytes are unsent to read more.
    paused: Option<Instant>,
    ended: bool,
    draining: bool,
    at_fault: bool,
    /// Progress of the output, while some is unsent.
    sending: Option<Progress>,
    /// Bytes given out by [`Connection::detach`].
    detached: usize,
    /// Charges of the buffers that are given out.
    charges: Vec<Option<Charge>>,
    is_retired: bool,
    /// End of a connection beyond the places.
    ends_at: Option<Instant>,
    /// Place among the connections of its peer's address.
    place: Option<Place>,
}

impl Connection {
    /// Takes an established connection; call [`Connection::open`] next.
    pub(crate) fn new(machine: Box<dyn Connected>, options: &Options, pool: &Pool) -> Connection {
        Connection {
            machine,
            outbox: Outbox::default(),
            batch: Batch::default(),
            loan: None,
            loan_is_out: false,
            has_lent: false,
            state: State::Open,
            memory: Memory::new(pool),
            outbox_bytes_max: options.outbox_bytes_max,
            send_pace: options.send_pace,
            paused: None,
            ended: false,
            draining: false,
            at_fault: false,
            sending: None,
            detached: 0,
            charges: Vec::new(),
            is_retired: false,
            ends_at: None,
            place: None,
        }
    }

    pub(crate) fn open(&mut self, cx: &mut WorkerCx) {
        self.call(cx, |machine, cx| machine.open(cx));
        self.ask_for_loan();
    }

    /// Takes bytes from the driver's own buffer; discards them while lingering.
    /// `follows` is true if more has arrived, or may have.
    pub(crate) fn feed(&mut self, mut input: &[u8], follows: bool, cx: &mut WorkerCx) {
        if self.draining {
            self.machine.input_follows(follows);
        }
        cx.counts.bytes_in.add(input.len() as u64);
        self.memory.received(input.len(), cx.now);
        while !input.is_empty() && self.state == State::Open {
            if let Some(mut loan) = self.loan.take() {
                let taken = loan.want.min(input.len());
                loan.buffer.extend_from_slice(&input[..taken]);
                input = &input[taken..];
                self.settle(loan, taken, cx);
            } else {
                self.call(cx, |machine, cx| machine.receive(input, cx));
                input = &[];
                self.ask_for_loan();
            }
        }
        if let State::Lingering { idle, .. } = &mut self.state {
            *idle = cx.now + LINGER_GAP;
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    #[cfg(test)]
    pub(crate) fn has_loan(&self) -> bool {
        self.loan.is_some()
    }

    /// Returns true if the machine has lent a buffer since the last call, even if that is full by
    /// now.
    pub(crate) fn has_lent(&mut self) -> bool {
        std::mem::take(&mut self.has_lent)
    }

    /// Takes the machine's buffer; [`Connection::received`] returns it.
    pub(crate) fn take_loan(&mut self) -> Option<Loan> {
        self.loan_is_out = self.loan.is_some();
        self.loan.take()
    }

    /// Returns the buffer, to which the driver has appended `count` bytes.
    pub(crate) fn received(&mut self, loan: Loan, count: usize, cx: &mut WorkerCx) {
        if self.draining {
            self.machine.input_follows(true);
        }
        cx.counts.bytes_in.add(count as u64);
        self.memory.received(count, cx.now);
        self.loan_is_out = false;
        if self.state == State::Open {
            self.settle(loan, count, cx);
        }
    }

    /// Repays the loan before it is full.
    pub(crate) fn show_loan(&mut self, cx: &mut WorkerCx) {
        self.repay(cx);
        self.ask_for_loan();
    }

    /// Handles a FIN of the peer.
    pub(crate) fn end(&mut self, cx: &mut WorkerCx) {
        if let State::Lingering { .. } = self.state {
            self.state = State::Closed;
        }
        self.finish_input(cx);
    }

    /// Handles a reset or a failed socket.
    pub(crate) fn vanish(&mut self, cx: &mut WorkerCx) {
        let unsent = self.pending() > 0;
        self.finish_input(cx);
        if unsent && self.state != State::Closed {
            self.blame(cx);
        }
        self.state = State::Closed;
    }

    pub(crate) fn drain(&mut self, cx: &mut WorkerCx) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        match &mut self.state {
            State::Open => {
                self.call(cx, |machine, cx| {
                    machine.drain(cx);
                    Ok(())
                });
            }
            State::Lingering { total, .. } => *total = (*total).min(cx.now + LINGER_BRIEF),
            State::Flushing | State::Closed => {}
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        earlier(self.ends_at, self.state_deadline())
    }

    fn state_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Open if self.paused.is_none() => {
                let read = self.memory.deadline().or_else(|| self.machine.deadline());
                earlier(read, self.send_deadline())
            }
            State::Open | State::Flushing => self.send_deadline(),
            State::Lingering { idle, total, .. } => Some(idle.min(total)),
            State::Closed => None,
        }
    }

    /// Returns true if the connection has to know, before it expires, what the socket holds: the
    /// deadline ends an idle connection during a shutdown, or a wait for memory.
    pub(crate) fn asks_for_unread(&self, now: Instant) -> bool {
        let ends_drain = self.draining && self.machine.deadline().is_some_and(|at| at <= now);
        self.state == State::Open && (ends_drain || self.memory.is_due(now))
    }

    /// Notes what the socket holds.
    pub(crate) fn note_unread(&mut self, unread: Unread) {
        if self.memory.is_waiting() {
            self.memory.note_unread(unread);
        } else if unread == Unread::Bytes {
            self.machine.paused(DRAIN_STEP);
        }
    }

    fn send_deadline(&self) -> Option<Instant> {
        let sending = self.sending.filter(|_| !is_planted(PlantedBug::StallNotArmed));
        sending.map(Progress::due)
    }

    /// Returns true if the peer is too slow, unless a send in flight has moved more bytes.
    pub(crate) fn reads_too_slowly(&self, now: Instant) -> bool {
        self.send_deadline().is_some_and(|at| at <= now)
    }

    /// Handles a deadline, perhaps early. The driver returns a taken loan first, and the count of a
    /// send that is in flight while [`Connection::reads_too_slowly`].
    pub(crate) fn expire(&mut self, cx: &mut WorkerCx) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= cx.now);
        match self.state {
            _ if due(self.ends_at) => self.state = State::Closed,
            State::Lingering { idle, total, .. } if idle.min(total) <= cx.now => {
                self.state = State::Closed;
            }
            State::Open | State::Flushing if self.reads_too_slowly(cx.now) => {
                cx.counts.hit(Limit::StallTime);
                self.blame(cx);
                self.state = State::Closed;
            }
            State::Open if self.paused.is_none() && self.memory.is_due(cx.now) => {
                self.retry(cx);
            }
            State::Open if self.paused.is_none() && due(self.machine.deadline()) => {
                self.expire_machine(cx);
            }
            _ => {}
        }
    }

    /// Looks for memory, and reads on if there is some.
    fn retry(&mut self, cx: &mut WorkerCx) {
        let retried = self.memory.retry(cx.now);
        self.machine.paused(retried.paused);
        if !retried.is_over && self.machine.deadline().is_some_and(|at| at <= cx.now) {
            return self.expire_machine(cx);
        }
        self.ask_for_loan();
    }

    /// Delivers bytes already in the lent buffer before timing out: they may move the deadline.
    fn expire_machine(&mut self, cx: &mut WorkerCx) {
        self.repay(cx);
        let still_due = self.machine.deadline().is_some_and(|at| at <= cx.now);
        if self.state == State::Open && still_due {
            self.call(cx, |machine, cx| machine.expire(cx));
        }
        self.ask_for_loan();
    }

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
        let total = if self.draining || self.is_retired { LINGER_BRIEF } else { LINGER_TIME };
        State::Lingering { told: false, idle: now + LINGER_GAP, total: now + total }
    }

    /// Returns true if the driver is to read; else it leaves bytes in the socket.
    pub(crate) fn wants_input(&self) -> bool {
        match self.state {
            State::Open => {
                let may_read = self.paused.is_none() && !self.memory.is_waiting();
                may_read && !self.ended && !self.machine.is_full()
            }
            State::Lingering { .. } => true,
            State::Flushing | State::Closed => false,
        }
    }

    /// Returns true if nothing remains to do until the peer acts, once `bytes` are sent.
    pub(crate) fn rests_after(&self, bytes: usize) -> bool {
        let open = self.state == State::Open && !self.machine.awaits_flush();
        open && self.pending() == bytes && self.wants_input()
    }

    /// Stops to read above the limit of unsent bytes, or while these hold too much memory, and
    /// reads on from half of it.
    fn limit_output(&mut self, now: Instant) {
        let (pending, most) = (self.pending(), self.outbox_bytes_max);
        let pool = self.memory.pool();
        match self.paused {
            None if pending > most => self.paused = Some(now),
            None if pool.is_over() && pending > 0 => {
                pool.hit(Limit::ConnectionMemory);
                self.paused = Some(now);
            }
            Some(since) if pending <= most / 2 && (pending == 0 || pool.has_room()) => {
                self.paused = None;
                self.machine.paused(now.saturating_duration_since(since));
            }
            _ => {}
        }
    }

    /// Returns the bytes to send next; refills them from the outbox when all are sent.
    pub(crate) fn batch(&mut self, now: Instant) -> &Batch {
        if self.batch.is_empty() && !self.outbox.is_empty() {
            self.outbox.batch_sent();
            self.outbox.take(&mut self.batch);
            self.sending.get_or_insert_with(|| Progress::start(self.send_pace, now));
        }
        &self.batch
    }

    pub(crate) fn pending(&self) -> usize {
        self.outbox.len() + self.batch.len() + self.detached
    }

    /// Takes the next piece, for a driver whose operations own their buffers.
    /// [`Connection::reattach`] returns the pieces, last one first, before [`Connection::sent`].
    pub(crate) fn detach(&mut self, cx: &mut WorkerCx) -> Option<(Vec<u8>, Range<usize>)> {
        if self.detached == 0 {
            self.batch(cx.now);
        }
        let (buffer, range) = self.batch.pop_front(self.memory.pool())?;
        self.detached += range.len();
        let (buffer, charge) = buffer.into_parts();
        self.charges.push(charge);
        Some((buffer, range))
    }

    pub(crate) fn reattach(&mut self, buffer: Vec<u8>, range: Range<usize>) {
        self.detached -= range.len();
        let buffer = match self.charges.pop().flatten() {
            Some(charge) => charge.own(buffer),
            None => PooledBuf::from(buffer),
        };
        self.batch.push_front(Slice::new(buffer, range));
    }

    pub(crate) fn sent(&mut self, count: usize, cx: &mut WorkerCx) {
        cx.counts.bytes_out.add(count as u64);
        self.batch.advance(count);
        self.limit_output(cx.now);
        if self.pending() > 0 {
            if let Some(sending) = &mut self.sending {
                sending.moved(count, self.send_pace, cx.now);
            }
            return;
        }
        self.sending = None;
        if self.state == State::Open {
            self.call(cx, |machine, cx| machine.flushed(cx));
            self.ask_for_loan();
        }
    }

    fn finish_input(&mut self, cx: &mut WorkerCx) {
        if std::mem::replace(&mut self.ended, true) || self.state != State::Open {
            return;
        }
        self.repay(cx);
        if self.state == State::Open {
            self.call(cx, |machine, cx| machine.end(cx));
        }
    }

    fn settle(&mut self, mut loan: Loan, count: usize, cx: &mut WorkerCx) {
        loan.want -= count;
        let full = loan.want == 0;
        self.loan = Some(loan);
        if full {
            self.show_loan(cx);
        }
    }

    fn repay(&mut self, cx: &mut WorkerCx) {
        if let Some(loan) = self.loan.take() {
            self.call(cx, |machine, cx| machine.repay(loan.buffer, cx));
        }
    }

    fn ask_for_loan(&mut self) {
        let lent = self.loan_is_out || self.loan.is_some();
        if self.state == State::Open && !self.ended && !lent && !self.memory.is_waiting() {
            self.loan = self.machine.lend(self.memory.pool());
            self.has_lent |= self.loan.is_some();
        }
    }

    fn call(
        &mut self,
        cx: &mut WorkerCx,
        work: impl FnOnce(&mut dyn Connected, &mut Context<'_>) -> Result<(), WireError>,
    ) {
        let pool = self.memory.pool();
        let mut machine_cx = Context { out: &mut self.outbox, pool, now: cx.now };
        let failed = work(self.machine.as_mut(), &mut machine_cx).is_err();
        if failed {
            self.blame(cx);
        }
        if failed || self.machine.finished() {
            self.state = State::Flushing;
            self.loan = None;
        }
        self.limit_output(cx.now);
        let (machine, is_open) = (&self.machine, self.state == State::Open);
        self.memory.limit_input(|| is_open && machine.is_gathering(), cx.now);
    }

    fn blame(&mut self, cx: &mut WorkerCx) {
        if !std::mem::replace(&mut self.at_fault, true) {
            cx.counts.peer_faults.add(1);
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
