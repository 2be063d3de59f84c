//! CPU time of a request of one rung, by launch and by layer.
//!
//! The whole time comes from the server that is not sampled, the shares of the layers from the
//! sampled one of the same launch. So the layers of a launch add up to the whole time.

use std::collections::BTreeMap;

use crate::axis::Layer;
use crate::probe::profile::Profile;
use crate::record::Trial;
use crate::report::cell::CellTrials;
use crate::stats::location::{Sample, differences};

/// Share of lost samples from which the others may be a biased choice.
const LOST_MAX: f64 = 0.01;

/// Share of samples without a layer from which the others do not tell enough.
const UNATTRIBUTED_MAX: f64 = 0.05;

#[derive(Clone, Debug)]
pub(in crate::report) struct LayerCosts {
    by_launch: BTreeMap<u32, Launch>,
    /// Sentences about samples that are missing or have no layer.
    pub(super) warnings: Vec<String>,
}

#[derive(Clone, Debug)]
struct Launch {
    whole_ns: f64,
    shares: BTreeMap<Layer, f64>,
}

impl LayerCosts {
    /// Joins the cells of one rung; fails with a reason if no launch has both figures.
    pub(super) fn new(
        usual: &CellTrials<'_>,
        profiled: &CellTrials<'_>,
    ) -> Result<LayerCosts, String> {
        for cell in [usual, profiled] {
            if let Some(reason) = cell.obstacle() {
                return Err(format!("{}: {reason}", cell.first().rung));
            }
        }
        let rung = &usual.first().rung;
        let profiles = profiles(profiled);
        if profiles.iter().any(|(_, profile)| profile.is_user_only) {
            return Err(format!(
                "{rung}: this user may not sample the kernel, so the samples are those of the \
                 program alone; run as root, or set kernel.perf_event_paranoid to 1"
            ));
        }
        let costs = usual.server_costs();
        let of_launch = |(launch, profile): &(u32, &Profile)| {
            let cost = costs.iter().find(|cost| cost.round == *launch)?;
            Some((*launch, Launch { whole_ns: cost.value, shares: shares(profile) }))
        };
        let by_launch: BTreeMap<u32, Launch> = profiles.iter().filter_map(of_launch).collect();
        if by_launch.is_empty() {
            return Err(format!("{rung} was not sampled and measured in one launch"));
        }
        Ok(LayerCosts { by_launch, warnings: warnings(rung, &profiles) })
    }

    pub(super) fn whole(&self) -> Vec<Sample> {
        self.samples(|launch| launch.whole_ns)
    }

    /// Returns the time in some layers together.
    pub(super) fn in_layers(&self, layers: &[Layer]) -> Vec<Sample> {
        let share = |launch: &Launch| -> f64 {
            layers.iter().filter_map(|layer| launch.shares.get(layer)).sum()
        };
        self.samples(|launch| launch.whole_ns * share(launch))
    }

    /// Returns whether a sample of any launch lies in a layer.
    pub(super) fn has(&self, layer: Layer) -> bool {
        self.by_launch.values().any(|launch| launch.shares.contains_key(&layer))
    }

    fn samples(&self, value: impl Fn(&Launch) -> f64) -> Vec<Sample> {
        let sample =
            |(launch, costs): (&u32, &Launch)| Sample { round: *launch, value: value(costs) };
        self.by_launch.iter().map(sample).collect()
    }
}

/// Difference of two rungs in some layers, by launch.
pub(super) fn difference(ours: &LayerCosts, theirs: &LayerCosts, layers: &[Layer]) -> Vec<Sample> {
    differences(&ours.in_layers(layers), &theirs.in_layers(layers))
}

/// Returns the profiles of the launches that count.
fn profiles<'a>(profiled: &CellTrials<'a>) -> Vec<(u32, &'a Profile)> {
    let counts = |trial: &&&Trial| trial.discarded.is_none() || profiled.is_noisy();
    let counted = profiled.0.iter().filter(counts);
    let of_trial = |trial: &&'a Trial| Some((trial.launch(), trial.profile.as_deref()?));
    counted.filter_map(of_trial).filter(|(_, profile)| profile.samples > 0).collect()
}

fn shares(profile: &Profile) -> BTreeMap<Layer, f64> {
    let all = profile.samples as f64;
    let layers = profile.layers.iter();
    layers.map(|(layer, it)| (*layer, (it.user + it.kernel) as f64 / all)).collect()
}

fn warnings(rung: &str, profiles: &[(u32, &Profile)]) -> Vec<String> {
    let sum = |count: fn(&Profile) -> u64| profiles.iter().map(|(_, it)| count(it)).sum::<u64>();
    let (samples, lost) = (sum(|profile| profile.samples), sum(|profile| profile.lost));
    let unattributed =
        sum(|profile| profile.layers.get(&Layer::Unattributed).map_or(0, |it| it.user + it.kernel));
    let mut warnings = Vec::new();
    let lost_share = lost as f64 / (samples + lost) as f64;
    if lost_share > LOST_MAX {
        warnings.push(format!(
            "perf lost {:.1} % of the samples of {rung}, so the others may be a biased choice",
            lost_share * 100.0
        ));
    }
    let share = unattributed as f64 / samples as f64;
    if share > UNATTRIBUTED_MAX {
        let cause = if profiles.iter().any(|(_, profile)| !profile.has_kernel_symbols) {
            "the kernel hides its symbols from this user; run as root, or set kernel.kptr_restrict \
             to 0"
        } else {
            "the program may be without symbols; `ndecho profile` names the functions"
        };
        warnings.push(format!(
            "{:.0} % of the samples of {rung} have no layer: {cause}",
            share * 100.0
        ));
    }
    warnings
}
