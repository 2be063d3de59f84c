//! Load clients that a trial can use.
//!
//! The Python client of the original benchmark lies in the folder of the external servers and runs
//! in their environment. This module starts nothing.

use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use crate::axis::Family;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    /// The load generator of this program
    Own,
    /// tools/external/client.py, which times itself as the original's did; for --preset seed
    Python,
}

impl Client {
    /// Returns the default. A trial of the Python client takes seconds, one of ours half a second.
    pub fn rounds(self) -> u32 {
        match self {
            Client::Own => 5,
            Client::Python => 3,
        }
    }

    /// Returns the time limit of a trial. The Python client needs some 15 s on an idle core for
    /// 1000 arrays of 64 KiB as JSON text.
    pub fn budget(self, usual: Duration) -> Duration {
        match self {
            Client::Own => usual,
            Client::Python => 2 * usual,
        }
    }

    pub fn speaks(self, family: Family) -> bool {
        match self {
            Client::Own => true,
            Client::Python => family != Family::Raw,
        }
    }
}
