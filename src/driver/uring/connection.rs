//! One connection on the ring: its operations in flight, and the memory that they own.
//!
//! ```text
//!           ┌─────────── no loan lately ───────────┐
//!           ▼                                       │
//! Idle ─▶ Multi ─cancel, its last completion─▶ Idle ─loan─▶ Into ─▶ Idle ─▶ Once ─▶ Idle ...
//! ```
//! Small messages arrive by one multishot receive into provided buffers. When the machine lends the
//! buffer of a large message, that receive is cancelled; bytes that it still delivers are copied
//! into the loan, perhaps all of them. From then on reads go one at a time: a short one for the
//! next head and a direct one for the body, until [`ONCE_READS`] short ones in a row saw no loan.
//!
//! Invariant: while an operation is in flight, the connection is not dropped, and the memory of the
//! operation (the loan in `receive`, the batch in `inner`, the list in `send`) is neither moved nor
//! touched.
#![allow(unsafe_code)] // Hands pointers to the kernel and takes over memory that it filled.

use std::io::IoSlice;
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::time::Instant;

use super::core::Core;
use super::iovec::IoVector;
use super::kernel::Kernel;
use super::op::{Completion, Key, Kind, Op, Token};
use super::timers::Due;
use crate::driver::SLICES_MAX;
use crate::driver::connection::{Connection, Step};
use crate::driver::planted_bugs::{PlantedBug, is_planted};
use crate::wire::Loan;

/// Read of the next head; short, because bytes after the head must be copied.
const ONCE_BYTES: u32 = 4096;

const ONCE_READS: u8 = 4;

/// Longest send. A longer one saves nothing, and a completion is the usual sign of progress.
const SEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest send without a completion, for which a socket that is read nearly always has room.
const AT_ONCE_BYTES_MAX: usize = 64 * 1024;

pub(super) struct RingConnection<K: Kernel> {
    pub(super) inner: Connection,
    /// Listed for the end of the turn.
    pub(super) dirty: bool,
    socket: K::Socket,
    receive: Option<Receive>,
    send: Option<Send>,
    once_reads_left: u8,
    /// No room for the last non-blocking send; the next send waits.
    choked: bool,
    /// The socket was empty after the last receive.
    drained: bool,
    closing: bool,
    /// Both directions have been shut down, to end what is in flight.
    is_shut: bool,
    armed: Option<Instant>,
}

struct Receive {
    target: Target,
    cancel: Cancel,
}

/// State of the cancel of an operation in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    None,
    Asked,
    /// The operation runs, and takes no notice of a cancel.
    Refused,
}

enum Target {
    Multi,
    Once,
    Loan(Loan),
}

struct Send {
    vector: Option<IoVector>,
    /// Length of a send without a completion.
    at_once: Option<usize>,
    begun: Instant,
    cancel: Cancel,
}

impl<K: Kernel> RingConnection<K> {
    pub(super) fn new(socket: K::Socket, connection: Connection) -> RingConnection<K> {
        RingConnection {
            inner: connection,
            dirty: false,
            socket,
            receive: None,
            send: None,
            once_reads_left: 0,
            choked: false,
            drained: false,
            closing: false,
            is_shut: false,
            armed: None,
        }
    }

    pub(super) fn abort(&mut self) {
        self.closing = true;
    }

    /// Starts and cancels operations; returns true when done, with nothing in flight.
    pub(super) fn settle(&mut self, key: Key, core: &mut Core<K>) -> bool {
        self.dirty = false;
        match self.inner.step(core.now) {
            Step::Go => {}
            Step::ShutDown => core.ring.kernel.shut_down(&self.socket, Shutdown::Write),
            Step::Close => self.closing = true,
        }
        if self.closing {
            return self.settle_close(key, core);
        }
        while let Some(job) = self.inner.take_job() {
            core.executor.start_job(key, job);
        }
        match &self.send {
            None => self.start_send(key, core),
            Some(_) => {
                let is_awaited = self.awaits_at_once();
                core.hurry |= is_awaited && !is_planted(PlantedBug::HurryForgotten);
            }
        }
        self.settle_receive(key, core);
        self.arm_timer(key, core);
        false
    }

    /// Returns true if there is more to do after a send without a completion. A connection that
    /// closes cancels the send, and the cancel completes.
    pub(super) fn awaits_at_once(&self) -> bool {
        let at_once = self.send.as_ref().and_then(|send| send.at_once);
        at_once.is_some_and(|len| !self.closing && !self.inner.rests_after(len))
    }

    #[cfg(test)]
    pub(super) fn has_jobs(&self) -> bool {
        !self.closing && self.inner.has_jobs()
    }

    /// Ends what is in flight; returns true once nothing is. An operation that already runs takes
    /// notice of the shutdown, and of no cancel.
    fn settle_close(&mut self, key: Key, core: &mut Core<K>) -> bool {
        let is_busy = self.receive.is_some() || self.send.is_some();
        if is_busy && !std::mem::replace(&mut self.is_shut, true) {
            core.ring.kernel.shut_down(&self.socket, Shutdown::Both);
        }
        self.cancel_receive(key, core);
        self.cancel_send(key, core);
        !is_busy
            || is_planted(PlantedBug::ClosedInFlight)
            || is_planted(PlantedBug::ClosedInFlightAndReused)
    }

    /// Returns all buffers; nothing may be in flight.
    pub(super) fn close(mut self, key: Key, core: &mut Core<K>) {
        debug_assert!(
            self.receive.is_none() && self.send.is_none()
                || is_planted(PlantedBug::ClosedInFlight)
                || is_planted(PlantedBug::ClosedInFlightAndReused)
        );
        if !is_planted(PlantedBug::DeadlineKeptAtClose) {
            core.timers.disarm(Due::Connection(key), &mut self.armed);
        }
        core.counts.closed.add(1);
    }

    pub(super) fn expire(&mut self, key: Key, core: &mut Core<K>) {
        self.armed = None;
        if self.inner.asks_for_unread(core.now) {
            self.inner.note_unread(core.ring.kernel.unread(&self.socket));
        }
        if self.inner.reads_too_slowly(core.now)
            && matches!(&self.send, Some(Send { cancel: Cancel::None, .. }))
        {
            // The completion brings the count of a part; then the connection judges.
            self.cancel_send(key, core);
        } else if self.is_receiving_loan() {
            // The last completion brings the count; then the connection judges.
            self.cancel_receive(key, core);
        } else {
            core.with_cx(|cx| self.inner.expire(cx));
        }
    }

    /// Returns true if the connection may end for the sake of another one.
    pub(super) fn may_retire(&self, kernel: &K, now: Instant) -> bool {
        self.inner.may_retire(kernel.unread(&self.socket), kernel.has_unsent(&self.socket), now)
    }

    fn is_receiving_loan(&self) -> bool {
        matches!(&self.receive, Some(Receive { target: Target::Loan(_), cancel: Cancel::None }))
    }

    /// Arms the deadline, except while an operation is cancelled: its end checks the deadline.
    fn arm_timer(&mut self, key: Key, core: &mut Core<K>) {
        let is_cancelled =
            self.receive.as_ref().is_some_and(|receive| receive.cancel == Cancel::Asked)
                || self.send.as_ref().is_some_and(|send| send.cancel == Cancel::Asked);
        if !is_cancelled && !is_planted(PlantedBug::DeadlinesNotArmed) {
            let deadline = self.inner.deadline();
            core.timers.arm(deadline, Due::Connection(key), &mut self.armed);
        }
    }

    fn settle_receive(&mut self, key: Key, core: &mut Core<K>) {
        let (wanted, has_lent) = (self.inner.wants_input(), self.inner.has_lent());
        if has_lent {
            self.once_reads_left = ONCE_READS;
        }
        let obsolete = match &self.receive {
            None if wanted => return self.start_receive(key, core),
            None => false,
            Some(receive) => match receive.target {
                Target::Multi => !wanted || has_lent,
                Target::Once => false,
                Target::Loan(_) => !self.inner.is_open(),
            },
        };
        if obsolete {
            self.cancel_receive(key, core);
        }
    }

    fn start_receive(&mut self, key: Key, core: &mut Core<K>) {
        let (fd, wait_first) = (self.socket.as_raw_fd(), self.drained);
        let (target, op) = if let Some(mut loan) = self.inner.take_loan() {
            let room = loan.buffer.spare_capacity_mut();
            debug_assert!((1..=room.len()).contains(&loan.want));
            let len = loan.want.min(room.len()).min(i32::MAX as usize) as u32;
            let at = room.as_mut_ptr().cast();
            (Target::Loan(loan), Op::ReceiveInto { fd, at, len, wait_first })
        } else if self.once_reads_left > 0 {
            (Target::Once, Op::ReceiveOnce { fd, len: ONCE_BYTES, wait_first })
        } else {
            (Target::Multi, Op::ReceiveMulti { fd })
        };
        self.receive = Some(Receive { target, cancel: Cancel::None });
        // SAFETY: the only pointer leads to the spare room of the loan's buffer, at least `len`
        // bytes. The loan is in `self.receive`, which nobody touches until the last completion
        // takes it out, and `self` lives until then.
        unsafe { core.ring.push(op, Token { kind: Kind::Receive, key }) };
    }

    fn cancel_receive(&mut self, key: Key, core: &mut Core<K>) {
        if let Some(receive) = &mut self.receive
            && receive.cancel == Cancel::None
        {
            receive.cancel = Cancel::Asked;
            if let Target::Loan(loan) = &mut receive.target {
                if is_planted(PlantedBug::LoanPooledAtCancel) {
                    drop(std::mem::take(&mut loan.buffer));
                } else if is_planted(PlantedBug::LoanFreedAtCancel) {
                    drop(std::mem::take(&mut loan.buffer).into_vec());
                }
            }
            core.cancel(Token { kind: Kind::Receive, key });
        }
    }

    /// Notes the result of a cancel. [`RingConnection::settle`] repeats one that has missed its
    /// target.
    pub(super) fn cancelled(&mut self, completion: Completion) {
        let cancel = match -completion.result {
            libc::ENOENT if !is_planted(PlantedBug::CancelNotRepeated) => Cancel::None,
            libc::EALREADY if !is_planted(PlantedBug::RefusalIgnored) => Cancel::Refused,
            _ => return,
        };
        match (completion.token.kind, &mut self.receive, &mut self.send) {
            (Kind::CancelReceive, Some(receive), _) => receive.cancel = cancel,
            (Kind::CancelSend, _, Some(send)) => send.cancel = cancel,
            _ => {}
        }
    }

    pub(super) fn received(&mut self, completion: Completion, core: &mut Core<K>) {
        self.drained = !completion.nonempty;
        let count = usize::try_from(completion.result).unwrap_or(0);
        let goes_on = completion.more
            || is_planted(PlantedBug::MultishotEndIgnored) && completion.buffer.is_some();
        let done = if goes_on { None } else { self.receive.take() };
        if let Some(id) = completion.buffer {
            if is_planted(PlantedBug::BufferRecycledEarly) {
                core.ring.recycle(id);
            }
            if !self.closing {
                let follows = completion.nonempty;
                core.with_buffer(id, count, |input, cx| self.inner.feed(input, follows, cx));
            }
            if !self.closing || !is_planted(PlantedBug::BufferKeptAtClose) {
                core.ring.recycle(id);
            }
        }
        match done {
            Some(Receive { target: Target::Loan(loan), cancel }) => {
                self.received_loan(loan, count, core);
                if cancel != Cancel::None {
                    core.with_cx(|cx| self.inner.expire(cx));
                }
            }
            Some(Receive { target: Target::Once, .. }) => self.once_reads_left -= 1,
            _ => {}
        }
        match -completion.result {
            0 => core.with_cx(|cx| self.inner.end(cx)),
            libc::ENOBUFS if is_planted(PlantedBug::NoBufferIsFatal) => {
                core.with_cx(|cx| self.inner.vanish(cx));
            }
            // No provided buffer was left, or the receive was cancelled: `settle` arms it again.
            libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            error if error > 0 => core.with_cx(|cx| self.inner.vanish(cx)),
            _ => {}
        }
    }

    fn received_loan(&mut self, mut loan: Loan, count: usize, core: &mut Core<K>) {
        let len = loan.buffer.len() + count;
        assert!(
            count <= loan.want && len <= loan.buffer.capacity(),
            "the kernel wrote more bytes than the receive asked for"
        );
        // SAFETY: the completed receive wrote `count` bytes there, within the capacity.
        unsafe { loan.buffer.set_len(len) };
        core.with_cx(|cx| self.inner.received(loan, count, cx));
    }

    fn start_send(&mut self, key: Key, core: &mut Core<K>) {
        let fd = self.socket.as_raw_fd();
        let pending = self.inner.batch(core.now).len();
        let may_rest =
            !self.choked && pending <= AT_ONCE_BYTES_MAX && self.inner.rests_after(pending);
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = self.inner.batch(core.now).slices(&mut slices);
        let (vector, op) = match &slices[..filled] {
            [] => return,
            [only] => {
                let len = only.len().min(SEND_BYTES_MAX) as u32;
                (None, Op::Send { fd, at: only.as_ptr(), len, at_once: may_rest })
            }
            several => {
                let mut vector = core.vectors.pop().unwrap_or_else(IoVector::new);
                let (message, len) = vector.list(several, SEND_BYTES_MAX);
                let at_once = may_rest && len as usize == pending;
                (Some(vector), Op::SendVectored { fd, message, len, at_once })
            }
        };
        let at_once = op.is_at_once().then_some(pending);
        self.send = Some(Send { vector, at_once, begun: core.now, cancel: Cancel::None });
        // SAFETY: the batch owns the bytes on the heap. Only `Connection::sent` and
        // `Connection::close` change it, both after the last completion. The list is in
        // `self.send` until then.
        unsafe { core.ring.push(op, Token { kind: Kind::Send, key }) };
        if is_planted(PlantedBug::SlicesReused)
            && let Some(send) = &mut self.send
        {
            core.vectors.extend(send.vector.take());
        }
    }

    fn cancel_send(&mut self, key: Key, core: &mut Core<K>) {
        if let Some(send) = &mut self.send
            && send.cancel == Cancel::None
        {
            send.cancel = Cancel::Asked;
            core.cancel(Token { kind: Kind::Send, key });
        }
    }

    pub(super) fn sent(&mut self, completion: Completion, core: &mut Core<K>) {
        let (mut at, mut cancelled) = (core.now, false);
        if let Some(send) = self.send.take() {
            core.vectors.extend(send.vector);
            let len = send.at_once.map_or(completion.result, |len| len as i32);
            self.choked = completion.result < len;
            cancelled = send.cancel != Cancel::None;
            if send.at_once.is_some() {
                // It may be noticed late, but its end was at its beginning.
                at = send.begun;
            }
        }
        match (usize::try_from(completion.result), -completion.result) {
            _ if self.closing => return,
            (Ok(count), _) => core.with_cx(|cx| {
                cx.now = at;
                self.inner.sent(count, cx);
                if is_planted(PlantedBug::SentTwice) {
                    self.inner.sent(count, cx);
                }
            }),
            (_, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {
                if is_planted(PlantedBug::FailedSendCounts) {
                    core.with_cx(|cx| self.inner.sent(1, cx));
                }
            }
            _ => core.with_cx(|cx| self.inner.vanish(cx)),
        }
        if cancelled {
            core.with_cx(|cx| self.inner.expire(cx));
        }
    }
}
