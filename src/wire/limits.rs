//! Limits of the own protocols, and counts of the limits that a peer has reached.
//!
//! A machine counts for its own connection ([`super::Machine::limits`]), and the driver adds the
//! counts up when the connection closes, so that an operator sees each limit and how often it was
//! reached. The machine decides on the consequences of a limit.

use std::time::Duration;

/// Limits of every own protocol. Each has a default, a flag and a test.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest message body, in bytes.
    pub body_bytes_max: usize,
    /// Largest request head (request line and fields; HPACK-decoded size on HTTP/2), in bytes.
    pub head_bytes_max: usize,
    pub head_fields_max: usize,
    /// Time for a request's head to arrive whole, from its first byte.
    pub head_timeout: Duration,
    /// Longest pause inside a body.
    pub body_gap_timeout: Duration,
    /// Longest quiet time between requests.
    pub idle_timeout: Duration,
}

/// Default of [`Limits::body_bytes_max`]. An array of doubles of 64 MiB has 86 MiB as base64 and
/// 165 MiB as a JSON list.
pub const BODY_BYTES_MAX: usize = 192 * 1024 * 1024;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: BODY_BYTES_MAX,
            head_bytes_max: 16 * 1024,
            head_fields_max: 64,
            head_timeout: Duration::from_secs(10),
            body_gap_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
        }
    }
}

/// Limit that a peer can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Limit {
    /// Bytes or fields of a request's head.
    Head,
    /// Bytes or frames of a header block as it is sent, or its decoded bytes.
    HeaderBlock,
    /// Bytes of one message.
    Message,
    /// Bytes of all messages that are arriving on a connection.
    Messages,
    Streams,
    /// Streams that were reset by the peer, or because of it.
    Resets,
    /// Frames that the peer has caused and does not read.
    ControlFrames,
    /// DATA frames with little content.
    SmallData,
    /// Time for a frame or a head to arrive whole.
    HeadTime,
    /// Pause inside a message.
    MessageTime,
    /// Time for a window to open.
    WindowTime,
    /// Time between requests.
    IdleTime,
    /// Time in which a peer takes no byte.
    StallTime,
}

impl Limit {
    pub const ALL: [Limit; 13] = [
        Limit::Head,
        Limit::HeaderBlock,
        Limit::Message,
        Limit::Messages,
        Limit::Streams,
        Limit::Resets,
        Limit::ControlFrames,
        Limit::SmallData,
        Limit::HeadTime,
        Limit::MessageTime,
        Limit::WindowTime,
        Limit::IdleTime,
        Limit::StallTime,
    ];

    /// Returns the name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Head => "head",
            Limit::HeaderBlock => "header_block",
            Limit::Message => "message",
            Limit::Messages => "messages",
            Limit::Streams => "streams",
            Limit::Resets => "resets",
            Limit::ControlFrames => "control_frames",
            Limit::SmallData => "small_data",
            Limit::HeadTime => "head_time",
            Limit::MessageTime => "message_time",
            Limit::WindowTime => "window_time",
            Limit::IdleTime => "idle_time",
            Limit::StallTime => "stall_time",
        }
    }
}

/// Number of times that each limit was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitCounts([u32; Limit::ALL.len()]);

impl LimitCounts {
    pub fn hit(&mut self, limit: Limit) {
        let count = &mut self.0[limit as usize];
        *count = count.saturating_add(1);
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &LimitCounts) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    /// Returns the limits that were reached, with their counts.
    pub fn hits(&self) -> impl Iterator<Item = (Limit, u32)> {
        Limit::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_counted_under_its_own_name() {
        let mut names: Vec<&str> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Limit::ALL.len());
        for (at, limit) in Limit::ALL.into_iter().enumerate() {
            let (mut counts, mut total) = (LimitCounts::default(), LimitCounts::default());
            assert_eq!(limit as usize, at);
            counts.hit(limit);
            total.add(&counts);
            total.add(&counts);
            assert_eq!(total.hits().collect::<Vec<_>>(), [(limit, 2)]);
        }
    }
}
