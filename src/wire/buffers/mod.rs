//! Buffers of a worker: its pool, output, and messages on their way in.

pub(super) mod body;
mod outbox;
mod pool;
pub(super) mod recv;

pub use outbox::{Batch, Outbox};
pub use pool::{Pool, SharedPool};
pub use recv::Loan;

/// A body of which at least this much is to come is received straight into its own buffer (the machine lends it);
/// shorter ones are copied out of the caller's. A direct receive spares that copy and costs a turn of the caller's loop
/// for each message, and a send for each reply, where copies answer many messages in a turn. docs/TRIED.md has the
/// figures from 8 to 256 KiB.
pub const DIRECT_BYTES_MIN: usize = 32 * 1024;

/// A payload at least this long in a buffer of its own is sent from there; shorter ones are copied together.
pub const OWN_BYTES_MIN: usize = 16 * 1024;

/// Most bytes of one [`Loan`]. A caller that waits for all of them sees progress at least this often, so that a slow
/// but honest sender is not taken for a stalled one; one completion per MiB costs less than 1 % of copying it.
pub const LOAN_BYTES_MAX: usize = 1024 * 1024;
