//! Buffers between guard pages, for tests that nothing outside a buffer is read or written.
#![allow(unsafe_code)] // Pages without access have no safe form.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Pages of memory between two guard pages; an access to a guard ends the process.
struct Pages {
    start: NonNull<libc::c_void>,
    len: usize,
}

const PAGE: usize = 4096;

impl Pages {
    fn new(bytes: usize) -> Pages {
        let len = bytes.next_multiple_of(PAGE).max(PAGE);
        let none = libc::PROT_NONE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: an anonymous mapping at an address of the kernel's choice affects no memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len + 2 * PAGE, none, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        let start = NonNull::new(start).expect("a map does not start at 0");
        // SAFETY: the range lies inside the mapping that was just made.
        let result = unsafe {
            let open = start.byte_add(PAGE);
            libc::mprotect(open.as_ptr(), len, libc::PROT_READ | libc::PROT_WRITE)
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        Pages { start, len }
    }

    fn open(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the pages are mapped, readable and writable while `self` is borrowed.
        unsafe {
            let open = self.start.byte_add(PAGE).cast().as_ptr();
            std::slice::from_raw_parts_mut(open, self.len)
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `self` owns the whole mapping, and no borrow of it is left.
        unsafe { libc::munmap(self.start.as_ptr(), self.len + 2 * PAGE) };
    }
}

/// Calls `check` twice with `bytes`: directly after a guard page, and directly before one.
pub(crate) fn with_bytes(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    let mut pages = Pages::new(bytes.len());
    let len = pages.len;
    for start in [0, len - bytes.len()] {
        let place = &mut pages.open()[start..start + bytes.len()];
        check(place.write_copy_of_slice(bytes));
    }
}

/// Calls `check` with room for `len` bytes directly after a guard page, and before one.
pub(crate) fn with_room(len: usize, mut check: impl FnMut(&mut [MaybeUninit<u8>])) {
    let mut pages = Pages::new(len);
    let room = pages.len;
    for start in [0, room - len] {
        check(&mut pages.open()[start..start + len]);
    }
}
