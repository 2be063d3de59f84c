//! Kernel of this machine, through io_uring.
//!
//! One thread makes and drives it (`SINGLE_ISSUER`). The kernel works inside an enter
//! (`DEFER_TASKRUN`) and never interrupts that thread. A flag announces pending work
//! (`TASKRUN_FLAG`).
#![allow(unsafe_code)] // The queues are shared with the kernel.

use std::io;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, Shutdown};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd as _, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, Submitter, squeue};
use nix::sys::eventfd::{EfdFlags, EventFd};
use socket2::SockRef;

use super::jobs::Bell;
use super::kernel::{Cqe, Kernel, QueueState};
use crate::driver::error::{DriverError, io_uring_unavailable};
use crate::driver::jobs::{JobRunner, JobThread};
use crate::sys;
use crate::sys::listener::{self, Listener};
use crate::sys::socket::{self, SocketOptions, Unread};
use crate::sys::unsent;

/// A full queue is submitted at once, so this only bounds a batch.
const SUBMISSIONS: u32 = 512;

/// Longer, since a multishot operation completes many times.
pub(super) const COMPLETIONS: u32 = 4096;

pub struct Linux {
    /// Borrower of `ring`, dropped first.
    submitter: ManuallyDrop<Submitter<'static>>,
    /// Leaked `Box`, freed in `drop`: a `Box` must not be borrowed while it moves.
    ring: NonNull<IoUring>,
    has_multishot_accept: bool,
}

/// Kernels whose multishot accept may name a descriptor that is not open, under `DEFER_TASKRUN`
/// (axboe/liburing#1062). Later patch releases are mended, but a release name does not always tell
/// them, and to accept one by one costs little.
const FAULTY_MULTISHOT_ACCEPT: RangeInclusive<(u32, u32)> = (6, 6)..=(6, 8);

impl Linux {
    pub fn open() -> Result<Linux, DriverError> {
        let ring = build().map_err(|error| io_uring_unavailable(&error))?;
        if !ring.params().is_feature_nodrop() || !ring.params().is_feature_submit_stable() {
            return Err(io_uring_unavailable(&io::Error::from_raw_os_error(libc::EINVAL)));
        }
        let ring = NonNull::from(Box::leak(Box::new(ring)));
        // SAFETY: the ring is on the heap until `drop`, which ends this borrow first.
        let mut submitter = unsafe { ring.as_ref() }.submitter();
        // Saves a look-up in the descriptor table per call; optional.
        let _ = submitter.register_ring_fd();
        let has_multishot_accept = has_multishot_accept(sys::kernel::version());
        Ok(Linux { submitter: ManuallyDrop::new(submitter), ring, has_multishot_accept })
    }

    fn submissions(&mut self) -> squeue::SubmissionQueue<'_> {
        // SAFETY: the mutable borrow of `self` makes this the only queue object.
        unsafe { self.ring.as_ref().submission_shared() }
    }
}

// SAFETY: Linux keeps these promises. `ring.rs` concludes sends by the last one.
unsafe impl Kernel for Linux {
    /// All return within a turn, so one turn receives at most 2 MiB.
    const BUFFERS: u16 = 64;

    /// Larger buffers need fewer receives for a full pipeline; smaller ones serve more connections.
    /// Messages from [`crate::wire::DIRECT_BYTES_MIN`] on use loans.
    const BUFFER_BYTES: usize = 32 * 1024;

    type Socket = OwnedFd;

    type Listener = Listener;

    unsafe fn register_buffers(&mut self, ring: u64, count: u16, group: u16) -> io::Result<()> {
        // SAFETY: the caller vouches for the entries and the buffers.
        unsafe { self.submitter.register_buf_ring_with_flags(ring, count, group, 0) }
    }

    fn unregister_buffers(&mut self, group: u16) -> io::Result<()> {
        self.submitter.unregister_buf_ring(group)
    }

    #[inline]
    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the caller vouches for what the entry points to.
        unsafe { self.submissions().push(entry) }.is_ok()
    }

    #[inline]
    fn submit(&mut self) -> io::Result<usize> {
        self.submitter.submit()
    }

    #[inline]
    fn submit_and_wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        match timeout {
            None => self.submitter.submit_and_wait(1),
            Some(timeout) => {
                let time = Timespec::from(timeout);
                self.submitter.submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        }
    }

    #[inline]
    fn state(&mut self) -> QueueState {
        let queue = self.submissions();
        QueueState {
            is_submitted: queue.is_empty(),
            has_task_work: queue.taskrun(),
            has_overflow: queue.cq_overflow(),
        }
    }

    #[inline]
    fn completions(&mut self, mut each: impl FnMut(Cqe)) {
        // SAFETY: `self` is borrowed mutably and no other queue object lives past this function.
        let queue = unsafe { self.ring.as_ref().completion_shared() };
        for entry in queue {
            each(Cqe {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            });
        }
    }

    #[inline]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[inline]
    fn has_multishot_accept(&self) -> bool {
        self.has_multishot_accept
    }

    fn bell(&self) -> Arc<dyn Bell> {
        Arc::new(EventBell::default())
    }

    fn job_runner(&self) -> Rc<dyn JobRunner> {
        Rc::new(JobThread::default())
    }

    unsafe fn socket(&self, fd: RawFd) -> OwnedFd {
        // SAFETY: the kernel has just made this descriptor for us; it has no other owner.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }

    fn options(&self, socket: &OwnedFd) -> Option<SocketOptions> {
        socket::read_back(socket).ok()
    }

    fn shut_down(&self, socket: &OwnedFd, how: Shutdown) {
        // A socket that the peer has reset is not connected.
        let _ = SockRef::from(socket).shutdown(how);
    }

    fn unread(&self, socket: &OwnedFd) -> Unread {
        socket::unread(socket)
    }

    fn has_unsent(&self, socket: &OwnedFd) -> bool {
        unsent::has_unsent(socket)
    }

    fn begins_with(&self, socket: &OwnedFd, prefix: &[u8]) -> bool {
        socket::begins_with(socket, prefix)
    }

    fn peer_address(&self, socket: &OwnedFd) -> Option<IpAddr> {
        socket::peer_address(socket)
    }

    fn backlog(&self, listener: &Listener) -> Vec<OwnedFd> {
        listener::backlog(listener).collect()
    }
}

/// Bell on an eventfd.
#[derive(Debug, Default)]
struct EventBell(OnceLock<EventFd>);

impl Bell for EventBell {
    fn open(&self) -> io::Result<RawFd> {
        if let Some(event) = self.0.get() {
            return Ok(event.as_raw_fd());
        }
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(self.0.get_or_init(|| event).as_raw_fd())
    }

    fn ring(&self) {
        if let Some(event) = self.0.get() {
            // It fails if the count is at its end, and then the descriptor is readable as well.
            let _ = event.write(1);
        }
    }

    fn silence(&self) {
        if let Some(event) = self.0.get() {
            // It fails if nobody has rung.
            let _ = event.read();
        }
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        let _ = self.submitter.unregister_ring_fd();
        // SAFETY: each is dropped once, here, and not used after: first the borrower, then the
        // ring, which is the `Box` leaked in `open`.
        unsafe {
            ManuallyDrop::drop(&mut self.submitter);
            drop(Box::from_raw(self.ring.as_ptr()));
        }
    }
}

fn has_multishot_accept(version: Option<(u32, u32)>) -> bool {
    version.is_some_and(|version| !FAULTY_MULTISHOT_ACCEPT.contains(&version))
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

#[cfg(test)]
mod tests {
    use super::has_multishot_accept;

    #[test]
    fn a_faulty_or_unknown_kernel_accepts_one_by_one() {
        let versions = [(6, 1), (6, 5), (6, 6), (6, 8), (6, 9), (7, 0)];
        let able = versions.map(|version| has_multishot_accept(Some(version)));
        assert_eq!(able, [true, true, false, false, true, true]);
        assert!(!has_multishot_accept(None));
    }
}
