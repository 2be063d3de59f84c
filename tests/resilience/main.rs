//! A server survives its own faults and hostile peers, and spares honest ones: a panic costs one
//! request, no setting is too large, deadlines hold, limits leave room, memory follows the bytes
//! that came, full places keep nobody out, and a shutdown loses nothing. Each promise is checked
//! through the real drivers.

#[path = "../peers/grpc.rs"]
mod grpc;
#[path = "../peers/program.rs"]
mod program;
#[path = "../peers/rest.rs"]
mod rest;
#[path = "../peers/server.rs"]
mod server;

mod borrowed;
mod deadlines;
mod extremes;
mod honest;
mod http2;
mod jobs;
mod limits;
mod memory;
mod panics;
mod places;
mod shutdown;
mod stalls;

use ndecho::axis::{Family, Protocol};

/// Returns the protocols of a family that run on every driver.
fn hosted(family: Family) -> impl Iterator<Item = Protocol> {
    let protocols = Protocol::ALL.into_iter().filter(move |it| it.family() == family);
    protocols.filter(|protocol| protocol.only_driver().is_none())
}

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");
