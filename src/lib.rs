//! ndecho measures what an RPC framework costs when the payload is a NumPy array.
//!
//! A server under test is a point on three axes, **driver** (who moves bytes) x **protocol** (how a
//! connection is spoken) x **codec** (how an array is written), and is named as a path, a *rung*:
//! `uring/h1/npy`, `tokio/tonic/protobuf:prost`. Each rung has a parent from which it differs in exactly one
//! axis, so the gap between the two is the price of one layer.
//!
//! # Rooms
//!
//! | room | holds | never |
//! |---|---|---|
//! | [`mod@array`] | dtype, shape, bytes; seeded payloads | clock, socket, thread |
//! | [`codec`] | one encoding of an array per file | the same; nor an allocation a peer can size |
//! | [`wire`] | own protocols as pure state machines, both halves | the same |
//! | [`service`] | the work of every rung: routes, decode, check, encode | driver names |
//! | [`driver`] | sockets, rings, buffers, loops | codecs, message meaning |
//! | [`stack`] | the protocol table; borrowed stacks | sockets, except *Whole* stacks |
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

pub mod array;
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
