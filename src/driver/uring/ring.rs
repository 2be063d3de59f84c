//! Interface to the kernel: operations go in, completions come out.
//!
//! One thread makes and drives a ring (`SINGLE_ISSUER`). The kernel works inside [`Ring::wait`]
//! (`DEFER_TASKRUN`) and never interrupts that thread. A flag announces pending work
//! (`TASKRUN_FLAG`), so [`Ring::look`] costs no system call without it.
#![allow(unsafe_code)] // Operations carry pointers, and the queues are shared with the kernel.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Submitter, cqueue, opcode, squeue};

use super::buffers::{self, Buffers};
use super::op::{Completion, Kind, Op, Token};
use crate::driver::error::{DriverError, io_uring_unavailable};

/// A full queue is submitted at once, so this only bounds a batch.
const SUBMISSIONS: u32 = 512;

/// Longer, since a multishot operation completes many times.
const COMPLETIONS: u32 = 4096;

/// `IORING_RECVSEND_POLL_FIRST`; the io-uring crate has no name for it.
const POLL_FIRST: u16 = 1;

pub trait Ring {
    /// Queues `op`, which starts at the next [`Ring::wait`] or before.
    ///
    /// # Safety
    /// The memory behind the pointers in `op` must stay allocated, unmoved and otherwise unused
    /// (for a send: unchanged) until the completion without `more` that carries `token`.
    unsafe fn push(&mut self, op: Op, token: Token);

    /// Submits operations and waits for a completion; a successful non-blocking send ends no wait.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Submits operations and lets the kernel do pending work, without waiting.
    fn look(&mut self) -> io::Result<()>;

    /// Takes all completions in order, after those of non-blocking sends.
    fn completions(&mut self, into: &mut Vec<Completion>);

    fn buffer(&self, id: u16, len: usize) -> &[u8];

    fn recycle(&mut self, id: u16);

    /// Shuts down the sending side by a plain call: as an operation it would cost a kernel thread.
    fn shut_down(&mut self, socket: BorrowedFd<'_>);
}

pub struct KernelRing {
    /// Borrower of `ring`, dropped first.
    submitter: ManuallyDrop<Submitter<'static>>,
    /// Leaked `Box`, freed in `drop`: a `Box` must not be borrowed while it moves.
    ring: NonNull<IoUring>,
    buffers: ManuallyDrop<Buffers>,
    /// Operations that the kernel could not take yet, submitted first.
    overflow: Vec<squeue::Entry>,
    /// Non-blocking sends and their bytes, since completions were last taken.
    at_once: Vec<(Token, u32)>,
}

impl KernelRing {
    pub fn open() -> Result<KernelRing, DriverError> {
        let ring = build().map_err(|error| io_uring_unavailable(&error))?;
        if !ring.params().is_feature_nodrop() || !ring.params().is_feature_submit_stable() {
            return Err(io_uring_unavailable(&io::Error::from_raw_os_error(libc::EINVAL)));
        }
        let ring = NonNull::from(Box::leak(Box::new(ring)));
        // SAFETY: the ring is on the heap until `drop`, which ends this borrow first.
        let mut submitter = unsafe { ring.as_ref() }.submitter();
        // Saves a look-up in the descriptor table per call; optional.
        let _ = submitter.register_ring_fd();
        // SAFETY: `drop` frees the buffers after the ring; the reactor lets no operation outlive
        // its ring.
        let buffers = unsafe { Buffers::register(&submitter) };
        let buffers = buffers.map_err(|error| io_uring_unavailable(&error))?;
        Ok(KernelRing {
            submitter: ManuallyDrop::new(submitter),
            ring,
            buffers: ManuallyDrop::new(buffers),
            overflow: Vec::new(),
            at_once: Vec::new(),
        })
    }

    fn submissions(&mut self) -> squeue::SubmissionQueue<'_> {
        // SAFETY: the mutable borrow of `self` makes this the only queue object.
        unsafe { self.ring.as_ref().submission_shared() }
    }

    /// Queues `entry`; returns false if the kernel takes no more for now.
    ///
    /// # Safety
    /// As for [`Ring::push`].
    unsafe fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        for _ in 0..2 {
            let mut queue = self.submissions();
            // SAFETY: the caller vouches for what the entry points to.
            if unsafe { queue.push(entry) }.is_ok() {
                return true;
            }
            drop(queue);
            if self.submitter.submit().is_err() {
                return false;
            }
        }
        false
    }

    /// Makes completions for SKIP_SUCCESS sends, in front of `into[start..]`: once the submission
    /// queue is empty, every such send without an error CQE has succeeded.
    fn conclude(&mut self, start: usize, into: &mut Vec<Completion>) {
        let of_sends =
            into[start..].iter().filter(|completion| completion.token.kind == Kind::Send);
        let mut told: Vec<u64> = of_sends.map(|completion| completion.token.bits()).collect();
        if !told.is_empty() {
            told.sort_unstable();
            self.at_once.retain(|(token, _)| told.binary_search(&token.bits()).is_err());
        }
        if self.submissions().is_empty() && self.overflow.is_empty() {
            let sent = self.at_once.drain(..);
            let sent = sent.map(|(token, len)| Completion::last(token, len as i32));
            into.splice(start..start, sent);
        }
    }

    fn push_overflow(&mut self) {
        let overflow = std::mem::take(&mut self.overflow);
        for entry in overflow {
            // SAFETY: it was queued under the contract of `push`, and has not completed.
            if !unsafe { self.try_push(&entry) } {
                self.overflow.push(entry);
            }
        }
    }
}

impl Ring for KernelRing {
    unsafe fn push(&mut self, op: Op, token: Token) {
        if let Op::Send { len, at_once: true, .. } | Op::SendVectored { len, at_once: true, .. } =
            op
        {
            self.at_once.push((token, len));
        }
        let entry = entry(op).user_data(token.bits());
        // SAFETY: as the caller vouches.
        if !self.overflow.is_empty() || !unsafe { self.try_push(&entry) } {
            self.overflow.push(entry);
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.overflow.is_empty() {
            self.push_overflow();
        }
        let waited = match timeout {
            None => self.submitter.submit_and_wait(1),
            Some(timeout) => {
                let time = Timespec::from(timeout);
                self.submitter.submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        failure(waited)
    }

    fn look(&mut self) -> io::Result<()> {
        if !self.overflow.is_empty() {
            self.push_overflow();
        }
        let queue = self.submissions();
        let due = !queue.is_empty() || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        if !due {
            return Ok(());
        }
        failure(self.submitter.submit())
    }

    fn completions(&mut self, into: &mut Vec<Completion>) {
        let start = into.len();
        // SAFETY: `self` is borrowed mutably and no other queue object lives past this block.
        let queue = unsafe { self.ring.as_ref().completion_shared() };
        for entry in queue {
            let flags = entry.flags();
            let buffer = cqueue::buffer_select(flags);
            if let Some(id) = buffer {
                self.buffers.take(id);
            }
            let token = Token::from_bits(entry.user_data());
            into.push(Completion {
                token: token.expect("the kernel returns user_data as it got it"),
                result: entry.result(),
                buffer,
                more: cqueue::more(flags),
                nonempty: cqueue::sock_nonempty(flags),
            });
        }
        if !self.at_once.is_empty() {
            self.conclude(start, into);
        }
    }

    fn buffer(&self, id: u16, len: usize) -> &[u8] {
        self.buffers.bytes(id, len)
    }

    fn recycle(&mut self, id: u16) {
        self.buffers.recycle(id);
    }

    fn shut_down(&mut self, socket: BorrowedFd<'_>) {
        // A socket that the peer has reset is not connected.
        let _ = nix::sys::socket::shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Write);
    }
}

impl Drop for KernelRing {
    fn drop(&mut self) {
        let _ = self.buffers.unregister(&self.submitter);
        let _ = self.submitter.unregister_ring_fd();
        // SAFETY: each is dropped once, here, and not used after: first the borrower, then the
        // ring, which is the `Box` leaked in `open`, then the buffers, which no ring fills any
        // more.
        unsafe {
            ManuallyDrop::drop(&mut self.submitter);
            drop(Box::from_raw(self.ring.as_ptr()));
            ManuallyDrop::drop(&mut self.buffers);
        }
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

fn build() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(COMPLETIONS)
        .dontfork();
    // NO_SQARRAY saves a look-up per operation (Linux 6.6 and later).
    builder.clone().setup_no_sqarray().build(SUBMISSIONS).or_else(|_| builder.build(SUBMISSIONS))
}

fn entry(op: Op) -> squeue::Entry {
    let poll_first = |wait_first| if wait_first { POLL_FIRST } else { 0 };
    match op {
        Op::Accept { fd } => opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build(),
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
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::super::op::Key;
    use super::*;

    const SENDING: Token = Token { kind: Kind::Send, key: Key { index: 1, generation: 1 } };
    const SOON: Option<Duration> = Some(Duration::from_millis(1));

    /// Sends without blocking, waits for 1 ms, and returns the completions.
    fn send_at_once(ring: &mut KernelRing, socket: &UnixStream, bytes: &[u8]) -> Vec<Completion> {
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
    fn a_non_blocking_send_is_done_when_submitted_and_reports_a_remainder() {
        let mut ring = KernelRing::open().expect("a ring");
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
