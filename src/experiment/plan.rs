//! The plan of a run: its cells, and how often and for how long each is tried.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::axis::Malloc;
use crate::external::ExternalServer;
use crate::external::environment::Environments;
use crate::record::Client;
use crate::record::trial_spec::{ArraySpec, Knobs};

use super::any_rung::AnyRung;
use super::cell::Cell;
use super::preset::{Blocks, Preset, Slicing};

#[derive(Clone, Debug)]
pub struct Plan {
    pub preset: Preset,
    pub cells: Vec<Cell>,
    pub first_cell: u32,
    pub blocks: Blocks,
    /// Length of a slice; `None` leaves it to each client.
    pub slice: Option<Duration>,
    pub seed: u64,
    pub warmup: Duration,
    /// Upper bound of a warm-up that goes on until the rate shows no trend.
    pub settle: Option<Duration>,
    pub budget: Duration,
    pub array: Option<PathBuf>,
    /// Clients that visit each server in turns, or one that can only load it for a whole window.
    pub clients: Vec<Client>,
    /// Allocator of every server; `None` leaves the choice to each rung.
    pub malloc: Option<Malloc>,
    pub knobs: Knobs,
}

impl Plan {
    /// Returns the slices of `client`; `None` if it can only load a server for a whole window.
    pub fn slicing(&self, client: Client) -> Option<Slicing> {
        let slice = self.slice.or(client.slice()).filter(|_| client.slice().is_some())?;
        Some(Slicing { slice, ..Slicing::default() })
    }

    pub fn is_sliced(&self) -> bool {
        self.clients.iter().all(|client| client.slice().is_some())
    }

    /// Returns the clients of `cell`. Only our own can load a server in slices and for a window.
    pub fn clients_of(&self, cell: &Cell) -> &[Client] {
        if self.is_sliced() && !cell.is_sliced() { &[Client::Own] } else { &self.clients }
    }

    /// Returns the array that the requests of `cell` carry.
    pub fn array_of(&self, cell: &Cell) -> ArraySpec {
        match &self.array {
            Some(path) => ArraySpec::File { path: path.clone() },
            None => cell.array.seeded(1).expect("a cell has an array of the closed list"),
        }
    }

    pub fn external(&self) -> Vec<Arc<ExternalServer>> {
        let mut servers: Vec<Arc<ExternalServer>> = Vec::new();
        for cell in &self.cells {
            if let AnyRung::External(rung) = &cell.rung
                && !servers.contains(&rung.server)
            {
                servers.push(Arc::clone(&rung.server));
            }
        }
        servers
    }

    /// Returns whether some servers are sampled, so that differences are attributed.
    pub fn has_profiles(&self) -> bool {
        self.cells.iter().any(|cell| cell.variant.is_profiled())
    }

    pub fn skip_without(&mut self, environments: &Environments) {
        for cell in &mut self.cells {
            if let AnyRung::External(rung) = &cell.rung
                && let Err(reason) = environments.path(&rung.server)
            {
                cell.skip = Some(reason.to_owned());
            }
        }
    }
}
