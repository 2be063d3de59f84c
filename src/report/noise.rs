//! What a table's controls say: how much a rung differs from itself, and whether a known difference was found again.

use crate::record::{Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::family::Family;
use crate::stats::location;
use crate::stats::verdict::Floor;

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

/// A known cost and what was found of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// The rung.
    pub rung: String,
    /// What was added to every request.
    pub added_ns: u64,
    /// What was found.
    pub found_ns: Interval,
}

impl Noise {
    /// What the controls among `cells`, the trials of a table by cell, say; its ratios are `family`.
    pub(super) fn of(cells: &[Vec<&Trial>], family: &Family) -> Noise {
        let mut noise = Noise::default();
        for trials in cells {
            let Trial { rung, variant, .. } = trials[0];
            let costs_as = |variant| {
                let is_it =
                    |other: &&Vec<&Trial>| other[0].variant == variant && other[0].rung == *rung;
                cells.iter().find(is_it).map(|trials| server_costs(trials))
            };
            let Some(theirs) = costs_as(Variant::Usual) else { continue };
            let ours = server_costs(trials);
            match variant {
                Variant::Twin => {
                    let ratios = location::log_ratios(&ours, &theirs);
                    let values = ratios.into_iter().map(|sample| sample.value).collect();
                    let ratio = family.beside(&vec![values]);
                    noise.twins = ratio.map(|ratio| (rung.clone(), ratio));
                }
                Variant::Spin { ns } => {
                    // The twin is the rung as well: two trials of a block say more of it than one.
                    let twin = costs_as(Variant::Twin).unwrap_or_default();
                    let theirs = location::means(&theirs, &twin);
                    let found = Bootstrap::default().blocks(&location::differences(&ours, &theirs));
                    noise.control = found.map(|found_ns| Control {
                        rung: rung.clone(),
                        added_ns: *ns,
                        found_ns,
                    });
                }
                Variant::Usual | Variant::Null | Variant::Build { .. } => {}
            }
        }
        noise
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

impl Control {
    fn line(&self) -> String {
        let Control { rung, added_ns, found_ns } = self;
        let found = units::time_interval(found_ns);
        let said = match (found_ns.contains(0.0), found_ns.contains(*added_ns as f64)) {
            (Some(true), _) => "this run cannot resolve such a difference",
            (Some(false), Some(true)) => "found",
            (Some(false), _) => "NOT found: do not trust small differences here",
            (None, _) => "too few blocks to say",
        };
        format!(
            "control: {rung} with {added_ns} ns added to each request costs {found} more: {said}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::delta::sections;
    use crate::report::delta::tests::trial;

    /// Ten blocks of a rung, its twin and the rung with a spin that costs `spun_ns`.
    fn noise(spun_ns: u64) -> Noise {
        let spin = Variant::Spin { ns: 500 };
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
            trials.push(of(2, spin, 5040 + spun_ns));
        }
        let section = sections(&trials).remove(0);
        assert_eq!(section.rows.len(), 1, "controls are no rows");
        section.noise
    }

    #[test]
    fn a_rung_against_itself_is_the_floor() {
        let noise = noise(500);
        let floor = noise.floor().share();
        assert!(floor > 0.002 && floor < 0.01, "{floor}");
        assert!(noise.lines()[0].starts_with("A/A: tokio/tonic/npy against itself 1.00 ["));
    }

    #[test]
    fn a_known_cost_is_found_or_said_to_be_missed() {
        for (spun, want) in [(500, "more: found"), (5, "cannot resolve"), (900, "NOT found")] {
            let line = noise(spun).lines().remove(1);
            assert!(line.contains(want), "{line}");
        }
    }

    #[test]
    fn without_controls_nothing_is_said() {
        let noise = sections(&[trial("uring/raw/npy", 0, 1)]).remove(0).noise;
        assert_eq!((noise.floor(), noise.lines()), (Floor::default(), vec![]));
    }
}
