//! Provided buffers: the kernel picks one when data arrives, so an idle connection owns none.
//!
//! ```text
//! ring    [ addr len id | addr len id | ... ]   next to fill, in order; we write at the tail
//! data    [ buffer 0 | buffer 1 | ... ]         a filled one is ours until it returns to the ring
//! ```
//! Invariant: a buffer is either in the ring, and the kernel's, or out, and ours.
//! [`Buffers::bytes`] and [`Buffers::recycle`] check that a buffer is out.
#![allow(unsafe_code)] // Memory shared with the kernel has no safe owner.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::kernel::Kernel;

pub(super) const GROUP: u16 = 0;
const RING_ALIGN: usize = 4096;

#[derive(Debug)]
pub(super) struct Buffers<K: Kernel> {
    /// [`Kernel::BUFFERS`] entries, page-aligned as the kernel requires.
    ring: NonNull<BufRingEntry>,
    data: NonNull<u8>,
    tail: u16,
    /// Flags by id: taken by a completion and not yet recycled.
    out: Vec<bool>,
    kernel: PhantomData<K>,
}

impl<K: Kernel> Buffers<K> {
    /// Makes buffers that are all out.
    fn new() -> Buffers<K> {
        let ring = allocate(ring_layout(K::BUFFERS)).cast();
        let data = allocate(data_layout(K::BUFFERS, K::BUFFER_BYTES));
        let out = vec![true; usize::from(K::BUFFERS)];
        Buffers { ring, data, tail: 0, out, kernel: PhantomData }
    }

    /// Makes buffers that `kernel` may fill.
    ///
    /// # Safety
    /// The buffers must outlive every operation of the kernel, and be dropped after it.
    pub(super) unsafe fn register(kernel: &mut K) -> io::Result<Buffers<K>> {
        let mut buffers = Buffers::new();
        let ring = buffers.ring.as_ptr() as u64;
        // SAFETY: `ring` leads to that many entries, page-aligned and zeroed, which live as long as
        // `buffers`: by the caller's promise longer than the kernel.
        unsafe { kernel.register_buffers(ring, K::BUFFERS, GROUP)? };
        (0..K::BUFFERS).for_each(|id| buffers.recycle(id));
        Ok(buffers)
    }

    pub(super) fn take(&mut self, id: u16) {
        let out = &mut self.out[usize::from(id)];
        assert!(
            !std::mem::replace(out, true),
            "the kernel filled buffer {id}, which it did not own"
        );
    }

    pub(super) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(
            self.out[usize::from(id)] && len <= K::BUFFER_BYTES,
            "buffer {id} holds no {len} bytes of ours"
        );
        // SAFETY: id < BUFFERS since `out` has that many entries, so the range lies inside `data`,
        // which is initialized. The buffer is out: the kernel does not write to it until `recycle`,
        // which borrows `self` mutably and so ends this slice.
        unsafe {
            let start = self.data.as_ptr().add(usize::from(id) * K::BUFFER_BYTES);
            std::slice::from_raw_parts(start, len)
        }
    }

    pub(super) fn recycle(&mut self, id: u16) {
        let out = &mut self.out[usize::from(id)];
        assert!(std::mem::replace(out, false), "buffer {id} was given back twice");
        let slot = usize::from(self.tail & (K::BUFFERS - 1));
        // SAFETY: slot < BUFFERS, id < BUFFERS. The kernel reads only entries between its head and
        // the tail that it sees. At most BUFFERS exist, so the entry at our tail is not among them.
        // The setters do not touch the tail field, which shares entry 0.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(slot);
            entry.set_addr(self.data.as_ptr().add(usize::from(id) * K::BUFFER_BYTES) as u64);
            entry.set_len(K::BUFFER_BYTES as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry, is aligned and lives as long as `ring`. We are
        // its only writer, and the kernel reads it atomically. Release publishes the entry first.
        unsafe {
            let tail = BufRingEntry::tail(self.ring.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl<K: Kernel> Drop for Buffers<K> {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts. By the contract of `register` no kernel
        // uses them.
        unsafe {
            dealloc(self.ring.as_ptr().cast(), ring_layout(K::BUFFERS));
            dealloc(self.data.as_ptr(), data_layout(K::BUFFERS, K::BUFFER_BYTES));
        }
    }
}

fn ring_layout(count: u16) -> Layout {
    let bytes = usize::from(count) * size_of::<BufRingEntry>();
    Layout::from_size_align(bytes, RING_ALIGN).expect("constants make a layout")
}

fn data_layout(count: u16, buffer_bytes: usize) -> Layout {
    Layout::from_size_align(usize::from(count) * buffer_bytes, RING_ALIGN)
        .expect("constants make a layout")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here is of zero size.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

#[cfg(test)]
mod tests {
    use super::super::linux::Linux;
    use super::*;

    const COUNT: u16 = Linux::BUFFERS;
    const BYTES: usize = Linux::BUFFER_BYTES;

    fn buffers() -> Buffers<Linux> {
        Buffers::new()
    }

    fn entry(buffers: &Buffers<Linux>, slot: usize) -> (u64, u32, u16) {
        // SAFETY: slot < COUNT, and no kernel shares these buffers.
        let entry = unsafe { &*buffers.ring.as_ptr().add(slot) };
        (entry.addr() - buffers.data.as_ptr() as u64, entry.len(), entry.bid())
    }

    #[test]
    fn a_buffer_goes_back_at_the_tail_and_round_the_ring() {
        let mut buffers = buffers();
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
    #[should_panic(expected = "which it did not own")]
    fn a_buffer_that_is_out_cannot_be_filled() {
        let mut buffers = buffers();
        buffers.recycle(1);
        buffers.take(1);
        buffers.take(1);
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    fn a_buffer_cannot_go_back_twice() {
        let mut buffers = buffers();
        buffers.recycle(1);
        buffers.recycle(1);
    }

    #[test]
    #[should_panic(expected = "no 1 bytes of ours")]
    fn a_buffer_of_the_kernel_cannot_be_read() {
        let mut buffers = buffers();
        buffers.recycle(1);
        buffers.bytes(1, 1);
    }
}
