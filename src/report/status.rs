//! Status of a cell: the meaning of its figures.
//!
//! | status | meaning |
//! |---|---|
//! | `VALID` | the server's core was the busy one: the rate is the server's limit |
//! | `CLIENT-LIMITED` | it was not: the rate is a lower bound (`>=`); CPU per request stands |
//! | `NOISY` | most trials were discarded, so all were used: for orientation only |
//! | `RECONNECTED` | the server ended connections, which were replaced; its figures contain that |
//! | `DNF` | a trial exceeded its time budget |
//! | `INVALID` | a reply was wrong, or a process failed: no figures |
//!
//! A rate is also a lower bound if it is close to the load generator's `Ceiling`, or if several
//! servers of other stacks reach the same rate: the load generator is all that they share.

use crate::record::CLIENT_BUSY;

use super::ceiling::Ceiling;
use super::cell::{CellTrials, SERVER_BUSY};
use super::units;

/// Factor by which the load generator's ceiling must exceed a rate that counts as the server's.
const CEILING_FACTOR: f64 = 1.5;

/// Relative difference below which two rates are the same.
const PLATEAU: f64 = 0.01;

/// Number of other stacks at the same rate that cannot be an accident.
const PLATEAU_OTHERS: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Valid,
    ClientLimited(String),
    Noisy(String),
    Reconnected(String),
}

impl Status {
    pub(super) fn judge(cell: &CellTrials<'_>) -> Status {
        if cell.is_noisy() {
            let (discards, all) = (cell.discards(), cell.0.len());
            return Status::Noisy(format!("{} of {all} trials: {}", discards.len(), discards[0]));
        }
        let limited =
            |side, busy: f64| Status::ClientLimited(format!("{side} {:.0} % busy", busy * 100.0));
        match (cell.client_busy().unwrap_or_default(), cell.server_busy()) {
            (client, _) if client > CLIENT_BUSY => limited("load generator", client),
            (_, Some(server)) if server < SERVER_BUSY => limited("server", server),
            _ => Status::Valid,
        }
    }

    pub(super) fn with_ceiling(self, ceiling: &Ceiling, rate_hz: f64) -> Status {
        let share = rate_hz / ceiling.rate_hz;
        if self != Status::Valid || !ceiling.is_proved || share * CEILING_FACTOR <= 1.0 {
            return self;
        }
        Status::ClientLimited(format!(
            "{:.0} % of the {}/s that the load generator reaches against a null server ({})",
            share * 100.0,
            units::rate(ceiling.rate_hz),
            ceiling.null
        ))
    }

    /// Limits a valid rate that several other stacks of `rates` reach too.
    pub(super) fn with_plateau(self, stack: &str, rate_hz: f64, rates: &[(String, f64)]) -> Status {
        let is_same = |(other, rate): &&(String, f64)| {
            other != stack && (rate / rate_hz - 1.0).abs() < PLATEAU
        };
        let mut others: Vec<&str> =
            rates.iter().filter(is_same).map(|(other, _)| other.as_str()).collect();
        others.sort_unstable();
        others.dedup();
        if self != Status::Valid || others.len() < PLATEAU_OTHERS {
            return self;
        }
        Status::ClientLimited(format!("{} other stacks reach the same rate", others.len()))
    }

    /// Adds that the server ended `count` connections between requests.
    pub(super) fn with_reconnects(self, count: u64) -> Status {
        if count == 0 {
            return self;
        }
        let connections = if count == 1 { "connection" } else { "connections" };
        let said = format!("the server ended {count} {connections}, which were replaced");
        match self {
            Status::Valid => Status::Reconnected(said),
            Status::ClientLimited(reason) => Status::ClientLimited(format!("{reason}; {said}")),
            Status::Noisy(reason) => Status::Noisy(format!("{reason}; {said}")),
            Status::Reconnected(_) => self,
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Status::Valid => "VALID",
            Status::ClientLimited(_) => "CLIENT-LIMITED",
            Status::Noisy(_) => "NOISY",
            Status::Reconnected(_) => "RECONNECTED",
        }
    }

    pub fn reason(&self) -> &str {
        match self {
            Status::Valid => "",
            Status::ClientLimited(reason) | Status::Noisy(reason) | Status::Reconnected(reason) => {
                reason
            }
        }
    }

    pub fn is_bound(&self) -> bool {
        matches!(self, Status::ClientLimited(_))
    }
}
