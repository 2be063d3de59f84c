//! The testbed of a run: programs, cores and folders.

use std::path::PathBuf;

use crate::external::environment::Environments;
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
    /// Folder for the records, created on demand.
    pub out: PathBuf,
    /// Environments of the external servers.
    pub environments: Environments,
    /// Client that replaces our own load generator.
    pub python: Option<PythonClient>,
}

impl Testbed {
    /// Returns whether server and load generator take turns on one core.
    pub fn shares_core(&self) -> bool {
        self.cpu_server == self.cpu_client
    }

    /// Settings of the load generator. On a shared core it does not poll, which would keep the
    /// server off the core.
    pub fn knobs(&self, plan: &Plan) -> Knobs {
        let mut knobs = plan.knobs.clone();
        if self.shares_core() {
            knobs.busy_poll = std::time::Duration::ZERO;
        }
        knobs
    }
}
