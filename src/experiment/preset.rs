//! Presets: the choices of rungs, arrays, loads and times that a run starts from.
//!
//! | preset | rungs | arrays |
//! |---|---|---|
//! | `quick` | [`QUICK`] | 8 B, 64 KiB, 1 MiB |
//! | `seed` | [`SEED`], and peers with a row in the original's table | 8 B, 2 KiB, 64 KiB, 1000 parallel requests |
//! | `full` | all | 8 B to 256 MiB |

use std::time::Duration;

use crate::axis::{Family, Rung};

use super::cell::Load;
use super::run::Blocks;
use crate::ladder::select::select;
use crate::ladder::table;

/// A choice of rungs, arrays, loads and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The main job: a few minutes.
    Quick,
    /// The original benchmark's sizes and its 1000 parallel requests.
    Seed,
    /// Everything; hours.
    Full,
}

/// Rungs of `quick`: each step of one gRPC chain and one REST chain, then what each encoding costs in a whole server.
pub const QUICK: &str = "{uring,tokio}/raw/reflect,uring/raw/{protobuf,msgpack},\
    uring/h2/protobuf,{uring,tokio}/h2-crate/protobuf,tokio/hyper-h2/protobuf*,tokio/tonic*/protobuf:prost,\
    {uring,tokio}/h1/msgpack,tokio/hyper/msgpack,tokio/axum/{msgpack,npy}*,\
    uring/h1/{npy,json,json_binary},tokio/axum/{json,json_binary}:serde";

/// Rungs of `seed`: what stands beside the original's rows.
pub const SEED: &str = "uring/raw/reflect,uring/h2/protobuf,{uring,tokio}/h2-crate/protobuf,tokio/tonic*/protobuf:prost,\
    uring/h1/{msgpack,json_binary,json},tokio/axum/{msgpack,json_binary,json}:serde";

/// Requests in flight in the original.
pub const SEED_IN_FLIGHT: u32 = 1000;

/// Connections that aiohttp's client, as the original used it, opens at most; further requests waited.
pub const SEED_CONNECTIONS: u32 = 100;

/// Blocks of a run that has a time instead.
pub const BLOCKS_MAX: u32 = 1000;

/// Time of the blocks of `quick`, so that all of it takes three minutes.
const QUICK_TIME: Duration = Duration::from_secs(175);

impl Preset {
    /// Name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Quick => "quick",
            Preset::Seed => "seed",
            Preset::Full => "full",
        }
    }

    /// Our own rungs that it tries.
    pub(super) fn rungs(self) -> Vec<Rung> {
        let chosen = match self {
            Preset::Quick => select(QUICK, table::rungs()),
            Preset::Seed => select(SEED, table::rungs()),
            Preset::Full => Ok(table::rungs()),
        };
        chosen.expect("a preset's globs match rungs of the ladder")
    }

    /// Sizes of its float64 vectors, in bytes.
    pub(super) fn sizes(self) -> &'static [u64] {
        match self {
            Preset::Quick => &[8, 64 << 10, 1 << 20],
            Preset::Seed => &[8, 2 << 10, 64 << 10],
            Preset::Full => &[8, 2 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20, 256 << 20],
        }
    }

    /// The loads that a family gets at an array of `bytes`.
    pub(super) fn loads(self, family: Family, bytes: u64) -> Vec<Load> {
        match self {
            Preset::Quick | Preset::Full => Load::usual(family, bytes),
            Preset::Seed => {
                let rest = Load::connections(SEED_CONNECTIONS);
                Load::of_family(family, Load::streams(SEED_IN_FLIGHT), rest)
            }
        }
    }

    /// Blocks that it tries; `least` of them in any case.
    pub(super) fn blocks(self, least: u32) -> Blocks {
        match self {
            Preset::Quick => Blocks { min: least, max: BLOCKS_MAX, time: Some(QUICK_TIME) },
            Preset::Seed => Blocks { min: least, max: least, time: None },
            Preset::Full => Blocks { min: least, max: 4 * least, time: None },
        }
    }

    /// Length of a window; longer where requests are long, so that a part of one weighs less.
    pub(super) fn duration(self, bytes: u64) -> Duration {
        Duration::from_millis(match self {
            Preset::Quick if bytes < 1 << 20 => 230,
            Preset::Quick => 330,
            Preset::Seed => 500,
            Preset::Full => 1000,
        })
    }

    /// Load before anything is counted.
    pub(super) fn warmup(self) -> Duration {
        Duration::from_millis(match self {
            Preset::Quick => 100,
            Preset::Seed | Preset::Full => 200,
        })
    }

    /// Most time for one trial.
    pub(super) fn budget(self) -> Duration {
        Duration::from_secs(match self {
            Preset::Quick => 20,
            Preset::Seed | Preset::Full => 30,
        })
    }
}
