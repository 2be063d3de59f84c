//! Handler of the own protocols: joins the routes to the echo.

use std::cell::RefCell;
use std::rc::Rc;

use crate::axis::{CODING_TOKENS, Encoding, Family};
use crate::wire::handler::PLAIN_TEXT;
use crate::wire::json_head::JSON;
use crate::wire::limits::CODED_DIVISOR;
use crate::wire::{Codings, Detached, Handler, Head, Refused, Response, Route, Routed, Work};

use super::coded::{self, CodedWork, Inflated};
use super::echo::{EchoService, LongEcho};
use super::inference::Question;
use super::routes::{self, Target, response};
use super::{health, panics};

#[derive(Clone, Debug)]
pub struct EchoHandler {
    family: Family,
    service: EchoService,
    is_restricted: bool,
    /// Short coded message, one at a time of all connections of a worker.
    inflated: Rc<RefCell<Inflated>>,
}

/// Number of the route of [`Target::Health`]; an echo has the id of its encoding.
const HEALTH: u32 = u32::MAX;

/// Number of the route of the first of [`Question::ALL`]; those of the others follow.
const QUESTIONS: u32 = 1 << 16;

impl EchoHandler {
    pub fn new(family: Family, service: EchoService) -> EchoHandler {
        EchoHandler { family, service, is_restricted: false, inflated: Rc::default() }
    }
}

impl Handler for EchoHandler {
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused> {
        let id = match routes::target(self.family, head)? {
            Target::Health => HEALTH,
            Target::Inference(question) => QUESTIONS + question as u32,
            Target::Echo(_) if self.is_restricted => {
                return Err(routes::place_refused());
            }
            // The length of the JSON does not tell where the coded one ends.
            Target::Echo(Encoding::KserveHttp)
                if self.family == Family::Rest && head.codings != Codings::NONE =>
            {
                return Err(routes::coding_refused());
            }
            Target::Echo(encoding) => u32::from(encoding.id()),
        };
        Ok(Routed::Unary(Route { id, codings: head.codings }))
    }

    fn coding_tokens(&self) -> &'static str {
        CODING_TOKENS
    }

    fn drain(&mut self) {
        self.service.drain();
    }

    fn restrict(&mut self) {
        self.is_restricted = true;
    }

    fn has_json_head(&self, route: Route) -> bool {
        self.family == Family::Rest && encoding(route) == Some(Encoding::KserveHttp)
    }

    fn long_work(&mut self, route: Route, message: &[u8]) -> Option<Box<dyn Work>> {
        if route.is_coded() {
            return self.long_coded(route, message);
        }
        let echo = self.service.long(encoding(route)?, message)?;
        Some(Box::new(LongWork { family: self.family, echo }))
    }

    fn answer(
        &mut self,
        route: Route,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        if route.is_coded() {
            return self.answer_coded(route, out);
        }
        let Some(encoding) = encoding(route) else {
            return self.answer_fixed(route, body, out);
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
    u8::try_from(route.id).ok().and_then(Encoding::from_id)
}

impl EchoHandler {
    /// Inflates a short message at once; returns the work of a long one.
    #[cold]
    fn long_coded(&self, route: Route, message: &[u8]) -> Option<Box<dyn Work>> {
        let Route { codings, .. } = route;
        let limits = self.service.limits();
        let bytes_max = limits.body_bytes_max.min(limits.job_bytes_min / CODED_DIVISOR);
        let mut inflated = self.inflated.borrow_mut();
        let is_short = panics::catch(limits.counts, || {
            Ok(inflated.try_inflate(codings.request, message, bytes_max))
        });
        let is_short = is_short.unwrap_or(true);
        let encoding = encoding(route).filter(|_| !is_short)?;
        Some(Box::new(CodedWork {
            family: self.family,
            encoding,
            codings,
            codecs: self.service.count_job(),
            bytes_max: limits.body_bytes_max,
            budget: self.service.pool().budget(),
            counts: limits.counts,
        }))
    }

    /// Answers the message that [`EchoHandler::long_coded`] has inflated.
    #[cold]
    fn answer_coded(&self, route: Route, out: &mut Vec<u8>) -> Result<Response, Refused> {
        let counts = self.service.limits().counts;
        let mut inflated = self.inflated.borrow_mut();
        let item_size = inflated.take().inspect_err(|_| counts.requests.add(1))?;
        let Inflated { body, plain, .. } = &mut *inflated;
        let (start, reply) = (out.len(), route.codings.reply);
        // A call of its own: with a second caller, the echo of plain messages is not inlined.
        let response = match encoding(route) {
            Some(encoding) => {
                response(self.family, self.service.echo_shared(encoding, body, plain)?)
            }
            None => self.answer_fixed(route, body.as_ref(), plain)?,
        };
        let answered = panics::catch(counts, || {
            Ok(coded::deflate(reply, item_size, body.as_ref(), plain, response, out))
        });
        answered.inspect_err(|_| out.truncate(start))
    }

    /// Answers a request for health, or a question of the inference protocol.
    fn answer_fixed(
        &self,
        route: Route,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        self.service.limits().counts.requests.add(1);
        let is_ready = !self.service.is_draining();
        let question =
            route.id.checked_sub(QUESTIONS).and_then(|it| Question::ALL.get(it as usize));
        let (text, content_type) = match self.family {
            Family::Grpc if let Some(question) = question => {
                (question.grpc(body, is_ready)?, Encoding::Protobuf.grpc_content_type())
            }
            Family::Grpc => (health::grpc(body, is_ready)?, Encoding::Protobuf.grpc_content_type()),
            Family::Rest if let Some(question) = question => {
                (question.rest(is_ready)?.as_bytes(), JSON)
            }
            Family::Raw | Family::Rest | Family::Zmtp => {
                (health::rest(is_ready)?.as_bytes(), PLAIN_TEXT)
            }
        };
        out.extend_from_slice(text);
        Ok(Response { content_type, head_len: text.len(), payload: 0..0 })
    }
}
