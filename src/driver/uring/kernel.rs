//! Boundary to the kernel: two queues, the call that enters, provided buffers, sockets and time.
//!
//! ```text
//!   Reactor ─▶ Ring (order, overflow, conclusion of sends, buffers)
//!                │ push        ▲ completions
//!   Kernel:      ▼             │
//!          submission queue   completion queue ◀─ enter ─▶ sockets, clock
//! ```
//! [`super::linux`] is the real one. The tests run everything above on a simulated one, where
//! queues are short, calls fail and time is a number.
#![allow(unsafe_code)] // Entries carry pointers, and unsafe code believes completions.

use std::io;
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::squeue;

use super::jobs::Bell;
use crate::driver::jobs::JobRunner;
use crate::sys::socket::{SocketOptions, Unread};

/// Completion as the kernel writes it.
#[derive(Clone, Copy, Debug)]
pub struct Cqe {
    pub user_data: u64,
    /// Count or descriptor, or a negated error number.
    pub result: i32,
    pub flags: u32,
}

/// State of the queues, as their flags show it without a call.
#[derive(Clone, Copy, Debug)]
pub struct QueueState {
    /// Every pushed entry has been taken.
    pub is_submitted: bool,
    /// An enter has work to do.
    pub has_task_work: bool,
    /// Completions wait in the kernel's own list, until an enter finds room in the queue.
    pub has_overflow: bool,
}

/// Kernel of one worker, driven by one thread.
///
/// # Safety
/// Unsafe code takes over memory and descriptors because a completion says so. An implementation
/// promises for each operation that it has taken:
/// 1. A receive or send counts at most its length. That many bytes of its memory have been written
///    or read.
/// 2. A completion with a buffer ends the kernel's use of that buffer until the buffer is put in
///    the ring again.
/// 3. An accept returns an open descriptor that nobody else owns.
/// 4. After the completion without F_MORE, the memory of the operation is not touched again, and no
///    completion follows. A SKIP_SUCCESS operation that has succeeded has none. If one has failed,
///    its completion is in the queue once the entry is taken and there is no overflow.
pub unsafe trait Kernel {
    /// Number of provided buffers, a power of two.
    const BUFFERS: u16;

    const BUFFER_BYTES: usize;

    type Socket: AsRawFd;

    type Listener: AsRawFd;

    /// Registers a ring of `count` provided buffers as `group`.
    ///
    /// # Safety
    /// `ring` leads to page-aligned, zeroed entries. They and the buffers that are put in them must
    /// stay until [`Kernel::unregister_buffers`] or the drop of the kernel.
    unsafe fn register_buffers(&mut self, ring: u64, count: u16, group: u16) -> io::Result<()>;

    /// Takes the buffers away; no receive may be in flight.
    fn unregister_buffers(&mut self, group: u16) -> io::Result<()>;

    /// Appends an entry to the submission queue; returns false if that is full.
    ///
    /// # Safety
    /// The memory behind the pointers in `entry` must stay allocated, unmoved and otherwise unused
    /// (for a send: unchanged) until the operation is over, by promise 4.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool;

    /// Notes an entry that comes later, once the queue has room. A simulation guards its memory.
    fn note_refused(&mut self, _entry: &squeue::Entry) {}

    /// Submits entries in order, perhaps not all, and does pending work without waiting.
    fn submit(&mut self) -> io::Result<usize>;

    /// Submits entries in order, perhaps not all, and waits for a completion.
    fn submit_and_wait(&mut self, timeout: Option<Duration>) -> io::Result<usize>;

    fn state(&mut self) -> QueueState;

    /// Empties the completion queue, in order.
    fn completions(&mut self, each: impl FnMut(Cqe));

    fn now(&self) -> Instant;

    /// Returns true if promise 3 holds for an accept with many results.
    fn has_multishot_accept(&self) -> bool;

    /// Makes a bell, which [`super::op::Op::Watch`] waits for.
    fn bell(&self) -> Arc<dyn Bell>;

    fn job_runner(&self) -> Rc<dyn JobRunner>;

    /// Takes over a descriptor.
    ///
    /// # Safety
    /// `fd` is the result of an accept, and is taken over once.
    unsafe fn socket(&self, fd: RawFd) -> Self::Socket;

    /// Options of a socket, for the record.
    fn options(&self, socket: &Self::Socket) -> Option<SocketOptions>;

    /// Shuts a socket down by a plain call: as an operation it would cost a kernel thread.
    fn shut_down(&self, socket: &Self::Socket, how: Shutdown);

    /// Returns what nobody has received from a socket.
    fn unread(&self, socket: &Self::Socket) -> Unread;

    /// Returns true if the peer has not received all that was sent on a socket.
    fn has_unsent(&self, socket: &Self::Socket) -> bool;

    /// Returns true if the bytes that nobody has received begin with `prefix`.
    fn begins_with(&self, socket: &Self::Socket, prefix: &[u8]) -> bool;

    /// Returns the address of the other end, if it has one.
    fn peer_address(&self, socket: &Self::Socket) -> Option<IpAddr>;

    /// Accepts the connections that wait at a listener, and no later ones.
    fn backlog(&self, listener: &Self::Listener) -> Vec<Self::Socket>;
}
