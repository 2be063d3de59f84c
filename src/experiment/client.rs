//! Blocks, times and servers of each client in a run.
//!
//! The Python client of the original benchmark lies in the folder of the external servers and runs
//! in their environment. This module starts nothing.

use std::time::Duration;

use crate::axis::{Family, Transport};
use crate::record::Client;

impl Client {
    /// Returns the default. A trial of the Python client takes seconds, one of ours half a second.
    pub fn rounds(self) -> u32 {
        match self {
            Client::Own | Client::H2load | Client::Wrk => 5,
            Client::Python => 3,
        }
    }

    /// Returns the time limit of a trial. The Python client needs some 15 s on an idle core for
    /// 1000 arrays of 64 KiB as JSON text.
    pub fn budget(self, usual: Duration) -> Duration {
        match self {
            Client::Own | Client::H2load | Client::Wrk => usual,
            Client::Python => 2 * usual,
        }
    }

    /// Returns the default length of a slice; `None` if the client can only load a server for a
    /// whole window. h2load and wrk open their connections within each slice.
    pub fn slice(self) -> Option<Duration> {
        match self {
            Client::Own => Some(Duration::from_millis(40)),
            Client::H2load | Client::Wrk => Some(Duration::from_millis(200)),
            Client::Python => None,
        }
    }

    /// Returns the reason why the client cannot load a server, if there is one.
    pub fn obstacle(self, family: Family, transport: Transport) -> Option<&'static str> {
        match (self, family) {
            (Client::Own, _) => None,
            (_, Family::Raw) => Some("only our own client speaks raw frames"),
            (_, Family::Zmtp) => Some("only our own client speaks ZMTP"),
            (Client::Wrk, Family::Grpc) => Some("wrk speaks HTTP/1.1, and gRPC needs HTTP/2"),
            (Client::H2load | Client::Wrk, _) if transport != Transport::Tcp => {
                Some("this client connects over TCP")
            }
            _ => None,
        }
    }
}
