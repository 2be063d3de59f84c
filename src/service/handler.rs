//! Handler of the own protocols: joins the routes to the echo.

use crate::axis::{Encoding, Family};
use crate::wire::handler::PLAIN_TEXT;
use crate::wire::{Handler, Head, Refused, Response, Route, Routed};

use super::echo::{EchoService, Echoed};
use super::health;
use super::routes::{self, Target};

#[derive(Clone, Debug)]
pub struct EchoHandler {
    family: Family,
    service: EchoService,
}

/// Route of [`Target::Health`]; an echo has the id of its encoding.
const HEALTH: Route = Route(u32::MAX);

impl EchoHandler {
    pub fn new(family: Family, service: EchoService) -> EchoHandler {
        EchoHandler { family, service }
    }
}

impl Handler for EchoHandler {
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused> {
        Ok(Routed::Unary(match routes::target(self.family, head)? {
            Target::Health => HEALTH,
            Target::Echo(encoding) => Route(u32::from(encoding.id())),
        }))
    }

    fn drain(&mut self) {
        self.service.drain();
    }

    fn answer(
        &mut self,
        route: Route,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        let id = u8::try_from(route.0).ok();
        let Some(encoding) = id.and_then(Encoding::from_id) else {
            return self.answer_health(body, out);
        };
        let Echoed { encoding, head_len, payload } = self.service.echo(encoding, body, out)?;
        let content_type = match self.family {
            Family::Grpc => encoding.grpc_content_type(),
            Family::Rest => encoding.content_type(),
            Family::Raw => routes::raw_content_type(encoding),
        };
        Ok(Response { content_type, head_len, payload })
    }
}

impl EchoHandler {
    fn answer_health(&self, body: &[u8], out: &mut Vec<u8>) -> Result<Response, Refused> {
        let is_ready = !self.service.is_draining();
        let (text, content_type) = match self.family {
            Family::Grpc => (health::grpc(body, is_ready)?, Encoding::Protobuf.grpc_content_type()),
            Family::Raw | Family::Rest => (health::rest(is_ready)?.as_bytes(), PLAIN_TEXT),
        };
        out.extend_from_slice(text);
        Ok(Response { content_type, head_len: text.len(), payload: 0..0 })
    }
}
