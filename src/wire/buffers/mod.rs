//! Buffers of a worker: its pool, shared ranges, output, and messages on their way in.
//!
//! | type | is |
//! |---|---|
//! | [`Pool`], [`PooledBuf`] | idle buffers of a worker; owner of a buffer, which returns it |
//! | [`Slice`] | a range of a buffer, shared or not |
//! | [`Outbox`], [`Batch`] | slices to send |
//! | [`RecvBuffer`], [`SizedBody`] | a message that is arriving; a [`Loan`] of its buffer |
//!
//! Nothing here knows a protocol.

mod outbox;
mod pool;
mod recv;
mod slice;

pub use outbox::{Batch, Outbox};
pub use pool::{Pool, PooledBuf};
pub use recv::Loan;
pub(crate) use recv::{RecvBuffer, SizedBody};
pub use slice::{Part, Slice};

/// Rest of a body from which on it is received straight into its own buffer, which the machine
/// lends. A shorter rest is copied out of the caller's buffer. A direct receive saves that copy and
/// costs a turn of the caller's loop for each message, and a send for each response, where copies
/// answer many messages in one turn. docs/TRIED.md has the figures from 8 to 256 KiB.
pub const DIRECT_BYTES_MIN: usize = 32 * 1024;

/// Length of a payload from which on it is sent from its own buffer. Shorter payloads are copied
/// together.
pub const OWN_BYTES_MIN: usize = 16 * 1024;

/// Most bytes of one [`Loan`]. A caller that waits for all of them sees progress at least this
/// often, so that a slow but honest sender is not taken for a stalled one. One completion for each
/// MiB costs less than 1 % of copying it.
pub const LOAN_BYTES_MAX: usize = 1024 * 1024;
