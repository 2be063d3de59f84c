//! The line that a server prints on stdout when it listens: the contract between a server and the
//! program that started it.

use super::address::Address;
use super::child::ChildError;

/// Text before and after the address in a server's ready line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyLine<'a>(pub &'a str, pub &'a str);

/// Ready line of our own servers.
pub const READY_LINE: ReadyLine<'static> = ReadyLine("ready ", "");

impl ReadyLine<'_> {
    /// Reads the address from `line`.
    pub fn address(self, line: &str) -> Result<Address, ChildError> {
        let ReadyLine(before, after) = self;
        let text = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let address = text.and_then(|text| Address::resolve(text).ok());
        address.ok_or_else(|| ChildError::Answer {
            who: "server",
            got: line.to_owned(),
            expected: format!("\"{before}ADDRESS{after}\""),
        })
    }
}
