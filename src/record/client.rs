//! Programs that load a server.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    /// The load generator of this program
    #[default]
    Own,
    /// tools/external/client.py, which times itself as the original's did; for --preset seed
    Python,
    /// h2load of nghttp2, which nobody here wrote: gRPC and REST, equal requests, one process for
    /// each slice
    H2load,
    /// wrk, which nobody here wrote: REST, equal requests, one process for each slice
    Wrk,
}

impl Client {
    pub fn name(self) -> &'static str {
        match self {
            Client::Own => "own",
            Client::Python => "python",
            Client::H2load => "h2load",
            Client::Wrk => "wrk",
        }
    }
}
