//! List of slices for a vectored send, at a fixed place in memory until the send completes.
#![allow(unsafe_code)] // The list holds pointers for the kernel.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use crate::driver::SLICES_MAX;

/// Owner of a list that stays where it is while the owner moves. The list is a leaked `Box`, freed
/// in `drop`: a `Box` must not move while others point into it.
pub(super) struct IoVector(NonNull<List>);

struct List {
    header: libc::msghdr,
    slices: [libc::iovec; SLICES_MAX],
}

impl IoVector {
    pub(super) fn new() -> IoVector {
        // SAFETY: a header of zeros and null pointers is valid and empty.
        let header = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let list = Box::new(List { header, slices: [empty; SLICES_MAX] });
        IoVector(NonNull::from(Box::leak(list)))
    }

    /// Lists at most `bytes_max` bytes and returns their number. The pointer is valid until the
    /// next call and the drop of `self`, wherever `self` moves, while the bytes stay as they are.
    pub(super) fn list(
        &mut self,
        slices: &[IoSlice<'_>],
        bytes_max: usize,
    ) -> (*const libc::msghdr, u32) {
        // SAFETY: the list lives until `drop`, and `self` is its only owner. By the contract no
        // kernel reads it any more.
        let List { header, slices: entries } = unsafe { self.0.as_mut() };
        let mut left = bytes_max;
        let mut count = 0;
        for (entry, slice) in entries.iter_mut().zip(slices) {
            if left == 0 {
                break;
            }
            let len = slice.len().min(left);
            *entry = libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: len };
            left -= len;
            count += 1;
        }
        header.msg_iov = entries.as_mut_ptr();
        header.msg_iovlen = count;
        (&raw const *header, (bytes_max - left) as u32)
    }
}

impl Drop for IoVector {
    fn drop(&mut self) {
        // SAFETY: it is the `Box` that `new` leaked, freed once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_at_the_limit() {
        let bytes = [1, 2, 3, 4, 5];
        let slices = [IoSlice::new(&bytes[..2]), IoSlice::new(&bytes[2..]), IoSlice::new(&bytes)];
        for (bytes_max, want) in [(1, vec![1]), (2, vec![2]), (4, vec![2, 2]), (99, vec![2, 3, 5])]
        {
            let mut vector = IoVector::new();
            let (header, len) = vector.list(&slices, bytes_max);
            assert_eq!(len as usize, want.iter().sum::<usize>());
            let moved = [vector];
            // SAFETY: the owner has moved, and lives.
            let listed =
                unsafe { std::slice::from_raw_parts((*header).msg_iov, (*header).msg_iovlen) };
            let lens: Vec<usize> = listed.iter().map(|slice| slice.iov_len).collect();
            assert_eq!(lens, want);
            drop(moved);
        }
    }
}
