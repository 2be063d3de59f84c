//! Buffers that the kernel picks from by itself when data arrives, so that an idle connection owns none.
//!
//! ```text
//! ring    [ addr len id | addr len id | ... ]   what the kernel may fill next, in this order; we write at the tail
//! data    [ buffer 0 | buffer 1 | ... ]         filled ones are ours until they are put back into the ring
//! ```
//! Invariant: a buffer is either in the ring, and the kernel's, or out, and ours. [`Buffers::bytes`] reads only
//! what is out, and [`Buffers::recycle`] puts back only what is out, both checked against `out`.
#![allow(unsafe_code)] // Memory shared with the kernel has no safe owner.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// How many buffers a worker has; a power of two. All of them come back within a turn, so this bounds what one turn
/// takes in: 2 MiB.
pub(super) const COUNT: u16 = 64;

/// Bytes of one buffer. Larger ones mean fewer receives for a full pipeline, smaller ones more connections served
/// before the ring runs dry; from [`crate::wire::DIRECT_BYTES_MIN`] on, messages do not come this way.
pub(super) const BYTES: usize = 32 * 1024;

/// The only group there is.
pub(super) const GROUP: u16 = 0;

const RING_ALIGN: usize = 4096;

/// The provided buffers of one ring.
#[derive(Debug)]
pub(super) struct Buffers {
    /// [`COUNT`] entries, page-aligned as the kernel wants them.
    ring: NonNull<BufRingEntry>,
    /// [`COUNT`] times [`BYTES`].
    data: NonNull<u8>,
    tail: u16,
    /// By id: taken by a completion and not yet recycled.
    out: Vec<bool>,
}

impl Buffers {
    /// Buffers that are all out; register, then recycle each.
    fn new() -> Buffers {
        let ring = allocate(ring_layout()).cast();
        let data = allocate(data_layout());
        Buffers { ring, data, tail: 0, out: vec![true; usize::from(COUNT)] }
    }

    /// Buffers that the ring behind `submitter` may fill.
    ///
    /// # Safety
    /// They must outlive every operation on that ring, and be dropped after the ring or after
    /// [`Buffers::unregister`].
    pub(super) unsafe fn register(submitter: &Submitter<'_>) -> io::Result<Buffers> {
        let mut buffers = Buffers::new();
        let at = buffers.ring.as_ptr() as u64;
        // SAFETY: `at` points to COUNT entries, page-aligned and zeroed, which live as long as `buffers`; the caller
        // sees to it that this is until the ring is gone or the group unregistered.
        unsafe { submitter.register_buf_ring_with_flags(at, COUNT, GROUP, 0)? };
        (0..COUNT).for_each(|id| buffers.recycle(id));
        Ok(buffers)
    }

    /// Takes the buffers away from the kernel; nothing may be receiving any more.
    pub(super) fn unregister(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        submitter.unregister_buf_ring(GROUP)
    }

    /// Notes that a completion has handed buffer `id` over.
    pub(super) fn take(&mut self, id: u16) {
        debug_assert!(!self.out[usize::from(id)], "the kernel filled buffer {id}, which was ours");
        self.out[usize::from(id)] = true;
    }

    /// The first `len` bytes of a buffer that is out.
    pub(super) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(
            self.out[usize::from(id)] && len <= BYTES,
            "buffer {id} holds no {len} bytes of ours"
        );
        // SAFETY: id < COUNT since `out` has that many entries, so the range lies inside `data`, which was zeroed
        // when made and filled by the kernel since. The buffer is out: the kernel does not write to it until
        // `recycle`, which borrows `self` mutably and so ends this slice.
        unsafe {
            let start = self.data.as_ptr().add(usize::from(id) * BYTES);
            std::slice::from_raw_parts(start, len)
        }
    }

    /// Gives a buffer that is out back to the kernel.
    pub(super) fn recycle(&mut self, id: u16) {
        let out = &mut self.out[usize::from(id)];
        assert!(std::mem::replace(out, false), "buffer {id} was given back twice");
        let slot = usize::from(self.tail & (COUNT - 1));
        // SAFETY: slot < COUNT, id < COUNT. The kernel reads only entries between its head and the tail it sees; at
        // most COUNT buffers exist, so the entry at our tail is not among them. The setters leave the tail field,
        // which shares entry 0, alone.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(slot);
            entry.set_addr(self.data.as_ptr().add(usize::from(id) * BYTES) as u64);
            entry.set_len(BYTES as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry, is aligned and lives as long as `ring`; we are its only writer
        // and the kernel reads it atomically. Release makes the entry above visible before it.
        unsafe {
            let tail = BufRingEntry::tail(self.ring.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts, and by the contract of `register` no kernel knows of them.
        unsafe {
            dealloc(self.ring.as_ptr().cast(), ring_layout());
            dealloc(self.data.as_ptr(), data_layout());
        }
    }
}

fn ring_layout() -> Layout {
    let bytes = usize::from(COUNT) * size_of::<BufRingEntry>();
    Layout::from_size_align(bytes, RING_ALIGN).expect("constants make a layout")
}

fn data_layout() -> Layout {
    Layout::from_size_align(usize::from(COUNT) * BYTES, RING_ALIGN)
        .expect("constants make a layout")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here is of zero size.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(buffers: &Buffers, slot: usize) -> (u64, u32, u16) {
        // SAFETY: slot < COUNT, and no kernel shares these buffers.
        let entry = unsafe { &*buffers.ring.as_ptr().add(slot) };
        (entry.addr() - buffers.data.as_ptr() as u64, entry.len(), entry.bid())
    }

    #[test]
    fn a_buffer_goes_back_at_the_tail_and_round_the_ring() {
        let mut buffers = Buffers::new();
        (0..COUNT).for_each(|id| buffers.recycle(id));
        assert_eq!(entry(&buffers, 3), (3 * BYTES as u64, BYTES as u32, 3));
        for id in [9, 4] {
            buffers.take(id);
            assert_eq!(buffers.bytes(id, BYTES).len(), BYTES);
            buffers.recycle(id);
        }
        assert_eq!(entry(&buffers, 0), (9 * BYTES as u64, BYTES as u32, 9));
        assert_eq!(entry(&buffers, 1), (4 * BYTES as u64, BYTES as u32, 4));
        assert_eq!(buffers.tail, COUNT + 2);
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    fn a_buffer_cannot_go_back_twice() {
        let mut buffers = Buffers::new();
        buffers.recycle(1);
        buffers.recycle(1);
    }

    #[test]
    #[should_panic(expected = "no 1 bytes of ours")]
    fn a_buffer_of_the_kernel_cannot_be_read() {
        let mut buffers = Buffers::new();
        buffers.recycle(1);
        buffers.bytes(1, 1);
    }
}
