//! Responses: a message is answered, the send queue takes the rest, the stream is closed.
//!
//! A status before the content has ended is followed by RST_STREAM NO_ERROR, so that the client
//! stops sending; late content is dropped and its window given back.

use super::H2;
use super::frames::{self, TextResponse};
use super::message::{Terms, Written};
use super::state::{Request, RequestState};
use crate::axis::Coding;
use crate::wire::grpc::{self, COMPRESSED, Code, Compression, Status};
use crate::wire::h2::REFUSED_CONTENT_MAX;
use crate::wire::h2::connection::inbound::WRONG_LENGTH;
use crate::wire::h2::connection::outgoing::Outgoing;
use crate::wire::h2::error::{ErrorCode, Fault};
use crate::wire::{Context, EndedJob, Handler, OWN_BYTES_MIN, PooledBuf, Route, Slice};

impl<H: Handler> H2<H> {
    /// Answers a request without a stream; the input holds all of `content`.
    #[inline]
    pub(super) fn answer_inline(
        &mut self,
        id: u32,
        state: Result<RequestState, Status>,
        content: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let head = self.heads.latest();
        if head.content_length().is_some_and(|length| length != content.len() as u64) {
            return Err(Fault::Stream(id, ErrorCode::Protocol, WRONG_LENGTH));
        }
        let written = match state {
            Ok(RequestState::Call(_)) if head.timeout.is_some_and(|time| time.is_zero()) => {
                Err(deadline_exceeded())
            }
            Ok(RequestState::Call(route)) => {
                let compression = head.compression(route.codings.request);
                if route.is_coded() && content.first() == Some(&COMPRESSED) {
                    self.insert_ended(id, RequestState::Answered, cx);
                    return self.answer_coded(id, route, content, cx);
                }
                let window = self.connection.peer.initial_window_size as usize;
                self.answer(id, route, content, compression, window, cx)
            }
            Ok(RequestState::Text(response)) => return self.send_text_inline(id, *response, cx),
            Ok(RequestState::Stream(_) | RequestState::Working(..) | RequestState::Answered) => {
                return Ok(());
            }
            Err(status) => Err(status),
        };
        match written {
            Ok(Written::Sent(len)) => {
                self.connection.send.spend(len);
                Ok(())
            }
            Ok(Written::Held(message)) => {
                self.insert_ended(id, RequestState::Answered, cx);
                self.send(id, message, cx)
            }
            Err(status) => {
                self.refuse(id, &status, cx);
                Ok(())
            }
        }
    }

    /// Answers a stream whose content lies whole in the input.
    pub(super) fn answer_content(
        &mut self,
        id: u32,
        content: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Some(stream) = self.connection.streams.get(id) else { return Ok(()) };
        let Request { state: RequestState::Call(route), .. } = stream.data else { return Ok(()) };
        stream.data.state = RequestState::Answered;
        let compression = stream.inbound.drop_untouched();
        let written = if stream.data.is_late(cx.now) {
            Err(deadline_exceeded())
        } else if route.is_coded() && content.first() == Some(&COMPRESSED) {
            return self.answer_coded(id, route, content, cx);
        } else {
            let window = stream.send_window();
            self.answer(id, route, content, compression, window, cx)
        };
        self.settle(id, written, cx)
    }

    pub(super) fn answer_ended(&mut self, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(stream) = self.connection.streams.get(id) else { return Ok(()) };
        let is_late = stream.data.is_late(cx.now);
        let route = match std::mem::replace(&mut stream.data.state, RequestState::Answered) {
            RequestState::Call(route) => route,
            RequestState::Text(response) => return self.send_text(id, *response, cx),
            RequestState::Stream(call) => return self.end_call(id, call, cx),
            RequestState::Working(..) | RequestState::Answered => return Ok(()),
        };
        let Some(message) = self.connection.take_message(id) else { return Ok(()) };
        let route = if message.is_compressed() { route } else { route.uncoded() };
        match message.finish() {
            Ok(_) if is_late => self.fail(id, &deadline_exceeded(), cx),
            Ok(message) => self.answer_gathered(id, route, message, cx),
            Err(status) => self.fail(id, &status, cx),
        }
    }

    /// Answers a compressed message with its prefix in the input. It may inflate to a long one, so
    /// it needs a buffer of its own.
    #[cold]
    fn answer_coded(
        &mut self,
        id: u32,
        route: Route,
        content: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let bytes_max = self.connection.limits.body_bytes_max;
        let whole = grpc::whole(content, Compression::Known, bytes_max);
        self.connection.abuse.refused(&whole);
        match whole {
            Ok(Some(message)) => {
                let mut copy = cx.pool.take(message.len());
                copy.extend_from_slice(message);
                self.answer_gathered(id, route, Slice::from(copy), cx)
            }
            Ok(None) => {
                let status = grpc::cut_short(content.len(), grpc::announced(content));
                self.fail(id, &status, cx)
            }
            Err(status) => self.fail(id, &status, cx),
        }
    }

    /// Answers a message that is not compressed, with its prefix in the input.
    #[inline]
    fn answer(
        &mut self,
        id: u32,
        route: Route,
        content: &[u8],
        compression: Compression,
        window: usize,
        cx: &mut Context<'_>,
    ) -> Result<Written, Status> {
        let whole = grpc::whole(content, compression, self.connection.limits.body_bytes_max);
        self.connection.abuse.refused(&whole);
        let Some(message) = whole? else {
            return Err(grpc::cut_short(content.len(), grpc::announced(content)));
        };
        let (terms, route) = (self.terms(id, window), route.uncoded());
        let handler = &mut self.handler;
        let written = self
            .messages
            .write_short(terms, message, cx, |message, out| handler.answer(route, message, out));
        self.note_update(terms, &written);
        written
    }

    /// Notes that a written head has told of the table's size.
    #[inline]
    pub(super) fn note_update<T>(&mut self, terms: Terms, written: &Result<T, Status>) {
        if terms.update && written.is_ok() {
            self.connection.send.take_table_update();
        }
    }

    fn answer_gathered(
        &mut self,
        id: u32,
        route: Route,
        message: Slice,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if let Some(work) = self.handler.long_work(route, message.as_ref()) {
            self.start_job(id, route.codings.reply, work, message, cx);
            return Ok(());
        }
        let window = self.connection.streams.get(id).map_or(0, |stream| stream.send_window());
        let terms = Terms { coding: route.codings.reply, ..self.terms(id, window) };
        let handler = &mut self.handler;
        let written = if message.len() < OWN_BYTES_MIN && !route.is_coded() {
            let answer = |message: &[u8], out: &mut Vec<u8>| handler.answer(route, message, out);
            self.messages.write_short(terms, message.as_ref(), cx, answer)
        } else {
            let mut answer = self.messages.begin_long(cx.pool);
            let response = handler.answer(route, message.as_ref(), &mut answer);
            let ended = EndedJob { message, answer, response };
            self.messages.end_long(terms, ended, cx).map(Written::Held)
        };
        self.note_update(terms, &written);
        self.settle(id, written, cx)
    }

    pub(super) fn settle(
        &mut self,
        id: u32,
        written: Result<Written, Status>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        match written {
            Ok(Written::Sent(len)) => {
                self.connection.send.spend(len);
                self.close(id, cx)
            }
            Ok(Written::Held(message)) => self.send(id, message, cx),
            Err(status) => self.fail(id, &status, cx),
        }
    }

    #[inline]
    pub(super) fn terms(&self, stream: u32, window: usize) -> Terms {
        let frame_bytes_max = self.connection.peer.max_frame_size as usize;
        Terms {
            stream,
            bytes_max: self.connection.send.available().min(window).min(frame_bytes_max),
            update: self.connection.send.needs_table_update(),
            coding: Coding::Identity,
        }
    }

    pub(super) fn fail(
        &mut self,
        id: u32,
        status: &Status,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if self.has_head(id) {
            let trailers = self.refusal_trailers(status).into();
            return self.finish_call(id, PooledBuf::default(), trailers, cx);
        }
        self.refuse(id, status, cx);
        self.close(id, cx)
    }

    /// Sends a status as the whole response.
    pub(super) fn refuse(&mut self, id: u32, status: &Status, cx: &mut Context<'_>) {
        self.connection.limits.counts.refused_call(status.code);
        let update = self.connection.send.take_table_update();
        frames::send_status(id, status, update, self.handler.coding_tokens(), cx);
    }

    /// Returns the end of a response that has begun.
    pub(super) fn refusal_trailers(&self, status: &Status) -> Vec<u8> {
        self.connection.limits.counts.refused_call(status.code);
        frames::status_trailers(status)
    }

    /// Refuses a request that is not a call, once it exceeds a small request.
    pub(super) fn refuse_large(&mut self, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        let stream = self.connection.streams.get(id);
        if stream.is_some_and(|stream| stream.inbound.content_bytes() > REFUSED_CONTENT_MAX) {
            return self.send_refusal(id, cx);
        }
        Ok(())
    }

    /// Sends the response to a request that is not a call, once.
    pub(super) fn send_refusal(&mut self, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(stream) = self.connection.streams.get(id) else { return Ok(()) };
        match std::mem::replace(&mut stream.data.state, RequestState::Answered) {
            RequestState::Text(response) => self.send_text(id, *response, cx),
            other => {
                stream.data.state = other;
                Ok(())
            }
        }
    }

    /// Sends a text response without a stream.
    pub(super) fn send_text_inline(
        &mut self,
        id: u32,
        response: TextResponse,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.insert_ended(id, RequestState::Answered, cx);
        self.send_text(id, response, cx)
    }

    fn send_text(
        &mut self,
        id: u32,
        response: TextResponse,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.connection.limits.counts.refused(response.status());
        match response.send_head(id, self.connection.send.take_table_update(), cx) {
            Some(content) => self.send(id, content, cx),
            None => self.close(id, cx),
        }
    }

    fn send(&mut self, id: u32, message: Outgoing, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.connection.enqueue(id, message, cx);
        self.flush(cx)
    }

    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        while let Some(id) = self.connection.send_next(cx) {
            self.close(id, cx)?;
        }
        if self.connection.is_sending() {
            // The streams may have been opened with a later deadline.
            self.timeouts.sweep_by(cx.now + self.connection.limits.window_timeout);
        }
        Ok(())
    }

    /// Closes a stream, and asks the client to stop if it still sends.
    pub(super) fn close(&mut self, id: u32, cx: &mut Context<'_>) -> Result<(), Fault> {
        let removed = self.connection.remove(id);
        if removed.is_some_and(|removed| removed.receives) {
            self.connection.reset(id, ErrorCode::NoError, cx)
        } else {
            Ok(())
        }
    }
}

fn deadline_exceeded() -> Status {
    Status::new(Code::DeadlineExceeded, "the call's deadline has passed")
}
