//! Buffers of a worker: its pool, shared ranges, output, and messages on their way in.
//!
//! | type | is |
//! |---|---|
//! | [`Pool`], [`PooledBuf`] | idle buffers of a worker; owner of a buffer, which returns it |
//! | [`MemoryBudget`], [`Level`] | memory that a process may hold, and how short it is |
//! | [`Slice`] | a range of a buffer, shared or not |
//! | [`Detached`] | a slice that may go to another thread |
//! | [`Outbox`], [`Batch`] | slices to send, and jobs |
//! | `RecvBuffer`, `SizedBody` | a message that is arriving; a [`Loan`] of its buffer |
//!
//! Nothing here knows a protocol.

mod account;
mod detached;
mod outbox;
mod pool;
mod recv;
mod slice;

pub(crate) use account::HeldBytes;
pub use account::{Level, MemoryBudget};
pub use detached::Detached;
pub use outbox::{Batch, Outbox};
pub use pool::{Charge, Pool, PooledBuf};
pub use recv::Loan;
pub(crate) use recv::{FIRST_BYTES, RecvBuffer, SizedBody};
pub use slice::{Part, Slice};

/// Shortest rest of a body that the machine lends a buffer for. A direct receive saves a copy and
/// costs a turn of the caller's loop and a send for each message. docs/TRIED.md has figures.
pub const DIRECT_BYTES_MIN: usize = 32 * 1024;

/// Shortest payload that is sent from its own buffer; others are copied together.
pub const OWN_BYTES_MIN: usize = 16 * 1024;

/// Most bytes of one [`Loan`]: progress shows at least this often, so a slow sender is not taken
/// for a stalled one. One completion for each MiB costs less than 1 % of copying it.
pub const LOAN_BYTES_MAX: usize = 1024 * 1024;
