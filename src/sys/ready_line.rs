//! The line that a server prints on stdout when it listens: the contract between a server and the
//! program that started it.

use std::net::{SocketAddr, ToSocketAddrs};

use super::child::ChildError;

/// Text before and after the address in a server's ready line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyLine<'a>(pub &'a str, pub &'a str);

/// Ready line of our own servers.
pub const READY_LINE: ReadyLine<'static> = ReadyLine("ready ", "");

impl ReadyLine<'_> {
    /// Reads the address from `line`.
    pub fn address(self, line: &str) -> Result<SocketAddr, ChildError> {
        let ReadyLine(before, after) = self;
        let text = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let address = text.and_then(|text| text.to_socket_addrs().ok()?.next());
        address.ok_or_else(|| ChildError::Answer {
            who: "server",
            got: line.to_owned(),
            expected: format!("\"{before}HOST:PORT{after}\""),
        })
    }
}
