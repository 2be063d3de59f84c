//! Own protocols as pure state machines, server and client halves.
//!
//! A machine takes bytes, hands whole messages to a [`Handler`] or [`Sink`], and writes to an
//! [`Outbox`], which the caller sends. It never reads a clock, blocks, spawns or logs, and never
//! allocates a length that was only announced. Incomplete input is not an error.

pub mod buffers;
mod changing_fields;
pub mod client;
pub mod counts;
pub mod error;
pub mod grpc;
pub mod h1;
pub mod h2;
pub mod handler;
pub mod job;
pub mod json_head;
pub mod limits;
pub mod machine;
pub mod planted;
pub mod progress;
pub mod raw;
mod response;
mod timeouts;
mod working;
pub mod zmtp;

pub use buffers::{Batch, Charge, Detached, Level, Loan, MemoryBudget, Outbox};
pub use buffers::{DIRECT_BYTES_MIN, LOAN_BYTES_MAX, OWN_BYTES_MIN};
pub(crate) use buffers::{HeldBytes, RecvBuffer};
pub use buffers::{Part, Pool, PooledBuf, Slice};
pub use changing_fields::ChangingFields;
pub use client::{Client, ResponseEvent, Sink};
pub use counts::{Alarm, Limit, WorkerCounts};
pub use error::{ErrorKind, WireError};
pub use handler::{Call, Codings, Handler, Head, Refusal, Refused, Replies, Response};
pub use handler::{Route, Routed, Work};
pub use job::{EndedJob, Job, PendingJob};
pub use limits::Limits;
pub use machine::{Context, LINGER_GAP, LINGER_TIME, Machine};
pub use progress::Pace;
