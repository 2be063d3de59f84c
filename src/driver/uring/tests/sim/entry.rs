//! Submission queue entries as a kernel reads them.
#![allow(unsafe_code)] // Reads the fields of an entry, and lists behind pointers.

use std::iter::once;
use std::ops::Range;
use std::os::fd::RawFd;

use io_uring::squeue;

/// Layout of `struct io_uring_sqe` in <linux/io_uring.h>, as far as the ring uses it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Sqe {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    offset: u64,
    address: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    buffer_group: u16,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<Sqe>() == 64 && size_of::<squeue::Entry>() == 64);

const POLL_ADD: u8 = 6;
const SENDMSG: u8 = 9;
const ACCEPT: u8 = 13;
const ASYNC_CANCEL: u8 = 14;
const SEND: u8 = 26;
const RECV: u8 = 27;

const BUFFER_SELECT: u8 = 1 << 5;
const SKIP_SUCCESS: u8 = 1 << 6;

const RECV_MULTISHOT: u16 = 1 << 1;
const ACCEPT_MULTISHOT: u16 = 1 << 0;

#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) user_data: u64,
    pub(super) fd: RawFd,
    pub(super) action: Action,
    /// A success has no completion.
    pub(super) is_quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Accept {
        is_multishot: bool,
    },
    /// Into provided buffers, at most `len` bytes each time; 0 for a whole buffer.
    Receive {
        len: usize,
        is_multishot: bool,
    },
    ReceiveInto {
        to: usize,
        len: usize,
    },
    Send {
        from: usize,
        len: usize,
        may_block: bool,
    },
    SendMessage {
        header: usize,
        may_block: bool,
    },
    Cancel {
        target: u64,
    },
    Watch,
}

impl Operation {
    pub(super) fn read(entry: &squeue::Entry) -> Operation {
        // SAFETY: both have the layout of the kernel's structure, whose bits are all valid.
        let sqe: Sqe = unsafe { std::mem::transmute_copy(entry) };
        let (address, len) = (sqe.address as usize, sqe.len as usize);
        let flags = sqe.op_flags as i32;
        let may_block = flags & libc::MSG_DONTWAIT == 0;
        let action = match sqe.opcode {
            ACCEPT => {
                assert_ne!(flags & libc::SOCK_CLOEXEC, 0, "a descriptor that children inherit");
                Action::Accept { is_multishot: sqe.ioprio & ACCEPT_MULTISHOT != 0 }
            }
            RECV if sqe.flags & BUFFER_SELECT != 0 => {
                Action::Receive { len, is_multishot: sqe.ioprio & RECV_MULTISHOT != 0 }
            }
            RECV => {
                assert_ne!(flags & libc::MSG_WAITALL, 0, "a loan is received in one piece");
                Action::ReceiveInto { to: address, len }
            }
            SEND | SENDMSG => {
                assert_ne!(flags & libc::MSG_WAITALL, 0, "a part of a send counts as success");
                assert_ne!(flags & libc::MSG_NOSIGNAL, 0, "a send may raise SIGPIPE");
                match sqe.opcode {
                    SEND => Action::Send { from: address, len, may_block },
                    _ => Action::SendMessage { header: address, may_block },
                }
            }
            ASYNC_CANCEL => Action::Cancel { target: sqe.address },
            POLL_ADD => Action::Watch,
            opcode => panic!("the ring does not use opcode {opcode}"),
        };
        let is_quiet = sqe.flags & SKIP_SUCCESS != 0;
        assert!(!is_quiet || !may_block, "a quiet operation may wait unnoticed");
        Operation { user_data: sqe.user_data, fd: sqe.fd, action, is_quiet }
    }

    /// Ranges of memory that belong to the kernel until the operation is over.
    pub(super) fn memory(&self) -> Vec<Range<usize>> {
        match self.action {
            Action::ReceiveInto { to, len } => once(to..to + len).collect(),
            Action::Send { from, len, .. } => once(from..from + len).collect(),
            Action::SendMessage { header, .. } => {
                let entries = entries(header);
                let list = entries.as_ptr().addr();
                let header = header..header + size_of::<libc::msghdr>();
                let list = list..list + size_of_val(entries);
                let slice = |entry: &libc::iovec| {
                    entry.iov_base.addr()..entry.iov_base.addr() + entry.iov_len
                };
                [header, list].into_iter().chain(entries.iter().map(slice)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Bytes to send.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self.action {
            Action::Send { from, len, .. } => slice(from, len).to_vec(),
            Action::SendMessage { header, .. } => {
                let slices = entries(header).iter();
                let slices = slices.map(|entry| slice(entry.iov_base.addr(), entry.iov_len));
                slices.collect::<Vec<_>>().concat()
            }
            _ => Vec::new(),
        }
    }
}

fn entries<'a>(header: usize) -> &'a [libc::iovec] {
    // SAFETY: by the contract of `push`, the header and its list stay until the operation is over.
    unsafe {
        let header = &*(header as *const libc::msghdr);
        std::slice::from_raw_parts(header.msg_iov, header.msg_iovlen)
    }
}

fn slice<'a>(from: usize, len: usize) -> &'a [u8] {
    // SAFETY: by the contract of `push`, the bytes stay until the operation is over.
    unsafe { std::slice::from_raw_parts(from as *const u8, len) }
}
