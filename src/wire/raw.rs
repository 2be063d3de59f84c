//! `raw`: length-prefixed frames on TCP, the floor of the ladder.
//!
//! ```text
//!  0               4       5
//! +---------------+-------+---------------- ...
//! | length (u32 be)| codec |  length bytes of body
//! +---------------+-------+---------------- ...
//! ```
//! `codec` is [`crate::codec::Encoding::id`] of the body; a reply with codec 0xFF carries a one-line error text
//! instead. Frames are answered in order. An unknown codec or a length over the limit is refused and the connection
//! closed, since nothing after it can be trusted.
