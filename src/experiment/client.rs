//! Who loads the servers: this program's load generator, or the client the original benchmark had, in Python.
//!
//! The first is what every figure but one table is made with: it costs little beside a server, reads the server's CPU
//! and counts by the clock. The second is that one table, `ladder --preset seed --client python`: it sends the
//! original's number of requests and times them with its own encoding and decoding, so its figure is what a Python
//! program sees. Which one it is is chosen once; a trial does not ask.

use std::path::PathBuf;

use anyhow::anyhow;
use serde::Deserialize;

use crate::record::Measurement;

use crate::external::ExternalServer;
use crate::external::environment::Environments;

/// The Python client's file, in the folder of peers.
pub const SCRIPT: &str = "client.py";

/// The environment it runs in, which is that of the Python peers.
pub const ENVIRONMENT: &str = "python";

/// The Python client's program and script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonClient {
    /// Interpreter.
    pub python: PathBuf,
    /// Script.
    pub script: PathBuf,
}

/// What the Python client prints.
#[derive(Debug, Deserialize)]
struct Report {
    client: String,
    requests: u64,
    elapsed_ns: u64,
    failed: u64,
    first_failure: Option<String>,
}

impl PythonClient {
    /// The client beside `peer`, in whose environment it runs.
    pub fn new(peer: &ExternalServer, environments: &Environments) -> anyhow::Result<PythonClient> {
        let environment = environments.path(peer).map_err(|reason| {
            anyhow!("the Python client's environment {ENVIRONMENT:?}: {reason}")
        })?;
        let script = peer.folder.parent().unwrap_or(&peer.folder).join(SCRIPT);
        Ok(PythonClient { python: environment.join("bin/python"), script })
    }

    /// What its line says, or why it is no measurement.
    pub fn measurement(line: &str) -> Result<Measurement, String> {
        let report: Report = serde_json::from_str(line)
            .map_err(|error| format!("the Python client said {line:?}: {error}"))?;
        if report.failed > 0 || report.requests == 0 || report.elapsed_ns == 0 {
            let first = report.first_failure.unwrap_or_else(|| "no reason given".to_owned());
            let Report { client, failed, requests, .. } = report;
            return Err(format!("{client}: {failed} of {requests} requests failed: {first}"));
        }
        Ok(Measurement {
            requests: report.requests,
            wall_ns: report.elapsed_ns,
            ..Measurement::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_measurement_unless_a_request_failed() {
        let line = r#"{"client": "aiohttp", "requests": 1000, "elapsed_ns": 5, "failed": 0,
                       "first_failure": null, "array_bytes": 8}"#;
        let measured = PythonClient::measurement(line).expect("all went well");
        assert_eq!((measured.requests, measured.wall_ns), (1000, 5));
        let failed = line
            .replace("\"failed\": 0", "\"failed\": 2")
            .replace("null", "\"reply 7 differs in its first byte\"");
        let reason = PythonClient::measurement(&failed).expect_err("two failed");
        assert_eq!(reason, "aiohttp: 2 of 1000 requests failed: reply 7 differs in its first byte");
        assert!(PythonClient::measurement("Traceback").is_err());
    }
}
