//! The line that a server prints on stdout for its parent when it listens.

use super::address::Address;
use super::child::ChildError;

/// Text before and after the address in a server's ready line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyLine<'a>(pub &'a str, pub &'a str);

pub const READY_LINE: ReadyLine<'static> = ReadyLine("ready ", "");

impl ReadyLine<'_> {
    pub fn address(self, line: &str) -> Result<Address, ChildError> {
        let ReadyLine(before, after) = self;
        let text = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let address = text.and_then(|text| Address::resolve(text).ok()?.into_iter().next());
        address.ok_or_else(|| ChildError::Answer {
            who: "server",
            got: line.to_owned(),
            expected: format!("\"{before}ADDRESS{after}\""),
        })
    }
}
