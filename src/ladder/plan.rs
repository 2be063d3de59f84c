//! What a run tries: presets and their changes become a list of cells. Pure, but for reading the user's array.
//!
//! | preset | rungs | arrays | rounds |
//! |---|---|---|---|
//! | `quick` | [`QUICK`] | 8 B, 64 KiB, 1 MiB | 5 |
//! | `seed` | [`SEED`] | 8 B, 2 KiB, 64 KiB, 1000 parallel requests | 5 |
//! | `full` | all | 8 B to 256 MiB | 5 |

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::array::{ArrayView, Shape};
use crate::codec;
use crate::protocol::Family;
use crate::record::ArrayInfo;
use crate::sys::mapping::Mapping;

use super::cell::{Cell, Load};
use super::rung::{self, REFLECT, Rung, RungError};
use super::table;

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

/// What may be said beside a preset; what is `None` the preset decides.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What the rest is changed from.
    pub preset: Preset,
    /// Globs over the names of the ladder's rungs.
    pub rungs: Option<String>,
    /// Sizes of float64 vectors, in bytes.
    pub sizes: Option<Vec<u64>>,
    /// A `.npy` file to send instead.
    pub array: Option<PathBuf>,
    /// Connections.
    pub connections: Option<u32>,
    /// Requests in flight over all connections.
    pub in_flight: Option<u32>,
    /// Rounds.
    pub rounds: Option<u32>,
    /// Length of a measured window.
    pub duration: Option<Duration>,
    /// Most time for one trial.
    pub budget: Option<Duration>,
    /// Draws the order of trials.
    pub seed: u64,
}

/// What a run tries.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was made from.
    pub preset: Preset,
    /// In the ladder's order.
    pub cells: Vec<Cell>,
    /// How often each is tried.
    pub rounds: u32,
    /// Draws the order of trials.
    pub seed: u64,
    /// Load before anything is counted.
    pub warmup: Duration,
    /// Most time for one trial.
    pub budget: Duration,
    /// The user's file, if the arrays come from one.
    pub array: Option<PathBuf>,
}

/// Why a wish makes no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Its globs.
    #[error(transparent)]
    Rungs(#[from] RungError),
    /// A size that is no float64 vector.
    #[error("size {0} is not a multiple of 8 bytes, an item of <f8")]
    Size(u64),
    /// A load that HTTP/1.1 cannot have.
    #[error(
        "{rung} carries one request at a time on a connection: {in_flight} in flight need as many \
         connections, not {connections}; leave one of the two flags out, or narrow --rungs"
    )]
    Load {
        /// The first rung that cannot have it.
        rung: Rung,
        /// Connections asked for.
        connections: u32,
        /// In flight asked for.
        in_flight: u32,
    },
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not an array.
    #[error("{path}: {source}")]
    Array {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: codec::CodecError,
    },
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

impl Preset {
    /// Name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Quick => "quick",
            Preset::Seed => "seed",
            Preset::Full => "full",
        }
    }

    fn rungs(self) -> Vec<Rung> {
        let chosen = match self {
            Preset::Quick => rung::select(QUICK),
            Preset::Seed => rung::select(SEED),
            Preset::Full => Ok(table::rungs()),
        };
        chosen.expect("a preset's globs match rungs of the ladder")
    }

    fn sizes(self) -> &'static [u64] {
        match self {
            Preset::Quick => &[8, 64 << 10, 1 << 20],
            Preset::Seed => &[8, 2 << 10, 64 << 10],
            Preset::Full => &[8, 2 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20, 256 << 20],
        }
    }

    fn loads(self, family: Family, bytes: u64) -> Vec<Load> {
        match self {
            Preset::Quick | Preset::Full => Load::usual(family, bytes),
            Preset::Seed => {
                let rest = Load::connections(SEED_CONNECTIONS);
                Load::of_family(family, Load::streams(SEED_IN_FLIGHT), rest)
            }
        }
    }

    /// Length of a window; longer where requests are long, so that a part of one weighs less.
    fn duration(self, bytes: u64) -> Duration {
        Duration::from_millis(match self {
            Preset::Quick if bytes < 1 << 20 => 250,
            Preset::Quick => 400,
            Preset::Seed => 500,
            Preset::Full => 1000,
        })
    }

    fn warmup(self) -> Duration {
        Duration::from_millis(match self {
            Preset::Quick => 100,
            Preset::Seed | Preset::Full => 200,
        })
    }

    fn budget(self) -> Duration {
        Duration::from_secs(match self {
            Preset::Quick => 20,
            Preset::Seed | Preset::Full => 30,
        })
    }
}

impl Wish {
    /// Nothing but the preset.
    pub fn of(preset: Preset) -> Wish {
        Wish {
            preset,
            rungs: None,
            sizes: None,
            array: None,
            connections: None,
            in_flight: None,
            rounds: None,
            duration: None,
            budget: None,
            seed: 1,
        }
    }

    /// The plan this wish makes.
    pub fn plan(&self) -> Result<Plan, PlanError> {
        let rungs = match &self.rungs {
            Some(globs) => rung::select(globs)?,
            None => self.preset.rungs(),
        };
        self.check_load(&rungs)?;
        let mut cells = Vec::new();
        for array in self.arrays()? {
            cells.extend(self.cells(&rungs, &array));
        }
        Ok(Plan {
            preset: self.preset,
            cells,
            rounds: self.rounds.unwrap_or(5),
            seed: self.seed,
            warmup: self.preset.warmup(),
            budget: self.budget.unwrap_or(self.preset.budget()),
            array: self.array.clone(),
        })
    }

    fn cells(&self, rungs: &[Rung], array: &ArrayInfo) -> Vec<Cell> {
        let time = self.duration.unwrap_or(self.preset.duration(array.bytes));
        let mut cells = Vec::new();
        for rung in rungs {
            let skip = obstacle(*rung, array);
            for load in self.loads(*rung, array.bytes) {
                if rung.family() != Family::Raw || self.is_wanted(*rung, load, rungs, array.bytes) {
                    let cell = Cell::new(*rung, array, load, time);
                    cells.push(Cell { skip: skip.clone(), ..cell });
                }
            }
        }
        cells
    }

    /// A raw rung is tried under the load of a family only where a rung of that family and codec is tried too, or
    /// none of either family is; `reflect` is the floor of every codec.
    fn is_wanted(&self, raw: Rung, load: Load, rungs: &[Rung], bytes: u64) -> bool {
        let http: Vec<&Rung> = rungs.iter().filter(|rung| rung.family() != Family::Raw).collect();
        let above = |rung: &Rung| {
            (raw.codec() == REFLECT || rung.codec() == raw.codec())
                && self.loads(*rung, bytes).contains(&load)
        };
        http.is_empty() || http.into_iter().any(above)
    }

    fn loads(&self, rung: Rung, bytes: u64) -> Vec<Load> {
        let usual = self.preset.loads(rung.family(), bytes);
        let (connections, in_flight) = match (self.connections, self.in_flight) {
            (None, None) => return usual,
            (connections, in_flight) if rung.family() == Family::Rest => {
                return vec![Load::connections(connections.or(in_flight).unwrap_or(1))];
            }
            (connections, in_flight) => (connections.unwrap_or(1), in_flight),
        };
        let deepest = usual.iter().map(|load| load.in_flight).max().unwrap_or(1);
        let in_flight = in_flight.unwrap_or(deepest.max(connections));
        vec![Load { connections, in_flight }]
    }

    fn check_load(&self, rungs: &[Rung]) -> Result<(), PlanError> {
        let (Some(connections), Some(in_flight)) = (self.connections, self.in_flight) else {
            return Ok(());
        };
        match rungs.iter().find(|rung| rung.family() == Family::Rest) {
            Some(&rung) if connections != in_flight => {
                Err(PlanError::Load { rung, connections, in_flight })
            }
            _ => Ok(()),
        }
    }

    fn arrays(&self) -> Result<Vec<ArrayInfo>, PlanError> {
        if let Some(path) = &self.array {
            return Ok(vec![read_array(path)?]);
        }
        let sizes = self.sizes.as_deref().unwrap_or(self.preset.sizes());
        sizes.iter().map(|bytes| vector(*bytes)).collect()
    }
}

/// A float64 vector of `bytes`.
fn vector(bytes: u64) -> Result<ArrayInfo, PlanError> {
    if !bytes.is_multiple_of(8) {
        return Err(PlanError::Size(bytes));
    }
    Ok(ArrayInfo { dtype: "<f8".to_owned(), shape: vec![bytes / 8], bytes })
}

/// What a `.npy` file holds.
fn read_array(path: &Path) -> Result<ArrayInfo, PlanError> {
    let body =
        Mapping::open(path).map_err(|source| PlanError::Open { path: path.to_owned(), source })?;
    let npy = codec::find("npy").expect("npy is in the codec table");
    let mut scratch = Vec::new();
    let array = npy
        .decode(&body, &mut scratch)
        .map_err(|source| PlanError::Array { path: path.to_owned(), source })?;
    Ok(ArrayInfo {
        dtype: array.dtype().name().to_owned(),
        shape: array.shape().dims().to_vec(),
        bytes: array.data().len() as u64,
    })
}

/// Why `rung` cannot carry `array`, found by writing one item of it.
fn obstacle(rung: Rung, array: &ArrayInfo) -> Option<String> {
    let codec = codec::find(rung.codec())?;
    let dtype = crate::array::DType::parse(&array.dtype).ok()?;
    let item = vec![0; dtype.item_size()];
    let shape = Shape::new(&[1]).ok()?;
    let view = ArrayView::new(dtype, shape, &item).ok()?;
    codec.encode(&view, &mut Vec::new()).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(plan: &Plan) -> Vec<String> {
        plan.cells.iter().map(Cell::to_string).collect()
    }

    fn plan(wish: Wish) -> Plan {
        wish.plan().expect("a sound wish")
    }

    #[test]
    fn every_preset_makes_a_plan() {
        for preset in [Preset::Quick, Preset::Seed, Preset::Full] {
            let plan = plan(Wish::of(preset));
            assert!(plan.rounds >= 5 && !plan.cells.is_empty(), "{}", preset.name());
            assert!(plan.cells.iter().all(|cell| cell.skip.is_none()), "{}", preset.name());
        }
        let full = plan(Wish::of(Preset::Full));
        for rung in table::rungs() {
            assert!(full.cells.iter().any(|cell| cell.rung == rung), "{rung} is not in full");
        }
    }

    #[test]
    fn quick_ends_within_three_minutes() {
        let plan = plan(Wish::of(Preset::Quick));
        // Starting and ending both processes took 37 ms a trial on a busy machine: 345 trials of 350 ms in 133 s.
        let trial = |cell: &Cell| {
            plan.warmup + Preset::Quick.duration(cell.array.bytes) + Duration::from_millis(50)
        };
        let total = plan.cells.iter().map(trial).sum::<Duration>() * plan.rounds;
        assert!(total < Duration::from_secs(170), "{total:?}, {} cells", plan.cells.len());
    }

    #[test]
    fn every_rung_of_a_preset_but_the_floor_has_a_ratio() {
        for preset in [Preset::Quick, Preset::Seed] {
            let plan = plan(Wish::of(preset));
            for cell in &plan.cells {
                let is_there = |rung: Option<Rung>| {
                    plan.cells.iter().any(|other| {
                        Some(other.rung) == rung
                            && (other.load, &other.array) == (cell.load, &cell.array)
                    })
                };
                let is_compared = is_there(cell.parent) || is_there(cell.reference);
                assert!(is_compared || cell.rung.family() == Family::Raw, "{cell}");
            }
        }
    }

    #[test]
    fn raw_gets_the_loads_of_the_rungs_chosen_with_it() {
        let cells = |globs: &str| {
            let wish = Wish {
                rungs: Some(globs.to_owned()),
                sizes: Some(vec![8]),
                ..Wish::of(Preset::Quick)
            };
            names(&plan(wish))
        };
        assert_eq!(cells("uring/raw/npy"), ["uring/raw/npy 8 B 1x1000", "uring/raw/npy 8 B 50x1"]);
        assert_eq!(
            cells("uring/{raw,h1}/npy"),
            ["uring/raw/npy 8 B 50x1", "uring/h1/npy 8 B 50x1"]
        );
    }

    #[test]
    fn flags_replace_the_usual_load() {
        let wish = |connections, in_flight| Wish {
            rungs: Some("uring/{raw,h1}/npy,uring/h2-crate/npy".to_owned()),
            sizes: Some(vec![8]),
            connections,
            in_flight,
            ..Wish::of(Preset::Quick)
        };
        let loads = |wish: Wish| -> Vec<String> {
            plan(wish).cells.iter().map(|cell| cell.load.to_string()).collect()
        };
        assert_eq!(loads(wish(Some(4), Some(4))), ["4x1", "4x1", "4x1"]);
        assert_eq!(loads(wish(None, Some(8))), ["1x8", "8x1", "1x8"]);
        let error = wish(Some(4), Some(8)).plan().unwrap_err().to_string();
        assert!(error.contains("uring/h1/npy carries one request at a time"), "{error}");
    }

    #[test]
    fn a_size_that_is_no_vector_is_refused() {
        let wish = Wish { sizes: Some(vec![12]), ..Wish::of(Preset::Quick) };
        assert!(matches!(wish.plan(), Err(PlanError::Size(12))));
    }

    #[test]
    fn what_a_codec_cannot_carry_is_skipped_with_the_reason() {
        let array = ArrayInfo { dtype: "<c16".to_owned(), shape: vec![2], bytes: 32 };
        let cells = Wish::of(Preset::Full).cells(&table::rungs(), &array);
        for cell in cells {
            let is_list = matches!(cell.rung.encoding(), codec::Encoding::Json);
            assert_eq!(cell.skip.is_some(), is_list, "{cell}: {:?}", cell.skip);
        }
    }

    #[test]
    fn an_array_that_is_not_there_is_named() {
        let wish = Wish { array: Some("/no/such.npy".into()), ..Wish::of(Preset::Quick) };
        let error = wish.plan().unwrap_err().to_string();
        assert!(error.starts_with("/no/such.npy: "), "{error}");
    }
}
