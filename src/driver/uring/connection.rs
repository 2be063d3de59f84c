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
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use super::core::Core;
use super::iovec::IoVector;
use super::op::{Completion, Key, Kind, Op, Token};
use super::ring::Ring;
use super::timers::Due;
use crate::driver::SLICES_MAX;
use crate::driver::connection::{Connection, Step};
use crate::sys::socket;
use crate::wire::Loan;

/// Read of the next head; short, because bytes after the head must be copied.
const ONCE_BYTES: u32 = 4096;

const ONCE_READS: u8 = 4;

/// Longest send. A longer one saves nothing, and a completion is the usual sign of progress.
const SEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest send without a completion, for which a socket that is read nearly always has room.
const AT_ONCE_BYTES_MAX: usize = 64 * 1024;

pub(super) struct RingConnection {
    pub(super) inner: Connection,
    /// Listed for the end of the turn.
    pub(super) dirty: bool,
    fd: OwnedFd,
    receive: Option<Receive>,
    send: Option<Send>,
    once_reads_left: u8,
    /// No room for the last non-blocking send; the next send waits.
    choked: bool,
    /// The socket was empty after the last receive.
    drained: bool,
    closing: bool,
    armed: Option<Instant>,
}

struct Receive {
    target: Target,
    cancelled: bool,
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
    cancelled: bool,
}

impl RingConnection {
    pub(super) fn new(fd: OwnedFd, connection: Connection) -> RingConnection {
        RingConnection {
            inner: connection,
            dirty: false,
            fd,
            receive: None,
            send: None,
            once_reads_left: 0,
            choked: false,
            drained: false,
            closing: false,
            armed: None,
        }
    }

    pub(super) fn abort(&mut self) {
        self.closing = true;
    }

    /// Starts and cancels operations; returns true when done, with nothing in flight.
    pub(super) fn settle<R: Ring>(&mut self, key: Key, core: &mut Core<R>) -> bool {
        self.dirty = false;
        match self.inner.step(core.now) {
            Step::Go => {}
            Step::ShutDown => core.ring.shut_down(self.fd.as_fd()),
            Step::Close => self.closing = true,
        }
        if self.closing {
            self.cancel_receive(key, core);
            self.cancel_send(key, core);
            return self.receive.is_none() && self.send.is_none();
        }
        match &self.send {
            None => self.start_send(key, core),
            Some(Send { at_once: Some(len), .. }) => {
                core.hurry |= !self.inner.rests_after(*len);
            }
            Some(_) => {}
        }
        self.settle_receive(key, core);
        self.arm_timer(key, core);
        false
    }

    /// Returns all buffers; nothing may be in flight.
    pub(super) fn close<R: Ring>(mut self, key: Key, core: &mut Core<R>) {
        debug_assert!(self.receive.is_none() && self.send.is_none());
        core.timers.disarm(Due::Connection(key), &mut self.armed);
        core.with_cx(|cx| self.inner.close(cx));
    }

    pub(super) fn expire<R: Ring>(&mut self, key: Key, core: &mut Core<R>) {
        self.armed = None;
        if self.inner.ends_drain(core.now) && socket::has_input(&self.fd) {
            self.inner.await_input();
        }
        if self.inner.reads_too_slowly(core.now) && self.send.is_some() {
            // The completion brings the count of a part; then the connection judges.
            self.cancel_send(key, core);
        } else if self.is_receiving_loan() {
            // The last completion brings the count; then the connection judges.
            self.cancel_receive(key, core);
        } else {
            core.with_cx(|cx| self.inner.expire(cx));
        }
    }

    fn is_receiving_loan(&self) -> bool {
        matches!(&self.receive, Some(Receive { target: Target::Loan(_), .. }))
    }

    /// Arms the deadline, except while an operation is cancelled: its end checks the deadline.
    fn arm_timer<R: Ring>(&mut self, key: Key, core: &mut Core<R>) {
        let is_cancelled = self.receive.as_ref().is_some_and(|receive| receive.cancelled)
            || self.send.as_ref().is_some_and(|send| send.cancelled);
        if !is_cancelled {
            let deadline = self.inner.deadline();
            core.timers.arm(deadline, Due::Connection(key), &mut self.armed);
        }
    }

    fn settle_receive<R: Ring>(&mut self, key: Key, core: &mut Core<R>) {
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

    fn start_receive<R: Ring>(&mut self, key: Key, core: &mut Core<R>) {
        let (fd, wait_first) = (self.fd.as_raw_fd(), self.drained);
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
        self.receive = Some(Receive { target, cancelled: false });
        // SAFETY: the only pointer leads to the spare room of the loan's buffer, at least `len`
        // bytes. The loan is in `self.receive`, which nobody touches until the last completion
        // takes it out, and `self` lives until then.
        unsafe { core.ring.push(op, Token { kind: Kind::Receive, key }) };
    }

    fn cancel_receive<R: Ring>(&mut self, key: Key, core: &mut Core<R>) {
        if let Some(receive) = &mut self.receive
            && !std::mem::replace(&mut receive.cancelled, true)
        {
            core.cancel(Token { kind: Kind::Receive, key });
        }
    }

    pub(super) fn received<R: Ring>(&mut self, completion: Completion, core: &mut Core<R>) {
        self.drained = !completion.nonempty;
        let count = usize::try_from(completion.result).unwrap_or(0);
        let done = if completion.more { None } else { self.receive.take() };
        if let Some(id) = completion.buffer {
            if !self.closing {
                let follows = completion.nonempty;
                core.with_buffer(id, count, |input, cx| self.inner.feed(input, follows, cx));
            }
            core.ring.recycle(id);
        }
        match done {
            Some(Receive { target: Target::Loan(loan), cancelled }) => {
                self.received_loan(loan, count, core);
                if cancelled {
                    core.with_cx(|cx| self.inner.expire(cx));
                }
            }
            Some(Receive { target: Target::Once, .. }) => self.once_reads_left -= 1,
            _ => {}
        }
        match -completion.result {
            0 => core.with_cx(|cx| self.inner.end(cx)),
            // No provided buffer was left, or the receive was cancelled: `settle` arms it again.
            libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            error if error > 0 => core.with_cx(|cx| self.inner.vanish(cx)),
            _ => {}
        }
    }

    fn received_loan<R: Ring>(&mut self, mut loan: Loan, count: usize, core: &mut Core<R>) {
        let len = loan.buffer.len() + count;
        assert!(
            count <= loan.want && len <= loan.buffer.capacity(),
            "the kernel wrote more bytes than the receive asked for"
        );
        // SAFETY: the completed receive wrote `count` bytes there, within the capacity.
        unsafe { loan.buffer.set_len(len) };
        core.with_cx(|cx| self.inner.received(loan, count, cx));
    }

    fn start_send<R: Ring>(&mut self, key: Key, core: &mut Core<R>) {
        let fd = self.fd.as_raw_fd();
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
        self.send = Some(Send { vector, at_once, begun: core.now, cancelled: false });
        // SAFETY: the batch owns the bytes on the heap. Only `Connection::sent` and
        // `Connection::close` change it, both after the last completion. The list is in
        // `self.send` until then.
        unsafe { core.ring.push(op, Token { kind: Kind::Send, key }) };
    }

    fn cancel_send<R: Ring>(&mut self, key: Key, core: &mut Core<R>) {
        if let Some(send) = &mut self.send
            && !std::mem::replace(&mut send.cancelled, true)
        {
            core.cancel(Token { kind: Kind::Send, key });
        }
    }

    pub(super) fn sent<R: Ring>(&mut self, completion: Completion, core: &mut Core<R>) {
        let (mut at, mut cancelled) = (core.now, false);
        if let Some(send) = self.send.take() {
            core.vectors.extend(send.vector);
            let len = send.at_once.map_or(completion.result, |len| len as i32);
            self.choked = completion.result < len;
            cancelled = send.cancelled;
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
            }),
            (_, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            _ => core.with_cx(|cx| self.inner.vanish(cx)),
        }
        if cancelled {
            core.with_cx(|cx| self.inner.expire(cx));
        }
    }
}
