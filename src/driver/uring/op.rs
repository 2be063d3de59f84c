//! Operations that the reactor submits, and their completions.
//!
//! Every operation carries a [`Token`] as `user_data`, and each of its completions returns it:
//!
//! ```text
//!  63      56 55                    32 31                            0
//! +----------+------------------------+-------------------------------+
//! |   kind   |          index         |          generation           |
//! +----------+------------------------+-------------------------------+
//! ```
//! A slot is reused under the next generation, so a late completion cannot reach the next tenant.

use std::os::fd::RawFd;

use crate::driver::CONNECTIONS_END;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Place in the table, below [`Key::INDEX_END`].
    pub index: u32,
    pub generation: u32,
}

impl Key {
    pub const INDEX_END: u32 = CONNECTIONS_END;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Accept = 1,
    Receive = 2,
    Send = 3,
    CancelAccept = 4,
    CancelReceive = 5,
    CancelSend = 6,
    Stop = 7,
    Bell = 8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub key: Key,
}

impl Token {
    /// Makes the token of a cancel of this operation.
    pub fn of_cancel(self) -> Token {
        let kind = match self.kind {
            Kind::Accept => Kind::CancelAccept,
            Kind::Receive => Kind::CancelReceive,
            _ => Kind::CancelSend,
        };
        Token { kind, key: self.key }
    }

    pub fn bits(self) -> u64 {
        debug_assert!(self.key.index < Key::INDEX_END);
        u64::from(self.kind as u8) << 56
            | u64::from(self.key.index) << 32
            | u64::from(self.key.generation)
    }

    /// Unpacks a token; `None` if no operation has such bits.
    pub fn from_bits(bits: u64) -> Option<Token> {
        let kind = match (bits >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::CancelAccept,
            5 => Kind::CancelReceive,
            6 => Kind::CancelSend,
            7 => Kind::Stop,
            8 => Kind::Bell,
            _ => return None,
        };
        let index = (bits >> 32) as u32 & (Key::INDEX_END - 1);
        Some(Token { kind, key: Key { index, generation: bits as u32 } })
    }
}

/// Operation; the kernel owns the memory behind pointers until its last completion.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Accepts one connection, or connections until cancelled; each result is a descriptor.
    Accept { fd: RawFd, is_multishot: bool },
    /// Receives into provided buffers until cancelled.
    ReceiveMulti { fd: RawFd },
    /// Receives once into one provided buffer.
    ReceiveOnce {
        fd: RawFd,
        len: u32,
        /// Polls before the first attempt; for a socket that was empty after the last receive.
        wait_first: bool,
    },
    /// Receives exactly `len` bytes; fewer only at the end of the stream, on an error or a cancel.
    ReceiveInto { fd: RawFd, at: *mut u8, len: u32, wait_first: bool },
    /// Sends `len` bytes from `at`.
    Send {
        fd: RawFd,
        at: *const u8,
        len: u32,
        /// Non-blocking send; success posts no CQE (SKIP_SUCCESS), so it never wakes a wait.
        at_once: bool,
    },
    /// Sends the slices of `message`.
    SendVectored {
        fd: RawFd,
        /// Header, which leads to slices and bytes.
        message: *const libc::msghdr,
        len: u32,
        at_once: bool,
    },
    /// Cancels the operation with this token.
    Cancel { target: Token },
    /// Completes once `fd` is readable.
    Watch { fd: RawFd },
}

impl Op {
    pub fn is_at_once(&self) -> bool {
        matches!(self, Op::Send { at_once: true, .. } | Op::SendVectored { at_once: true, .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    pub token: Token,
    /// Count or descriptor, or a negated error number.
    pub result: i32,
    /// Filled provided buffer, the reactor's until recycled.
    pub buffer: Option<u16>,
    pub more: bool,
    pub nonempty: bool,
}

impl Completion {
    /// Makes the last completion of an operation without a provided buffer.
    pub fn last(token: Token, result: i32) -> Completion {
        Completion { token, result, buffer: None, more: false, nonempty: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 8] = [
        Kind::Accept,
        Kind::Receive,
        Kind::Send,
        Kind::CancelAccept,
        Kind::CancelReceive,
        Kind::CancelSend,
        Kind::Stop,
        Kind::Bell,
    ];

    #[test]
    fn a_token_comes_back_as_it_went_out() {
        let edges = [0, 1, 255, 65_536, Key::INDEX_END - 1];
        for kind in KINDS {
            for index in edges {
                for generation in [0, 1, 0x8000_0000, u32::MAX] {
                    let token = Token { kind, key: Key { index, generation } };
                    assert_eq!(Token::from_bits(token.bits()), Some(token));
                }
            }
        }
    }

    #[test]
    fn bits_of_no_operation_are_refused() {
        for kind in (0..=255).filter(|kind| !(1..=8).contains(kind)) {
            assert_eq!(Token::from_bits(kind << 56 | 7 << 32 | 9), None);
        }
    }
}
