//! The rungs of the ladder and their parents.
//!
//! A row of [`STACKS`] makes a rung of every codec that it carries. The parent of a rung is the
//! same codec on the parent stack. On the root stack the parent is the codec a step simpler: a
//! library's form comes from our own form, and our own form from `reflect`. Invariant, checked by
//! `tests/ladder.rs`: a rung differs from its parent, also a rung, on exactly one axis. The tuning
//! of a stack is an axis, so a tuned stack has a tuned parent.
//!
//! ```text
//! uring/raw/reflect ── codec ──▶ uring/raw/json ── codec ──▶ uring/raw/json:serde
//!        │ protocol                  │ protocol                   │ protocol
//!        ▼                           ▼                            ▼
//! uring/h1/reflect             uring/h1/json               uring/h1/json:serde
//! ```

use std::fmt;

use crate::axis::{Axis, Codec, Driver, Encoding, Family, Protocol, Rung, Transport};

/// Every choice of a rung but its codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    pub driver: Driver,
    pub protocol: Protocol,
    pub transport: Transport,
    /// Stack that it is compared with, over TCP; the root has none.
    pub parent: Option<(Driver, Protocol)>,
    pub codecs: &'static [Codec],
}

const fn root(driver: Driver, protocol: Protocol) -> Stack {
    Stack { driver, protocol, transport: Transport::Tcp, parent: None, codecs: &Codec::ALL }
}

const fn on(driver: Driver, protocol: Protocol, parent: (Driver, Protocol)) -> Stack {
    Stack { parent: Some(parent), ..root(driver, protocol) }
}

const fn on_unix(driver: Driver, protocol: Protocol, codecs: &'static [Codec]) -> Stack {
    Stack { transport: Transport::Unix, codecs, ..on(driver, protocol, (driver, protocol)) }
}

/// Codecs over Unix sockets; few, since the price of a transport does not depend on the codec.
const UNIX_RAW: &[Codec] = &[Codec::Reflect];
const UNIX_REST: &[Codec] = &[Codec::Reflect, Codec::Npy];
const UNIX_GRPC: &[Codec] = &[Codec::Reflect, Codec::Protobuf, Codec::ProtobufProst];

use Driver::{Tokio, TokioUring, Uring};
use Protocol::{
    Axum, AxumBest, H1, H2, H2Crate, H2CrateTuned, Hyper, HyperBest, HyperH2, HyperH2Best,
    HyperH2Tuned, HyperTuned, Raw, Tonic, TonicBest, TonicTuned,
};

/// Every stack of the ladder, parents first.
pub static STACKS: &[Stack] = &[
    root(Uring, Raw),
    on(Tokio, Raw, (Uring, Raw)),
    on(TokioUring, Raw, (Uring, Raw)),
    on(Uring, H1, (Uring, Raw)),
    on(Uring, HyperTuned, (Uring, H1)),
    on(Uring, Hyper, (Uring, HyperTuned)),
    on(Uring, HyperBest, (Uring, HyperTuned)),
    on(Tokio, H1, (Uring, H1)),
    on(Tokio, HyperTuned, (Tokio, H1)),
    on(Tokio, Hyper, (Tokio, HyperTuned)),
    on(Tokio, HyperBest, (Tokio, HyperTuned)),
    on(Tokio, Axum, (Tokio, Hyper)),
    on(Tokio, AxumBest, (Tokio, HyperBest)),
    on(TokioUring, H1, (Uring, H1)),
    on(Uring, H2, (Uring, Raw)),
    on(Uring, H2CrateTuned, (Uring, H2)),
    on(Uring, H2Crate, (Uring, H2CrateTuned)),
    on(Uring, HyperH2, (Uring, H2Crate)),
    on(Uring, HyperH2Tuned, (Uring, H2CrateTuned)),
    on(Uring, HyperH2Best, (Uring, HyperH2Tuned)),
    on(Tokio, H2, (Uring, H2)),
    on(Tokio, H2CrateTuned, (Uring, H2CrateTuned)),
    on(Tokio, H2Crate, (Uring, H2Crate)),
    on(Tokio, HyperH2, (Tokio, H2Crate)),
    on(Tokio, HyperH2Tuned, (Tokio, H2CrateTuned)),
    on(Tokio, HyperH2Best, (Tokio, HyperH2Tuned)),
    on(Tokio, Tonic, (Tokio, HyperH2)),
    on(Tokio, TonicTuned, (Tokio, HyperH2Tuned)),
    on(Tokio, TonicBest, (Tokio, HyperH2Best)),
    on(TokioUring, H2, (Uring, H2)),
    on(TokioUring, H2CrateTuned, (Uring, H2CrateTuned)),
    on_unix(Uring, Raw, UNIX_RAW),
    on_unix(Uring, H1, UNIX_REST),
    on_unix(Tokio, Hyper, UNIX_REST),
    on_unix(Tokio, Axum, UNIX_REST),
    on_unix(Uring, H2, UNIX_GRPC),
    on_unix(Uring, H2Crate, UNIX_GRPC),
    on_unix(Tokio, Tonic, UNIX_GRPC),
];

/// Returns every rung of the ladder: codec by codec, in each the stacks in the order of the table.
pub fn rungs() -> Vec<Rung> {
    let of = |codec| STACKS.iter().filter_map(move |stack| stack.rung(codec));
    Codec::ALL.into_iter().flat_map(of).collect()
}

/// Returns the rung that `rung` is compared with; `None` for the root or outside of the ladder.
pub fn parent(rung: Rung) -> Option<Rung> {
    let stack = STACKS.iter().find(|stack| stack.holds(rung))?;
    match stack.parent {
        Some((driver, protocol)) => Rung::new(driver, protocol, rung.codec(), Transport::Tcp).ok(),
        None => stack.rung(simpler(rung.codec())?),
    }
}

/// Returns the server that rungs of `encoding`, `family` and `transport` are measured against:
/// tonic or axum, as documented, with the usual library for the encoding.
pub fn reference(encoding: Encoding, family: Family, transport: Transport) -> Option<Rung> {
    let protocol = match family {
        Family::Grpc => Tonic,
        Family::Rest => Axum,
        Family::Raw | Family::Zmtp => return None,
    };
    Rung::new(Tokio, protocol, encoding.library(), transport).ok()
}

pub fn adds(rung: Rung, parent: Option<Rung>) -> String {
    let Some(parent) = parent else {
        return "the floor: bytes back, no codec".to_owned();
    };
    let about = |axis| match axis {
        Axis::Driver => rung.driver().spec().about.to_owned(),
        Axis::Transport => rung.transport().spec().about.to_owned(),
        Axis::Protocol | Axis::Tuning => rung.protocol().spec().about.to_owned(),
        Axis::Codec => rung.codec().about(),
    };
    let added = rung.differs(parent).into_iter().map(|axis| format!("{axis}: {}", about(axis)));
    added.collect::<Vec<_>>().join("; ")
}

impl Stack {
    pub fn holds(&self, rung: Rung) -> bool {
        let stack = (rung.driver(), rung.protocol(), rung.transport());
        stack == (self.driver, self.protocol, self.transport) && self.codecs.contains(&rung.codec())
    }

    pub fn rung(&self, codec: Codec) -> Option<Rung> {
        let Stack { driver, protocol, transport, .. } = *self;
        let rung = self.codecs.contains(&codec).then_some((driver, protocol, codec, transport))?;
        Rung::new(rung.0, rung.1, rung.2, rung.3).ok()
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.driver, self.protocol)?;
        match self.transport {
            Transport::Tcp => Ok(()),
            transport => write!(f, "@{transport}"),
        }
    }
}

/// Returns the codec a step simpler than `codec`; `None` for `reflect`.
pub(super) fn simpler(codec: Codec) -> Option<Codec> {
    match codec {
        Codec::Reflect => None,
        codec if codec.is_own() => Some(Codec::Reflect),
        codec => Some(codec.encoding().own()),
    }
}
