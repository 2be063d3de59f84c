//! The rungs of the ladder and their parents.
//!
//! A line of [`STACKS`] is a driver and a protocol, and makes a rung of every codec that stack can carry; a codec of
//! the codec table makes a rung of every stack. So a new stack is one line here, and a new codec none. The parent
//! of a rung is the same codec on the parent stack; on the root stack it is the codec a step simpler: a library's
//! form comes from our own form of that encoding, and our own from `reflect`.
//!
//! ```text
//! uring/raw/reflect ── codec ──▶ uring/raw/json ── codec ──▶ uring/raw/json:serde
//!        │ protocol                  │ protocol                   │ protocol
//!        ▼                           ▼                            ▼
//! uring/h1/reflect             uring/h1/json               uring/h1/json:serde
//! ```
//!
//! Invariant, proved by `tests/ladder.rs`: a rung differs from its parent in exactly one axis, and the parent is a
//! rung too.

use crate::codec::{self, CODECS, Encoding};
use crate::driver::DRIVERS;
use crate::stack::{self, Family};

use super::rung::{self, Axis, REFLECT, Rung};

/// A driver and a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Driver, as in a rung.
    pub driver: &'static str,
    /// Protocol, as in a rung.
    pub protocol: &'static str,
    /// Driver and protocol of the stack it is compared with; the root has none.
    pub parent: Option<(&'static str, &'static str)>,
}

const fn root(driver: &'static str, protocol: &'static str) -> Stack {
    Stack { driver, protocol, parent: None }
}

const fn on(
    driver: &'static str,
    protocol: &'static str,
    parent: (&'static str, &'static str),
) -> Stack {
    Stack { driver, protocol, parent: Some(parent) }
}

/// Every stack of the ladder, parents first.
pub static STACKS: &[Stack] = &[
    root("uring", "raw"),
    on("tokio", "raw", ("uring", "raw")),
    on("tokio-uring", "raw", ("uring", "raw")),
    // HTTP/1.1
    on("uring", "h1", ("uring", "raw")),
    on("uring", "hyper", ("uring", "h1")),
    on("uring", "hyper:tuned", ("uring", "hyper")),
    on("tokio", "h1", ("uring", "h1")),
    on("tokio", "hyper", ("tokio", "h1")),
    on("tokio", "hyper:tuned", ("tokio", "hyper")),
    on("tokio", "axum", ("tokio", "hyper")),
    on("tokio-uring", "h1", ("uring", "h1")),
    // gRPC
    on("uring", "h2", ("uring", "raw")),
    on("uring", "h2-crate", ("uring", "h2")),
    on("uring", "hyper-h2", ("uring", "h2-crate")),
    on("uring", "hyper-h2:tuned", ("uring", "hyper-h2")),
    on("tokio", "h2", ("uring", "h2")),
    on("tokio", "h2-crate", ("uring", "h2-crate")),
    on("tokio", "hyper-h2", ("tokio", "h2-crate")),
    on("tokio", "hyper-h2:tuned", ("tokio", "hyper-h2")),
    on("tokio", "tonic", ("tokio", "hyper-h2")),
    on("tokio", "tonic:tuned", ("tokio", "tonic")),
    on("tokio-uring", "h2", ("uring", "h2")),
    on("tokio-uring", "h2-crate", ("uring", "h2-crate")),
];

/// Every rung of the ladder: codec by codec, in each the stacks in the order of the table.
pub fn rungs() -> Vec<Rung> {
    let mut rungs = Vec::new();
    for codec in rung::codec_names() {
        rungs.extend(STACKS.iter().filter_map(|stack| stack.rung(codec)));
    }
    rungs
}

/// The rung that `rung` is compared with; `None` for the root and for a rung that is not on the ladder.
pub fn parent(rung: Rung) -> Option<Rung> {
    let stack = STACKS.iter().find(|stack| stack.holds(rung))?;
    match stack.parent {
        Some((driver, protocol)) => Rung::new(driver, protocol, rung.codec()).ok(),
        None => stack.rung(simpler(rung.codec())?),
    }
}

/// The standard server that whatever speaks `encoding` over `family` is measured against: tonic for gRPC and axum for
/// REST, as their documentation has it, with the usual library for that encoding.
pub fn reference(encoding: Encoding, family: Family) -> Option<Rung> {
    let stack = match family {
        Family::Grpc => "tonic",
        Family::Rest => "axum",
        Family::Raw => return None,
    };
    Rung::new("tokio", stack, usual(encoding)).ok()
}

/// What `rung` adds to `parent`, in words.
pub fn adds(rung: Rung, parent: Option<Rung>) -> String {
    let Some(parent) = parent else {
        return "the floor: bytes back, no codec".to_owned();
    };
    let about = |axis| match axis {
        Axis::Driver => about_driver(rung.driver()).to_owned(),
        Axis::Protocol => about_protocol(rung.protocol()).to_owned(),
        Axis::Codec => about_codec(rung.codec()),
    };
    let said: Vec<String> =
        rung.differs(parent).into_iter().map(|axis| format!("{axis}: {}", about(axis))).collect();
    said.join("; ")
}

/// One line on a driver.
pub fn about_driver(name: &str) -> &'static str {
    DRIVERS.iter().find(|entry| entry.name == name).map_or("", |entry| entry.about)
}

/// One line on a protocol.
pub fn about_protocol(name: &str) -> &'static str {
    stack::find(name).map_or("", |entry| entry.about)
}

/// One line on a codec.
pub fn about_codec(name: &str) -> String {
    let what = match codec::find(name).map_or(Encoding::Reflect, |codec| codec.encoding()) {
        Encoding::Reflect => "the message back, undecoded",
        Encoding::Protobuf => "NDArray of proto/ndecho.proto",
        Encoding::Json => "nested list of numbers",
        Encoding::JsonBinary => "base64 in JSON",
        Encoding::Msgpack => "the map of msgpack_numpy",
        Encoding::Npy => "a .npy file",
    };
    match name.split_once(':') {
        Some((_, library)) => format!("{what}, by {library}"),
        None => what.to_owned(),
    }
}

impl Stack {
    fn holds(&self, rung: Rung) -> bool {
        self.driver == rung.driver() && self.protocol == rung.protocol()
    }

    /// The rung of `codec` on this stack, if it can carry it.
    pub(super) fn rung(&self, codec: &str) -> Option<Rung> {
        Rung::new(self.driver, self.protocol, codec).ok()
    }
}

/// The codec a step simpler than `codec`; `None` for [`REFLECT`].
pub(super) fn simpler(codec: &'static str) -> Option<&'static str> {
    let encoding = codec::find(codec)?.encoding();
    Some(if codec == encoding.name() { REFLECT } else { encoding.name() })
}

/// The library's form of an encoding, or our own where there is none.
fn usual(encoding: Encoding) -> &'static str {
    CODECS
        .iter()
        .filter(|codec| codec.encoding() == encoding)
        .map(|codec| codec.name())
        .find(|name| *name != encoding.name())
        .unwrap_or(encoding.name())
}
