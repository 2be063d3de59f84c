//! Both halves against each other, and the client half against a server written by hand.

use std::rc::Rc;
use std::time::Duration;

use ndecho::wire::h2::{Allowance, H2, H2Client};
use ndecho::wire::{
    ChangingFields, Client, Handler, Head, Limits, Part, PooledBuf, Refused, Response, Route,
    Routed,
};

use crate::common::{Calling, Driven, Shapes};
use crate::peer::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PUSH_PROMISE, REFUSED_STREAM,
    frame, frames, headers, message, ramp, rst, settings, window_update,
};

type Peer = Calling<H2Client>;

/// Handler like [`Shapes`], with the content type that a client of gRPC wants.
struct Grpc(Shapes);

impl Handler for Grpc {
    fn route(&mut self, head: &Head<'_>) -> Result<Routed, Refused> {
        self.0.route(head)
    }

    fn answer(
        &mut self,
        route: Route,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Response, Refused> {
        let reply = self.0.answer(route, body, out)?;
        Ok(Response { content_type: "application/grpc+npy", ..reply })
    }
}

fn client(path: &str) -> Peer {
    let limits = Rc::new(Limits { body_bytes_max: 100 << 20, ..Limits::default() });
    let (host, kind) = ("localhost:50051", "application/grpc+npy");
    Calling::new(H2Client::new(host, path, kind, Allowance::default(), limits), true)
}

fn server_for(client: &mut Peer) -> Driven<H2<Grpc>> {
    let limits = Rc::new(Limits { body_bytes_max: 100 << 20, ..Limits::default() });
    let mut server = Driven::new(H2::new(Grpc(Shapes), limits), true);
    exchange(client, &mut server, usize::MAX);
    server
}

/// Carries bytes both ways, `step` at a time, until both are silent.
fn exchange(client: &mut Peer, server: &mut Driven<H2<Grpc>>, step: usize) {
    loop {
        let up = std::mem::take(&mut client.sent);
        up.chunks(step).for_each(|chunk| server.feed(chunk));
        let down = std::mem::take(&mut server.sent);
        down.chunks(step).for_each(|chunk| client.feed(chunk).expect("a good server"));
        if up.is_empty() && down.is_empty() {
            return;
        }
    }
}

#[test]
fn messages_of_every_size_come_back() {
    for len in [0, 1, 8, 2048, 16_384, 65_536, 1 << 20, 5_000_000] {
        for step in [usize::MAX, 65_536, 1000] {
            let mut client = client("/wrap");
            let mut server = server_for(&mut client);
            let shared = Rc::new(PooledBuf::from(ramp(len)));
            for id in 0..4 {
                client.request(id, &[Part::Copy(&shared)]);
                client.request(
                    100 + id,
                    &[Part::Copy(b"head "), Part::Share(&shared, 0..len), Part::Copy(b"")],
                );
                if step < usize::MAX && len > 100_000 {
                    break;
                }
            }
            exchange(&mut client, &mut server, step);
            assert!(!client.replies.is_empty());
            for (id, reply) in &client.replies {
                let head: &[u8] = if *id < 100 { b"" } else { b"head " };
                let whole = [b"<", head, &shared, b">"].concat();
                assert!(reply.as_ref() == Ok(&whole), "{id}: {len} bytes in steps of {step}");
            }
            assert!(client.client.end().is_ok());
        }
    }
}

#[test]
fn a_thousand_calls_at_once_and_again() {
    let mut client = client("/reflect");
    let mut server = server_for(&mut client);
    for round in 0..3u32 {
        for id in 0..1000u32 {
            client.request(id, &[Part::Copy(&(round * 1000 + id).to_be_bytes())]);
        }
        let sent = client.sent.len();
        exchange(&mut client, &mut server, 30_000);
        assert_eq!(client.replies.len(), 1000);
        for (id, reply) in client.replies.drain(..) {
            assert_eq!(reply.as_deref(), Ok(&(round * 1000 + id).to_be_bytes()[..]));
        }
        assert!(round == 0 || sent == 1000 * (9 + 6 + 9 + 5 + 4), "{sent} bytes");
    }
}

#[test]
fn fields_that_change_leave_the_replies_alone() {
    for indexed in [false, true] {
        let fields = ChangingFields::new(1, Duration::from_secs(60), indexed);
        let limits = Rc::new(Limits::default());
        let (host, kind) = ("localhost:50051", "application/grpc+npy");
        let client = H2Client::new(host, "/text", kind, Allowance::default(), limits);
        let mut client = Calling::new(client.with_changing_fields(Some(fields)), true);
        let mut server = server_for(&mut client);
        for round in 0..10 {
            (0..100).for_each(|id| client.request(id, &[Part::Copy(b"changing")]));
            let sent = client.sent.len() / 100;
            assert!(round == 0 || (85..130).contains(&sent), "{sent} bytes, indexed: {indexed}");
            exchange(&mut client, &mut server, 3001);
            assert_eq!(client.replies.len(), 100);
            assert!(client.replies.drain(..).all(|(_, reply)| reply == Ok(b"CHANGING".to_vec())));
        }
    }
}

#[test]
fn sixty_four_mebibytes_pass() {
    let mut client = client("/reflect");
    let mut server = server_for(&mut client);
    let body = Rc::new(PooledBuf::from(ramp(64 << 20)));
    client.request(7, &[Part::Share(&body, 0..body.len())]);
    exchange(&mut client, &mut server, 1 << 20);
    let (id, reply) = client.replies.pop().expect("a reply");
    assert!(id == 7 && reply.as_ref() == Ok(&*body));
}

#[test]
fn the_client_keeps_to_the_streams_it_is_allowed() {
    let mut client = client("/reflect");
    assert_eq!(client.client.in_flight_max(), 1, "before SETTINGS");
    client.request(0, &[Part::Copy(b"x")]);
    client.feed(&settings(&[(3, 120)])).unwrap();
    assert_eq!(client.client.in_flight_max(), 120);
    client.feed(&settings(&[(3, 7)])).unwrap();
    assert_eq!(client.client.in_flight_max(), 7);
    client.feed(&[reply_head(1), frame(DATA, 0, 1, &message(b"x")), ok(1)].concat()).unwrap();
    assert_eq!(client.replies, [(0, Ok(b"x".to_vec()))]);
    let mut unlimited = self::client("/reflect");
    unlimited.feed(&settings(&[])).unwrap();
    assert_eq!(unlimited.client.in_flight_max(), usize::MAX);
}

#[test]
fn the_client_keeps_to_windows_and_frames() {
    let mut client = client("/reflect");
    client.feed(&settings(&[(4, 1), (5, 16_384)])).unwrap();
    client.request(1, &[Part::Copy(&ramp(20))]);
    let data = |client: &Peer| -> Vec<usize> {
        let frames = frames(&client.sent[24..]);
        frames.iter().filter(|f| f.kind == DATA).map(|f| f.payload.len()).collect()
    };
    for at in 1..25 {
        assert_eq!(data(&client), vec![1; at]);
        client.feed(&window_update(1, 1)).unwrap();
    }
    let last = frames(&client.sent[24..]).pop().unwrap();
    assert_eq!((last.kind, last.flags), (DATA, END_STREAM));

    client.sent.truncate(24);
    client.feed(&settings(&[(4, 1 << 30)])).unwrap();
    client.feed(&window_update(0, 1 << 30)).unwrap();
    client.request(2, &[Part::Copy(&ramp(100_000))]);
    assert!(data(&client).iter().all(|len| *len <= 16_384));
    client.sent.truncate(24);
    client.feed(&settings(&[(5, 16_777_215)])).unwrap();
    client.request(3, &[Part::Copy(&ramp(100_000))]);
    assert_eq!(data(&client), [100_005]);
}

fn reply_head(stream: u32) -> Vec<u8> {
    headers(stream, 0, &[(":status", "200"), ("content-type", "application/grpc")])
}

fn ok(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, &[("grpc-status", "0")])
}

/// Returns the result of a request that `input` answers.
fn told(input: &[u8]) -> Result<Vec<u8>, String> {
    let mut client = client("/reflect");
    client.feed(&settings(&[])).unwrap();
    client.request(0, &[Part::Copy(b"x")]);
    let whole = {
        let mut again = crate::pair::client("/reflect");
        again.feed(&settings(&[])).unwrap();
        again.request(0, &[Part::Copy(b"x")]);
        again.feed(input).unwrap();
        again.replies
    };
    input.chunks(1).for_each(|byte| client.feed(byte).unwrap());
    assert_eq!(client.replies, whole, "by the byte");
    assert_eq!(client.replies.len(), 1);
    client.replies.pop().unwrap().1
}

#[test]
fn replies_are_verified() {
    let content = frame(DATA, 0, 1, &message(b"reply"));
    let good = [reply_head(1), content.clone(), ok(1)].concat();
    assert_eq!(told(&good).as_deref(), Ok(&b"reply"[..]));
    let informed = [headers(1, 0, &[(":status", "103")]), good].concat();
    assert_eq!(told(&informed).as_deref(), Ok(&b"reply"[..]));

    let error = |input: &[&[u8]]| told(&input.concat()).unwrap_err();
    let failed = headers(1, END_STREAM, &[("grpc-status", "13"), ("grpc-message", "50%25 done")]);
    assert_eq!(error(&[&reply_head(1), &content, &failed]), "grpc-status 13: 50% done");
    let only = headers(
        1,
        END_STREAM,
        &[(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "8")],
    );
    assert!(error(&[&only]).contains("grpc-status 8"));
    let http = headers(1, 0, &[(":status", "415"), ("content-type", "text/plain")]);
    assert_eq!(error(&[&http, &frame(DATA, END_STREAM, 1, b"no")]), "HTTP status 415");
    let html = headers(1, END_STREAM, &[(":status", "200"), ("content-type", "text/html")]);
    assert!(error(&[&html]).contains("application/grpc"));
    assert!(error(&[&reply_head(1), &ok(1)]).contains("no message"));
    assert!(
        error(&[&reply_head(1), &frame(DATA, 0, 1, &message(b"cut")[..6]), &ok(1)])
            .contains("6 of 8")
    );
    assert!(
        error(&[&reply_head(1), &frame(DATA, END_STREAM, 1, &message(b"x"))])
            .contains("no trailers")
    );
    assert!(
        error(&[&reply_head(1), &frame(DATA, 0, 1, &[message(b"1"), message(b"2")].concat())])
            .contains("one message")
    );
    // What follows a refused message is ignored, however the message is cut.
    let two = frame(DATA, END_STREAM, 1, &[message(b"1"), message(b"2")].concat());
    assert!(error(&[&reply_head(1), &two, &ok(1)]).contains("one message"));
    assert!(error(&[&content]).contains("DATA before HEADERS"));
    let padded = frame(DATA, PADDED, 1, &[&[3], &message(b"reply")[..], &[0; 3]].concat());
    assert_eq!(told(&[reply_head(1), padded, ok(1)].concat()).as_deref(), Ok(&b"reply"[..]));
    assert!(error(&[&rst(1, REFUSED_STREAM)]).contains("REFUSED_STREAM"));
    assert!(error(&[&headers(1, 0, &[("grpc-status", "0")])]).contains(":status"));
}

#[test]
fn a_server_that_goes_away_at_once_says_why() {
    let mut client = client("/reflect");
    client.request(0, &[Part::Copy(b"x")]);
    let away = frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11, b'b', b'u', b's', b'y']);
    let gone = client.feed(&[settings(&[]), away].concat()).unwrap_err().to_string();
    assert_eq!(gone, "h2: the peer goes away: ENHANCE_YOUR_CALM busy");
    assert!(!client.client.is_leaving());
    assert_eq!(client.replies, [(0, Err("the peer goes away: ENHANCE_YOUR_CALM busy".to_owned()))]);
}

#[test]
fn pings_without_end_are_answered() {
    let mut client = client("/reflect");
    client.feed(&settings(&[])).unwrap();
    for _ in 0..5000 {
        client.feed(&frame(PING, 0, 0, &[7; 8])).unwrap();
    }
    let acks = frames(&client.sent[24..]).iter().filter(|f| f.kind == PING).count();
    assert_eq!(acks, 5000);
}

#[test]
fn a_server_that_goes_away_gets_no_new_calls() {
    let mut client = client("/reflect");
    client.feed(&settings(&[])).unwrap();
    client.request(0, &[Part::Copy(b"x")]);
    client.request(1, &[Part::Copy(b"y")]);
    client.feed(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).unwrap();
    assert_eq!(client.client.in_flight_max(), 0);
    assert!(client.client.is_leaving());
    assert_eq!(
        client.replies,
        [(1, Err("not processed".to_owned()))],
        "past the last one it takes"
    );
    let last = [reply_head(1), frame(DATA, 0, 1, &message(b"x")), ok(1)].concat();
    let gone = client.feed(&last).unwrap_err().to_string();
    assert_eq!(client.replies[1], (0, Ok(b"x".to_vec())));
    assert_eq!(gone, "h2: the peer goes away: NO_ERROR");
    assert_eq!(client.client.end().unwrap_err().to_string(), gone);
}

#[test]
fn a_server_that_breaks_the_rules_ends_the_connection() {
    let wrong = [
        frame(PING, 0, 0, b"not settings"),
        [settings(&[]), reply_head(3)].concat(),
        [settings(&[]), reply_head(2)].concat(),
        [settings(&[]), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88])].concat(),
        [settings(&[]), frame(HEADERS, END_HEADERS, 1, &[0xFE])].concat(),
        [settings(&[]), frame(DATA, 0, 5, b"x")].concat(),
    ];
    for input in wrong {
        let mut client = client("/reflect");
        client.request(0, &[Part::Copy(b"x")]);
        assert!(client.feed(&input).is_err(), "{input:?}");
        let last = frames(&client.sent[24..]).pop().unwrap();
        assert_eq!(last.kind, GOAWAY);
    }
}

#[test]
fn settings_are_on_record() {
    let mut client = client("/reflect");
    assert_eq!(client.client.peer_settings(), None, "none have come");
    let mut server = server_for(&mut client);
    client.request(0, &[Part::Copy(b"x")]);
    exchange(&mut client, &mut server, usize::MAX);
    let allowed = client.client.peer_settings().expect("they have come");
    assert_eq!((allowed.max_concurrent_streams, allowed.header_table_size), (Some(1024), 4096));
    let wanted = server.machine.peer_settings();
    assert_eq!((wanted.initial_window_size, wanted.enable_push), (i32::MAX as u32, false));
    server.drain();
    let gone = client.feed(&std::mem::take(&mut server.sent)).unwrap_err().to_string();
    assert!(gone.contains("the peer goes away: NO_ERROR"), "{gone}");
    assert_eq!(client.client.in_flight_max(), 0);
}
