//! The four axes of a server under test, and the [`Rung`] that is one point on all of them.
//!
//! This is the only place that spells a name. Code that turns a point into something else (a type,
//! a codec, a socket) matches the enum exhaustively; lists of points iterate over `ALL`.

mod coding;
mod data_set;
mod driver;
mod encoding;
pub mod external;
mod layer;
mod malloc;
mod name;
mod protocol;
mod rung;
mod transport;

use std::collections::BTreeSet;

pub use coding::{CODING_TOKENS, Coding};
pub use data_set::DataSet;
pub use driver::Driver;
pub use encoding::{Codec, Encoding, Payload};
pub use layer::Layer;
pub use malloc::Malloc;
pub use name::UnknownName;
pub(crate) use name::serde_by_name;
pub use protocol::{Family, Protocol, Shape, Tuning};
pub use rung::{Axis, Rung, RungError};
pub use transport::Transport;

/// Returns the names of the crates behind all points; a record lists their versions.
pub fn crates() -> BTreeSet<&'static str> {
    let drivers = Driver::ALL.into_iter().flat_map(|driver| driver.spec().crates);
    let protocols = Protocol::ALL.into_iter().flat_map(|protocol| protocol.spec().crates);
    let codecs = Codec::ALL.into_iter().flat_map(|codec| codec.spec().crates);
    let codings = Coding::ALL.into_iter().flat_map(|coding| coding.spec().crates);
    drivers.chain(protocols).chain(codecs).chain(codings).copied().collect()
}
