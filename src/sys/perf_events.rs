//! Events of the kernel that are sampled or counted, and the ring buffer that samples are written
//! to: perf_event_open(2).
//!
//! ```text
//! page 0                            pages 1 to 2^n
//! [ metadata: head, tail, offsets ] [ ... tail [ records ] head ... ]
//! ```
//!
//! The kernel writes records up to `head`, this process reads from `tail` and then moves it. The
//! kernel never writes between the two, and counts as lost what does not fit.
#![allow(unsafe_code)] // A system call without a safe form, and memory that the kernel writes to.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

/// Bytes of a `perf_event_attr` in version 7 of the structure, which Linux knows since 5.13.
pub const ATTRIBUTES_BYTES: usize = 128;

/// Offset of the length in a `perf_event_attr`.
const LENGTH_AT: usize = 4;

const PAGE_BYTES: usize = 4096;

/// Offsets in the metadata page (`struct perf_event_mmap_page`).
const HEAD_AT: usize = 1024;
const TAIL_AT: usize = 1032;
const DATA_OFFSET_AT: usize = 1040;
const DATA_SIZE_AT: usize = 1048;

/// `_IO('$', number)` of linux/perf_event.h.
const ENABLE: libc::Ioctl = 0x2400;
const DISABLE: libc::Ioctl = 0x2401;
const SET_OUTPUT: libc::Ioctl = 0x2405;

/// `_IOW('$', 4, __u64)`
const SET_PERIOD: libc::Ioctl = 0x4008_2404;

/// `PERF_FLAG_FD_CLOEXEC`
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// Event of one thread, on one core or on all of them.
#[derive(Debug)]
pub struct Event(OwnedFd);

impl Event {
    /// Opens an event for thread `tid` on `core`; `None` is every core. `attributes` is a
    /// `perf_event_attr`, whose length field has [`ATTRIBUTES_BYTES`].
    pub fn open(
        attributes: &[u8; ATTRIBUTES_BYTES],
        tid: u32,
        core: Option<usize>,
    ) -> io::Result<Event> {
        let length = (ATTRIBUTES_BYTES as u32).to_ne_bytes();
        if attributes[LENGTH_AT..LENGTH_AT + length.len()] != length {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (tid, core) = (tid as libc::pid_t, core.map_or(-1, |core| core as libc::c_int));
        let (no_group, flags): (libc::c_int, libc::c_ulong) = (-1, CLOSE_ON_EXEC);
        // SAFETY: the kernel reads as many bytes from the pointer as the length field says, which
        // is the length of the array, and keeps no pointer.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                attributes.as_ptr(),
                tid,
                core,
                no_group,
                flags,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just returned the descriptor, so nothing else owns it.
        Ok(Event(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// Makes the event write to the ring of `other`, which is on the same core.
    pub fn write_to_ring_of(&self, other: &Event) -> io::Result<()> {
        self.control(SET_OUTPUT, other.0.as_raw_fd())
    }

    pub fn enable(&self) -> io::Result<()> {
        self.control(ENABLE, 0)
    }

    pub fn disable(&self) -> io::Result<()> {
        self.control(DISABLE, 0)
    }

    /// Sets the time between two samples of a clock, from now on.
    pub fn set_period(&self, ns: u64) -> io::Result<()> {
        // SAFETY: the kernel reads a word from the pointer and keeps no pointer.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SET_PERIOD, &raw const ns) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Reads an event that is counted, with the threads that inherited it.
    pub fn count(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        match nix::unistd::read(&self.0, &mut count)? {
            8 => Ok(u64::from_ne_bytes(count)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn control(&self, request: libc::Ioctl, argument: libc::c_int) -> io::Result<()> {
        // SAFETY: these three requests take an integer and touch no memory of this process.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Ring buffer of an event, and of others that write to it. This is its only reader.
#[derive(Debug)]
pub struct Ring {
    memory: MmapRaw,
    data_offset: usize,
    data_size: usize,
}

impl Ring {
    /// Maps a ring of `pages` pages of data, a power of two.
    pub fn new(event: &Event, pages: usize) -> io::Result<Ring> {
        let memory = MmapOptions::new().len((pages + 1) * PAGE_BYTES).map_raw(&event.0)?;
        let mut ring = Ring { memory, data_offset: 0, data_size: 0 };
        let (offset, size) = (ring.word(DATA_OFFSET_AT), ring.word(DATA_SIZE_AT));
        let offset = offset.load(Ordering::Relaxed) as usize;
        let size = size.load(Ordering::Relaxed) as usize;
        if !size.is_power_of_two() || offset.checked_add(size) != Some(ring.memory.len()) {
            return Err(io::Error::other("the kernel's ring buffer has another layout"));
        }
        (ring.data_offset, ring.data_size) = (offset, size);
        Ok(ring)
    }

    /// Hands the new records to `take`, in one or two pieces that need not end with a record, and
    /// frees their place.
    pub fn drain<E>(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let head = self.word(HEAD_AT).load(Ordering::Acquire);
        let tail = self.word(TAIL_AT).load(Ordering::Relaxed);
        let len = usize::try_from(head.wrapping_sub(tail)).unwrap_or(usize::MAX);
        debug_assert!(len <= self.data_size, "{len}");
        let len = len.min(self.data_size);
        let start = tail as usize & (self.data_size - 1);
        let first = len.min(self.data_size - start);
        for (at, len) in [(start, first), (0, len - first)] {
            debug_assert!(at + len <= self.data_size);
            // SAFETY: `new` has checked that the data lies inside the mapping, and `at + len` is at
            // most its size. The kernel does not write between tail and head, and moves neither
            // tail nor this part before the store below.
            let piece = unsafe {
                std::slice::from_raw_parts(self.memory.as_ptr().add(self.data_offset + at), len)
            };
            take(piece)?;
        }
        self.word(TAIL_AT).store(head, Ordering::Release);
        Ok(())
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= PAGE_BYTES.min(self.memory.len()));
        // SAFETY: the mapping begins at a page and has at least the metadata page, so the word is
        // aligned and inside. It lives as long as `self`. Both sides access it atomically.
        unsafe { AtomicU64::from_ptr(self.memory.as_mut_ptr().add(at).cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_length_is_refused_before_the_kernel_sees_it() {
        let error = Event::open(&[0; ATTRIBUTES_BYTES], std::process::id(), None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
