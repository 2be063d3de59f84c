//! Ring of one worker: operations go in, completions come out, on any [`Kernel`].
//!
//! ```text
//! push ─▶ submission queue ─full▶ submit ─refused▶ overflow, submitted first and in order
//! non-blocking send ─▶ at_once ─ taken, and no completion can say otherwise ▶ concluded
//! ```
//! The kernel works inside `Ring::wait` and `Ring::look` only. A look costs no system call
//! without pending work.
#![allow(unsafe_code)] // Operations carry pointers.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::types::Fd;
use io_uring::{cqueue, opcode, squeue};

use super::buffers::{self, Buffers};
use super::kernel::{Kernel, QueueState};
use super::linux::Linux;
use super::op::{Completion, Kind, Op, Token};
use crate::driver::error::{DriverError, io_uring_unavailable};
use crate::driver::planted_bugs::{PlantedBug, is_planted};

/// `IORING_RECVSEND_POLL_FIRST`; the io-uring crate has no name for it.
const POLL_FIRST: u16 = 1;

pub struct Ring<K: Kernel> {
    /// Dropped before the buffers, which it may fill.
    pub(super) kernel: K,
    buffers: Buffers<K>,
    /// Operations that the kernel could not take yet, submitted first.
    overflow: VecDeque<squeue::Entry>,
    /// Non-blocking sends and their bytes, since completions were last taken.
    at_once: Vec<(Token, u32)>,
}

impl Ring<Linux> {
    pub fn open() -> Result<Ring<Linux>, DriverError> {
        Ring::on(Linux::open()?).map_err(|error| io_uring_unavailable(&error))
    }
}

impl<K: Kernel> Ring<K> {
    pub(super) fn on(mut kernel: K) -> io::Result<Ring<K>> {
        // SAFETY: the fields of a ring drop in order, so the buffers outlive the kernel. The
        // reactor lets no operation outlive its ring.
        let buffers = unsafe { Buffers::register(&mut kernel)? };
        Ok(Ring { kernel, buffers, overflow: VecDeque::new(), at_once: Vec::new() })
    }

    /// Queues `op`, which starts at the next [`Ring::wait`] or before.
    ///
    /// # Safety
    /// The memory behind the pointers in `op` must stay allocated, unmoved and otherwise unused
    /// (for a send: unchanged) until the completion without `more` that carries `token`.
    pub(super) unsafe fn push(&mut self, op: Op, token: Token) {
        if let Op::Send { len, at_once: true, .. } | Op::SendVectored { len, at_once: true, .. } =
            op
        {
            self.at_once.push((token, len));
        }
        let entry = entry(op).user_data(token.bits());
        let must_wait = !self.overflow.is_empty();
        // SAFETY: as the caller vouches.
        if (must_wait || !unsafe { self.try_push(&entry) }) && !is_planted(PlantedBug::EntryLost) {
            self.kernel.note_refused(&entry);
            self.overflow.push_back(entry);
        }
    }

    /// Submits operations and waits for a completion; a successful non-blocking send ends no wait.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.overflow.is_empty() {
            self.push_overflow();
            // Perhaps nothing else can complete, so a wait might last for ever.
            if !self.overflow.is_empty() {
                return failure(self.kernel.submit());
            }
        }
        failure(self.kernel.submit_and_wait(timeout))
    }

    /// Submits operations and lets the kernel do pending work, without waiting.
    pub(super) fn look(&mut self) -> io::Result<()> {
        if !self.overflow.is_empty() {
            self.push_overflow();
        }
        let QueueState { is_submitted, has_task_work, has_overflow } = self.kernel.state();
        if is_submitted && !has_task_work && !has_overflow {
            return Ok(());
        }
        failure(self.kernel.submit())
    }

    /// Takes all completions in order, after those of non-blocking sends.
    pub(super) fn completions(&mut self, into: &mut Vec<Completion>) {
        let start = into.len();
        let Ring { kernel, buffers, .. } = self;
        kernel.completions(|cqe| {
            let buffer = cqueue::buffer_select(cqe.flags);
            if let Some(id) = buffer {
                buffers.take(id);
            }
            let token = Token::from_bits(cqe.user_data);
            into.push(Completion {
                token: token.expect("the kernel returns user_data as it got it"),
                result: cqe.result,
                buffer,
                more: cqueue::more(cqe.flags),
                nonempty: cqueue::sock_nonempty(cqe.flags),
            });
        });
        if !self.at_once.is_empty() {
            self.conclude(start, into);
        }
    }

    /// Returns true while a non-blocking send may be under way that has not been concluded.
    pub(super) fn has_at_once(&self) -> bool {
        !self.at_once.is_empty()
    }

    pub(super) fn buffer(&self, id: u16, len: usize) -> &[u8] {
        self.buffers.bytes(id, len)
    }

    pub(super) fn recycle(&mut self, id: u16) {
        self.buffers.recycle(id);
    }

    /// Queues `entry`; returns false if the kernel takes no more for now.
    ///
    /// # Safety
    /// As for [`Ring::push`].
    unsafe fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        for _ in 0..2 {
            // SAFETY: the caller vouches for what the entry points to.
            if unsafe { self.kernel.push(entry) } {
                return true;
            }
            if self.kernel.submit().is_err() {
                return false;
            }
        }
        false
    }

    /// Makes completions for SKIP_SUCCESS sends, in front of `into[start..]`: once the submission
    /// queue is empty, every such send without an error CQE has succeeded. An error may still be in
    /// the kernel's own list while the completion queue overflows.
    fn conclude(&mut self, start: usize, into: &mut Vec<Completion>) {
        let of_sends =
            into[start..].iter().filter(|completion| completion.token.kind == Kind::Send);
        let mut told: Vec<u64> = of_sends.map(|completion| completion.token.bits()).collect();
        if !told.is_empty() && !is_planted(PlantedBug::ConcludedTwice) {
            told.sort_unstable();
            self.at_once.retain(|(token, _)| told.binary_search(&token.bits()).is_err());
        }
        let QueueState { is_submitted, has_overflow, .. } = self.kernel.state();
        let is_taken = is_submitted && self.overflow.is_empty();
        let is_told = !has_overflow || is_planted(PlantedBug::ConcludedInOverflow);
        if is_told && (is_taken || is_planted(PlantedBug::ConcludedUntaken)) {
            let sent = self.at_once.drain(..);
            let sent = sent.map(|(token, len)| Completion::last(token, len as i32));
            into.splice(start..start, sent);
        }
    }

    /// Submits in order what was refused, as far as the kernel takes it: a cancel that overtook its
    /// target would miss it.
    fn push_overflow(&mut self) {
        while let Some(entry) = self.overflow.pop_front() {
            // SAFETY: it was queued under the contract of `push`, and has not completed.
            if !unsafe { self.try_push(&entry) } {
                self.overflow.push_front(entry);
                return;
            }
        }
    }
}

impl<K: Kernel> Drop for Ring<K> {
    fn drop(&mut self) {
        // It fails if the kernel never took the buffers; the drop of the kernel ends its use too.
        let _ = self.kernel.unregister_buffers(buffers::GROUP);
    }
}

/// Returns the error unless it is the end of the time, a signal or a full completion queue.
fn failure(result: io::Result<usize>) -> io::Result<()> {
    const PASSING: [i32; 4] = [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN];
    match result {
        Err(error) if !PASSING.contains(&error.raw_os_error().unwrap_or(0)) => Err(error),
        _ => Ok(()),
    }
}

fn entry(op: Op) -> squeue::Entry {
    let poll_first = |wait_first| if wait_first { POLL_FIRST } else { 0 };
    match op {
        Op::Accept { fd, is_multishot: true } => {
            opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build()
        }
        Op::Accept { fd, is_multishot: false } => {
            let (peer, len) = (std::ptr::null_mut(), std::ptr::null_mut());
            opcode::Accept::new(Fd(fd), peer, len).flags(libc::SOCK_CLOEXEC).build()
        }
        Op::ReceiveMulti { fd } => opcode::RecvMulti::new(Fd(fd), buffers::GROUP).build(),
        Op::ReceiveOnce { fd, len, wait_first } => {
            opcode::Recv::new(Fd(fd), std::ptr::null_mut(), len)
                .buf_group(buffers::GROUP)
                .ioprio(poll_first(wait_first))
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        }
        Op::ReceiveInto { fd, at, len, wait_first } => opcode::Recv::new(Fd(fd), at, len)
            .flags(libc::MSG_WAITALL)
            .ioprio(poll_first(wait_first))
            .build(),
        Op::Send { fd, at, len, at_once } => {
            quiet(at_once, opcode::Send::new(Fd(fd), at, len).flags(send_flags(at_once)).build())
        }
        Op::SendVectored { fd, message, at_once, .. } => {
            let flags = send_flags(at_once) as u32;
            quiet(at_once, opcode::SendMsg::new(Fd(fd), message).flags(flags).build())
        }
        Op::Cancel { target } => opcode::AsyncCancel::new(target.bits()).build(),
        Op::Watch { fd } => opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).build(),
    }
}

/// Makes a partial send an error (`MSG_WAITALL`), and a non-blocking one immediate.
fn send_flags(at_once: bool) -> i32 {
    let wait = if at_once { libc::MSG_DONTWAIT } else { 0 };
    libc::MSG_NOSIGNAL | libc::MSG_WAITALL | wait
}

fn quiet(at_once: bool, entry: squeue::Entry) -> squeue::Entry {
    if at_once { entry.flags(squeue::Flags::SKIP_SUCCESS) } else { entry }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixStream;

    use super::super::linux::COMPLETIONS;
    use super::super::op::Key;
    use super::*;

    const SENDING: Token = Token { kind: Kind::Send, key: Key { index: 1, generation: 1 } };
    const SOON: Option<Duration> = Some(Duration::from_millis(1));

    /// Sends without blocking, waits for 1 ms, and returns the completions.
    fn send_at_once(ring: &mut Ring<Linux>, socket: &UnixStream, bytes: &[u8]) -> Vec<Completion> {
        let (at, len) = (bytes.as_ptr(), bytes.len() as u32);
        let op = Op::Send { fd: socket.as_raw_fd(), at, len, at_once: true };
        let mut completed = Vec::new();
        // SAFETY: `bytes` lives until the completion is there.
        unsafe { ring.push(op, SENDING) };
        ring.completions(&mut completed);
        assert_eq!(completed, [], "not submitted yet");
        ring.wait(SOON).expect("a ring");
        ring.completions(&mut completed);
        completed
    }

    #[test]
    fn a_send_behind_a_full_completion_queue_is_not_done() {
        let mut ring = Ring::open().expect("a ring");
        let (full, _theirs) = UnixStream::pair().expect("two sockets");
        full.set_nonblocking(true).expect("a socket");
        while (&full).write(&[0; 4096]).is_ok() {}
        let (readable, mut writer) = UnixStream::pair().expect("two sockets");
        writer.write_all(b"x").expect("there is room");
        let watching = Token { kind: Kind::Stop, key: SENDING.key };
        for _ in 0..2 * COMPLETIONS {
            // SAFETY: the operation points to nothing.
            unsafe { ring.push(Op::Watch { fd: readable.as_raw_fd() }, watching) };
        }
        let op = Op::Send { fd: full.as_raw_fd(), at: b"four".as_ptr(), len: 4, at_once: true };
        // SAFETY: the bytes are static.
        unsafe { ring.push(op, SENDING) };
        let mut sent = Vec::new();
        for _ in 0..4 {
            let mut completed = Vec::new();
            ring.look().expect("a ring");
            ring.completions(&mut completed);
            sent.extend(completed.into_iter().filter(|completion| completion.token == SENDING));
        }
        assert_eq!(sent, [Completion::last(SENDING, -libc::EAGAIN)]);
    }

    #[test]
    fn a_non_blocking_send_is_done_when_submitted_and_reports_a_remainder() {
        let mut ring = Ring::open().expect("a ring");
        let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
        let completion = |result| Completion::last(SENDING, result);
        assert_eq!(send_at_once(&mut ring, &ours, b"all of it"), [completion(9)]);
        let mut got = [0; 9];
        theirs.read_exact(&mut got).expect("it was sent");
        assert_eq!(&got, b"all of it");

        let large = vec![7; 16 << 20];
        let [part] = send_at_once(&mut ring, &ours, &large)[..] else {
            panic!("expected one completion");
        };
        let sent = usize::try_from(part.result).expect("a part was sent");
        assert!((1..large.len()).contains(&sent), "{sent} of {}", large.len());
        let more = send_at_once(&mut ring, &ours, &large);
        assert_eq!(more, [completion(-libc::EAGAIN)]);

        let mut got = vec![0; sent];
        theirs.read_exact(&mut got).expect("all bytes that the completion counted");
        drop(theirs);
        let more = send_at_once(&mut ring, &ours, b"for nobody");
        assert_eq!(more, [completion(-libc::EPIPE)]);
    }
}
