//! Ring of provided buffers as a kernel reads it.
#![allow(unsafe_code)] // Reads memory that the ring shares with the kernel.

use std::sync::atomic::{AtomicU16, Ordering};

/// `struct io_uring_buf` in <linux/io_uring.h>. The tail of the ring is `rest` of the first one.
#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    address: u64,
    len: u32,
    id: u16,
    rest: u16,
}

/// Content of a buffer beyond the bytes that a receive has written.
const UNWRITTEN: u8 = 0xEE;

pub(super) struct BufferRing {
    ring: usize,
    count: u16,
    head: u16,
}

pub(super) struct Buffer {
    address: usize,
    pub(super) len: usize,
    pub(super) id: u16,
}

impl BufferRing {
    pub(super) fn new(ring: usize, count: u16) -> BufferRing {
        BufferRing { ring, count, head: 0 }
    }

    fn tail(&self) -> u16 {
        let tail = (self.ring + std::mem::offset_of!(Entry, rest)) as *mut u16;
        // SAFETY: the ring stays until it is unregistered, and its tail is read atomically.
        unsafe { AtomicU16::from_ptr(tail) }.load(Ordering::Acquire)
    }

    pub(super) fn take(&mut self) -> Option<Buffer> {
        if self.head == self.tail() {
            return None;
        }
        let at = usize::from(self.head & (self.count - 1));
        self.head = self.head.wrapping_add(1);
        // SAFETY: the ring has `count` entries, and this one was published by the tail.
        let entry = unsafe { (self.ring as *const Entry).add(at).read() };
        let buffer =
            Buffer { address: entry.address as usize, len: entry.len as usize, id: entry.id };
        buffer.fill(&[]);
        Some(buffer)
    }

    /// Returns the number of buffers that are not in the ring.
    pub(super) fn missing(&self) -> usize {
        usize::from(self.count - self.tail().wrapping_sub(self.head))
    }
}

impl Buffer {
    /// Writes `bytes` and marks the rest.
    pub(super) fn fill(&self, bytes: &[u8]) {
        let to = self.address as *mut u8;
        // SAFETY: the buffer was in the ring, so it is the kernel's and has `len` bytes.
        unsafe {
            to.write_bytes(UNWRITTEN, self.len);
            to.copy_from(bytes.as_ptr(), bytes.len().min(self.len));
        }
    }
}
