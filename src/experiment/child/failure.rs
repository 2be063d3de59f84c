//! Judgement of a trial whose server or client failed: the outcome, and whether to try again.

use std::time::Duration;

use crate::external::advice;
use crate::record::Outcome;
use crate::sys::child::ChildError;

use super::process::{Abandoned, Failure};

/// Least share of a trial's time that a slow server spends on its CPU. A hung server is below it.
const HUNG_SHARE: f64 = 0.01;

#[derive(Clone)]
pub struct Judgement {
    pub outcome: Outcome,
    /// True if the trial ran out of time, as every further one would.
    pub ran_out_of_time: bool,
    /// True if the server ended by itself.
    pub server_died: bool,
}

pub fn not_ready(failure: Failure) -> Judgement {
    let reason = match &failure.error {
        ChildError::Late { after, .. } => format!("the server was not ready after {after:?}"),
        _ => server_reason(&failure),
    };
    let ran_out_of_time = matches!(failure.error, ChildError::Late { .. });
    let server_died = !ran_out_of_time;
    Judgement { outcome: failed(reason, failure.stderr), ran_out_of_time, server_died }
}

pub fn not_stopped(failure: Failure) -> Judgement {
    let outcome = failed(server_reason(&failure), failure.stderr);
    Judgement { outcome, ran_out_of_time: false, server_died: true }
}

/// Judges a client that failed. The server is at fault if it has died, or if it still runs and
/// spent no CPU; `left` is what is known of it, `spent` its CPU time, `budget` the time of the
/// trial.
pub fn not_loaded(
    left: Abandoned,
    failure: Failure,
    spent: Duration,
    budget: Duration,
) -> Judgement {
    if let ChildError::Late { .. } = failure.error {
        let outcome = if spent < budget.mul_f64(HUNG_SHARE) {
            let reason = format!(
                "the server hangs: it used {:.1} ms of CPU in {} s",
                spent.as_secs_f64() * 1e3,
                budget.as_secs_f64()
            );
            failed(reason, left.stderr)
        } else {
            Outcome::DidNotFinish { budget_ns: budget.as_nanos() as u64, stderr: left.stderr }
        };
        return Judgement { outcome, ran_out_of_time: true, server_died: left.had_died };
    }
    let seen = cause(&failure.stderr).map_or_else(|| failure.error.to_string(), str::to_owned);
    let reason = match cause(&left.stderr) {
        Some(cause) if left.had_died => format!("the server died: {cause}"),
        None if left.had_died => format!("the server died without a message: {seen}"),
        _ => seen,
    };
    let outcome = failed(reason, left.stderr);
    Judgement { outcome, ran_out_of_time: false, server_died: left.had_died }
}

pub fn untraced(error: std::io::Error) -> Failure {
    ChildError::Died { who: "server", how: format!("cannot be traced: {error}") }.into()
}

fn failed(reason: String, stderr: String) -> Outcome {
    Outcome::Failed { reason, stderr }
}

/// Explains a server's failure on one line, with advice for known causes.
fn server_reason(failure: &Failure) -> String {
    let mut reason = failure.error.to_string();
    for more in [cause(&failure.stderr), advice::find(&failure.stderr)].into_iter().flatten() {
        reason.push_str(": ");
        reason.push_str(more);
    }
    reason
}

/// Returns the last line of a child's stderr, without a panic's note on backtraces.
fn cause(stderr: &str) -> Option<&str> {
    let is_cause = |line: &&str| !line.trim().is_empty() && !line.starts_with("note: ");
    stderr.lines().rev().find(is_cause).map(|line| line.trim_start_matches("ndecho load: ").trim())
}
