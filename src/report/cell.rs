//! The trials of one cell, and the samples that are taken from them.
//!
//! A cell with a failed trial has no figures, since a server that sometimes answers wrongly has no
//! speed. Discarded trials do not count, unless more than half were discarded; the cell is then
//! noisy and all of its trials count.

use std::collections::BTreeMap;

use crate::axis::{Coding, DataSet, Family};
use crate::probe::profile::Profile;
use crate::record::trial_spec::{LoadSpec, RequestHeaders};
use crate::record::{Client, Measurement, Outcome, Slice, Trial, Variant};
use crate::stats::bootstrap::{Bootstrap, Interval};
use crate::stats::histogram::Histogram;
use crate::stats::location::{self, Sample};

/// Share of its core below which a server waited for the load generator.
pub(super) const SERVER_BUSY: f64 = 0.95;

/// Start of the reason why a cell that was not tried has no figures.
pub(super) const SKIPPED: &str = "skipped: ";

/// Bytes, dtype, shape, data set, coding, connections, requests in flight, client. Only cells with
/// equal keys are compared.
pub(super) type SectionKey<'a> =
    (u64, &'a str, &'a [u64], Option<DataSet>, Coding, u32, u32, Client);

pub(super) fn section_key(trial: &Trial) -> SectionKey<'_> {
    let array = &trial.array;
    let (bytes, dtype, shape) = (array.bytes, &array.dtype, &array.shape);
    let (connections, in_flight) = (trial.connections, trial.in_flight_sent());
    let data = (array.data_set, trial.coding);
    (bytes, dtype, shape, data.0, data.1, connections, in_flight, trial.client)
}

/// Returns the headers that the client of `cells` sent; `None` if no record tells it, or if raw
/// frames, which have none, were all that was sent.
pub(super) fn headers<'a>(
    cells: impl IntoIterator<Item = &'a CellTrials<'a>>,
) -> Option<RequestHeaders> {
    let loads = cells.into_iter().flat_map(|cell| &cell.0);
    let mut loads = loads.filter_map(|trial| trial.spec.as_ref()).map(|spec| &spec.load);
    let is_http = |load: &&LoadSpec| {
        load.targets.first().is_some_and(|target| target.url.family != Family::Raw)
    };
    Some(loads.find(is_http)?.knobs.headers)
}

/// Trials of one cell, one per block. Cells of a section have at least one trial.
#[derive(Clone, Debug, Default)]
pub(super) struct CellTrials<'a>(pub(super) Vec<&'a Trial>);

impl<'a> CellTrials<'a> {
    pub(super) fn first(&self) -> &'a Trial {
        self.0[0]
    }

    pub(super) fn is(&self, rung: &str, variant: Variant) -> bool {
        self.first().rung == rung && self.first().variant == variant
    }

    /// Returns the profiles that count, each with the number of its launch.
    pub(super) fn profiles(&self) -> impl Iterator<Item = (u32, &'a Profile)> {
        let is_used = |trial: &&&Trial| trial.discarded.is_none() || self.is_noisy();
        let used = self.0.iter().filter(is_used);
        let profiles = used.filter_map(|trial| Some((trial.launch(), trial.profile.as_deref()?)));
        profiles.filter(|(_, profile)| profile.samples > 0)
    }

    pub(super) fn obstacle(&self) -> Option<String> {
        let failures: Vec<&str> = self.0.iter().filter_map(|trial| failure(trial)).collect();
        if let Some(reason) = failures.first() {
            let (failed, all) = (failures.len(), self.0.len());
            return Some(format!("INVALID in {failed} of {all} rounds: {reason}"));
        }
        self.0.iter().find_map(|trial| match &trial.outcome {
            Outcome::DidNotFinish { budget_ns, .. } => {
                Some(format!("DNF (budget {} s)", *budget_ns as f64 / 1e9))
            }
            Outcome::Skipped { reason } => Some(format!("{SKIPPED}{reason}")),
            Outcome::Measured(_) | Outcome::Failed { .. } => None,
        })
    }

    pub(super) fn discards(&self) -> Vec<&'a str> {
        self.0.iter().filter_map(|trial| trial.discarded.as_deref()).collect()
    }

    pub(super) fn is_noisy(&self) -> bool {
        2 * self.discards().len() > self.0.len()
    }

    pub(super) fn measured(&self) -> Vec<(u32, &'a Measurement)> {
        let is_noisy = self.is_noisy();
        let kept = self.0.iter().filter(|trial| trial.discarded.is_none() || is_noisy);
        let measured = kept.filter_map(|trial| match &trial.outcome {
            Outcome::Measured(measured) => Some((trial.launch(), &**measured)),
            _ => None,
        });
        measured.filter(|(_, measured)| measured.requests > 0).collect()
    }

    pub(super) fn server_costs(&self) -> Vec<Sample> {
        if self.obstacle().is_some() {
            return Vec::new();
        }
        let cost = |(round, m): (u32, &Measurement)| {
            let slices: Vec<f64> = slice_costs(m).into_iter().flatten().map(f64::ln).collect();
            let value = match slices.as_slice() {
                [] => m.server_cpu?.total_ns as f64 / m.requests as f64,
                slices => mean(slices).exp(),
            };
            Some(Sample { round, value })
        };
        self.measured().into_iter().filter_map(cost).collect()
    }

    /// Returns the logarithm of the ratio of costs to `other`, by launch: the mean over the rounds
    /// of slices, in each of which the load visited both servers.
    pub(super) fn log_ratios(&self, other: &CellTrials<'_>) -> Vec<Sample> {
        let launches = self.round_log_ratios(other);
        if launches.is_empty() {
            return location::log_ratios(&self.server_costs(), &other.server_costs());
        }
        means(launches)
    }

    /// Like [`log_ratios`](Self::log_ratios), after a part of the cost that is known for a launch
    /// was subtracted from the costs of this cell. Other launches are left out.
    pub(super) fn log_ratios_without(
        &self,
        other: &CellTrials<'_>,
        known_ns: &[Sample],
    ) -> Vec<Sample> {
        let known_ns: BTreeMap<u32, f64> = known_ns.iter().map(|s| (s.round, s.value)).collect();
        let launches = self.paired_logs(other, |launch| known_ns.get(&launch).copied());
        if launches.is_empty() {
            let known = |s: Sample| Some(Sample { value: s.value - known_ns.get(&s.round)?, ..s });
            let costs: Vec<Sample> = self.server_costs().into_iter().filter_map(known).collect();
            return location::log_ratios(&costs, &other.server_costs());
        }
        means(launches)
    }

    /// Returns the logarithms of the ratios of costs to `other`: by launch, then by round.
    pub(super) fn round_log_ratios(&self, other: &CellTrials<'_>) -> Vec<(u32, Vec<f64>)> {
        self.paired_logs(other, |_| Some(0.0))
    }

    /// `known_ns` is the part of this cell's cost that does not count, by launch.
    fn paired_logs(
        &self,
        other: &CellTrials<'_>,
        known_ns: impl Fn(u32) -> Option<f64>,
    ) -> Vec<(u32, Vec<f64>)> {
        if self.obstacle().is_some() || other.obstacle().is_some() {
            return Vec::new();
        }
        let theirs = other.measured();
        let of_launch = |(launch, ours): (u32, &Measurement)| {
            let known_ns = known_ns(launch)?;
            let (_, theirs) = theirs.iter().find(|(other, _)| *other == launch)?;
            let pairs = slice_costs(ours).into_iter().zip(slice_costs(theirs));
            let log = |(our, their): (Option<f64>, Option<f64>)| {
                let ratio = (our? - known_ns) / their?;
                (ratio > 0.0).then(|| ratio.ln())
            };
            let logs: Vec<f64> = pairs.filter_map(log).collect();
            (!logs.is_empty()).then_some((launch, logs))
        };
        self.measured().into_iter().filter_map(of_launch).collect()
    }

    /// Returns the logarithms of the slices' costs, by launch.
    pub(super) fn slice_logs(&self) -> Vec<Vec<f64>> {
        let logs = |(_, m): (u32, &Measurement)| {
            slice_costs(m).into_iter().flatten().map(f64::ln).collect()
        };
        self.measured().into_iter().map(logs).collect()
    }

    /// Returns the number of connections that the server ended and the load generator replaced.
    pub(super) fn reconnects(&self) -> u64 {
        let of_trial = |trial: &&Trial| match &trial.outcome {
            Outcome::Measured(measured) => measured.reconnects,
            _ => 0,
        };
        self.0.iter().map(of_trial).sum()
    }

    /// Averages the page faults of all blocks. Most windows have none, so a median would be 0.
    pub(super) fn page_faults(&self) -> Option<f64> {
        let measured = self.measured();
        let faults = measured.iter().map(|(_, m)| m.server_faults).sum::<Option<u64>>()?;
        let requests: u64 = measured.iter().map(|(_, m)| m.requests).sum();
        (requests > 0).then(|| faults as f64 / requests as f64)
    }

    /// Merges the latencies of all blocks. A quantile of quantiles would mean nothing.
    pub(super) fn latencies(&self) -> Option<Histogram> {
        let mut all: Option<Histogram> = None;
        for (_, measurement) in self.measured() {
            if let Ok(histogram) = Histogram::from_text(&measurement.latency_histogram) {
                all.get_or_insert_default().merge(&histogram);
            }
        }
        all
    }

    /// Returns the share of its core that the load generator used, without idle polling.
    pub(super) fn client_busy(&self) -> Option<f64> {
        self.busy(|m| Some(m.client_work_ns()))
    }

    pub(super) fn server_busy(&self) -> Option<f64> {
        self.busy(|m| m.server_cpu.map(|cpu| cpu.total_ns))
    }

    pub(super) fn is_server_idle(&self) -> bool {
        self.server_busy().is_some_and(|busy| busy < SERVER_BUSY)
    }

    fn busy(&self, cpu_ns: impl Fn(&Measurement) -> Option<u64>) -> Option<f64> {
        let measured = self.measured();
        let total = measured.iter().map(|(_, m)| cpu_ns(m)).sum::<Option<u64>>()?;
        let wall: u64 = measured.iter().map(|(_, m)| m.wall_ns).sum();
        Some(total as f64 / wall.max(1) as f64)
    }
}

pub(super) fn find<'a, 'b>(
    cells: &'a [CellTrials<'b>],
    rung: &str,
    variant: Variant,
) -> Option<&'a CellTrials<'b>> {
    cells.iter().find(|cell| cell.is(rung, variant))
}

pub(super) fn geometric_center(samples: &[Sample]) -> Option<Interval> {
    Bootstrap::default().blocks(&location::logs(samples)).map(Interval::exp)
}

fn slice_costs(measured: &Measurement) -> Vec<Option<f64>> {
    measured.slices.iter().map(Slice::cost_ns).collect()
}

fn means(launches: Vec<(u32, Vec<f64>)>) -> Vec<Sample> {
    let sample = |(round, logs): (u32, Vec<f64>)| Sample { round, value: mean(&logs) };
    launches.into_iter().map(sample).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn failure(trial: &Trial) -> Option<&str> {
    match &trial.outcome {
        Outcome::Failed { reason, .. } => Some(reason),
        _ => None,
    }
}
