//! Options of a run. A preset and the changes to it become a [`Plan`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};

use crate::array::{ArrayView, DType, Shape};
use crate::axis::{Codec, DataSet, Encoding, Family, Malloc};
use crate::codec;
use crate::external::{self, ExternalServer};
use crate::ladder::select::select;
use crate::ladder::table;
use crate::load::array_file::ArrayFile;
use crate::load::worker::form_of_data_set;
use crate::record::trial_spec::Knobs;
use crate::record::{ArrayInfo, Client};

use super::any_rung::AnyRung;
use super::cell::Cell;
use super::concurrency::Concurrency;
use super::plan::Plan;
use super::preset::{BLOCKS_MAX, Blocks, Part, Preset, RIVALS_EXTERNAL};
use super::{ab, codings, controls, null_server, planted, profiled};

/// Changes to a preset. `None` leaves the choice to the preset.
#[derive(Clone, Debug)]
pub struct RunOptions {
    pub preset: Preset,
    /// Globs over the names of the ladder's rungs and of the rungs of `external`.
    pub rungs: Option<String>,
    pub external: Vec<Arc<ExternalServer>>,
    /// True to add every rung of `external` to those of the preset.
    pub every_external: bool,
    /// At least one. The Python client is alone.
    pub clients: Vec<Client>,
    /// Sizes of float64 vectors, or of the data sets of the preset, in bytes. They replace every
    /// array of the preset.
    pub sizes: Option<Vec<u64>>,
    pub array: Option<PathBuf>,
    pub connections: Option<u32>,
    pub in_flight: Option<u32>,
    /// Allocator of every server.
    pub malloc: Option<Malloc>,
    pub knobs: Knobs,
    pub counts: bool,
    /// True to profile each rung too, and to split its difference to the parent over layers.
    pub attribute: bool,
    pub rounds: Option<u32>,
    pub time: Option<Duration>,
    pub duration: Option<Duration>,
    /// Length of a slice.
    pub slice: Option<Duration>,
    pub budget: Option<Duration>,
    pub seed: u64,
}

/// Polling time before a sleep. On a virtual machine, a wake-up of the core for each reply is half
/// the cost of a lone small request. After a pause this long, a wake-up is 1 % of the pause.
pub const BUSY_POLL: Duration = Duration::from_millis(1);

/// Upper bound of a warm-up whose rate shows a trend, as a multiple of the usual warm-up.
pub(super) const SETTLE_FACTOR: u32 = 3;

impl RunOptions {
    pub fn new(preset: Preset) -> RunOptions {
        RunOptions {
            preset,
            rungs: None,
            external: Vec::new(),
            every_external: false,
            clients: vec![Client::Own],
            sizes: None,
            array: None,
            connections: None,
            in_flight: None,
            malloc: None,
            knobs: Knobs { busy_poll: BUSY_POLL, ..Knobs::default() },
            counts: false,
            attribute: false,
            rounds: None,
            time: None,
            duration: None,
            slice: None,
            budget: None,
            seed: 1,
        }
    }

    pub fn plan(&self) -> anyhow::Result<Plan> {
        let parts = self.parts()?;
        let mut cells = match &self.array {
            Some(path) => self.cells_of_file(&parts, path)?,
            None => self.cells_of_sizes(&parts)?,
        };
        if self.preset == Preset::Compression {
            cells = codings::in_each(&cells);
        }
        let blocks = self.blocks();
        let counted = if self.counts { ab::counts_of_one_build(&cells) } else { Vec::new() };
        if blocks.max >= controls::BLOCKS_MIN && self.preset != Preset::Seed {
            cells.extend(controls::cells(&cells, self.malloc));
        }
        // These print no rates, which a null server would bound.
        let prints_rates = !matches!(self.preset(), Preset::Quick | Preset::Compression);
        if self.clients.contains(&Client::Own) && prints_rates {
            cells.extend(null_server::cells(&cells));
        }
        if self.attribute && blocks.max >= controls::BLOCKS_MIN {
            cells.extend(planted::cells(&cells));
        }
        cells.extend(counted);
        let warmup = self.preset().warmup();
        let plan = Plan {
            preset: self.preset(),
            cells,
            first_cell: 0,
            blocks,
            slice: self.slice,
            seed: self.seed,
            warmup,
            settle: Some(SETTLE_FACTOR * warmup),
            budget: self.budget.unwrap_or(self.usual_budget()),
            array: self.array.clone(),
            clients: self.clients.clone(),
            malloc: self.malloc,
            knobs: self.knobs.clone(),
        };
        Ok(if self.attribute { profiled::add(plan) } else { plan })
    }

    fn usual_budget(&self) -> Duration {
        let usual = self.preset().budget();
        self.clients.iter().map(|client| client.budget(usual)).max().unwrap_or(usual)
    }

    fn blocks(&self) -> Blocks {
        let usual = match self.rounds {
            Some(rounds) => Blocks { min: rounds, max: rounds, time: None },
            None => {
                let rounds = self.clients.iter().map(|client| client.rounds());
                self.preset.blocks(rounds.max().unwrap_or(1))
            }
        };
        match self.time {
            Some(time) if self.rounds.is_none() => {
                Blocks { max: BLOCKS_MAX, time: Some(time), ..usual }
            }
            time => Blocks { time: time.or(usual.time), ..usual },
        }
    }

    /// Returns the preset whose choices are used. Those with an answer have no other rungs than
    /// their own.
    fn preset(&self) -> Preset {
        let has_others = self.rungs.is_some() || self.every_external;
        if self.preset.has_answer() && has_others { Preset::Broad } else { self.preset }
    }

    /// Selects the rungs of each part of the preset, our own first.
    fn parts(&self) -> anyhow::Result<Vec<(Part, Vec<AnyRung>)>> {
        let external: Vec<AnyRung> =
            external::rungs(&self.external).into_iter().map(AnyRung::External).collect();
        let speaks = |rung: &AnyRung| {
            let obstacle = |client: &Client| client.obstacle(rung.family(), rung.transport());
            self.clients.iter().any(|client| obstacle(client).is_none())
        };
        let mut parts = Vec::new();
        let mut is_any_spoken = false;
        for part in self.preset().parts() {
            let external = external.clone();
            let mut rungs: Vec<AnyRung> = match &self.rungs {
                Some(globs) => {
                    let own = table::rungs().into_iter().map(AnyRung::Own);
                    select(globs, own.chain(external).collect())?
                }
                None => {
                    let own = part.rungs().into_iter().map(AnyRung::Own);
                    own.chain(self.usual_external(external)?).collect()
                }
            };
            is_any_spoken |= rungs.iter().any(speaks);
            rungs.retain(|rung| rung.family() != Family::Raw || speaks(rung));
            self.check_load(&rungs)?;
            parts.push((part, rungs));
        }
        ensure!(
            is_any_spoken,
            "the chosen --client can load none of the chosen rungs; widen --rungs"
        );
        Ok(parts)
    }

    /// Selects the external rungs of a run without `rungs`.
    fn usual_external(&self, all: Vec<AnyRung>) -> anyhow::Result<Vec<AnyRung>> {
        match self.preset {
            _ if self.every_external => Ok(all),
            Preset::Seed => Ok(all.into_iter().filter(|rung| rung.original().is_some()).collect()),
            Preset::Rivals => {
                ensure!(!all.is_empty(), "no folder of external servers has a manifest");
                Ok(select(RIVALS_EXTERNAL, all)?)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn cells_of_sizes(&self, parts: &[(Part, Vec<AnyRung>)]) -> anyhow::Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for (part, rungs) in parts {
            for bytes in self.sizes.as_deref().unwrap_or(part.sizes) {
                for array in arrays(part, *bytes)? {
                    cells.extend(self.cells(part, rungs, &array, |_| None));
                }
            }
            let forms = if self.sizes.is_some() { &[] } else { part.forms };
            for (dtype, dims) in forms {
                let array = ArrayInfo::of_shape(DType::parse(dtype)?, &Shape::new(dims)?)?;
                cells.extend(self.cells(part, rungs, &array, |_| None));
            }
        }
        Ok(cells)
    }

    fn cells_of_file(
        &self,
        parts: &[(Part, Vec<AnyRung>)],
        path: &Path,
    ) -> anyhow::Result<Vec<Cell>> {
        let file = ArrayFile::open(path)?;
        let mut scratch = Vec::new();
        let array = file.view(&mut scratch)?;
        let info = ArrayInfo::new(&array);
        let mut refusal = refusals(&array);
        let cells =
            |(part, rungs): &(Part, Vec<AnyRung>)| self.cells(part, rungs, &info, &mut refusal);
        Ok(parts.iter().flat_map(cells).collect())
    }

    /// Makes the cells of one array. `refusal` returns the reason why a codec cannot carry its
    /// items, if they are known.
    pub(super) fn cells(
        &self,
        part: &Part,
        rungs: &[AnyRung],
        array: &ArrayInfo,
        mut refusal: impl FnMut(Codec) -> Option<String>,
    ) -> Vec<Cell> {
        let time = self.duration.unwrap_or(self.preset().duration());
        let mut cells = Vec::new();
        for rung in rungs {
            // The load generator writes the request with our own codec.
            let skip = refusal(rung.encoding().own())
                .or_else(|| refusal(rung.codec()))
                .or_else(|| rung.obstacle(array));
            for wanted in self.loads(part, rung, array.bytes) {
                let is_wanted = || self.is_wanted(part, rung, wanted, rungs, array.bytes);
                if rung.family() != Family::Raw || is_wanted() {
                    let mut cell = Cell::new(rung.clone(), array, wanted, &self.clients, time);
                    if skip.is_some() {
                        // Its row stands in the table of the load that was wanted.
                        (cell.concurrency, cell.in_flight_wanted) = (wanted, None);
                    }
                    let malloc = match rung {
                        AnyRung::Own(rung) => (part.malloc)(*rung),
                        AnyRung::External(_) => None,
                    };
                    cells.push(Cell { skip: skip.clone(), malloc, ..cell });
                }
            }
        }
        cells
    }

    /// Returns false for a raw rung under the load of an HTTP family whose rungs of the same codec
    /// are not tried, if rungs of the other family are. `reflect` is the floor of every codec.
    fn is_wanted(
        &self,
        part: &Part,
        raw: &AnyRung,
        wanted: Concurrency,
        rungs: &[AnyRung],
        bytes: u64,
    ) -> bool {
        let http: Vec<&AnyRung> =
            rungs.iter().filter(|rung| rung.family() != Family::Raw).collect();
        let has_its_codec = |rung: &AnyRung| match (rung, raw) {
            (AnyRung::Own(rung), AnyRung::Own(raw)) => rung.codec() == raw.codec(),
            _ => rung.encoding() == raw.encoding(),
        };
        let above = |rung: &AnyRung| {
            (raw.encoding() == Encoding::Reflect || has_its_codec(rung))
                && self.loads(part, rung, bytes).contains(&wanted)
        };
        http.is_empty() || http.into_iter().any(above)
    }

    fn loads(&self, part: &Part, rung: &AnyRung, bytes: u64) -> Vec<Concurrency> {
        let usual = (part.loads)(rung.family(), bytes);
        let (connections, in_flight) = match (self.connections, self.in_flight) {
            (None, None) => return usual,
            (connections, in_flight) if rung.family().is_lock_step() => {
                return vec![Concurrency::connections(connections.or(in_flight).unwrap_or(1))];
            }
            (connections, in_flight) => (connections.unwrap_or(1), in_flight),
        };
        let deepest = usual.iter().map(|load| load.in_flight).max().unwrap_or(1);
        let in_flight = in_flight.unwrap_or(deepest.max(connections));
        vec![Concurrency { connections, in_flight }]
    }

    fn check_load(&self, rungs: &[AnyRung]) -> anyhow::Result<()> {
        if let (Some(connections), Some(in_flight)) = (self.connections, self.in_flight)
            && connections != in_flight
            && let Some(rung) = rungs.iter().find(|rung| rung.family().is_lock_step())
        {
            bail!(
                "{rung} carries one request at a time on a connection: {in_flight} in flight need as many \
                 connections, not {connections}; leave one of the two flags out, or narrow --rungs"
            );
        }
        Ok(())
    }
}

/// Returns a function that tells the reason why a codec cannot carry the items of `array`.
pub(super) fn refusals(array: &ArrayView<'_>) -> impl FnMut(Codec) -> Option<String> {
    let mut known: BTreeMap<&str, Option<String>> = BTreeMap::new();
    move |codec| {
        let find = || codec::implementation(codec)?.check(array).err();
        known.entry(codec.name()).or_insert_with(|| Some(find()?.to_string())).clone()
    }
}

/// Makes the arrays of `bytes` that a part of a preset has: its data sets, or a float64 vector.
fn arrays(part: &Part, bytes: u64) -> anyhow::Result<Vec<ArrayInfo>> {
    if part.data_sets.is_empty() {
        return Ok(vec![vector(bytes)?]);
    }
    let array = |name: &DataSet| {
        let (dtype, shape) = form_of_data_set(*name, bytes)?;
        Ok(ArrayInfo { data_set: Some(*name), ..ArrayInfo::of_shape(dtype, &shape)? })
    };
    part.data_sets.iter().map(array).collect()
}

fn vector(bytes: u64) -> anyhow::Result<ArrayInfo> {
    ensure!(bytes.is_multiple_of(8), "size {bytes} is not a multiple of 8 bytes, an item of <f8");
    Ok(ArrayInfo { dtype: "<f8".to_owned(), shape: vec![bytes / 8], bytes, data_set: None })
}
