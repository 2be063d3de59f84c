//! Controls of a section: the difference of a rung from itself, and a known delay.

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
    pub twins: Option<Twins>,
    pub control: Option<Control>,
    /// Reason why a run with a delayed rung has no control.
    pub control_obstacle: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Twins {
    pub rung: String,
    pub log_ratio: Interval,
}

impl Noise {
    /// Evaluates the controls among `cells`. `family` holds the ratios of the section.
    pub(super) fn evaluate(cells: &[CellTrials<'_>], family: &Family) -> Noise {
        let twins = Twins::evaluate(cells, family);
        let control = Control::evaluate(cells, family);
        Noise { twins, control, control_obstacle: Control::obstacle(cells, family) }
    }

    /// Returns the noise floor: the largest difference that is not shown. It is zero without twins.
    pub fn floor(&self) -> Floor {
        let floor = self.twins.as_ref().and_then(|twins| Floor::of_twins(&twins.log_ratio));
        floor.unwrap_or_default()
    }

    /// Returns the share by which a rung differed from itself; `None` if the run does not tell it.
    pub(super) fn share(&self) -> Option<f64> {
        Floor::of_twins(&self.twins.as_ref()?.log_ratio).map(Floor::share)
    }

    pub fn lines(&self) -> Vec<String> {
        let twins = self.twins.as_ref().map(|Twins { rung, log_ratio }| {
            let ratio = units::ratio(&log_ratio.exp());
            let floor = match log_ratio.range {
                Some(_) => {
                    format!("differences up to {:.1} % are noise", self.floor().share() * 100.0)
                }
                None => "too few blocks to know the noise".to_owned(),
            };
            format!("A/A: {rung} against itself {ratio}: {floor}")
        });
        let control = self.control.as_ref().map(Control::line);
        let obstacle = self.control_obstacle.as_ref();
        let obstacle = obstacle.map(|reason| format!("control: it could not be made: {reason}"));
        [twins, control, obstacle].into_iter().flatten().collect()
    }
}

impl Twins {
    fn evaluate(cells: &[CellTrials<'_>], family: &Family) -> Option<Twins> {
        let twin = cells.iter().find(|cell| cell.first().variant == Variant::Twin)?;
        let rung = twin.first().rung.clone();
        let usual = cell::find(cells, &rung, Variant::Usual)?;
        let values = twin.log_ratios(usual).into_iter().map(|sample| sample.value).collect();
        let log_ratio = family.non_member(&vec![values])?;
        Some(Twins { rung, log_ratio })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Trial;
    use crate::record::tests::trial;
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

    #[test]
    fn without_controls_there_is_no_line() {
        let noise = sections(&[trial("uring/raw/npy", 0, 1)]).remove(0).noise;
        assert_eq!((noise.floor(), noise.lines()), (Floor::default(), vec![]));
    }
}
