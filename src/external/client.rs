//! Load clients that a trial can use.
//!
//! The Python client of the original benchmark lies in the folder of the external servers and runs
//! in their environment. This module starts nothing.

use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use crate::axis::{Family, Transport};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    /// The load generator of this program
    Own,
    /// tools/external/client.py, which times itself as the original's did; for --preset seed
    Python,
    /// h2load of nghttp2, which nobody here wrote: gRPC and REST, equal requests, one process for
    /// each slice
    H2load,
}

impl Client {
    /// Returns the default. A trial of the Python client takes seconds, one of ours half a second.
    pub fn rounds(self) -> u32 {
        match self {
            Client::Own | Client::H2load => 5,
            Client::Python => 3,
        }
    }

    /// Returns the time limit of a trial. The Python client needs some 15 s on an idle core for
    /// 1000 arrays of 64 KiB as JSON text.
    pub fn budget(self, usual: Duration) -> Duration {
        match self {
            Client::Own | Client::H2load => usual,
            Client::Python => 2 * usual,
        }
    }

    /// Returns the default length of a slice. h2load opens its connections within each.
    pub fn slice(self) -> Duration {
        Duration::from_millis(if self == Client::H2load { 200 } else { 40 })
    }

    pub fn speaks(self, family: Family, transport: Transport) -> bool {
        match self {
            Client::Own => true,
            Client::Python => family != Family::Raw,
            Client::H2load => family != Family::Raw && transport == Transport::Tcp,
        }
    }
}
