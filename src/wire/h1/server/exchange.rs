//! Facts of a request that its response needs, and responses without the handler.

use std::borrow::Cow;

use http::StatusCode;

use crate::axis::Coding;
use crate::wire::h1::encode::Connection;
use crate::wire::h1::parse::{Method, RequestHead};
use crate::wire::handler::{NO_CONTENT_CODING, PLAIN_TEXT};
use crate::wire::json_head::{self, HeadLen};
use crate::wire::{Refusal, Refused, Response};

#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) head_only: bool,
    old: bool,
    pub(super) keep_alive: bool,
    /// Coding of the answer.
    pub(super) coding: Coding,
    /// Announced length of the JSON, if the bodies have bytes behind it.
    pub(super) json_head: Option<HeadLen>,
}

/// Response that the protocol makes without the handler.
pub(super) struct Rejection {
    pub(super) status: StatusCode,
    pub(super) allow: &'static str,
    /// Value of Accept-Encoding; empty without the field.
    pub(super) accept_encoding: &'static str,
    pub(super) content_type: &'static str,
    pub(super) text: Cow<'static, str>,
}

impl Rejection {
    pub(super) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Rejection {
        let text = text.into();
        Rejection { status, allow: "", accept_encoding: "", content_type: PLAIN_TEXT, text }
    }

    /// Refuses a content coding that is not one of `accepted`, a list as in Accept-Encoding.
    pub(super) fn unsupported_coding(accepted: &'static str) -> Rejection {
        let text: Cow<'static, str> = match accepted == Coding::Identity.token() {
            true => NO_CONTENT_CODING.into(),
            false => format!("the content coding is not one of {accepted}").into(),
        };
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Rejection { accept_encoding: accepted, ..Rejection::new(status, text) }
    }
}

impl From<Refused> for Rejection {
    fn from(Refused { kind, detail }: Refused) -> Rejection {
        let allow = if let Refusal::MethodNotAllowed(allow) = kind { allow } else { "" };
        Rejection { allow, ..Rejection::new(kind.into(), detail) }
    }
}

impl Exchange {
    pub(super) const BROKEN: Exchange = Exchange {
        head_only: false,
        old: false,
        keep_alive: false,
        coding: Coding::Identity,
        json_head: None,
    };

    pub(super) fn new(head: &RequestHead) -> Exchange {
        Exchange {
            head_only: head.method == Method::Head,
            old: head.minor == 0,
            keep_alive: head.keep_alive(),
            coding: Coding::Identity,
            json_head: None,
        }
    }

    /// Refuses a request whose field for the length of the JSON disagrees with its body.
    #[inline]
    pub(super) fn checked(
        self,
        answered: Result<Response, Refused>,
        body_len: usize,
    ) -> Result<Response, Refused> {
        let (Some(announced), Ok(response)) = (self.json_head, &answered) else { return answered };
        announced.check(body_len, response.payload.len())?;
        answered
    }

    /// Makes the refusal of a request, in JSON if its body had some.
    pub(super) fn refuse(self, refused: Refused) -> Rejection {
        let rejection = Rejection::from(refused);
        if self.json_head.is_none() {
            return rejection;
        }
        let text = json_head::error(&rejection.text).into();
        Rejection { content_type: json_head::JSON, text, ..rejection }
    }

    pub(super) fn connection(self) -> Connection {
        match self {
            Exchange { keep_alive: false, .. } => Connection::Close,
            Exchange { old: true, .. } => Connection::KeepAlive,
            _ => Connection::Implied,
        }
    }
}
