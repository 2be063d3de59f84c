//! Properties of the protocols: the cuts between the arrivals of a connection do not change the
//! output, nor does the head that an HTTP/2 server remembers.

use std::rc::Rc;
use std::time::{Duration, Instant};

use ndecho::wire::grpc::{Compression, MessageReader};
use ndecho::wire::grpc::{parse_timeout, percent_decode, percent_encode, whole};
use ndecho::wire::h1::{DateClock, H1};
use ndecho::wire::h2::H2;
use ndecho::wire::raw::Raw;
use ndecho::wire::{Limits, Machine, Pool, WireError};

use crate::common::{Driven, Shapes};
use crate::input::{HELLO, cut, cuts, frame};

/// Largest body. Inputs of a few KiB reach this limit.
const BODY_BYTES_MAX: usize = 2000;

/// Checks length-prefixed frames.
pub fn raw(data: &[u8]) {
    alike(data, || Raw::new(Shapes, limits()));
}

/// Checks HTTP/1.1.
pub fn h1(data: &[u8]) {
    let start = Instant::now();
    let machine =
        || H1::new(Shapes, limits(), DateClock::new(start, Duration::from_secs(784_111_777)));
    let (cuts, input) = cuts(data);
    let outputs = [output(&cut(cuts, input), machine()), output(&[input], machine())];
    let [got, want] = outputs.map(without_interim);
    same(input, got, want);
}

/// Removes `100 Continue`, which is sent only if no part of the body has arrived yet.
fn without_interim((sent, error): Output) -> Output {
    const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let (mut kept, mut rest) = (Vec::new(), sent.as_slice());
    while let Some((&byte, tail)) = rest.split_first() {
        rest = rest.strip_prefix(INTERIM).unwrap_or_else(|| {
            kept.push(byte);
            tail
        });
    }
    (kept, error)
}

/// Checks HTTP/2, after the first bytes of the client.
pub fn h2(data: &[u8]) {
    let (cuts, input) = cuts(data);
    h2_alike(cuts, &[HELLO, input].concat());
}

/// Checks header blocks: two calls with the input as their heads. The second uses the table that
/// the first one changed.
pub fn hpack(data: &[u8]) {
    let (cuts, input) = cuts(data);
    let (first, second) = input.split_at(input.len() / 2);
    let mut bytes = HELLO.to_vec();
    for (stream, block) in [(1, first), (3, second), (5, input)] {
        frame(&mut bytes, 0x1, 0x4, stream, block);
        frame(&mut bytes, 0x0, 0x1, stream, b"\0\0\0\0\x02hi");
    }
    h2_alike(cuts, &bytes);
    forgetful([first, second, input, second, input]);
    // A block in two frames equals the block.
    let mut bytes = HELLO.to_vec();
    frame(&mut bytes, 0x1, 0x0, 1, first);
    frame(&mut bytes, 0x9, 0x4, 1, second);
    let mut whole = HELLO.to_vec();
    frame(&mut whole, 0x1, 0x4, 1, input);
    h2_same(&[&bytes], &[&whole]);
}

/// Checks that a server answers `blocks` alike whether or not it remembers the last one: a call
/// between two of them has a head of other fields, which enter no table.
fn forgetful(blocks: [&[u8]; 5]) {
    const OTHER: &[u8] = b"\x83\x86\x04\x05/wrap\x0f\x10\x10application/grpc";
    let calls = |between: bool| {
        let mut bytes = HELLO.to_vec();
        let mut call = |stream, block| {
            frame(&mut bytes, 0x1, 0x4, stream, block);
            frame(&mut bytes, 0x0, 0x1, stream, b"\0\0\0\0\x02hi");
        };
        // Only the first message of a connection names the encodings that the server takes.
        call(1, OTHER);
        for (stream, block) in (5..).step_by(4).zip(blocks) {
            call(stream, block);
            if between {
                call(stream + 2, OTHER);
            }
        }
        let (sent, error) = output(&[&bytes], H2::new(Shapes, limits()));
        (answers(&sent), error)
    };
    let (got, want) = (calls(false), calls(true));
    assert!(got == want, "{got:?}\n is not what a server without memory sends, \n{want:?}");
}

/// Returns the frames on the streams of [`forgetful`]'s blocks, and the code of a GOAWAY.
fn answers(sent: &[u8]) -> Vec<Vec<u8>> {
    const GOAWAY: u8 = 7;
    let (mut answers, mut rest) = (Vec::new(), sent);
    while let Some(head) = rest.first_chunk::<9>() {
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (frame, later) = rest.split_at(9 + len);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            GOAWAY => answers.push(frame[13..17].to_vec()),
            _ if stream % 4 == 1 => answers.push(frame.to_vec()),
            _ => {}
        }
        rest = later;
    }
    answers
}

/// Checks the prefix of gRPC messages and the texts in its fields.
pub fn grpc(data: &[u8]) {
    let (cuts, input) = cuts(data);
    let assembled = |chunks: &[&[u8]]| {
        let pool = Pool::default();
        let mut message = MessageReader::new(BODY_BYTES_MAX, Compression::Unnamed);
        for chunk in chunks {
            message.feed(chunk, &pool)?;
        }
        message.finish().map(|message| message.as_ref().to_vec())
    };
    let want = assembled(&[input]);
    assert_eq!(assembled(&cut(cuts, input)), want);
    if let Ok(Some(message)) = whole(input, Compression::Unnamed, BODY_BYTES_MAX) {
        assert_eq!(want.as_deref(), Ok(message));
    }
    let text = percent_decode(input);
    assert_eq!(percent_decode(percent_encode(&text).as_bytes()), text);
    let _ = parse_timeout(input);
}

fn h2_alike(cuts: &[u8], input: &[u8]) {
    h2_same(&cut(cuts, input), &[input]);
}

/// Compares two outputs up to the first RST_STREAM with NO_ERROR in either. This frame asks the
/// peer to stop sending a refused call, and is left out if the whole call has arrived, which
/// depends on the cuts. The frames after it depend on it: a stream that we have reset ignores
/// frames, and an ended one does not.
fn h2_same(chunks: &[&[u8]], whole: &[&[u8]]) {
    let [got, want] = [chunks, whole].map(|chunks| output(chunks, H2::new(Shapes, limits())));
    let ends = [&got, &want].map(|(sent, _)| plea(sent));
    if ends == [None, None] {
        return same(whole[0], got, want);
    }
    let len = ends.into_iter().flatten().min().expect("one of them has one");
    let [got_front, want_front] = [&got, &want].map(|(sent, _)| sent.get(..len));
    assert!(
        got_front.is_some() && got_front == want_front,
        "{}\n is not what it is in one piece, \n{}",
        show(&got),
        show(&want)
    );
}

/// Finds the start of the first RST_STREAM with NO_ERROR.
fn plea(sent: &[u8]) -> Option<usize> {
    const RST_STREAM: u8 = 3;
    let mut at = 0;
    while let Some(head) = sent[at..].first_chunk::<9>() {
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if head[3] == RST_STREAM && sent[at + 9..][..len] == [0; 4] {
            return Some(at);
        }
        at += 9 + len;
    }
    assert_eq!(at, sent.len(), "the output ends inside a frame");
    None
}

fn limits() -> Rc<Limits> {
    let (head_bytes_max, head_fields_max) = (600, 12);
    Rc::new(Limits {
        body_bytes_max: BODY_BYTES_MAX,
        head_bytes_max,
        head_fields_max,
        ..Limits::default()
    })
}

fn alike<M: Machine>(data: &[u8], machine: impl Fn() -> M) {
    let (cuts, input) = cuts(data);
    same(input, output(&cut(cuts, input), machine()), output(&[input], machine()));
}

/// Output, and the end of the connection.
type Output = (Vec<u8>, Option<WireError>);

fn same(input: &[u8], got: Output, want: Output) {
    assert!(got == want, "{}\n is not what it is in one piece, \n{}", show(&got), show(&want));
    let (sent, len) = (want.0.len(), input.len());
    assert!(sent < 100 * len + 1000, "{sent} bytes in answer to {len}");
}

fn show((sent, error): &Output) -> String {
    format!("{} {error:?}", sent.escape_ascii())
}

fn output<M: Machine>(chunks: &[&[u8]], machine: M) -> Output {
    let mut driven = Driven::new(machine, true);
    chunks.iter().filter(|chunk| !chunk.is_empty()).for_each(|chunk| driven.feed(chunk));
    driven.end();
    (driven.sent, driven.error)
}
