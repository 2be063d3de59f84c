//! Shutdown in two steps, so that no call a client has sent is lost.
//!
//! ```text
//!          begin: GOAWAY 2^31-1, PING            PING answered, or DRAIN_TIMEOUT
//! Running ───────────────────────────▶ Announced ─────────────────────────────────▶ Final
//!                                                    GOAWAY with the last stream
//! ```
//! RFC 9113 section 6.8.

use std::time::{Duration, Instant};

use crate::wire::Context;
use crate::wire::h2::STREAM_ID_MAX;
use crate::wire::h2::error::ErrorCode;
use crate::wire::h2::frame::{self, PING_BYTES};

const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const DRAIN_PING: [u8; PING_BYTES] = *b"draining";
const TEXT: &str = "shutting down";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    Running,
    /// Deadline for the client's answer; until then it may open streams.
    Announced(Instant),
    Final,
}

impl Shutdown {
    pub(super) fn begin(&mut self, cx: &mut Context<'_>) {
        if *self == Shutdown::Running {
            cx.out.copy(&frame::go_away(STREAM_ID_MAX, ErrorCode::NoError, TEXT), cx.pool);
            cx.out.copy(&frame::ping(0, &DRAIN_PING), cx.pool);
            *self = Shutdown::Announced(cx.now + DRAIN_TIMEOUT);
        }
    }

    /// Refuses streams after `last`, once the client knows of the shutdown.
    pub(super) fn confirm(&mut self, last: u32, cx: &mut Context<'_>) {
        if let Shutdown::Announced(_) = self {
            cx.out.copy(&frame::go_away(last, ErrorCode::NoError, TEXT), cx.pool);
            *self = Shutdown::Final;
        }
    }

    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Shutdown::Announced(until) => Some(until),
            Shutdown::Running | Shutdown::Final => None,
        }
    }
}
