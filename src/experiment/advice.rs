//! Plans of an advice: every candidate with one array under one load, then the cheapest of them
//! again at an offered rate.
//!
//! A candidate that this machine cannot hold, or whose text a run of a minute cannot carry, is
//! skipped with the reason. Blocks with a large array take long, so only the first one has all
//! candidates; the others have those near the cheapest, in a limited time.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;

use crate::array::{DType, NdArray, Shape};
use crate::axis::{Codec, Payload, Rung};
use crate::ladder::select::select;
use crate::ladder::table;
use crate::load::array_file::ArrayFile;
use crate::record::trial_spec::{Knobs, Length};
use crate::record::{ArrayInfo, Client, Variant};

use super::any_rung::AnyRung;
use super::cell::Cell;
use super::concurrency::Concurrency;
use super::options::{self, BUSY_POLL};
use super::plan::Plan;
use super::preset::{self, BLOCKS_MAX, Blocks, Preset};
use super::{controls, group};

/// Default time of the blocks.
const TIME: Duration = Duration::from_secs(60);

/// Size from which the blocks are as few as an interval needs, and later ones have the near
/// candidates only.
const LARGE_BYTES_MIN: u64 = 8 << 20;

/// Default time of the blocks with a large array. The first block is finished, whatever it takes.
const LARGE_TIME: Duration = Duration::from_secs(150);

/// Longest start, warm-up or slice of a server in the default time of a large array. A slower
/// candidate is left out from then on, so that the first block ends.
const LARGE_BUDGET: Duration = Duration::from_secs(15);

/// Time of the blocks at a rate.
const OPEN_TIME: Duration = Duration::from_secs(180);

/// Longest text of numbers that is tried: reading and writing it takes about a second.
const TEXT_BYTES_MAX: u64 = 128 << 20;

/// Longest array whose items are drawn to ask the codecs for refusals.
const CHECKED_BYTES_MAX: u64 = 1 << 20;

/// Requests above the quantile that is asked for, in each window at an offered rate.
const OPEN_BEYOND: f64 = 2.0;

const OPEN_WINDOW_MIN: Duration = Duration::from_secs(1);
const OPEN_WINDOW_MAX: Duration = Duration::from_secs(5);

/// Array to advise on.
#[derive(Clone, Debug)]
pub enum Source {
    File(PathBuf),
    Seeded(DType, Shape),
}

#[derive(Clone, Debug)]
pub struct Options {
    pub source: Source,
    pub rungs: Vec<Rung>,
    /// Connections, each with one request in flight.
    pub connections: u32,
    /// Time of the blocks; `None` for the default.
    pub time: Option<Duration>,
    pub seed: u64,
    /// Memory that is free; 0 if unknown.
    pub free_bytes: u64,
}

/// Returns the candidates of an advice: standard servers as documented and at their best, and ours.
pub fn candidates() -> Vec<Rung> {
    select(preset::ENCODINGS, table::rungs()).expect("the globs match rungs of the ladder")
}

/// Returns the connections of an advice whose user names none: few enough for the bytes in flight.
pub fn usual_connections(bytes: u64) -> u32 {
    Concurrency::few_connections(preset::ENCODINGS_CONNECTIONS, bytes).connections
}

impl Source {
    /// Describes the array. An array without items has nothing to choose by.
    pub fn info(&self) -> anyhow::Result<ArrayInfo> {
        let info = match self {
            Source::Seeded(dtype, shape) => ArrayInfo::of_shape(*dtype, shape)?,
            Source::File(path) => ArrayInfo::new(&ArrayFile::open(path)?.view(&mut Vec::new())?),
        };
        ensure!(
            info.bytes > 0,
            "the array has no items (shape {:?}), so all encodings cost the same; give the shape \
             that you send",
            info.shape
        );
        Ok(info)
    }
}

/// Returns whether candidates that are far from the cheapest in the first block are left out of the
/// others. A time that the user gives is for all of them.
pub fn is_narrowed(bytes: u64, time: Option<Duration>) -> bool {
    time.is_none() && bytes > LARGE_BYTES_MIN
}

impl Options {
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let info = self.source.info()?;
        let mut cells = self.cells(&info)?;
        let twins = controls::cells(&cells, None);
        cells.extend(twins.into_iter().filter(|cell| cell.variant == Variant::Twin));
        let warmup = Preset::Quick.warmup();
        Ok(Plan {
            preset: Preset::Quick,
            cells,
            first_cell: 0,
            blocks: self.blocks(info.bytes),
            slice: None,
            seed: self.seed,
            warmup,
            settle: Some(options::SETTLE_FACTOR * warmup),
            budget: if is_narrowed(info.bytes, self.time) {
                LARGE_BUDGET
            } else {
                Preset::Full.budget()
            },
            array: match &self.source {
                Source::File(path) => Some(path.clone()),
                Source::Seeded(..) => None,
            },
            clients: vec![Client::Own],
            malloc: None,
            knobs: Knobs { busy_poll: BUSY_POLL, ..Knobs::default() },
        })
    }

    fn cells(&self, info: &ArrayInfo) -> anyhow::Result<Vec<Cell>> {
        let mut scratch = Vec::new();
        match &self.source {
            Source::File(path) => {
                let file = ArrayFile::open(path)?;
                let array = file.view(&mut scratch)?;
                Ok(self.cells_unless(info, options::refusals(&array)))
            }
            Source::Seeded(dtype, shape) if info.bytes <= CHECKED_BYTES_MAX => {
                let array = NdArray::seeded(*dtype, shape.clone(), 1)?;
                Ok(self.cells_unless(info, options::refusals(&array.view())))
            }
            Source::Seeded(..) => Ok(self.cells_unless(info, |_| None)),
        }
    }

    /// Makes the cells. `refusal` tells why a codec cannot carry the items.
    fn cells_unless(
        &self,
        info: &ArrayInfo,
        mut refusal: impl FnMut(Codec) -> Option<String>,
    ) -> Vec<Cell> {
        let load = Concurrency::connections(self.connections);
        let cell = |rung: &Rung| {
            let time = Preset::Quick.duration();
            let cell = Cell::new(AnyRung::from(*rung), info, load, &[Client::Own], time);
            // The load generator writes the request with our own codec.
            let skip = refusal(rung.encoding().own())
                .or_else(|| refusal(rung.codec()))
                .or_else(|| cell.rung.obstacle(info))
                .or_else(|| too_long_text(&cell))
                .or_else(|| self.too_little_memory(&cell));
            Cell { skip, ..cell }
        };
        self.rungs.iter().map(cell).collect()
    }

    fn too_little_memory(&self, cell: &Cell) -> Option<String> {
        let need = group::memory_bytes(cell);
        let may = (self.free_bytes as f64 * group::MEMORY_SHARE) as u64;
        (self.free_bytes > 0 && need > may).then(|| {
            format!(
                "its messages need about {} MiB of memory, and a run may take {} MiB of what is \
                 free",
                need >> 20,
                may >> 20
            )
        })
    }

    fn blocks(&self, bytes: u64) -> Blocks {
        let min = controls::BLOCKS_MIN;
        match self.time {
            None if bytes > LARGE_BYTES_MIN => Blocks { min, max: min, time: Some(LARGE_TIME) },
            time => Blocks { min, max: BLOCKS_MAX, time: Some(time.unwrap_or(TIME)) },
        }
    }
}

fn too_long_text(cell: &Cell) -> Option<String> {
    let bytes = cell.rung.body_bytes(&cell.array).ok()?;
    let is_text = cell.rung.encoding().spec().payload == Payload::Numbers;
    (is_text && bytes > TEXT_BYTES_MAX).then(|| {
        format!(
            "its text has about {} MiB; texts above {} MiB are left out, since a request takes \
             seconds",
            bytes >> 20,
            TEXT_BYTES_MAX >> 20
        )
    })
}

/// Makes the plan of the open loop: the cells of `rungs` in the plan `closed`, and one of them
/// again, get requests at `rate_hz`, enough of them to know a quantile of their latencies.
pub fn at_rate(closed: &Plan, rungs: &[String], rate_hz: f64, quantile: f64) -> Plan {
    let requests = OPEN_BEYOND / (1.0 - quantile);
    let time = Duration::from_secs_f64(requests / rate_hz);
    let window = Length::Time(time.clamp(OPEN_WINDOW_MIN, OPEN_WINDOW_MAX));
    let is_tried =
        |cell: &&Cell| cell.variant == Variant::Usual && rungs.contains(&cell.rung.to_string());
    let offered = |cell: &Cell| Cell { offered_hz: Some(rate_hz), window, ..cell.clone() };
    let mut cells: Vec<Cell> = closed.cells.iter().filter(is_tried).map(offered).collect();
    cells.extend(cells.first().map(|cell| Cell { variant: Variant::Twin, ..cell.clone() }));
    let min = controls::BLOCKS_MIN;
    Plan {
        first_cell: closed.first_cell + closed.cells.len() as u32,
        blocks: Blocks { min, max: min, time: Some(OPEN_TIME) },
        cells,
        ..closed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dtype: &str, shape: &[u64]) -> Options {
        let source = Source::Seeded(DType::parse(dtype).unwrap(), Shape::new(shape).unwrap());
        let bytes = source.info().map_or(0, |info| info.bytes);
        Options {
            source,
            rungs: candidates(),
            connections: usual_connections(bytes),
            time: None,
            seed: 1,
            free_bytes: 20 << 30,
        }
    }

    fn skipped(plan: &Plan) -> Vec<(String, String)> {
        let reason = |cell: &Cell| Some((cell.rung.to_string(), cell.skip.clone()?));
        plan.cells.iter().filter_map(reason).collect()
    }

    #[test]
    fn every_candidate_is_tried_under_one_load_and_two_of_them_twice() {
        let plan = options("|u1", &[480, 640, 3]).plan().unwrap();
        let usual = plan.cells.iter().filter(|cell| cell.variant == Variant::Usual).count();
        assert_eq!((usual, plan.cells.len()), (candidates().len(), candidates().len() + 2));
        let load = Concurrency::connections(8);
        assert!(plan.cells.iter().all(|cell| cell.concurrency == load && cell.skip.is_none()));
        assert_eq!((plan.blocks.min, plan.blocks.time), (5, Some(TIME)));
    }

    #[test]
    fn a_large_array_has_one_connection_few_blocks_and_a_time() {
        let plan = options("<f4", &[100_000, 32]).plan().unwrap();
        let load = Concurrency::connections(1);
        assert!(plan.cells.iter().all(|cell| cell.concurrency == load && cell.skip.is_none()));
        assert_eq!((plan.blocks.max, plan.blocks.time), (5, Some(LARGE_TIME)));
        assert_eq!(plan.budget, LARGE_BUDGET);
        let longer = Options { time: Some(2 * TIME), ..options("<f4", &[100_000, 32]) };
        let longer = longer.plan().unwrap();
        assert_eq!(longer.budget, Preset::Full.budget());
        let blocks = longer.blocks;
        assert_eq!((blocks.max, blocks.time), (BLOCKS_MAX, Some(2 * TIME)));
        assert!(is_narrowed(12_800_000, None) && !is_narrowed(12_800_000, Some(TIME)));
        assert!(!is_narrowed(LARGE_BYTES_MIN, None));
    }

    #[test]
    fn text_that_takes_seconds_is_left_out_with_its_length() {
        let plan = options("<f4", &[64 << 20]).plan().unwrap();
        let skipped = skipped(&plan);
        let names: Vec<&str> = skipped.iter().map(|(rung, _)| rung.as_str()).collect();
        assert_eq!(names, ["uring/h1/json", "tokio/axum/json:serde"]);
        assert!(skipped[0].1.contains("texts above 128 MiB"), "{}", skipped[0].1);
    }

    #[test]
    fn a_candidate_that_does_not_fit_into_memory_is_left_out() {
        let plan = Options { free_bytes: 3 << 30, ..options("<f4", &[64 << 20]) }.plan().unwrap();
        let reasons = skipped(&plan);
        let base64 = reasons.iter().find(|(rung, _)| rung == "uring/h1/json_binary");
        let reason = &base64.expect("base64 takes twice the memory").1;
        assert!(reason.contains("may take 1843 MiB"), "{reason}");
        assert!(!reasons.iter().any(|(rung, _)| rung == "uring/h1/npy"), "{reasons:?}");
    }

    #[test]
    fn an_encoding_that_cannot_carry_the_dtype_is_left_out() {
        for shape in [&[4_u64][..], &[1 << 20]] {
            let skipped = skipped(&options("<c8", shape).plan().unwrap());
            assert_eq!(skipped.len(), 2, "{skipped:?}");
            assert!(skipped.iter().all(|(rung, _)| rung.contains("/json")), "{skipped:?}");
        }
    }

    #[test]
    fn an_array_without_items_is_refused() {
        let error = options("<f4", &[0, 5]).plan().unwrap_err().to_string();
        assert!(error.contains("no items (shape [0, 5])"), "{error}");
    }

    #[test]
    fn some_candidates_and_a_twin_get_requests_at_a_rate() {
        let closed = options("<f8", &[]).plan().unwrap();
        let rungs = ["uring/h1/npy".to_owned(), "tokio/axum/npy".to_owned()];
        let open = at_rate(&closed, &rungs, 50.0, 0.99);
        assert_eq!(open.cells.len(), 3);
        assert_eq!(open.blocks.time, Some(OPEN_TIME));
        assert_eq!(open.first_cell as usize, closed.cells.len());
        let window = Length::Time(Duration::from_secs(4));
        let is_offered = |cell: &Cell| cell.offered_hz == Some(50.0) && cell.window == window;
        assert!(open.cells.iter().all(is_offered));
        let at_high_rate = &at_rate(&closed, &rungs, 1e6, 0.99).cells[0];
        assert_eq!(at_high_rate.window, Length::Time(OPEN_WINDOW_MIN));
    }
}
