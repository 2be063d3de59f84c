//! Oracle of memory: no block is freed or moved while an operation in flight points into it.
//!
//! The allocator of the test program knows the ranges of the operations in flight of its thread. A
//! block that is freed under one of them stays as it is, so the run goes on without damage, and the
//! oracle has a note.
#![allow(unsafe_code)] // A global allocator has no safe form.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;

/// Most ranges at once; each of a few connections may send a list of slices.
const RANGES_MAX: usize = 2048;

struct Pins {
    len: Cell<usize>,
    ranges: UnsafeCell<[(Range<usize>, u64); RANGES_MAX]>,
    freed: Cell<u64>,
}

thread_local! {
    static PINS: Pins = const {
        Pins {
            len: Cell::new(0),
            ranges: UnsafeCell::new([const { (0..0, 0) }; RANGES_MAX]),
            freed: Cell::new(0),
        }
    };
}

/// Keeps a range for an operation.
pub(super) fn pin(range: Range<usize>, operation: u64) {
    PINS.with(|pins| {
        let len = pins.len.get();
        assert!(len < RANGES_MAX, "more ranges in flight than the oracle can hold");
        // SAFETY: only this thread has the list, and no reference to it outlives a function here.
        unsafe { (&mut *pins.ranges.get())[len] = (range, operation) };
        pins.len.set(len + 1);
    });
}

pub(super) fn unpin(operation: u64) {
    PINS.with(|pins| {
        let mut kept = 0;
        // SAFETY: as above.
        let ranges = unsafe { &mut *pins.ranges.get() };
        for at in 0..pins.len.get() {
            if ranges[at].1 != operation {
                ranges.swap(at, kept);
                kept += 1;
            }
        }
        pins.len.set(kept);
    });
}

/// Returns the number of ranges that are kept.
pub(super) fn pinned() -> usize {
    PINS.with(|pins| pins.len.get())
}

/// Forgets all ranges, and returns the number of blocks that were freed under one.
pub(super) fn reset() -> u64 {
    PINS.with(|pins| {
        pins.len.set(0);
        pins.freed.take()
    })
}

/// Returns true, with a note, if the block lies under an operation in flight.
fn is_in_flight(block: *mut u8, len: usize) -> bool {
    let is_hit = PINS.try_with(|pins| {
        // SAFETY: as above.
        let ranges = unsafe { &(&*pins.ranges.get())[..pins.len.get()] };
        let (start, end) = (block.addr(), block.addr() + len);
        let is_hit = ranges.iter().any(|(range, _)| range.start < end && start < range.end);
        pins.freed.set(pins.freed.get() + u64::from(is_hit));
        is_hit
    });
    is_hit.unwrap_or(false)
}

struct Watched;

#[global_allocator]
static WATCHED: Watched = Watched;

// SAFETY: each method calls the same method of the system's allocator. A block that is kept instead
// of freed stays allocated for ever.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !is_in_flight(block, layout.size()) {
            // SAFETY: as above.
            unsafe { System.dealloc(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        if !is_in_flight(block, layout.size()) {
            // SAFETY: as above.
            return unsafe { System.realloc(block, layout, len) };
        }
        // SAFETY: a layout that is valid for `realloc` is so for `alloc`, and both blocks hold the
        // bytes that are copied.
        unsafe {
            let moved = System.alloc(Layout::from_size_align_unchecked(len, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, len.min(layout.size()));
            }
            moved
        }
    }
}

#[test]
fn a_block_under_an_operation_is_not_freed() {
    reset();
    let block = vec![7_u8; 100];
    let start = block.as_ptr().addr();
    pin(start + 40..start + 50, 1);
    pin(start + 90..start + 95, 2);
    unpin(1);
    assert_eq!(pinned(), 1);
    drop(block);
    unpin(2);
    drop(vec![7_u8; 100]);
    assert_eq!((pinned(), reset(), reset()), (0, 1, 0));
}
