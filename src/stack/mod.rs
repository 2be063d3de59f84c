//! AXIS: how a connection is spoken. [`PROTOCOLS`] lists the points.
//!
//! Three shapes, by how much a stack brings: *Machine* (bytes only, over `wire`, runs on any driver), *Service*
//! (async over one lent stream), *Whole* (own accept loop; names the one driver it needs).
//! [`crate::service::routes`] is what all of them serve: paths, content types and refusals are decided there, once.

pub mod axum;
pub mod grpc;
pub mod h2_crate;
pub mod hyper;
pub mod hyper_h2;
pub mod message;
pub mod standalone;
pub mod tonic;
pub mod tuning;

/// How much a stack brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Own protocol as a state machine.
    Machine,
    /// Async over one lent stream.
    Service,
    /// Own accept loop on the named driver.
    Whole {
        /// The only driver it runs on.
        driver: &'static str,
    },
}

/// What a protocol carries a message in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Length-prefixed frames.
    Raw,
    /// HTTP/1.1 request and reply.
    Rest,
    /// gRPC over HTTP/2.
    Grpc,
}

/// A line of the protocol table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Name as in a rung; `stack:tuned` is the same stack with its windows and buffers raised the way ours are.
    pub name: &'static str,
    /// How much it brings.
    pub shape: Shape,
    /// What it carries a message in.
    pub family: Family,
    /// One line for `ndecho rungs`.
    pub about: &'static str,
}

/// Every protocol.
pub static PROTOCOLS: &[Entry] = &[
    Entry {
        name: "raw",
        shape: Shape::Machine,
        family: Family::Raw,
        about: "length-prefixed frames, the floor",
    },
    Entry { name: "h1", shape: Shape::Machine, family: Family::Rest, about: "own HTTP/1.1" },
    Entry {
        name: "hyper",
        shape: Shape::Service,
        family: Family::Rest,
        about: "hyper HTTP/1.1, defaults",
    },
    Entry {
        name: "hyper:tuned",
        shape: Shape::Service,
        family: Family::Rest,
        about: "hyper with pipeline flush and larger buffers",
    },
    Entry {
        name: "axum",
        shape: Shape::Whole { driver: "tokio" },
        family: Family::Rest,
        about: "axum router, as its documentation has it",
    },
    Entry {
        name: "h2",
        shape: Shape::Machine,
        family: Family::Grpc,
        about: "own HTTP/2 with own gRPC",
    },
    Entry {
        name: "h2-crate",
        shape: Shape::Service,
        family: Family::Grpc,
        about: "hand-written gRPC framing over the h2 crate, tuned by nature",
    },
    Entry {
        name: "hyper-h2",
        shape: Shape::Service,
        family: Family::Grpc,
        about: "the same framing over hyper's HTTP/2, defaults",
    },
    Entry {
        name: "hyper-h2:tuned",
        shape: Shape::Service,
        family: Family::Grpc,
        about: "hyper's HTTP/2 with windows and frames raised",
    },
    Entry {
        name: "tonic",
        shape: Shape::Whole { driver: "tokio" },
        family: Family::Grpc,
        about: "tonic, generated service for protobuf:prost, its Codec trait for others; defaults",
    },
    Entry {
        name: "tonic:tuned",
        shape: Shape::Whole { driver: "tokio" },
        family: Family::Grpc,
        about: "tonic with windows and frames raised",
    },
];

/// The protocol called `name`, or `None`.
pub fn find(name: &str) -> Option<&'static Entry> {
    PROTOCOLS.iter().find(|entry| entry.name == name)
}
