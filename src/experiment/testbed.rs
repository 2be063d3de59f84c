//! The testbed of a run: programs, cores and folders.

use std::path::PathBuf;

use crate::external::environment::Environments;
use crate::probe::profile::SampledBy;
use crate::record::trial_spec::Knobs;

use super::child::python::PythonClient;
use super::plan::Plan;

#[derive(Debug)]
pub struct Testbed {
    /// This program, started as server and as load generator.
    pub program: PathBuf,
    /// Builds to compare: the old ones and the new ones.
    pub builds: [Vec<PathBuf>; 2],
    pub cpu_server: usize,
    pub cpu_client: usize,
    pub out: PathBuf,
    pub environments: Environments,
    /// Program that samples profiled servers.
    pub sampler: SampledBy,
    pub python: Option<PythonClient>,
    /// Name of the client that loads the servers, if it is not ours.
    pub foreign_client: Option<String>,
}

impl Testbed {
    pub fn shares_core(&self) -> bool {
        self.cpu_server == self.cpu_client
    }

    /// Turns polling off on a shared core, where it would keep the server from running.
    pub fn knobs(&self, plan: &Plan) -> Knobs {
        let mut knobs = plan.knobs.clone();
        if self.shares_core() {
            knobs.busy_poll = std::time::Duration::ZERO;
        }
        knobs
    }
}
