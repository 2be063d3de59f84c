//! Controls of a section: the difference of rungs from themselves, and a known delay.
//!
//! The noise of a server depends on its allocator (glibc may return pages after each batch) and its
//! family, so a section may have a twin of each [`Kind`]. A ratio is judged by the twins of the
//! kinds of its two rungs.

use crate::axis::{self, Malloc, Rung};
use crate::record::Variant;
use crate::stats::bootstrap::Interval;
use crate::stats::family::Family;
use crate::stats::verdict::Floor;

use super::cell::{self, CellTrials};
use super::control::Control;
use super::units;

/// Half-width of an interval, as a share of the ratio, that is narrow enough for any ratio.
pub const WIDTH_WANTED: f64 = 0.02;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noise {
    pub twins: Vec<Twins>,
    pub control: Option<Control>,
    /// Reason why a run with a delayed rung has no control.
    pub control_obstacle: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Twins {
    pub rung: String,
    pub kind: Kind,
    pub log_ratio: Interval,
}

/// Properties of a server on which its noise depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `None` if the record does not tell it.
    malloc: Option<Malloc>,
    family: Option<axis::Family>,
}

impl Noise {
    /// Evaluates the controls among `cells`. `family` holds the ratios of the section.
    pub(super) fn evaluate(cells: &[CellTrials<'_>], family: &Family) -> Noise {
        let is_twin = |cell: &&CellTrials<'_>| cell.first().variant == Variant::Twin;
        let twins = cells.iter().filter(is_twin);
        let twins = twins.filter_map(|twin| Twins::evaluate(twin, cells, family)).collect();
        let control = Control::evaluate(cells, family);
        Noise { twins, control, control_obstacle: Control::obstacle(cells, family) }
    }

    /// Returns the largest difference of any two rungs that is not shown. It is zero without twins.
    pub fn floor(&self) -> Floor {
        self.twins.iter().filter_map(Twins::floor).fold(Floor::default(), Floor::max)
    }

    /// Returns the largest difference of these two rungs that is not shown.
    pub(super) fn floor_of(&self, [rung, other]: [&CellTrials<'_>; 2]) -> Floor {
        self.floor_of_kind(Kind::of_cell(rung)).max(self.floor_of_kind(Kind::of_cell(other)))
    }

    /// Takes the twins of this kind, else those with its allocator, else all.
    fn floor_of_kind(&self, kind: Kind) -> Floor {
        let of = |is_like: &dyn Fn(Kind) -> bool| {
            let like = self.twins.iter().filter(|twins| is_like(twins.kind));
            like.filter_map(Twins::floor).reduce(Floor::max)
        };
        let of_malloc = || of(&|other: Kind| other.malloc == kind.malloc);
        of(&|other| other == kind).or_else(of_malloc).unwrap_or_else(|| self.floor())
    }

    /// Returns the shares by which rungs differed from themselves, as far as the run tells them.
    pub(super) fn shares(&self) -> impl Iterator<Item = f64> {
        self.twins.iter().filter_map(Twins::floor).map(Floor::share)
    }

    pub fn lines(&self) -> Vec<String> {
        let twins = self.twins.iter().map(Twins::line);
        let control = self.control.as_ref().map(Control::line);
        let obstacle = self.control_obstacle.as_ref();
        let obstacle = obstacle.map(|reason| format!("control: it could not be made: {reason}"));
        twins.chain(control).chain(obstacle).collect()
    }
}

impl Kind {
    fn of_cell(cell: &CellTrials<'_>) -> Kind {
        let trial = cell.first();
        let server = trial.spec.as_ref().and_then(|spec| spec.servers.first());
        let family = trial.rung.parse::<Rung>().ok().map(|rung| rung.family());
        Kind { malloc: server.and_then(|server| server.malloc), family }
    }
}

impl Twins {
    fn evaluate(twin: &CellTrials<'_>, cells: &[CellTrials<'_>], family: &Family) -> Option<Twins> {
        let rung = twin.first().rung.clone();
        let usual = cell::find(cells, &rung, Variant::Usual)?;
        let values = twin.log_ratios(usual).into_iter().map(|sample| sample.value).collect();
        let log_ratio = family.non_member(&vec![values])?;
        Some(Twins { rung, kind: Kind::of_cell(usual), log_ratio })
    }

    fn floor(&self) -> Option<Floor> {
        Floor::of_twins(&self.log_ratio)
    }

    fn line(&self) -> String {
        let ratio = units::ratio(&self.log_ratio.exp());
        let floor = match self.floor() {
            Some(floor) => format!("differences up to {:.1} % are noise", floor.share() * 100.0),
            None => "too few blocks to know the noise".to_owned(),
        };
        format!("A/A: {} against itself {ratio}: {floor}", self.rung)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Encoding;
    use crate::record::Trial;
    use crate::record::tests::trial;
    use crate::record::trial_spec::{LoadSpec, ServerSpec, TrialSpec};
    use crate::report::aggregate::sections;

    fn noise() -> Noise {
        let mut trials = Vec::new();
        for round in 0..10 {
            let scatter = u64::from(round * 7 % 5) * 20;
            let of = |cell, variant, cost| Trial {
                cell,
                variant,
                ..trial("tokio/tonic/npy", round, cost)
            };
            trials.push(of(0, Variant::Usual, 5000 + scatter));
            trials.push(of(1, Variant::Twin, 5040));
        }
        let section = sections(&trials).remove(0);
        assert_eq!(section.rows.len(), 1, "controls are no rows");
        section.noise
    }

    #[test]
    fn a_rung_against_itself_is_the_floor() {
        let noise = noise();
        let floor = noise.floor().share();
        assert!(floor > 0.002 && floor < 0.01, "{floor}");
        assert!(noise.lines()[0].starts_with("A/A: tokio/tonic/npy against itself 1.00 ["));
    }

    /// Returns trials of a rung and its twin, which costs `times` as much in every other round.
    fn twins(rung: &'static str, cell: u32, malloc: Malloc, times: u64) -> Vec<Trial> {
        let url = "grpc://127.0.0.1:1".parse().expect("a URL");
        let servers = vec![ServerSpec { malloc: Some(malloc), ..ServerSpec::default() }];
        let spec = TrialSpec { servers, load: LoadSpec::new(url, Encoding::Protobuf) };
        let of = |cell, variant, round, cost| Trial {
            cell,
            variant,
            spec: Some(Box::new(spec.clone())),
            ..trial(rung, round, cost)
        };
        let both = |round: u32| {
            let again = if round.is_multiple_of(2) { 5000 * times } else { 5000 };
            [of(cell, Variant::Usual, round, 5000), of(cell + 1, Variant::Twin, round, again)]
        };
        (0..10).flat_map(both).collect()
    }

    #[test]
    fn a_pair_is_judged_by_the_twins_of_its_families_and_allocators() {
        let (tonic, best) = ("tokio/tonic/protobuf:prost", "tokio/tonic:best/protobuf:prost");
        let (axum, h1) = ("tokio/axum/npy", "uring/h1/npy");
        let all = [
            twins(tonic, 0, Malloc::Default, 8),
            twins(best, 2, Malloc::Keep, 2),
            twins(axum, 4, Malloc::Default, 1),
            twins(h1, 6, Malloc::Keep, 1).into_iter().filter(|it| it.cell == 6).collect(),
        ];
        let all = all.concat();
        let cells = crate::report::aggregate::cells_by_section(&all).remove(0);
        let noise = crate::report::aggregate::noise(&cells);
        let find = |rung| cell::find(&cells, rung, Variant::Usual).expect("it was measured");
        let floor = |rung, other| noise.floor_of([find(rung), find(other)]);
        let [of_default, of_keep, of_rest] = [tonic, best, axum].map(|rung| floor(rung, rung));
        assert_eq!(of_rest, Floor::default());
        assert!(of_keep > of_rest && of_default > of_keep);
        assert_eq!(floor(tonic, best), of_default);
        assert_eq!(floor(best, axum), of_keep);
        assert_eq!(floor(h1, h1), of_keep, "no twin has its family and its allocator");
        assert_eq!(noise.floor(), of_default);
        assert_eq!((noise.lines().len(), noise.shares().count()), (3, 3));
    }

    #[test]
    fn without_controls_there_is_no_line() {
        let noise = sections(&[trial("uring/raw/npy", 0, 1)]).remove(0).noise;
        assert_eq!((noise.floor(), noise.lines()), (Floor::default(), vec![]));
    }
}
