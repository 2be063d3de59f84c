//! Limits of the own protocols, and counts of the limits that a peer has reached.
//!
//! A machine counts for its own connection and decides on the consequences; the driver adds the
//! counts up when the connection closes, so that an operator sees them.

use std::time::Duration;

use super::progress::Pace;

/// Limits of every own protocol. Each has a default, a flag and a test.
#[derive(Clone, Debug)]
pub struct Limits {
    pub body_bytes_max: usize,
    /// Request line and fields, or the HPACK-decoded size.
    pub head_bytes_max: usize,
    pub head_fields_max: usize,
    /// Time from the first byte of a head to its end.
    pub head_timeout: Duration,
    /// Longest pause inside a body.
    pub body_gap_timeout: Duration,
    pub idle_timeout: Duration,
    /// Longest wait of a response for the peer's HTTP/2 windows.
    pub window_timeout: Duration,
    /// Time in which requests that were sent before a shutdown may arrive on an idle connection.
    pub drain_grace: Duration,
    /// Least bytes per second of a body, and of a response that waits for windows.
    pub rate_min: u64,
}

/// More than the 100 fields of Envoy and hyper; nginx takes 1000.
const HEAD_FIELDS_MAX: usize = 128;

/// Least bytes per second at which a peer must send and read: that of the slowest modems. A peer
/// that is slower would hold memory and a place for hours.
pub const RATE_MIN: u64 = 1024;

/// 64 MiB of doubles take 86 MiB as base64 and 165 MiB as a JSON list.
pub const BODY_BYTES_MAX: usize = 192 * 1024 * 1024;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: BODY_BYTES_MAX,
            head_bytes_max: 16 * 1024,
            head_fields_max: HEAD_FIELDS_MAX,
            head_timeout: Duration::from_secs(10),
            body_gap_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            window_timeout: Duration::from_secs(60),
            drain_grace: Duration::from_millis(100),
            rate_min: RATE_MIN,
        }
    }
}

impl Limits {
    pub(crate) fn body_pace(&self) -> Pace {
        Pace { gap: self.body_gap_timeout, rate_min: self.rate_min }
    }

    pub(crate) fn window_pace(&self) -> Pace {
        Pace { gap: self.window_timeout, rate_min: self.rate_min }
    }
}

/// Declares [`Limit`] with a name for each variant.
macro_rules! limits {
    ($($(#[$doc:meta])* $Limit:ident $name:literal,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Limit {
            $($(#[$doc])* $Limit,)+
        }

        impl Limit {
            pub const ALL: [Limit; [$($name),+].len()] = [$(Limit::$Limit),+];

            pub fn name(self) -> &'static str {
                [$($name),+][self as usize]
            }
        }
    };
}

limits! {
    Head "head",
    /// Bytes or frames of a header block, encoded or decoded.
    HeaderBlock "header_block",
    Message "message",
    /// Bytes of all messages that are arriving on a connection.
    Messages "messages",
    Streams "streams",
    /// Streams that were reset by the peer, or because of it.
    Resets "resets",
    /// Frames that answer the peer's and wait unread.
    ControlFrames "control_frames",
    /// DATA frames with little content.
    SmallData "small_data",
    HeadTime "head_time",
    MessageTime "message_time",
    /// Time for a send window to open.
    WindowTime "window_time",
    IdleTime "idle_time",
    /// Time in which a peer takes no byte.
    StallTime "stall_time",
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitCounts([u32; Limit::ALL.len()]);

impl LimitCounts {
    pub fn hit(&mut self, limit: Limit) {
        let count = &mut self.0[limit as usize];
        *count = count.saturating_add(1);
    }

    pub fn add(&mut self, other: &LimitCounts) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    pub fn hits(&self) -> impl Iterator<Item = (Limit, u32)> {
        Limit::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_limit_is_counted_under_its_own_name() {
        let names = BTreeSet::from(Limit::ALL.map(Limit::name));
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
