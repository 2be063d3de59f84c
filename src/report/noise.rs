//! What a table's controls say: how much a rung differs from itself, and whether a known difference was found again.

use crate::record::{Trial, Variant};
use crate::stats::bootstrap::Interval;
use crate::stats::family::Family;
use crate::stats::location;
use crate::stats::verdict::Floor;

use super::control::Control;
use super::delta::server_costs;
use super::units;

/// Half the width, as a part of a ratio, below which no ratio has to be known.
pub const WIDTH_WANTED: f64 = 0.02;

/// The controls of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noise {
    /// The rung that was tried twice, and the ratio of the two.
    pub twins: Option<(String, Interval)>,
    /// The rung with a known cost added.
    pub control: Option<Control>,
}

impl Noise {
    /// What the controls among `cells`, the trials of a table by cell, say; its ratios are `family`.
    pub(super) fn of(cells: &[Vec<&Trial>], family: &Family) -> Noise {
        Noise { twins: twins(cells, family), control: Control::of(cells) }
    }

    /// Differences up to here are none. Without twins it is nothing, and only intervals tell.
    pub fn floor(&self) -> Floor {
        let floor = self.twins.as_ref().and_then(|(_, ratio)| Floor::of_twins(ratio));
        floor.unwrap_or_default()
    }

    /// A line for each control.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((rung, log_ratio)) = &self.twins {
            let ratio = units::ratio(&log_ratio.exp());
            let floor = match log_ratio.range {
                Some(_) => {
                    format!("differences up to {:.1} % are noise", self.floor().share() * 100.0)
                }
                None => "too few blocks to say what is noise".to_owned(),
            };
            lines.push(format!("A/A: {rung} against itself {ratio}: {floor}"));
        }
        lines.extend(self.control.as_ref().map(Control::line));
        lines
    }
}

/// The rung that was tried twice, and the ratio of the two.
fn twins(cells: &[Vec<&Trial>], family: &Family) -> Option<(String, Interval)> {
    let twin = cells.iter().find(|trials| trials[0].variant == Variant::Twin)?;
    let usual = cell(cells, &twin[0].rung, Variant::Usual)?;
    let ratios = location::log_ratios(&server_costs(twin), &server_costs(usual));
    let values = ratios.into_iter().map(|sample| sample.value).collect();
    family.beside(&vec![values]).map(|ratio| (twin[0].rung.clone(), ratio))
}

/// The trials of `rung` as `variant`.
pub(super) fn cell<'a, 'b>(
    cells: &'a [Vec<&'b Trial>],
    rung: &str,
    variant: Variant,
) -> Option<&'a [&'b Trial]> {
    let is_it = |trials: &&Vec<&Trial>| trials[0].rung == rung && trials[0].variant == variant;
    cells.iter().find(is_it).map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::delta::sections;
    use crate::report::delta::tests::trial;

    /// Ten blocks of a rung and its twin.
    fn noise() -> Noise {
        let mut trials = Vec::new();
        for round in 0..10 {
            let luck = u64::from(round * 7 % 5) * 20;
            let of = |cell, variant, cost| Trial {
                cell,
                variant,
                ..trial("tokio/tonic/npy", round, cost)
            };
            trials.push(of(0, Variant::Usual, 5000 + luck));
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
    fn without_controls_nothing_is_said() {
        let noise = sections(&[trial("uring/raw/npy", 0, 1)]).remove(0).noise;
        assert_eq!((noise.floor(), noise.lines()), (Floor::default(), vec![]));
    }
}
