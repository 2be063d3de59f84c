//! Coding of the messages of a load: requests are deflated one by one, and replies inflated, so
//! that each is compared by value.

use crate::axis::Coding;
use crate::coding::{self, CodingError};

use super::message::Message;
use super::verify::reply_bytes_max;

/// Shortest reply that must be coded: many servers leave tiny ones as they are.
const UNCODED_BYTES_MAX: usize = 64;

#[derive(Debug)]
pub struct Coder {
    pub coding: Coding,
    /// Item size of the shuffle.
    item_size: u8,
    reply_bytes_max: usize,
    reply: Vec<u8>,
}

impl Coder {
    pub fn new(coding: Coding, messages: &[Message]) -> Coder {
        let size = messages.first().map_or(1, |message| message.array().dtype().item_size());
        let request_len = messages.iter().map(|message| message.form.bytes.len()).max();
        Coder {
            coding,
            item_size: u8::try_from(size).expect("at most 16 bytes"),
            reply_bytes_max: reply_bytes_max(request_len.unwrap_or_default()),
            reply: Vec::new(),
        }
    }

    /// Appends a request in the coding.
    pub fn deflate(&self, parts: &[&[u8]], out: &mut Vec<u8>) {
        coding::deflate(self.coding, self.item_size, parts, out);
    }

    pub fn inflate(&mut self, reply: &[u8]) -> Result<&[u8], CodingError> {
        let Coder { coding, reply_bytes_max, reply: inflated, .. } = self;
        inflated.clear();
        coding::inflate(*coding, reply, *reply_bytes_max, inflated, &mut |_| true)?;
        Ok(inflated)
    }

    /// Returns true if a reply of `len` bytes may come without the coding.
    pub fn allows_uncoded(&self, len: usize) -> bool {
        self.coding == Coding::Identity || len < UNCODED_BYTES_MAX
    }
}
