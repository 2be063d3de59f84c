//! Presets: the choices of rungs, arrays, loads and times that a run starts from.
//!
//! | preset | rungs | arrays |
//! |---|---|---|
//! | `quick` | [`LAYERS`] with many calls in flight and with one | 8 B, 1 MiB |
//! | | [`ENCODINGS`] with one request on each of eight connections | 64 KiB |
//! | `broad` | [`BROAD`] | 8 B, 64 KiB, 1 MiB |
//! | `seed` | [`SEED`], and external rungs of the original table | 8 B, 2 KiB, 64 KiB |
//! | `messages` | [`MESSAGES`] with one request on each of eight connections | 8 B, 64 KiB, 1 MiB |
//! | | the same | [`HALVES`] |
//! | `rivals` | [`RIVALS`] and [`RIVALS_EXTERNAL`], loaded like `messages` | 8 B, 64 KiB, 1 MiB |
//! | `compression` | [`COMPRESSION`] in each coding, loaded like `messages` | data sets of 64 KiB |
//! | `chains` | [`CHAINS`] | 8 B, 2 KiB, 64 KiB, 1 MiB |
//! | `full` | all | 8 B to 256 MiB, [`IMAGES`] |
//!
//! `quick` is the main job: its tables answer what each layer and each encoding costs. Other rungs
//! than its own are tried like those of `broad`.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::ValueEnum;

use crate::axis::{Codec, DataSet, Family, Malloc, Protocol, Rung};
use crate::ladder::select::select;
use crate::ladder::table;
use crate::record::trial_spec::Length;

use super::concurrency::Concurrency;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Cost of each layer and of each encoding; three minutes
    Quick,
    /// Representative rungs at 8 B, 64 KiB and 1 MiB; ten minutes
    Broad,
    /// The original's sizes and its 1000 parallel requests, in its form
    Seed,
    /// Every encoding in a standard server and in ours, compared with .npy, at 8 B, 64 KiB and
    /// 1 MiB, and f2 next to f4; ten minutes
    Messages,
    /// Every external server that can be installed, next to ours and the standard ones, at equal
    /// depth; 8 B, 64 KiB and 1 MiB; half an hour
    Rivals,
    /// Every coding of messages (gzip, zstd, LZ4, shuffled zstd) in our servers and the standard
    /// ones, with data that compresses well, a little and hardly; 64 KiB; five minutes
    Compression,
    /// A chain of gRPC and one of REST, each rung next to its parent, at 8 B, 2 KiB, 64 KiB and
    /// 1 MiB; for --attribute
    Chains,
    /// Every rung and codec, 8 B to 256 MiB, and images of u1 and b1; hours
    Full,
}

/// Lengths of the slices in which the load visits the servers of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slicing {
    /// Part of a slice that counts.
    pub slice: Duration,
    /// Part at the start of a slice that does not count, because caches are cold.
    pub head: Duration,
}

/// Lengths of a slice. A shorter one is mostly head, a longer one meets slow phases of the machine.
pub const SLICES: RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_secs(1);

/// Fewest slices of a server in a launch, so that a launch has some scatter of its own.
const SLICES_MIN: u32 = 2;

/// Time of a server's slices in a launch, as a multiple of the planned one, after which it has no
/// more of them. Slices get longer than planned if a single turn of requests takes longer.
const SLICES_TIME_MAX: u32 = 3;

impl Default for Slicing {
    fn default() -> Slicing {
        Slicing { slice: Duration::from_millis(40), head: Duration::from_millis(4) }
    }
}

impl Slicing {
    /// Returns the slices of a launch that together have the length of `window`. Large messages
    /// have few requests in a window, and a slice takes at least two.
    pub fn rounds(self, window: Length) -> u32 {
        let rounds = match window {
            Length::Time(time) => time.as_secs_f64() / self.slice.as_secs_f64(),
            Length::Requests(requests) => requests as f64 / 2.0,
        };
        (rounds.round() as u32).max(SLICES_MIN)
    }

    /// Returns true if `slices` of a launch with `rounds` took so long that the server is not to be
    /// visited again. So a slow server does not use up the time of all others.
    pub fn is_enough(self, slices: usize, took: Duration, rounds: u32) -> bool {
        let planned = rounds * (self.head + self.slice);
        slices >= SLICES_MIN as usize && took > SLICES_TIME_MAX * planned
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    pub min: u32,
    /// Upper bound. From `min` on, the run ends once every ratio is known well enough.
    pub max: u32,
    /// Time after which no block may end. The last block is the estimate of the next.
    pub time: Option<Duration>,
}

/// Steps from bytes on a ring up to tonic, each of which changes one axis; then our own server and
/// the best tonic.
pub const LAYERS: &str = "uring/{raw,h2,h2-crate:tuned}/protobuf:prost,\
    tokio/{h2-crate:tuned,hyper-h2:tuned,tonic:tuned,tonic}/protobuf:prost,\
    uring/h2/protobuf,tokio/tonic:best/protobuf:prost_bytes";

/// Returns the allocator of a rung of [`LAYERS`]; `None` for its usual one.
///
/// Below tonic as documented malloc keeps its pages: how often glibc returns pages and takes them
/// again differs between stacks and sizes by chance, and would be most of the price of a layer at
/// 1 MiB (docs/TRIED.md).
fn malloc_of_layer(rung: Rung) -> Option<Malloc> {
    let is_below = rung.protocol() != Protocol::Tonic && rung.codec() == Codec::ProtobufProst;
    is_below.then_some(Malloc::Keep)
}

/// Each encoding in axum, with the usual library and at its best, and in our own server; and gRPC.
pub const ENCODINGS: &str = "tokio/axum/{npy,{msgpack,json_binary,json}:serde},tokio/axum:best/npy,\
    uring/h1/{npy,msgpack,json_binary,json},\
    tokio/tonic/protobuf:prost,tokio/tonic:best/protobuf:prost_bytes,uring/h2/protobuf";

/// Every encoding in axum or tonic as documented, with the usual library (CBOR with minicbor, the
/// faster one; .npy and Arrow tensors, which have none, with our own code), and in our own servers.
pub const MESSAGES: &str = "tokio/axum/{npy,{msgpack,json_binary,json}:serde},\
    tokio/axum/{cbor:minicbor,safetensors:crate,arrow,kserve_http:serde},\
    uring/h1/{npy,msgpack,json_binary,json,cbor,safetensors,arrow,kserve_http},\
    tokio/tonic/{protobuf,protobuf_packed,kserve,kserve_typed}:prost,\
    uring/h2/{protobuf,protobuf_packed,kserve,kserve_typed}";

/// Our own servers and the standard ones, as documented and at their best, which stand next to the
/// external servers.
pub const RIVALS: &str = "uring/h2/{protobuf,protobuf_packed,reflect},\
    tokio/tonic/{protobuf,protobuf_packed}:prost,\
    tokio/tonic:best/protobuf:prost_bytes,uring/h1/{npy,reflect},tokio/{axum,axum:best}/npy";

/// External rungs of `rivals`: each server with the encoding that is cheapest for it, with lists of
/// numbers in protobuf, and with bytes that it does not read.
pub const RIVALS_EXTERNAL: &str = "external/*/{protobuf,protobuf_packed,npy,reflect,multipart}";

/// Dtype and shape of an array.
pub type Form = (&'static str, &'static [u64]);

/// Equally many floats and half floats, so that their costs differ by the conversion and the bytes.
pub const HALVES: &[Form] = &[("<f4", &[16_384]), ("<f2", &[16_384])];

/// A small photo of 480 rows with three channels, and three masks of its pixels.
pub const IMAGES: &[Form] = &[("|u1", &[480, 640, 3]), ("|b1", &[480, 640, 3])];

/// A gRPC and a REST server of ours, and the standard ones.
pub const COMPRESSION: &str =
    "uring/h1/npy,uring/h2/protobuf,tokio/axum/npy,tokio/tonic/protobuf:prost";

/// Most connections of the encodings, each with one request in flight, over gRPC as well.
pub const ENCODINGS_CONNECTIONS: u32 = 8;

/// Rungs of `broad`: steps of one gRPC and one REST chain, then each encoding in a whole server.
pub const BROAD: &str = "{uring,tokio}/raw/reflect,uring/raw/{protobuf,msgpack},\
    uring/h2/protobuf,{uring,tokio}/h2-crate:tuned/protobuf,tokio/hyper-h2:tuned/protobuf:prost,\
    tokio/{tonic,tonic:tuned}/protobuf:prost,tokio/tonic:best/protobuf:prost_bytes,\
    {uring,tokio}/h1/msgpack,tokio/hyper/msgpack,tokio/axum/{msgpack,npy}*,\
    uring/h1/{npy,json,json_binary},tokio/axum/{json,json_binary}:serde";

/// Rungs of which each stands next to its parent, from `reflect` on a ring up to tonic, axum and
/// the best tonic. Both sides of a pair have the same streams, so the stacks over gRPC are tuned.
pub const CHAINS: &str = "uring/raw/{reflect,protobuf,protobuf:prost,npy},\
    uring/h2/protobuf,uring/{h2,h2-crate:tuned}/protobuf:prost,\
    tokio/{h2-crate:tuned,hyper-h2:tuned,hyper-h2:best,tonic:tuned,tonic:best}/protobuf:prost,\
    {uring,tokio}/h1/npy,tokio/{hyper:tuned,hyper,axum}/npy";

pub const SEED: &str = "uring/raw/reflect,uring/h2/protobuf,{uring,tokio}/h2-crate:tuned/protobuf,tokio/{tonic,tonic:tuned}/protobuf:prost,\
    uring/h1/{msgpack,json_binary,json},tokio/axum/{msgpack,json_binary,json}:serde";

pub const SEED_IN_FLIGHT: u32 = 1000;

/// Most connections of the original's aiohttp client. Further requests waited in it.
pub const SEED_CONNECTIONS: u32 = 100;

/// Upper bound of blocks where time ends the run.
pub const BLOCKS_MAX: u32 = 1000;

/// Launches of `compression`. The differences that it shows are large, but for those of fast
/// codings of data that does not compress.
const COMPRESSION_BLOCKS: u32 = 8;

/// Time of the blocks of `quick`, which takes three minutes in all.
const QUICK_TIME: Duration = Duration::from_secs(175);

/// Launches of `chains`: with the 600 samples of each, a layer is known to a point or two.
const CHAINS_BLOCKS: u32 = 8;

const BROAD_TIME: Duration = Duration::from_secs(600);

/// A block launches a hundred servers, and those in Python start slowly.
const RIVALS_TIME: Duration = Duration::from_secs(1800);

/// Loads of a rung, by its family and the bytes of the array.
type Loads = fn(Family, u64) -> Vec<Concurrency>;

fn few_connections(_: Family, bytes: u64) -> Vec<Concurrency> {
    vec![Concurrency::few_connections(ENCODINGS_CONNECTIONS, bytes)]
}

fn usual_malloc(_: Rung) -> Option<Malloc> {
    None
}

/// Rungs that are tried with the same arrays and loads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Globs; `None` for every rung of the ladder.
    globs: Option<&'static str>,
    /// Sizes of float64 vectors, in bytes.
    pub(super) sizes: &'static [u64],
    /// Data sets of each of the sizes, instead of float64 vectors.
    pub(super) data_sets: &'static [DataSet],
    /// Arrays other than float64 vectors.
    pub(super) forms: &'static [Form],
    pub(super) loads: Loads,
    /// Returns the allocator of a rung if it is not the usual one.
    pub(super) malloc: fn(Rung) -> Option<Malloc>,
}

impl Part {
    pub(super) fn rungs(&self) -> Vec<Rung> {
        let Some(globs) = self.globs else { return table::rungs() };
        select(globs, table::rungs()).expect("a preset's globs match rungs of the ladder")
    }
}

impl Preset {
    /// Returns whether a run ends in an answer, which shows the rungs of the preset only.
    pub fn has_answer(self) -> bool {
        matches!(self, Preset::Quick | Preset::Messages)
    }

    pub fn name(self) -> &'static str {
        match self {
            Preset::Quick => "quick",
            Preset::Broad => "broad",
            Preset::Seed => "seed",
            Preset::Messages => "messages",
            Preset::Rivals => "rivals",
            Preset::Compression => "compression",
            Preset::Chains => "chains",
            Preset::Full => "full",
        }
    }

    pub(super) fn parts(self) -> Vec<Part> {
        let (globs, sizes, loads): (_, &[u64], Loads) = match self {
            Preset::Quick => {
                let loads = Concurrency::many_and_one;
                let malloc = malloc_of_layer;
                let (globs, sizes, forms): (_, &[u64], _) = (Some(LAYERS), &[8, 1 << 20], &[]);
                let data_sets: &[DataSet] = &[];
                let layers = Part { globs, sizes, data_sets, forms, loads, malloc };
                let loads: Loads = few_connections;
                let (globs, sizes, malloc) = (Some(ENCODINGS), &[64 << 10], usual_malloc);
                let encodings = Part { globs, sizes, data_sets, forms, loads, malloc };
                return vec![layers, encodings];
            }
            Preset::Broad => (Some(BROAD), &[8, 64 << 10, 1 << 20], Concurrency::defaults),
            Preset::Seed => (Some(SEED), &[8, 2 << 10, 64 << 10], |family, _| {
                let rest = Concurrency::connections(SEED_CONNECTIONS);
                Concurrency::for_family(family, Concurrency::streams(SEED_IN_FLIGHT), rest)
            }),
            Preset::Messages => (Some(MESSAGES), &[8, 64 << 10, 1 << 20], few_connections),
            Preset::Rivals => (Some(RIVALS), &[8, 64 << 10, 1 << 20], few_connections),
            Preset::Compression => (Some(COMPRESSION), &[64 << 10], few_connections),
            Preset::Chains => {
                (Some(CHAINS), &[8, 2 << 10, 64 << 10, 1 << 20], Concurrency::defaults)
            }
            Preset::Full => (
                None,
                &[8, 2 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20, 256 << 20],
                Concurrency::defaults,
            ),
        };
        let forms = match self {
            Preset::Messages => HALVES,
            Preset::Full => IMAGES,
            _ => &[],
        };
        let data_sets: &[DataSet] = if self == Preset::Compression { &DataSet::ALL } else { &[] };
        vec![Part { globs, sizes, data_sets, forms, loads, malloc: usual_malloc }]
    }

    pub(super) fn blocks(self, least: u32) -> Blocks {
        let within = |time| Blocks { min: least, max: BLOCKS_MAX, time: Some(time) };
        match self {
            Preset::Quick => within(QUICK_TIME),
            Preset::Broad | Preset::Messages => within(BROAD_TIME),
            Preset::Rivals => within(RIVALS_TIME),
            Preset::Seed => Blocks { min: least, max: least, time: None },
            Preset::Chains => Blocks { min: CHAINS_BLOCKS, max: CHAINS_BLOCKS, time: None },
            Preset::Compression => {
                Blocks { min: COMPRESSION_BLOCKS, max: COMPRESSION_BLOCKS, time: None }
            }
            Preset::Full => Blocks { min: least, max: 4 * least, time: None },
        }
    }

    /// Returns the time of a cell's slices in a block. The time of `quick` allows twelve blocks
    /// with three slices of every cell, which say more than five blocks with ten.
    pub(super) fn duration(self) -> Duration {
        Duration::from_millis(match self {
            Preset::Quick => 120,
            Preset::Broad | Preset::Messages | Preset::Rivals | Preset::Compression => 200,
            Preset::Seed => 500,
            Preset::Chains => 300,
            Preset::Full => 1000,
        })
    }

    pub(super) fn warmup(self) -> Duration {
        Duration::from_millis(match self {
            Preset::Seed | Preset::Full => 200,
            _ => 60,
        })
    }

    pub(super) fn budget(self) -> Duration {
        Duration::from_secs(match self {
            Preset::Seed | Preset::Full => 30,
            _ => 20,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_server_has_fewer_slices_but_at_least_two() {
        let slicing = Slicing::default();
        let rounds = slicing.rounds(Length::Time(Duration::from_millis(120)));
        assert_eq!(rounds, 3);
        let planned = 3 * (slicing.slice + slicing.head);
        assert!(!slicing.is_enough(2, planned, rounds), "as planned");
        assert!(!slicing.is_enough(2, 3 * planned, rounds), "slowed down by others");
        assert!(slicing.is_enough(2, 3 * planned + Duration::from_millis(1), rounds));
        assert!(!slicing.is_enough(1, Duration::from_secs(60), rounds), "one has no scatter");
    }

    #[test]
    fn large_arrays_have_fewer_connections_in_the_table_of_encodings() {
        let [_, encodings] = &Preset::Quick.parts()[..] else { panic!("two parts") };
        let connections = |bytes| (encodings.loads)(Family::Rest, bytes)[0].connections;
        assert_eq!([64 << 10, 1 << 20, 12_800_000].map(connections), [8, 8, 1]);
    }
}
