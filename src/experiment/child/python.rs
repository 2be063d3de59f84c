//! The Python client, which replaces our own load generator in one table.
//!
//! `ladder --preset seed --client python` runs the client of the original benchmark. It times the
//! original's number of requests together with its own encoding and decoding. It reports neither
//! CPU time nor latencies.

use std::path::PathBuf;

use anyhow::anyhow;
use serde::Deserialize;

use crate::external::ExternalServer;
use crate::external::environment::Environments;
use crate::record::Measurement;

pub const SCRIPT: &str = "client.py";
pub const ENVIRONMENT: &str = "python";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonClient {
    pub python: PathBuf,
    pub script: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Report {
    client: String,
    requests: u64,
    elapsed_ns: u64,
    failed: u64,
    first_failure: Option<String>,
}

impl PythonClient {
    /// Finds the client next to `server`, in the environment of that server.
    pub fn new(
        server: &ExternalServer,
        environments: &Environments,
    ) -> anyhow::Result<PythonClient> {
        let environment = environments.path(server).map_err(|reason| {
            anyhow!("the Python client's environment {ENVIRONMENT:?}: {reason}")
        })?;
        let script = server.folder.parent().unwrap_or(&server.folder).join(SCRIPT);
        Ok(PythonClient { python: environment.join("bin/python"), script })
    }

    pub fn measurement(line: &str) -> Result<Measurement, String> {
        let report: Report = serde_json::from_str(line).map_err(|error| {
            format!("the Python client printed {line:?}, expected a report as JSON: {error}")
        })?;
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
