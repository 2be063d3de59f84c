//! Ends of a connection: by the server's shutdown, the client's leave, or in the middle of
//! something.

use std::time::Duration;

use ndecho::wire::WireError;

use crate::peer::*;

/// The pings the server has sent that want an answer.
fn pings(server: &Server) -> Vec<Frame> {
    let sent = frames(&server.sent).into_iter();
    sent.filter(|frame| frame.kind == PING && frame.flags == 0).collect()
}

fn last_streams(server: &Server) -> Vec<u32> {
    let sent = frames(&server.sent).into_iter();
    sent.filter(|frame| frame.kind == GOAWAY).map(|frame| frame.word()).collect()
}

#[test]
fn a_drain_tells_first_and_closes_when_all_is_answered() {
    let mut server = server();
    server.feed(&open(1, "/reflect"));
    server.drain();
    assert_eq!(last_streams(&server), [i32::MAX as u32]);
    server.feed(&call(3, "/reflect", b"on its way"));
    assert_eq!(reply(&server, 3).message(), b"on its way");
    let ping = pings(&server).pop().expect("a ping");
    server.feed(&frame(PING, ACK, 0, &ping.payload));
    assert_eq!(last_streams(&server), [i32::MAX as u32, 3]);
    server.feed(&call(5, "/reflect", b"too late"));
    assert_eq!(reply(&server, 5).reset, Some(REFUSED_STREAM));
    assert!(!server.closing());
    server.feed(&frame(DATA, END_STREAM, 1, &message(b"was open")));
    assert_eq!(reply(&server, 1).message(), b"was open");
    assert!(server.closing() && server.error.is_none());
}

#[test]
fn a_client_that_does_not_answer_does_not_hold_a_drain_up() {
    let mut server = server();
    server.drain();
    server.drain();
    assert!(!server.closing());
    server.wait(Duration::from_millis(1100));
    assert!(server.closing() && server.error.is_none());
    assert_eq!(last_streams(&server), [i32::MAX as u32, 0]);
}

#[test]
fn an_end_between_calls_is_no_fault() {
    let mut quiet = server();
    quiet.feed(&call(1, "/reflect", b"x"));
    quiet.end();
    assert!(quiet.closing() && quiet.error.is_none());

    for cut in [&open(1, "/reflect")[..], &open(1, "/reflect")[..5], &frame(HEADERS, 0, 1, b"")] {
        let mut server = server();
        server.feed(cut);
        server.end();
        assert_eq!(server.error, Some(WireError::truncated("h2")));
    }
    let mut waiting =
        server_after(&[hello(), settings(&[(4, 0)]), call(1, "/reflect", b"x")].concat());
    waiting.end();
    assert!(waiting.error.is_some(), "a reply that cannot be sent any more");
}

#[test]
fn a_loan_outlives_its_stream() {
    use ndecho::wire::Machine;
    let mut server = server();
    let content = message(&ramp(500_000));
    let data = frame(DATA, END_STREAM, 1, &content);
    server.feed(&headers(1, 0, &call_fields("/reflect", &[("grpc-timeout", "1S")])));
    server.feed(&data[..1000]);
    server.wait(Duration::from_secs(2));
    assert_eq!(reply(&server, 1).failure().0, "4");
    assert!(server.machine.lend(&Default::default()).is_none(), "no stream, no loan");
    server.feed(&data[1000..]);
    assert_serves(&mut server);
}
