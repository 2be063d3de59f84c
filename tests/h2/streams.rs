//! Calls with any number of messages in each direction, through the contract of a handler.

use ndecho::wire::h2::{H2, STREAM_UNSENT_BYTES_MAX, STREAM_WINDOW};
use ndecho::wire::{Call, Handler, Head, Refusal, Refused, Replies, Response, Route, Routed};

use crate::common::{Driven, Shapes};
use crate::peer::{
    CANCEL, DATA, END_STREAM, Reply, WINDOW_UPDATE, call, call_fields, frame, frames, headers,
    hello, limits, message, open, ramp, replies, settings, window_update,
};

const BAD_REQUEST: &str = "3";
const INTERNAL: &str = "13";
const DEADLINE_EXCEEDED: &str = "4";

/// Serves streams of messages, and all else as [`Shapes`].
struct Streams(Shapes);

impl Handler for Streams {
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused> {
        match head.path {
            b"/echo" => Ok(Routed::Stream(Box::new(Echo))),
            b"/sum" => Ok(Routed::Stream(Box::new(Sum(0)))),
            b"/flood" => Ok(Routed::Stream(Box::new(Flood { left: 0, resumed: 0 }))),
            _ => self.0.route(head),
        }
    }

    fn answer(
        &mut self,
        route: Route,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        self.0.answer(route, body, out)
    }
}

/// Sends every message back at once; `bad` is refused.
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

/// Sends the sum of all messages' lengths after the last.
struct Sum(usize);

impl Call for Sum {
    fn content_type(&self) -> &'static str {
        "application/grpc"
    }

    fn message(&mut self, message: &[u8], _: &mut dyn Replies) -> Result<(), Refused> {
        self.0 += message.len();
        Ok(())
    }

    fn end(&mut self, replies: &mut dyn Replies) -> Result<(), Refused> {
        replies.send(self.0.to_string().as_bytes());
        replies.finish();
        Ok(())
    }

    fn resume(&mut self, _: &mut dyn Replies) -> Result<(), Refused> {
        Ok(())
    }
}

/// Sends as many messages of [`FLOOD_BYTES`] as the first message has bytes, pausing when it must.
struct Flood {
    left: usize,
    resumed: usize,
}

const FLOOD_BYTES: usize = 100_000;

impl Flood {
    fn send(&mut self, replies: &mut dyn Replies) {
        while self.left > 0 && !replies.is_full() {
            replies.send(&[self.left as u8; FLOOD_BYTES]);
            self.left -= 1;
        }
        if self.left == 0 {
            replies.send(self.resumed.to_string().as_bytes());
            replies.finish();
        }
    }
}

impl Call for Flood {
    fn content_type(&self) -> &'static str {
        "application/grpc"
    }

    fn message(&mut self, message: &[u8], replies: &mut dyn Replies) -> Result<(), Refused> {
        self.left = message.len();
        self.send(replies);
        Ok(())
    }

    fn end(&mut self, _: &mut dyn Replies) -> Result<(), Refused> {
        Ok(())
    }

    fn resume(&mut self, replies: &mut dyn Replies) -> Result<(), Refused> {
        self.resumed += 1;
        self.send(replies);
        Ok(())
    }
}

fn server() -> Driven<H2<Streams>> {
    let mut server = Driven::new(H2::new(Streams(Shapes), limits()), true);
    server.feed(&hello());
    server
}

fn reply(server: &Driven<H2<Streams>>, stream: u32) -> Reply {
    replies(&server.sent).remove(&stream).unwrap_or_default()
}

/// The messages of a response so far.
fn messages(reply: &Reply) -> Vec<Vec<u8>> {
    let (mut content, mut messages) = (&reply.content[..], Vec::new());
    while let Some(([0, len @ ..], rest)) = content.split_first_chunk::<5>() {
        let (message, rest) = rest.split_at(u32::from_be_bytes(*len) as usize);
        messages.push(message.to_vec());
        content = rest;
    }
    assert!(content.is_empty());
    messages
}

#[test]
fn messages_are_answered_before_the_stream_ends() {
    let mut server = server();
    server.feed(&open(1, "/echo"));
    for at in 0..3usize {
        server.feed(&frame(DATA, 0, 1, &message(&[at as u8; 10])));
        let reply = reply(&server, 1);
        assert_eq!(messages(&reply).len(), at + 1);
        assert!(!reply.ended);
    }
    server.feed(&frame(DATA, END_STREAM, 1, &[]));
    let reply = reply(&server, 1);
    assert_eq!((reply.field("grpc-status"), reply.ended), ("0", true));
    assert_eq!(reply.field("content-type"), "application/grpc+npy");
}

#[test]
fn messages_may_be_cut_and_joined_anywhere() {
    let small = [ramp(7), Vec::new(), ramp(300), ramp(1)];
    let large = [ramp(7), Vec::new(), ramp(70_000), ramp(1), ramp(40_000)];
    for (frame_bytes, sent) in
        [(1, &small[..]), (3, &small), (1000, &large), (30_000, &large), (1 << 20, &large)]
    {
        let content = sent.iter().flat_map(|m| message(m)).collect::<Vec<u8>>();
        for step in [1usize, 10, 4096, usize::MAX] {
            let mut input = open(1, "/echo");
            for piece in content.chunks(frame_bytes) {
                input.extend(frame(DATA, 0, 1, piece));
            }
            input.extend(frame(DATA, END_STREAM, 1, &[]));
            let mut server = server();
            server.feed(&settings(&[(4, 1 << 30)]));
            server.feed(&window_update(0, 1 << 30));
            input.chunks(step).for_each(|piece| server.feed(piece));
            let reply = reply(&server, 1);
            assert!(messages(&reply) == sent, "frames of {frame_bytes}, fed by {step}");
            assert!(reply.ended && reply.reset.is_none());
        }
    }
}

#[test]
fn one_response_may_follow_many_messages_and_unary_calls_are_as_before() {
    let mut server = server();
    server.feed(&open(1, "/sum"));
    for _ in 0..20_000 {
        server.feed(&frame(DATA, 0, 1, &message(b"12345678")));
    }
    server.feed(&call(3, "/reflect", b"unary"));
    server.feed(&frame(DATA, END_STREAM, 1, &message(b"9")));
    assert_eq!(messages(&reply(&server, 1)), [b"160001"]);
    assert_eq!(reply(&server, 3).message(), b"unary");
    server.feed(&headers(5, END_STREAM, &call_fields("/sum", &[])));
    assert_eq!(messages(&reply(&server, 5)), [b"0"]);
}

#[test]
fn an_error_is_a_status_before_the_first_message_and_trailers_after_it() {
    let mut server = server();
    server.feed(&[open(1, "/echo"), frame(DATA, 0, 1, &message(b"bad"))].concat());
    assert_eq!(reply(&server, 1).failure(), (BAD_REQUEST, "bad message"));
    let good_then_bad = [message(b"good"), message(b"bad")].concat();
    server.feed(&[open(3, "/echo"), frame(DATA, 0, 3, &good_then_bad)].concat());
    let reply = reply(&server, 3);
    assert_eq!(messages(&reply), [b"good"]);
    assert_eq!(reply.field("grpc-status"), BAD_REQUEST);
    assert!(reply.ended && reply.reset == Some(0), "the client is asked to stop");
    server.feed(&frame(DATA, 0, 3, &message(b"late")));
    assert!(!server.closing());
}

#[test]
fn a_message_that_is_cut_or_too_long_ends_the_call() {
    let mut server = server();
    let cut = [message(b"whole"), message(b"cut")[..6].to_vec()].concat();
    server.feed(&[open(1, "/echo"), frame(DATA, END_STREAM, 1, &cut)].concat());
    let first = reply(&server, 1);
    assert_eq!((messages(&first).len(), first.field("grpc-status")), (1, INTERNAL));
    server.feed(&[open(3, "/sum"), frame(DATA, 0, 3, &[0, 0xFF, 0, 0, 0])].concat());
    assert_eq!(reply(&server, 3).failure().0, "8");
    let late = headers(5, 0, &call_fields("/echo", &[("grpc-timeout", "1S")]));
    server.feed(&late);
    server.wait(std::time::Duration::from_secs(2));
    assert_eq!(reply(&server, 5).failure().0, DEADLINE_EXCEEDED);
    let late = headers(7, 0, &call_fields("/echo", &[("grpc-timeout", "1S")]));
    server.feed(&[late, frame(DATA, 0, 7, &message(b"begun"))].concat());
    server.wait(std::time::Duration::from_secs(2));
    assert_eq!(reply(&server, 7).reset, Some(CANCEL));
}

#[test]
fn a_call_pauses_until_its_messages_are_sent() {
    let mut server = server();
    server.feed(&[open(1, "/flood"), frame(DATA, END_STREAM, 1, &message(&[0; 50]))].concat());
    let mut rounds = 0;
    while !reply(&server, 1).ended {
        let before = reply(&server, 1).content.len();
        server.flushed();
        server.feed(&window_update(1, 400_000));
        server.feed(&window_update(0, 400_000));
        let sent = reply(&server, 1).content.len() - before;
        assert!(sent <= STREAM_UNSENT_BYTES_MAX + FLOOD_BYTES, "{sent} bytes at once");
        rounds += 1;
        assert!(rounds < 100);
    }
    let got = messages(&reply(&server, 1));
    let (last, flood) = got.split_last().expect("messages");
    assert!(flood.len() == 50 && flood.iter().all(|message| message.len() == FLOOD_BYTES));
    let resumed: usize = String::from_utf8_lossy(last).parse().expect("a number");
    assert!(resumed >= 3, "{resumed} pauses");
}

#[test]
fn a_client_that_takes_nothing_gets_no_window() {
    let mut server = server();
    server.feed(&open(1, "/echo"));
    let granted = |server: &Driven<H2<Streams>>| -> usize {
        let frames = frames(&server.sent);
        let updates = frames.iter().filter(|f| f.kind == WINDOW_UPDATE && f.stream == 1);
        updates.map(|update| update.word() as usize).sum()
    };
    let mut sent = 0;
    while STREAM_WINDOW as usize + granted(&server) - sent * 50_005 > 50_005 {
        server.feed(&frame(DATA, 0, 1, &message(&[7; 50_000])));
        sent += 1;
    }
    let waiting = sent * 50_005 - reply(&server, 1).content.len();
    assert!((STREAM_UNSENT_BYTES_MAX..3 * STREAM_UNSENT_BYTES_MAX).contains(&waiting));
    let before = granted(&server);
    server.feed(&window_update(0, 10_000_000));
    server.feed(&window_update(1, 10_000_000));
    server.flushed();
    assert!(granted(&server) > before, "a grant after the messages were taken");
    assert_eq!(messages(&reply(&server, 1)).len(), sent);
}
