//! Facts of a request that its response needs, and responses without the handler.

use std::borrow::Cow;

use http::StatusCode;

use crate::axis::Coding;
use crate::wire::h1::encode::Connection;
use crate::wire::h1::parse::{Method, RequestHead};
use crate::wire::{Refusal, Refused};

#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) head_only: bool,
    old: bool,
    pub(super) keep_alive: bool,
    /// Coding of the answer.
    pub(super) coding: Coding,
}

/// Response that the protocol makes without the handler.
pub(super) struct Rejection {
    pub(super) status: StatusCode,
    pub(super) allow: &'static str,
    /// Value of Accept-Encoding; empty without the field.
    pub(super) accept_encoding: &'static str,
    pub(super) text: Cow<'static, str>,
}

impl Rejection {
    pub(super) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { status, allow: "", accept_encoding: "", text: text.into() }
    }
}

impl From<Refused> for Rejection {
    fn from(Refused { kind, detail }: Refused) -> Rejection {
        let allow = if let Refusal::MethodNotAllowed(allow) = kind { allow } else { "" };
        Rejection { status: kind.into(), allow, accept_encoding: "", text: detail.into() }
    }
}

impl Exchange {
    pub(super) const BROKEN: Exchange =
        Exchange { head_only: false, old: false, keep_alive: false, coding: Coding::Identity };

    pub(super) fn new(head: &RequestHead) -> Exchange {
        Exchange {
            head_only: head.method == Method::Head,
            old: head.minor == 0,
            keep_alive: head.keep_alive(),
            coding: Coding::Identity,
        }
    }

    pub(super) fn connection(self) -> Connection {
        match self {
            Exchange { keep_alive: false, .. } => Connection::Close,
            Exchange { old: true, .. } => Connection::KeepAlive,
            _ => Connection::Implied,
        }
    }
}
