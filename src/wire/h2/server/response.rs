//! Replies of the server half: a message is answered, what windows hold up is left to `send.rs`, the stream closed.
//!
//! A status before the content has ended is followed by RST_STREAM NO_ERROR, so that the client stops sending; what
//! still comes is dropped and its window given back. The frames themselves are written by `frames.rs`.

use crate::wire::buffers::recv::RecvBuffer;
use crate::wire::grpc::{self, Code, Status};
use crate::wire::h2::connection::Connection;
use crate::wire::h2::connection::data::{WRONG_LENGTH, over_connection_window};
use crate::wire::h2::connection::streams::Stream;
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::h2::flow::SendWindow;
use crate::wire::h2::server::frames::{self, Answered, Terms, TextReply};
use crate::wire::h2::server::{Server, Work};
use crate::wire::{Context, Handler, OWN_BYTES_MIN, Route};

impl<H: Handler> Connection<Server<H>> {
    /// A request whose content is all of one DATA frame in the input.
    pub(crate) fn quick(
        &mut self,
        id: u32,
        work: Result<Work, Status>,
        content: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.receive.spend(content.len()).map_err(|_| over_connection_window())?;
        if self.side.head.content_length.is_some_and(|length| length != content.len() as u64) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, WRONG_LENGTH));
        }
        let answered = match work {
            Ok(Work::Call(_)) if self.side.head.timeout.is_some_and(|time| time.is_zero()) => {
                Err(deadline_exceeded())
            }
            Ok(Work::Call(route)) => {
                let send = SendWindow::new(self.peer.initial_window_size);
                self.answer_content(id, route, content, self.side.head.encoded, send, cx)
            }
            Ok(Work::Text(reply)) => {
                self.insert(id, Work::Answered, false, None, cx);
                return self.send_text(id, *reply, cx);
            }
            Ok(Work::Answered) => return Ok(()),
            Err(status) => Err(status),
        };
        match answered {
            Ok(Answered::Sent(len)) => {
                self.send.spend(len);
                Ok(())
            }
            Ok(Answered::Held(outgoing)) => {
                self.insert(id, Work::Answered, false, None, cx);
                self.launch(id, outgoing, cx, &mut ())
            }
            Err(status) => {
                frames::send_status(id, &status, cx);
                Ok(())
            }
        }
    }

    /// Answers a stream whose content, which is not kept, is all in the input.
    pub(crate) fn answer_whole(
        &mut self,
        id: u32,
        content: &[u8],
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<(), Fault> {
        let Some(Stream { data, incoming, send, deadline, .. }) = self.streams.get(id) else {
            return Ok(());
        };
        let Work::Call(route) = *data else { return Ok(()) };
        let (send, late) = (*send, deadline.is_some_and(|deadline| deadline <= cx.now));
        let encoded = incoming.take().is_some_and(|incoming| incoming.is_encoded());
        *data = Work::Answered;
        let answered = match late {
            true => Err(deadline_exceeded()),
            false => self.answer_content(id, route, content, encoded, send, cx),
        };
        self.settle(id, answered, cx, with)
    }

    /// Answers a stream that its client has ended.
    pub(crate) fn answer_ended(
        &mut self,
        id: u32,
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        let route = match std::mem::replace(&mut stream.data, Work::Answered) {
            Work::Call(route) => route,
            Work::Text(reply) => return self.send_text(id, *reply, cx),
            Work::Answered => return Ok(()),
        };
        let late = stream.deadline.is_some_and(|deadline| deadline <= cx.now);
        let reserved = std::mem::take(&mut stream.reserved);
        let Some(incoming) = stream.incoming.take() else { return Ok(()) };
        self.arriving_bytes -= reserved;
        let message = match incoming.finish(cx.pool) {
            Ok(message) if late => {
                cx.pool.give(message.into_buffer());
                return self.fail(id, &deadline_exceeded(), cx);
            }
            Ok(message) => message,
            Err(status) => return self.fail(id, &status, cx),
        };
        self.answer_stream(id, route, message, cx, with)
    }

    fn answer_content(
        &mut self,
        id: u32,
        route: Route,
        content: &[u8],
        encoded: bool,
        send: SendWindow,
        cx: &mut Context<'_>,
    ) -> Result<Answered, Status> {
        let limit = self.limits.body_bytes_max;
        let whole = grpc::whole(content, encoded, limit);
        self.guard.refused(&whole);
        let Some(message) = whole? else {
            return Err(grpc::cut_short(content.len(), grpc::announced(content)));
        };
        let terms = self.terms(id, send);
        let Server { handler, front, scratch, .. } = &mut self.side;
        frames::answer_short(terms, message, front, scratch, cx, |message, out| {
            handler.answer(route, message, out)
        })
    }

    /// A whole message of a stream has arrived.
    fn answer_stream(
        &mut self,
        id: u32,
        route: Route,
        message: RecvBuffer,
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<(), Fault> {
        let Some(Stream { send, .. }) = self.streams.get(id) else {
            cx.pool.give(message.into_buffer());
            return Ok(());
        };
        let send = *send;
        let terms = self.terms(id, send);
        let Server { handler, front, scratch, answer_hint, .. } = &mut self.side;
        let answered = if message.len() < OWN_BYTES_MIN {
            let answered =
                frames::answer_short(terms, message.bytes(), front, scratch, cx, |message, out| {
                    handler.answer(route, message, out)
                });
            cx.pool.give(message.into_buffer());
            answered
        } else {
            frames::answer_long(terms, message, *answer_hint, cx, |message, out| {
                let reply = handler.answer(route, message, out);
                *answer_hint = out.len();
                reply
            })
            .map(Answered::Held)
        };
        self.settle(id, answered, cx, with)
    }

    /// Does what is left to do for a call on a stream, once it is answered.
    fn settle(
        &mut self,
        id: u32,
        answered: Result<Answered, Status>,
        cx: &mut Context<'_>,
        with: &mut (),
    ) -> Result<(), Fault> {
        match answered {
            Ok(Answered::Sent(len)) => {
                self.send.spend(len);
                self.close(id, cx)
            }
            Ok(Answered::Held(outgoing)) => self.launch(id, outgoing, cx, with),
            Err(status) => self.fail(id, &status, cx),
        }
    }

    fn terms(&mut self, stream: u32, send: SendWindow) -> Terms {
        let window = self.send.available().min(send.available());
        let window = window.min(self.peer.max_frame_size as usize);
        let advertise = !std::mem::replace(&mut self.side.advertised, true);
        Terms { stream, window, advertise }
    }

    /// Ends a stream's call with a status.
    pub(crate) fn fail(
        &mut self,
        id: u32,
        status: &Status,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        frames::send_status(id, status, cx);
        self.close(id, cx)
    }

    /// Sends the reply to a request that is not a call, if it is not on its way.
    pub(crate) fn send_refusal(&mut self, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        if !matches!(stream.data, Work::Text(_)) {
            return Ok(());
        }
        match std::mem::replace(&mut stream.data, Work::Answered) {
            Work::Text(reply) => self.send_text(id, *reply, cx),
            Work::Call(_) | Work::Answered => Ok(()),
        }
    }

    pub(crate) fn send_text(
        &mut self,
        id: u32,
        reply: TextReply,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        match reply.send_head(id, cx) {
            Some(outgoing) => self.launch(id, outgoing, cx, &mut ()),
            None => self.close(id, cx),
        }
    }

    /// Our side of a stream is done; the client is asked to stop if its side is not.
    pub(crate) fn close(&mut self, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        let remote_open = self.streams.get(id).is_some_and(|stream| stream.remote_open);
        self.remove(id, cx);
        if remote_open {
            self.reset(id, ErrorCode::NoError, cx)?;
        }
        Ok(())
    }
}

fn deadline_exceeded() -> Status {
    Status::new(Code::DeadlineExceeded, "the call's deadline has passed")
}
