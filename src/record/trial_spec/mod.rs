//! A trial as one document: the servers that live during it, and the load that they get.
//!
//! The plan of a run builds a [`TrialSpec`], sends it as JSON on stdin to `ndecho serve --spec -`
//! and `ndecho load --spec -`, and stores it unchanged in the record of the trial. The flags of the
//! two commands build the same structs. A setting that was added after the first version has a
//! default, so that old records still read. An unknown field is an error.

mod load;
mod nanoseconds;
mod server;

use serde::{Deserialize, Serialize};

pub use load::{
    ArraySpec, CONNECTIONS_MAX, ClientIo, FRAME_SIZES, IN_FLIGHT_MAX, Knobs, Length, LoadSpec,
    Place, RATE_HZ_MAX, RequestHeaders, ServerUrl, SpecError, Target, WINDOWS,
};
pub use server::ServerSpec;

/// Servers that live at the same time, and the load that visits them in turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialSpec {
    pub servers: Vec<ServerSpec>,
    pub load: LoadSpec,
}

impl TrialSpec {
    /// Reads a document; the error names the line and column of the mistake.
    pub fn from_json(text: &str) -> Result<TrialSpec, String> {
        serde_json::from_str(text)
            .map_err(|error| format!("the trial's document is not valid: {error}"))
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a document is plain data")
    }
}

#[cfg(test)]
mod tests;
