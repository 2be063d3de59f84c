//! Axis of protocols: how a connection is spoken, and by whose code.
//!
//! A borrowed stack has up to three forms. `STACK` is as its documentation has it, `STACK:tuned`
//! has windows, frames and buffers like ours, and `STACK:best` has every setting that measurably
//! helps.

use super::coding::Coding;
use super::driver::Driver;
use super::encoding::Encoding;
use super::layer::Layer;
use super::malloc::Malloc;
use super::name::axis;

#[derive(Clone, Copy, Debug)]
pub struct ProtocolSpec {
    pub name: &'static str,
    pub shape: Shape,
    pub family: Family,
    pub tuning: Tuning,
    pub about: &'static str,
    pub crates: &'static [&'static str],
}

/// Share of the work that a protocol's code does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Own protocol as a state machine over bytes; runs on every driver.
    Machine,
    /// Borrowed stack, async over one lent stream; runs on every driver.
    Service,
    /// Borrowed stack with its own accept loop; runs on one driver only.
    Standalone { driver: Driver },
}

/// Settings of a stack. Own protocols have no documentation to follow and count as tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    Default,
    Tuned,
    Best,
}

/// Kind of message framing; a client needs to know no more than this of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Raw,
    Rest,
    /// gRPC over cleartext HTTP/2 with prior knowledge.
    Grpc,
    /// Request and reply of ZeroMQ, which only external servers speak.
    Zmtp,
}

axis! {
    /// Protocol as one stack speaks it.
    Protocol, "protocol", ProtocolSpec;

    Raw {
        name: "raw",
        shape: Shape::Machine,
        family: Family::Raw,
        tuning: Tuning::Tuned,
        about: "length-prefixed frames, the floor",
        crates: &[],
    }
    H1 {
        name: "h1",
        shape: Shape::Machine,
        family: Family::Rest,
        tuning: Tuning::Tuned,
        about: "own HTTP/1.1",
        crates: &[],
    }
    Hyper {
        name: "hyper",
        shape: Shape::Service,
        family: Family::Rest,
        tuning: Tuning::Default,
        about: "hyper HTTP/1.1, defaults",
        crates: &["hyper", "hyper-util"],
    }
    HyperTuned {
        name: "hyper:tuned",
        shape: Shape::Service,
        family: Family::Rest,
        tuning: Tuning::Tuned,
        about: "hyper HTTP/1.1 with larger buffers",
        crates: &["hyper", "hyper-util"],
    }
    HyperBest {
        name: "hyper:best",
        shape: Shape::Service,
        family: Family::Rest,
        tuning: Tuning::Best,
        about: "hyper HTTP/1.1 without a date field; malloc keeps its pages",
        crates: &["hyper", "hyper-util"],
    }
    Axum {
        name: "axum",
        shape: Shape::Standalone { driver: Driver::Tokio },
        family: Family::Rest,
        tuning: Tuning::Default,
        about: "axum router, as its documentation has it",
        crates: &["axum", "hyper", "hyper-util"],
    }
    AxumBest {
        name: "axum:best",
        shape: Shape::Standalone { driver: Driver::Tokio },
        family: Family::Rest,
        tuning: Tuning::Best,
        about: "axum router under hyper's builder, payload not copied; malloc keeps its pages",
        crates: &["axum", "hyper", "hyper-util"],
    }
    H2 {
        name: "h2",
        shape: Shape::Machine,
        family: Family::Grpc,
        tuning: Tuning::Tuned,
        about: "own HTTP/2 with own gRPC",
        crates: &[],
    }
    H2Crate {
        name: "h2-crate",
        shape: Shape::Service,
        family: Family::Grpc,
        tuning: Tuning::Default,
        about: "hand-written gRPC framing over the h2 crate, defaults and 100 streams",
        crates: &["h2"],
    }
    H2CrateTuned {
        name: "h2-crate:tuned",
        shape: Shape::Service,
        family: Family::Grpc,
        tuning: Tuning::Tuned,
        about: "the h2 crate with windows, frames and streams raised",
        crates: &["h2"],
    }
    HyperH2 {
        name: "hyper-h2",
        shape: Shape::Service,
        family: Family::Grpc,
        tuning: Tuning::Default,
        about: "the same framing over hyper's HTTP/2, defaults",
        crates: &["h2", "hyper", "hyper-util"],
    }
    HyperH2Tuned {
        name: "hyper-h2:tuned",
        shape: Shape::Service,
        family: Family::Grpc,
        tuning: Tuning::Tuned,
        about: "hyper's HTTP/2 with windows and frames raised",
        crates: &["h2", "hyper", "hyper-util"],
    }
    HyperH2Best {
        name: "hyper-h2:best",
        shape: Shape::Service,
        family: Family::Grpc,
        tuning: Tuning::Best,
        about: "the tuned form without a date field; malloc keeps its pages",
        crates: &["h2", "hyper", "hyper-util"],
    }
    Tonic {
        name: "tonic",
        shape: Shape::Standalone { driver: Driver::Tokio },
        family: Family::Grpc,
        tuning: Tuning::Default,
        about: "tonic, generated service for protobuf:prost, its Codec trait for others; defaults",
        crates: &["h2", "hyper", "hyper-util", "tonic"],
    }
    TonicTuned {
        name: "tonic:tuned",
        shape: Shape::Standalone { driver: Driver::Tokio },
        family: Family::Grpc,
        tuning: Tuning::Tuned,
        about: "tonic with windows and frames raised",
        crates: &["h2", "hyper", "hyper-util", "tonic"],
    }
    TonicBest {
        name: "tonic:best",
        shape: Shape::Standalone { driver: Driver::Tokio },
        family: Family::Grpc,
        tuning: Tuning::Best,
        about: "tonic's codec and service under hyper's HTTP/2; malloc keeps its pages",
        crates: &["h2", "hyper", "hyper-util", "tonic"],
    }
}

impl Protocol {
    /// Layers in which two protocols may differ. A protocol adds bytes to each message and decides
    /// when a batch of them leaves, which the kernel pays for. Array and codec are the same.
    pub const LAYERS: &[Layer] = &[
        Layer::GrpcSemantics,
        Layer::Framework,
        Layer::HttpFraming,
        Layer::Runtime,
        Layer::Allocator,
        Layer::UserCopies,
        Layer::PageFaults,
        Layer::SystemCallEntry,
        Layer::KernelSocket,
        Layer::KernelCopy,
        Layer::KernelRing,
        Layer::Scheduler,
    ];

    pub const fn family(self) -> Family {
        self.spec().family
    }

    pub const fn only_driver(self) -> Option<Driver> {
        match self.spec().shape {
            Shape::Standalone { driver } => Some(driver),
            Shape::Machine | Shape::Service => None,
        }
    }

    /// Returns the allocator that a server gets if nobody chooses one.
    pub const fn malloc(self) -> Malloc {
        match self.spec().tuning {
            Tuning::Default | Tuning::Tuned => Malloc::Default,
            Tuning::Best => Malloc::Keep,
        }
    }

    /// Returns the name without the form of its settings.
    pub fn stack(self) -> &'static str {
        self.name().split_once(':').map_or(self.name(), |(stack, _)| stack)
    }

    /// Returns true if servers of the protocol read and answer messages in `coding`.
    pub const fn has_coding(self, coding: Coding) -> bool {
        match self {
            Protocol::H1 | Protocol::H2 => true,
            Protocol::Axum
            | Protocol::AxumBest
            | Protocol::Tonic
            | Protocol::TonicTuned
            | Protocol::TonicBest => {
                matches!(coding, Coding::Identity | Coding::Gzip | Coding::Zstd)
            }
            Protocol::Raw
            | Protocol::Hyper
            | Protocol::HyperTuned
            | Protocol::HyperBest
            | Protocol::H2Crate
            | Protocol::H2CrateTuned
            | Protocol::HyperH2
            | Protocol::HyperH2Tuned
            | Protocol::HyperH2Best => matches!(coding, Coding::Identity),
        }
    }

    pub fn runs_on(self, driver: Driver) -> bool {
        self.only_driver().is_none_or(|only| only == driver)
    }
}

impl Tuning {
    /// Layers in which two settings of a stack may differ: windows, frames and buffers change all
    /// that the stack does itself, and the number of its calls.
    pub const LAYERS: &[Layer] = Protocol::LAYERS;
}

impl Family {
    pub const ALL: [Family; 4] = [Family::Raw, Family::Rest, Family::Grpc, Family::Zmtp];

    pub const fn scheme(self) -> &'static str {
        match self {
            Family::Raw => "raw",
            Family::Rest => "http",
            Family::Grpc => "grpc",
            Family::Zmtp => "zmtp",
        }
    }

    pub fn of_scheme(scheme: &str) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.scheme() == scheme)
    }

    /// Returns the length of the longest message; `None` if there is no limit. Raw frames and gRPC
    /// messages have a length field of 32 bits.
    pub const fn message_bytes_max(self) -> Option<u64> {
        match self {
            Family::Raw | Family::Grpc => Some(u32::MAX as u64),
            Family::Rest | Family::Zmtp => None,
        }
    }

    /// Returns our own protocol of the family, if there is one.
    pub const fn own(self) -> Option<Protocol> {
        match self {
            Family::Raw => Some(Protocol::Raw),
            Family::Rest => Some(Protocol::H1),
            Family::Grpc => Some(Protocol::H2),
            Family::Zmtp => None,
        }
    }

    /// Returns true if a connection carries one request at a time.
    pub const fn is_lock_step(self) -> bool {
        matches!(self, Family::Rest | Family::Zmtp)
    }

    /// Returns true if the messages of `encoding` can be sent.
    pub const fn carries(self, encoding: Encoding) -> bool {
        matches!(self, Family::Zmtp) == matches!(encoding, Encoding::Multipart)
    }

    pub const fn usual_encoding(self) -> Encoding {
        match self {
            Family::Raw => Encoding::Reflect,
            Family::Rest => Encoding::Npy,
            Family::Grpc => Encoding::Protobuf,
            Family::Zmtp => Encoding::Multipart,
        }
    }
}
