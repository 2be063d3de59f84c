//! What a run tries: a preset and the changes to it become a list of cells. Pure, but for reading the user's array.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::axis::{Encoding, Family};
use crate::codec::{self, ArrayCodec as _};
use crate::record::ArrayInfo;
use crate::record::trial_spec::Knobs;
use crate::sys::mapping::Mapping;

use super::cell::{Cell, Load};
use super::preset::{self, Preset};
use super::run::Blocks;
use super::subject::Subject;
use super::{ceilings, controls, versus};
use crate::external::client::Client;
use crate::external::environment::Environments;
use crate::external::{self, ExternalServer};
use crate::ladder::select::{SelectError, select};
use crate::ladder::table;

/// What may be said beside a preset; what is `None` the preset decides.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What the rest is changed from.
    pub preset: Preset,
    /// Globs over the names of the ladder's rungs, and of those of `peers`.
    pub rungs: Option<String>,
    /// Peers there are.
    pub peers: Vec<Arc<ExternalServer>>,
    /// True to add every rung of theirs to those of the preset.
    pub every_peer: bool,
    /// Who loads the servers.
    pub client: Client,
    /// Sizes of float64 vectors, in bytes.
    pub sizes: Option<Vec<u64>>,
    /// A `.npy` file to send instead.
    pub array: Option<PathBuf>,
    /// Connections.
    pub connections: Option<u32>,
    /// Requests in flight over all connections.
    pub in_flight: Option<u32>,
    /// Settings of the load generator.
    pub knobs: Knobs,
    /// True to count what a request makes each rung do.
    pub counts: bool,
    /// Blocks, exactly.
    pub rounds: Option<u32>,
    /// Time for all blocks.
    pub time: Option<Duration>,
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
    /// Number of the first cell.
    pub first_cell: u32,
    /// How often each is tried.
    pub blocks: Blocks,
    /// Draws the order of trials.
    pub seed: u64,
    /// Load before anything is counted.
    pub warmup: Duration,
    /// Bound on a warm-up that goes on until there is no trend.
    pub settle: Option<Duration>,
    /// Most time for one trial.
    pub budget: Duration,
    /// The user's file, if the arrays come from one.
    pub array: Option<PathBuf>,
    /// Who loads the servers.
    pub client: Client,
    /// Settings of the load generator.
    pub knobs: Knobs,
}

/// How long the load generator stays awake for a reply, so that a server has not to wake its core for each: on a
/// virtual machine that is half of what a lone small request costs. After this long, waking it is 1 % of the pause.
pub const BUSY_POLL: Duration = Duration::from_millis(1);

/// How many times as long as the warm-up it may go on while the rate shows a trend.
const SETTLE_FACTOR: u32 = 3;

/// Why a wish makes no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Its globs.
    #[error(transparent)]
    Rungs(#[from] SelectError),
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
        rung: String,
        /// Connections asked for.
        connections: u32,
        /// In flight asked for.
        in_flight: u32,
    },
    /// Nothing that the client can speak to.
    #[error("the Python client speaks gRPC and REST, and no rung that was chosen does")]
    Client,
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

impl Wish {
    /// Nothing but the preset.
    pub fn of(preset: Preset) -> Wish {
        Wish {
            preset,
            rungs: None,
            peers: Vec::new(),
            every_peer: false,
            client: Client::Own,
            sizes: None,
            array: None,
            connections: None,
            in_flight: None,
            knobs: Knobs { busy_poll: BUSY_POLL, ..Knobs::default() },
            counts: false,
            rounds: None,
            time: None,
            duration: None,
            budget: None,
            seed: 1,
        }
    }

    /// The plan this wish makes.
    pub fn plan(&self) -> Result<Plan, PlanError> {
        let rungs = self.subjects()?;
        self.check_load(&rungs)?;
        let mut cells = Vec::new();
        for array in self.arrays()? {
            cells.extend(self.cells(&rungs, &array));
        }
        let blocks = self.blocks();
        let counted = if self.counts { versus::once(&cells) } else { Vec::new() };
        if blocks.max >= controls::BLOCKS_MIN && self.preset != Preset::Seed {
            cells.extend(controls::of(&cells));
        }
        if self.client == Client::Own {
            cells.extend(ceilings::of(&cells));
        }
        cells.extend(counted);
        let warmup = self.preset.warmup();
        Ok(Plan {
            preset: self.preset,
            cells,
            first_cell: 0,
            blocks,
            seed: self.seed,
            warmup,
            settle: Some(SETTLE_FACTOR * warmup),
            budget: self.budget.unwrap_or(self.client.budget(self.preset.budget())),
            array: self.array.clone(),
            client: self.client,
            knobs: self.knobs.clone(),
        })
    }

    fn blocks(&self) -> Blocks {
        let usual = match self.rounds {
            Some(rounds) => Blocks { min: rounds, max: rounds, time: None },
            None => self.preset.blocks(self.client.rounds()),
        };
        match self.time {
            Some(time) if self.rounds.is_none() => {
                Blocks { max: preset::BLOCKS_MAX, time: Some(time), ..usual }
            }
            time => Blocks { time: time.or(usual.time), ..usual },
        }
    }

    /// What is tried, our own first.
    fn subjects(&self) -> Result<Vec<Subject>, PlanError> {
        let peers = external::rungs(&self.peers).into_iter().map(Subject::External);
        let mut subjects: Vec<Subject> = match &self.rungs {
            Some(globs) => {
                let own = table::rungs().into_iter().map(Subject::Own);
                select(globs, own.chain(peers).collect())?
            }
            None => {
                let is_original =
                    |peer: &Subject| self.preset == Preset::Seed && peer.original().is_some();
                let peers = peers.filter(|peer| self.every_peer || is_original(peer));
                self.preset.rungs().into_iter().map(Subject::Own).chain(peers).collect()
            }
        };
        subjects.retain(|subject| self.client.speaks(subject.family()));
        if subjects.is_empty() { Err(PlanError::Client) } else { Ok(subjects) }
    }

    fn cells(&self, rungs: &[Subject], array: &ArrayInfo) -> Vec<Cell> {
        let time = self.duration.unwrap_or(self.preset.duration(array.bytes));
        let mut cells = Vec::new();
        for rung in rungs {
            let skip = rung.obstacle(array);
            for load in self.loads(rung, array.bytes) {
                if rung.family() != Family::Raw || self.is_wanted(rung, load, rungs, array.bytes) {
                    let cell = Cell::new(rung.clone(), array, load, self.client, time);
                    cells.push(Cell { skip: skip.clone(), ..cell });
                }
            }
        }
        cells
    }

    /// A raw rung is tried under the load of a family only where a rung of that family and codec is tried too, or
    /// none of either family is; `reflect` is the floor of every codec.
    fn is_wanted(&self, raw: &Subject, load: Load, rungs: &[Subject], bytes: u64) -> bool {
        let http: Vec<&Subject> =
            rungs.iter().filter(|rung| rung.family() != Family::Raw).collect();
        let is_of = |rung: &Subject| match (rung, raw) {
            (Subject::Own(rung), Subject::Own(raw)) => rung.codec() == raw.codec(),
            _ => rung.encoding() == raw.encoding(),
        };
        let above = |rung: &Subject| {
            (raw.encoding() == Encoding::Reflect || is_of(rung))
                && self.loads(rung, bytes).contains(&load)
        };
        http.is_empty() || http.into_iter().any(above)
    }

    fn loads(&self, rung: &Subject, bytes: u64) -> Vec<Load> {
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

    fn check_load(&self, rungs: &[Subject]) -> Result<(), PlanError> {
        let (Some(connections), Some(in_flight)) = (self.connections, self.in_flight) else {
            return Ok(());
        };
        match rungs.iter().find(|rung| rung.family() == Family::Rest) {
            Some(rung) if connections != in_flight => {
                Err(PlanError::Load { rung: rung.to_string(), connections, in_flight })
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

impl Plan {
    /// The peers that are tried.
    pub fn peers(&self) -> Vec<Arc<ExternalServer>> {
        let mut peers: Vec<Arc<ExternalServer>> = Vec::new();
        for cell in &self.cells {
            if let Subject::External(rung) = &cell.subject
                && !peers.contains(&rung.server)
            {
                peers.push(Arc::clone(&rung.server));
            }
        }
        peers
    }

    /// Skips the peers whose environment is none of `environments`, with the reason.
    pub fn skip_without(&mut self, environments: &Environments) {
        for cell in &mut self.cells {
            if let Subject::External(rung) = &cell.subject
                && let Err(reason) = environments.path(&rung.server)
            {
                cell.skip = Some(reason.to_owned());
            }
        }
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
    let npy = codec::npy::Npy;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Rung;
    use crate::record::Variant;

    /// Cells that are no controls.
    fn usual(plan: &Plan) -> impl Iterator<Item = &Cell> {
        plan.cells.iter().filter(|cell| cell.variant == Variant::Usual)
    }

    fn names(plan: &Plan) -> Vec<String> {
        usual(plan).map(Cell::to_string).collect()
    }

    fn plan(wish: Wish) -> Plan {
        wish.plan().expect("a sound wish")
    }

    #[test]
    fn every_preset_makes_a_plan() {
        for preset in [Preset::Quick, Preset::Seed, Preset::Full] {
            let plan = plan(Wish::of(preset));
            assert!(plan.blocks.min >= 5 && !plan.cells.is_empty(), "{}", preset.name());
            assert!(plan.cells.iter().all(|cell| cell.skip.is_none()), "{}", preset.name());
        }
        let full = plan(Wish::of(Preset::Full));
        for rung in table::rungs() {
            assert!(
                full.cells.iter().any(|cell| cell.subject == rung.into()),
                "{rung} is not in full"
            );
        }
    }

    #[test]
    fn quick_ends_within_three_minutes() {
        let plan = plan(Wish::of(Preset::Quick));
        // Starting and ending both processes took 37 ms a trial on a busy machine: 345 trials of 350 ms in 133 s.
        let trial = |cell: &Cell| {
            plan.warmup + Preset::Quick.duration(cell.array.bytes) + Duration::from_millis(50)
        };
        let (once, cells): (Vec<&Cell>, Vec<&Cell>) =
            plan.cells.iter().partition(|cell| cell.is_once);
        let null = 2 * plan.warmup + Duration::from_millis(50);
        let total = cells.iter().copied().map(trial).sum::<Duration>() * plan.blocks.min
            + null * once.len() as u32;
        assert!(total < plan.blocks.time.unwrap(), "{total:?}, {} cells", cells.len());
    }

    #[test]
    fn every_rung_of_a_preset_but_the_floor_has_a_ratio() {
        for preset in [Preset::Quick, Preset::Seed] {
            let plan = plan(Wish::of(preset));
            for cell in usual(&plan) {
                let is_there = |rung: Option<Rung>| {
                    plan.cells.iter().any(|other| {
                        rung.is_some_and(|rung| other.subject == rung.into())
                            && (other.load, &other.array) == (cell.load, &cell.array)
                    })
                };
                let is_compared = is_there(cell.parent) || is_there(cell.reference);
                assert!(is_compared || cell.subject.family() == Family::Raw, "{cell}");
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
            usual(&plan(wish)).map(|cell| cell.load.to_string()).collect()
        };
        assert_eq!(loads(wish(Some(4), Some(4))), ["4x1", "4x1", "4x1"]);
        assert_eq!(loads(wish(None, Some(8))), ["1x8", "8x1", "1x8"]);
        let error = wish(Some(4), Some(8)).plan().unwrap_err().to_string();
        assert!(error.contains("uring/h1/npy carries one request at a time"), "{error}");
    }

    /// The peers of the repository; nothing is started.
    fn peers() -> Vec<Arc<ExternalServer>> {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/external"));
        external::read(folder, &mut |line| panic!("{line}")).expect("the manifests are sound")
    }

    #[test]
    fn peers_are_tried_where_they_are_asked_for_and_the_seed_has_rows_for_some() {
        let rungs = |preset, every_peer, globs: Option<&str>| {
            let rungs = globs.map(str::to_owned);
            let wish = Wish { peers: peers(), every_peer, rungs, ..Wish::of(preset) };
            let mut names: Vec<String> =
                plan(wish).cells.iter().map(|cell| cell.subject.to_string()).collect();
            names.sort_unstable();
            names.dedup();
            names.retain(|name| name.starts_with("external/"));
            names
        };
        let all = external::rungs(&peers()).len();
        assert_eq!(rungs(Preset::Quick, false, None), [""; 0]);
        assert_eq!(rungs(Preset::Quick, true, None).len(), all);
        assert_eq!(rungs(Preset::Seed, false, None).len(), 11);
        assert_eq!(rungs(Preset::Seed, true, None).len(), all);
        let globs = "uring/h1/npy,peer/aiohttp/json*";
        let of_aiohttp = [
            "external/aiohttp/json",
            "external/aiohttp/json:orjson",
            "external/aiohttp/json_binary",
            "external/aiohttp/json_binary:pybase64",
        ];
        assert_eq!(rungs(Preset::Quick, false, Some(globs)), of_aiohttp);
    }

    #[test]
    fn peers_have_a_standard_and_no_parent() {
        let globs = Some("external/{grpcio/protobuf,aiohttp/json}".to_owned());
        let plan = plan(Wish { peers: peers(), rungs: globs, ..Wish::of(Preset::Seed) });
        let standard = ["tokio/axum/json:serde", "tokio/tonic/protobuf:prost"];
        for cell in usual(&plan) {
            let reference = cell.reference.expect("one of the two").to_string();
            assert!(cell.parent.is_none() && standard.contains(&reference.as_str()), "{cell}");
        }
        assert_eq!(plan.peers().len(), 2);
    }

    #[test]
    fn the_python_client_leaves_out_what_it_cannot_speak_to() {
        let wish = Wish { client: Client::Python, ..Wish::of(Preset::Seed) };
        let plan = plan(wish.clone());
        assert!(plan.cells.iter().all(|cell| cell.subject.family() != Family::Raw));
        let raw = Wish { rungs: Some("uring/raw/*".to_owned()), ..wish };
        assert!(matches!(raw.plan(), Err(PlanError::Client)));
    }

    #[test]
    fn a_size_that_is_no_vector_is_refused() {
        let wish = Wish { sizes: Some(vec![12]), ..Wish::of(Preset::Quick) };
        assert!(matches!(wish.plan(), Err(PlanError::Size(12))));
    }

    #[test]
    fn what_a_codec_cannot_carry_is_skipped_with_the_reason() {
        let array = ArrayInfo { dtype: "<c16".to_owned(), shape: vec![2], bytes: 32 };
        let rungs: Vec<Subject> = table::rungs().into_iter().map(Subject::Own).collect();
        let cells = Wish::of(Preset::Full).cells(&rungs, &array);
        for cell in cells {
            let is_list = cell.subject.encoding() == Encoding::Json;
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
