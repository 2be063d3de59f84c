//! Handler of the own protocols: joins the routes to the echo.

use crate::axis::{Encoding, Family};
use crate::wire::handler::PLAIN_TEXT;
use crate::wire::{Detached, Handler, Head, Refused, Response, Route, Routed, Work};

use super::echo::{EchoService, Echoed, LongEcho};
use super::health;
use super::routes::{self, Target};

#[derive(Clone, Debug)]
pub struct EchoHandler {
    family: Family,
    service: EchoService,
    is_restricted: bool,
}

/// Route of [`Target::Health`]; an echo has the id of its encoding.
const HEALTH: Route = Route(u32::MAX);

impl EchoHandler {
    pub fn new(family: Family, service: EchoService) -> EchoHandler {
        EchoHandler { family, service, is_restricted: false }
    }
}

impl Handler for EchoHandler {
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused> {
        Ok(Routed::Unary(match routes::target(self.family, head)? {
            Target::Health => HEALTH,
            Target::Echo(_) if self.is_restricted => {
                return Err(routes::place_refused());
            }
            Target::Echo(encoding) => Route(u32::from(encoding.id())),
        }))
    }

    fn drain(&mut self) {
        self.service.drain();
    }

    fn restrict(&mut self) {
        self.is_restricted = true;
    }

    fn long_work(&mut self, route: Route, message: &[u8]) -> Option<Box<dyn Work>> {
        let echo = self.service.long(encoding(route)?, message)?;
        Some(Box::new(LongWork { family: self.family, echo }))
    }

    fn answer(
        &mut self,
        route: Route,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        let Some(encoding) = encoding(route) else {
            return self.answer_health(body, out);
        };
        Ok(response(self.family, self.service.echo(encoding, body, out)?))
    }
}

/// Echo of a long message.
pub struct LongWork {
    pub family: Family,
    pub echo: LongEcho,
}

impl Work for LongWork {
    fn run(
        &self,
        message: &mut Detached,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        Ok(response(self.family, self.echo.run(message, scratch, out)?))
    }
}

fn encoding(route: Route) -> Option<Encoding> {
    u8::try_from(route.0).ok().and_then(Encoding::from_id)
}

#[inline(always)]
fn response(family: Family, echoed: Echoed) -> Response {
    let Echoed { encoding, head_len, payload } = echoed;
    let content_type = match family {
        Family::Grpc => encoding.grpc_content_type(),
        Family::Rest => encoding.content_type(),
        Family::Raw => routes::raw_content_type(encoding),
    };
    Response { content_type, head_len, payload }
}

impl EchoHandler {
    fn answer_health(&self, body: &[u8], out: &mut Vec<u8>) -> Result<Response, Refused> {
        self.service.limits().counts.requests.add(1);
        let is_ready = !self.service.is_draining();
        let (text, content_type) = match self.family {
            Family::Grpc => (health::grpc(body, is_ready)?, Encoding::Protobuf.grpc_content_type()),
            Family::Raw | Family::Rest => (health::rest(is_ready)?.as_bytes(), PLAIN_TEXT),
        };
        out.extend_from_slice(text);
        Ok(Response { content_type, head_len: text.len(), payload: 0..0 })
    }
}
