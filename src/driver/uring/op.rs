//! What the reactor asks of the kernel, and what it gets back.
//!
//! A [`Token`] goes out with every operation and comes back with each of its completions, as `user_data`:
//!
//! ```text
//!  63      56 55                    32 31                            0
//! +----------+------------------------+-------------------------------+
//! |   kind   |          index         |          generation           |
//! +----------+------------------------+-------------------------------+
//! ```
//! Index and generation are a [`Key`]: a slot is used again with the next generation, so that a completion that
//! comes late cannot be taken for the next tenant's.

use std::os::fd::RawFd;

/// Names one tenancy of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Place in the table; less than [`Key::INDEX_END`].
    pub index: u32,
    /// Which tenant of that place.
    pub generation: u32,
}

impl Key {
    /// One past the largest index that a token has room for.
    pub const INDEX_END: u32 = 1 << 24;
}

/// Which operation a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Accept on the listener `index`.
    Accept = 1,
    /// Receive on a connection.
    Receive = 2,
    /// Send on a connection.
    Send = 3,
    /// A cancel; its own result says nothing, the cancelled operation's does.
    Cancel = 4,
    /// The stop socket.
    Stop = 5,
}

/// `user_data` of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Which operation.
    pub kind: Kind,
    /// Of whom.
    pub key: Key,
}

impl Token {
    /// As the kernel carries it.
    pub fn bits(self) -> u64 {
        debug_assert!(self.key.index < Key::INDEX_END);
        u64::from(self.kind as u8) << 56
            | u64::from(self.key.index) << 32
            | u64::from(self.key.generation)
    }

    /// The token whose bits these are; `None` when no operation of ours has them.
    pub fn from_bits(bits: u64) -> Option<Token> {
        let kind = match (bits >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Cancel,
            5 => Kind::Stop,
            _ => return None,
        };
        let index = (bits >> 32) as u32 & (Key::INDEX_END - 1);
        Some(Token { kind, key: Key { index, generation: bits as u32 } })
    }
}

/// One operation. Pointers are the kernel's until the last completion with the operation's token.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Accept connections until cancelled; each completion's result is a descriptor.
    Accept {
        /// Listener.
        fd: RawFd,
    },
    /// Receive into provided buffers, as data comes, until cancelled.
    ReceiveMulti {
        /// Socket.
        fd: RawFd,
    },
    /// Receive once, at most `len` bytes, into one provided buffer.
    ReceiveOnce {
        /// Socket.
        fd: RawFd,
        /// Most bytes.
        len: u32,
        /// Wait for data before the first try; for a socket that was empty when last seen.
        wait_first: bool,
    },
    /// Receive exactly `len` bytes to `at`; less only at the end of the stream, on an error or when cancelled.
    ReceiveInto {
        /// Socket.
        fd: RawFd,
        /// Where to.
        at: *mut u8,
        /// How many.
        len: u32,
        /// As in [`Op::ReceiveOnce`].
        wait_first: bool,
    },
    /// Send `len` bytes from `at`.
    Send {
        /// Socket.
        fd: RawFd,
        /// Where from.
        at: *const u8,
        /// How many.
        len: u32,
        /// Send what the socket takes now, and wait for nothing: it is over when it has been handed over. No wait
        /// ends for its completion, unless something was left over or it failed.
        at_once: bool,
    },
    /// Send what `message` lists.
    SendVectored {
        /// Socket.
        fd: RawFd,
        /// Header and, through it, slices and bytes.
        message: *const libc::msghdr,
        /// How many bytes it lists.
        len: u32,
        /// As in [`Op::Send`].
        at_once: bool,
    },
    /// Cancel the operation that has this token.
    Cancel {
        /// Whose.
        target: Token,
    },
    /// Complete once `fd` is readable.
    Watch {
        /// What to watch.
        fd: RawFd,
    },
}

impl Op {
    /// True for a send that waits for nothing.
    pub fn is_at_once(&self) -> bool {
        matches!(self, Op::Send { at_once: true, .. } | Op::SendVectored { at_once: true, .. })
    }
}

/// One completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Whose.
    pub token: Token,
    /// A count or a descriptor, or an error number made negative.
    pub result: i32,
    /// The provided buffer that was filled; it is the reactor's until it is recycled.
    pub buffer: Option<u16>,
    /// The operation goes on; without it this completion is its last.
    pub more: bool,
    /// The socket had more to read.
    pub nonempty: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 5] = [Kind::Accept, Kind::Receive, Kind::Send, Kind::Cancel, Kind::Stop];

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
        for kind in (0..=255).filter(|kind| !(1..=5).contains(kind)) {
            assert_eq!(Token::from_bits(kind << 56 | 7 << 32 | 9), None);
        }
    }
}
