//! Handler with calls of every form: those of [`Shapes`], and streams of messages.

use ndecho::wire::{
    Call, Detached, Handler, Head, Refusal, Refused, Replies, Response, Route, Routed, Work,
};

use crate::common::Shapes;

/// Bytes of each message of a flood.
const FLOOD_BYTES: usize = 16;

/// Serves streams of messages by their paths, and all else as [`Shapes`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Streams {
    /// Answers unary calls that have a message by jobs.
    pub(crate) has_jobs: bool,
}

impl Handler for Streams {
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused> {
        match head.path {
            b"/echo" => Ok(Routed::Stream(Box::new(Echo))),
            b"/late" => Ok(Routed::Stream(Box::new(Late { left: 0, has_ended: false }))),
            _ => Shapes.route(head),
        }
    }

    fn answer(
        &mut self,
        route: Route,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        Shapes.answer(route, body, out)
    }

    fn long_work(&mut self, route: Route, message: &[u8]) -> Option<Box<dyn Work>> {
        (self.has_jobs && !message.is_empty()).then(|| Box::new(Answer(route)) as Box<dyn Work>)
    }
}

/// Answers as [`Shapes`] does.
struct Answer(Route);

impl Work for Answer {
    fn run(
        &self,
        message: &mut Detached,
        _: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        Shapes.answer(self.0, message.as_ref(), out)
    }
}

/// Sends every message back at once, and refuses `bad`.
struct Echo;

impl Call for Echo {
    fn content_type(&self) -> &'static str {
        "application/grpc+npy"
    }

    fn message(&mut self, message: &[u8], replies: &mut dyn Replies) -> Result<(), Refused> {
        if message == b"bad" {
            return Err(Refused::new(Refusal::BadRequest, "bad message"));
        }
        replies.send(message);
        Ok(())
    }

    fn end(&mut self, replies: &mut dyn Replies) -> Result<(), Refused> {
        replies.finish();
        Ok(())
    }

    fn resume(&mut self, _: &mut dyn Replies) -> Result<(), Refused> {
        Ok(())
    }
}

/// Sends a message for each byte, as long as there is room, and ends after the last one.
struct Late {
    left: usize,
    has_ended: bool,
}

impl Late {
    fn send(&mut self, replies: &mut dyn Replies) {
        while self.left > 0 && !replies.is_full() {
            replies.send(&[b'm'; FLOOD_BYTES]);
            self.left -= 1;
        }
        if self.left == 0 && self.has_ended {
            replies.finish();
        }
    }
}

impl Call for Late {
    fn content_type(&self) -> &'static str {
        "application/grpc"
    }

    fn message(&mut self, message: &[u8], replies: &mut dyn Replies) -> Result<(), Refused> {
        self.left += message.len();
        self.send(replies);
        Ok(())
    }

    fn end(&mut self, replies: &mut dyn Replies) -> Result<(), Refused> {
        self.has_ended = true;
        self.send(replies);
        Ok(())
    }

    fn resume(&mut self, replies: &mut dyn Replies) -> Result<(), Refused> {
        self.send(replies);
        Ok(())
    }
}
