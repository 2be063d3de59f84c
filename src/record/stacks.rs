//! Call stacks of a profiled trial, in a file beside the records: they are larger than all records.

use serde::{Deserialize, Serialize};

use crate::probe::profile::Stacks;

use super::client::Client;
use super::trial::Trial;

/// Line of the file of stacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialStacks {
    pub cell: u32,
    pub round: u32,
    #[serde(default)]
    pub part: u32,
    pub client: Client,
    pub stacks: Stacks,
}

impl TrialStacks {
    /// Takes the stacks of a trial; `None` if it has none.
    pub fn of_trial(trial: &Trial) -> Option<TrialStacks> {
        let stacks = &trial.profile.as_ref()?.stacks;
        (!stacks.is_empty()).then(|| TrialStacks {
            cell: trial.cell,
            round: trial.round,
            part: trial.part,
            client: trial.client,
            stacks: stacks.clone(),
        })
    }

    fn is_of(&self, trial: &Trial) -> bool {
        (self.cell, self.round, self.part, self.client)
            == (trial.cell, trial.round, trial.part, trial.client)
    }

    /// Puts the stacks into the profile of their trial. Returns false if no trial has as many
    /// samples, as for a launch that was repeated.
    pub fn restore(self, trials: &mut [Trial]) -> bool {
        let samples: u64 = self.stacks.iter().map(|stack| stack.samples).sum();
        let profile = trials
            .iter_mut()
            .find(|trial| self.is_of(trial))
            .and_then(|trial| trial.profile.as_mut());
        let Some(profile) = profile.filter(|profile| profile.samples == samples) else {
            return false;
        };
        profile.stacks = self.stacks;
        true
    }
}
