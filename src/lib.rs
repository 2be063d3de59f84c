//! ndecho measures what an RPC framework costs when the payload is a NumPy array.
//!
//! A server under test is a point on four axes: **driver** (who moves bytes), **transport** (what
//! carries them), **protocol** (how a connection is spoken) and **codec** (how an array is
//! written). It is named as a path, a *rung*: `uring/h1/npy`, `tokio/tonic/protobuf:prost@unix`.
//! Each rung has a parent from which it differs on exactly one axis, so the gap between the two is
//! the price of one layer.
//!
//! # Rooms
//!
//! | room | holds | never |
//! |---|---|---|
//! | [`mod@array`] | dtype, shape, bytes; seeded payloads | clock, socket, thread |
//! | [`axis`] | the four axes as enums and tables, the rung | any other room |
//! | [`codec`] | one encoding of an array per file | the same; nor an allocation a peer can size |
//! | [`wire`] | own protocols as pure state machines, both halves | the same |
//! | [`service`] | the work of every rung: routes, decode, check, encode | driver names |
//! | [`driver`] | sockets, rings, buffers, loops | codecs, message meaning |
//! | [`stack`] | borrowed stacks | sockets, except standalone stacks |
//! | [`server`] | builds one rung: picks on each axis once | load, stats, report |
//! | [`load`] | load generator, every reply checked | server, stack |
//! | [`ladder`] | the rungs and their parents | anything that runs |
//! | [`external`] | manifests and environments of servers that are not ours | measuring |
//! | [`experiment`] | the plan, the order of trials, child processes | server or load in-process |
//! | [`record`], [`stats`], [`report`] | one trial as a JSON line; numbers; text | anything that runs |
//! | [`sys`] | cores, socket options, mappings, child processes | protocols |
//! | [`probe`] | clocks, scheduler, noise, host facts, tracing | settings of the machine |
//! | [`cli`] | flags and their checks | logic |
//!
//! What is absent on purpose: TLS, streaming RPCs, compression, service discovery.

// Results go to stdout and messages to stderr, both from `cli` only.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod array;
pub mod axis;
pub mod cli;
pub mod codec;
pub mod driver;
pub mod experiment;
pub mod external;
#[rustfmt::skip]
pub mod generated;
pub mod ladder;
pub mod load;
pub mod probe;
pub mod record;
pub mod report;
pub mod server;
pub mod service;
pub mod stack;
pub mod stats;
pub mod sys;
pub mod wire;
