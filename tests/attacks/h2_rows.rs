//! Attacks on HTTP/2 and gRPC.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, call_block, call_head, frame,
};
use crate::grpc::{Grpc, framed, request};
use crate::h1_rows::json;
use crate::peer::{Attacker, STEP, Said, connect, drain, named, reset, trickle};
use crate::server::{Running, Speaks};
use crate::table::{Row, Size};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PRIORITY: u8 = 2;
const PADDED: u8 = 8;
const UNKNOWN: u8 = 0x42;

const fn row(name: &'static str, attack: fn(&Running, Size) -> String) -> Row {
    Row::new(name, Speaks::Http2, attack)
}

/// Setting of an initial window that takes no byte.
const NO_WINDOW: [(u16, u32); 1] = [(4, 0)];

const CALM: &[&str] = &["GOAWAY 11"];
const SERVED: &[&str] = &["served on"];

/// A reset of ours is counted as one and as a frame that waits unread.
const RESETS: &[&str] = &["resets", "control_frames"];

pub(crate) const ROWS: &[Row] = &[
    row("rapid reset", rapid_reset).answered(CALM).counted(&["resets"]),
    row("made you reset: WINDOW_UPDATE 0", updates_of_zero).answered(CALM).counted(RESETS),
    row("made you reset: window overflow", overflows).answered(CALM).counted(RESETS),
    row("made you reset: HEADERS again", heads_again).answered(CALM).counted(RESETS),
    row("made you reset: DATA again", data_again).answered(&["GOAWAY 5", "GOAWAY 11"]),
    row("made you reset: PRIORITY of 4 bytes", short_priorities).answered(CALM).counted(RESETS),
    row("CONTINUATION flood", continuations).answered(CALM).counted(&["header_block"]),
    row("CONTINUATION of indices only", indices).answered(CALM).counted(&["header_block"]),
    row("HPACK bomb", hpack_bomb).answered(CALM).counted(&["header_block"]),
    row("HPACK integer without an end", endless_integer).answered(&["GOAWAY 9"]),
    row("HPACK string over its block", long_string).answered(&["GOAWAY 9"]),
    row("fields without a name", nameless).answered(&[
        "GOAWAY 1",
        "GOAWAY 11",
        "status",
        "RST_STREAM",
    ]),
    row("PING flood, nothing read", pings).answered(&["closed"]).for_borrowed(),
    row("SETTINGS flood, nothing read", settings).answered(&["closed"]).for_borrowed(),
    row("SETTINGS that move 1000 windows", moved_windows)
        .answered(CALM)
        .counted(&["window_changes"]),
    row("empty DATA", empty_data).answered(CALM).counted(&["small_data"]),
    row("DATA of one byte", tiny_data).answered(CALM).counted(&["small_data"]),
    row("DATA of padding only", padding_only).answered(CALM).counted(&["small_data"]),
    row("PRIORITY flood", priorities).answered(SERVED),
    row("WINDOW_UPDATE flood", updates).answered(SERVED),
    row("flood of unknown frames", unknown).answered(SERVED),
    row("windows over 2^31-1", huge_windows).answered(&["GOAWAY 3"]),
    row("windows below zero", negative_windows).answered(SERVED),
    row("update of an idle stream", idle_update).answered(&["GOAWAY 1"]),
    row("window that never opens", closed_window)
        .answered(&["RST_STREAM 8"])
        .counted(&["window_time"]),
    row("window that opens by the byte", trickled_window)
        .answered(&["RST_STREAM 8"])
        .counted(&["window_time"]),
    row("replies that nobody reads", unread).answered(&["closed"]).holding(64),
    row("preface that stalls", slow_preface)
        .answered(&["ended"])
        .counted(&["head_time"])
        .for_borrowed(),
    row("slow header block", slow_block)
        .answered(&["ended"])
        .counted(&["head_time"])
        .for_borrowed(),
    row("slow frame of an unknown kind", slow_unknown).answered(&["ended"]).counted(&["idle_time"]),
    row("slow message", slow_message).answered(&["status 4"]).counted(&["message_time"]),
    row("20,000 announced messages", announced).answered(SERVED).holding(64),
    row("message over the limit", over_the_limit).answered(&["status 8"]).counted(&["message"]),
    row("unknown method, body follows", unknown_method).answered(&["status 12"]),
    row("messages that are no arrays", bombs).answered(&["0 taken"]),
    row("unknown method with odd bytes", odd_method).answered(&["status 12"]),
    row("compressed message", compressed).answered(&["status 13", "status 12"]),
    row("compressed message, unknown coding", unknown_coding).answered(&["status 12"]),
    row("descriptors run out", descriptors)
        .answered(&["served after: 0"])
        .counted(&["accept_failed"])
        .with_descriptors(60),
    row("resets in odd states", churn).answered(&["no descriptor lost"]),
    row("one JSON list of 190 MiB", long_json)
        .answered(&["status 0"])
        .holding(1600)
        .within(Duration::from_millis(50))
        .patient(),
];

fn stream(at: u32) -> u32 {
    2 * at + 1
}

fn flood(server: &Running, count: usize, piece: impl Fn(u32) -> Vec<u8>) -> String {
    Attacker::connect(server.address, &[]).flood(count, piece)
}

fn update(id: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, id, &more.to_be_bytes())
}

fn rapid_reset(server: &Running, _: Size) -> String {
    flood(server, 10_000, |at| {
        [call_head(stream(at)), frame(RST_STREAM, 0, stream(at), &8_u32.to_be_bytes())].concat()
    })
}

fn updates_of_zero(server: &Running, _: Size) -> String {
    flood(server, 10_000, |at| [call_head(stream(at)), update(stream(at), 0)].concat())
}

fn overflows(server: &Running, _: Size) -> String {
    flood(server, 10_000, |at| {
        let most = update(stream(at), i32::MAX as u32);
        [call_head(stream(at)), most.clone(), most].concat()
    })
}

fn heads_again(server: &Running, _: Size) -> String {
    flood(server, 10_000, |at| call_head(stream(at)).repeat(2))
}

/// Sends content behind the end of a call that the server may have answered.
fn data_again(server: &Running, _: Size) -> String {
    flood(server, 10_000, |at| {
        let message = frame(DATA, END_STREAM, stream(at), &framed(b"x"));
        [call_head(stream(at)), message.repeat(2)].concat()
    })
}

fn short_priorities(server: &Running, _: Size) -> String {
    flood(server, 10_000, |at| {
        [call_head(stream(at)), frame(PRIORITY, 0, stream(at), &[0; 4])].concat()
    })
}

fn indices(server: &Running, _: Size) -> String {
    // Each byte stands for `:method GET`.
    flood(server, 10_000, |at| match at {
        0 => frame(HEADERS, 0, 1, &call_block()),
        _ => frame(CONTINUATION, 0, 1, &[0x82; 1000]),
    })
}

fn long_string(server: &Running, _: Size) -> String {
    flood(server, 1, |_| {
        // The value has 60 MiB, as it says.
        let block = [&call_block()[..], &[0x00, 1, b'x', 0x7F, 0x81, 0xFF, 0xFF, 0x1D, b'v']];
        frame(HEADERS, END_HEADERS, 1, &block.concat())
    })
}

fn continuations(server: &Running, _: Size) -> String {
    flood(server, 10_000, |at| match at {
        0 => frame(HEADERS, 0, 1, &call_block()),
        _ => frame(CONTINUATION, 0, 1, b""),
    })
}

fn hpack_bomb(server: &Running, size: Size) -> String {
    // One entry of some 3,900 bytes in the table, then only its index.
    let value = vec![b'v'; 3800];
    let entry = [&[0x40, 1, b'x', 0x7F, 0xD9, 0x1C][..], &value].concat();
    flood(server, size.scaled(1000), move |at| {
        let front = if at == 0 { entry.clone() } else { Vec::new() };
        let block = [call_block(), front, vec![0xBE; 10_000]].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, stream(at), &block)
    })
}

fn endless_integer(server: &Running, _: Size) -> String {
    flood(server, 1, |_| {
        let block = [&[0x7F][..], &[0xFF; 1000]].concat();
        frame(HEADERS, END_HEADERS, 1, &block)
    })
}

fn nameless(server: &Running, _: Size) -> String {
    let mut attacker = Attacker::connect(server.address, &[]);
    let block = [call_block(), [0x00, 0x00, 0x00].repeat(5000)].concat();
    attacker.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    attacker.end(|said| matches!(said, Said::Head(_) | Said::Reset(_)))
}

/// Writes pieces and reads nothing until the server has had enough.
fn unheard(
    server: &Running,
    count: u32,
    hello: &[(u16, u32)],
    piece: impl Fn(u32) -> Vec<u8>,
) -> String {
    let pairs = hello.iter();
    let pairs =
        pairs.flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let mut stream = connect(server.address);
    stream.set_write_timeout(Some(Duration::from_secs(6))).expect("a positive timeout");
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &pairs.collect::<Vec<u8>>())].concat();
    stream.write_all(&hello).expect("the server reads");
    let sent = (0..count).take_while(|at| stream.write_all(&piece(*at)).is_ok()).count();
    std::thread::sleep(Duration::from_secs(4));
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a positive timeout");
    drain(&mut stream);
    let is_closed = (0..10).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        stream.write_all(&frame(UNKNOWN, 0, 0, b"")).is_err()
    });
    format!("{} after {sent} pieces", if is_closed { "closed" } else { "open" })
}

fn pings(server: &Running, _: Size) -> String {
    unheard(server, 4000, &[], |_| frame(PING, 0, 0, b"pingpong").repeat(1000))
}

fn settings(server: &Running, _: Size) -> String {
    unheard(server, 4000, &[], |_| frame(SETTINGS, 0, 0, b"").repeat(1000))
}

/// Changes the initial window again and again while a thousand calls are open.
fn moved_windows(server: &Running, size: Size) -> String {
    const CALLS: u32 = 1000;
    flood(server, CALLS as usize + size.scaled(200_000), |at| match at {
        0..CALLS => call_head(stream(at)),
        _ => frame(SETTINGS, 0, 0, &[&[0, 4, 0, 0, 0x80][..], &[(at % 2) as u8]].concat()),
    })
}

fn empty_data(server: &Running, _: Size) -> String {
    flood(server, 100_000, |at| match at {
        0 => call_head(1),
        _ => frame(DATA, 0, 1, b""),
    })
}

fn tiny_data(server: &Running, _: Size) -> String {
    let message = framed(&[7; 100_000]);
    flood(server, 100_000, |at| match at {
        0 => call_head(1),
        _ => frame(DATA, 0, 1, &message[at as usize - 1..][..1]),
    })
}

fn padding_only(server: &Running, _: Size) -> String {
    flood(server, 10_000, |at| match at {
        0 => call_head(1),
        _ => frame(DATA, PADDED, 1, &[&[10][..], &[0; 10]].concat()),
    })
}

fn priorities(server: &Running, size: Size) -> String {
    flood(server, size.scaled(200_000), |at| {
        frame(PRIORITY, 0, stream(at % 1000), &[0, 0, 0, 0, 7])
    })
}

fn updates(server: &Running, size: Size) -> String {
    flood(server, size.scaled(200_000), |_| update(0, 1))
}

fn unknown(server: &Running, size: Size) -> String {
    flood(server, size.scaled(200_000), |at| frame(UNKNOWN, 0xFF, at, b"what?"))
}

fn huge_windows(server: &Running, _: Size) -> String {
    flood(server, 2, |_| update(0, i32::MAX as u32))
}

/// Takes the window of replies away that wait for it, and gives it back.
fn negative_windows(server: &Running, _: Size) -> String {
    let initial = |value: u32| frame(SETTINGS, 0, 0, &[&[0, 4][..], &value.to_be_bytes()].concat());
    flood(server, 400, |at| match at % 4 {
        0 => [initial(1000), call(stream(at), 5000)].concat(),
        1 => initial(0),
        2 => update(stream(at - 2), 500),
        _ => frame(RST_STREAM, 0, stream(at - 3), &8_u32.to_be_bytes()),
    })
}

fn idle_update(server: &Running, _: Size) -> String {
    flood(server, 1, |_| update(101, 1))
}

/// Returns a call with content of this length, in frames of the usual size.
fn call(id: u32, len: usize) -> Vec<u8> {
    let content = framed(&vec![7; len]);
    let mut bytes = call_head(id);
    for piece in content.chunks(16_384) {
        bytes.extend(frame(DATA, 0, id, piece));
    }
    bytes.extend(frame(DATA, END_STREAM, id, b""));
    bytes
}

fn closed_window(server: &Running, _: Size) -> String {
    let mut attacker = Attacker::connect(server.address, &NO_WINDOW);
    for at in 0..20 {
        attacker.send(&call(stream(at), 10_000));
    }
    attacker.end(|said| matches!(said, Said::Reset(_)))
}

/// Opens the window of a reply by one byte each step.
fn trickled_window(server: &Running, _: Size) -> String {
    let mut attacker = Attacker::connect(server.address, &NO_WINDOW);
    attacker.send(&call(1, 10_000));
    for _ in 0..400 {
        std::thread::sleep(STEP);
        attacker.send(&update(1, 1));
        match attacker.said_now() {
            None | Some(Said::Head(_)) => {}
            Some(said) => return named(&said),
        }
    }
    "open".to_owned()
}

fn unread(server: &Running, _: Size) -> String {
    const WIDE: [(u16, u32); 1] = [(4, i32::MAX as u32)];
    let widened = update(0, i32::MAX as u32 - 65_535);
    // The buffers of two sockets take some MiB before the server has to wait.
    unheard(server, 400, &WIDE, |at| match at {
        0 => widened.clone(),
        _ => call(stream(at), 60_000),
    })
}

/// Trickles `byte` behind `begin`, on many connections.
fn trickled(server: &Running, size: Size, begin: &[u8], byte: &[u8]) -> String {
    let open = |_| {
        let mut stream = connect(server.address);
        stream.write_all(begin).expect("the server reads");
        // The hello of the server; the trickle waits for the next bytes.
        std::thread::sleep(Duration::from_millis(20));
        let mut hello = [0; 4096];
        let _ = std::io::Read::read(&mut stream, &mut hello);
        stream
    };
    let streams: Vec<TcpStream> = (0..size.scaled(100)).map(open).collect();
    let asked = streams.len();
    let ended = trickle(streams, byte).len();
    if ended == asked { format!("ended {asked}") } else { format!("{} open", asked - ended) }
}

fn slow_preface(server: &Running, size: Size) -> String {
    trickled(server, size, &PREFACE[..10], b"")
}

fn slow_block(server: &Running, size: Size) -> String {
    let block = frame(HEADERS, 0, 1, &call_block());
    let next = &frame(CONTINUATION, 0, 1, &[0; 1000])[..9];
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, b""), &block, next].concat();
    trickled(server, size, &begin, b"\0")
}

fn slow_unknown(server: &Running, size: Size) -> String {
    let next = &frame(UNKNOWN, 0, 0, &[0; 1000])[..9];
    trickled(server, size, &[PREFACE, &frame(SETTINGS, 0, 0, b""), next].concat(), b"\0")
}

fn slow_message(server: &Running, _: Size) -> String {
    let mut attacker = Attacker::connect(server.address, &[]);
    let head = &frame(DATA, 0, 1, &[0; 16_000])[..9];
    attacker.send(&[&call_head(1)[..], head, &framed(&[7; 100_000])[..100]].concat());
    for _ in 0..400 {
        std::thread::sleep(STEP);
        attacker.send(b"x");
        if let Some(said) = attacker.said_now() {
            return named(&said);
        }
    }
    "open".to_owned()
}

fn announced(server: &Running, size: Size) -> String {
    let prefix = [&[0][..], &100_000_u32.to_be_bytes(), b"x"].concat();
    let calls: Vec<u8> = (0..100)
        .flat_map(|at| [call_head(stream(at)), frame(DATA, 0, stream(at), &prefix)].concat())
        .collect();
    let ping = frame(PING, 0, 0, b"pingpong");
    let mut attackers: Vec<Attacker> = (0..size.scaled(200))
        .map(|_| {
            let mut attacker = Attacker::connect(server.address, &[]);
            attacker.send(&[&calls[..], &ping].concat());
            attacker
        })
        .collect();
    let answers = attackers.iter_mut().map(|attacker| attacker.end(|said| *said == Said::Pong));
    answers.last().expect("one at least")
}

fn one_answer(server: &Running, bytes: &[u8]) -> String {
    let mut attacker = Attacker::connect(server.address, &[]);
    attacker.send(bytes);
    attacker.end(|said| matches!(said, Said::Head(_) | Said::Reset(_)))
}

fn over_the_limit(server: &Running, _: Size) -> String {
    let prefix = [&[0][..], &(300_u32 << 20).to_be_bytes(), b"x"].concat();
    one_answer(server, &[call_head(1), frame(DATA, 0, 1, &prefix)].concat())
}

/// Returns the HEADERS of a call of the method at `path`, with more fields.
fn head_to(path: &[u8], more: &[u8]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (index, value) in [(0x04, path), (0x01, b"test")] {
        block.extend([&[index, value.len() as u8], value].concat());
    }
    block.extend([&[0x0F, 0x10, 16][..], b"application/grpc", more].concat());
    frame(HEADERS, END_HEADERS, 1, &block)
}

fn unknown_method(server: &Running, _: Size) -> String {
    let head = head_to(b"/Calculator/Nope", b"");
    one_answer(server, &[head, frame(DATA, 0, 1, &framed(&[7; 10_000]))].concat())
}

/// The status names the method, with bytes that a field may not have.
fn odd_method(server: &Running, _: Size) -> String {
    let head = head_to(b"/Calculator/N\xC3\xA4%\xFF\"", b"");
    one_answer(server, &[head, frame(DATA, END_STREAM, 1, &framed(b"x"))].concat())
}

fn unknown_coding(server: &Running, _: Size) -> String {
    let mut message = framed(b"x");
    message[0] = 1;
    let coding = [&[0x00, 13][..], b"grpc-encoding", &[2], b"br"].concat();
    let head = head_to(b"/Calculator/Echo", &coding);
    one_answer(server, &[head, frame(DATA, END_STREAM, 1, &message)].concat())
}

/// Sends messages that no codec takes, and counts those that one took.
fn bombs(server: &Running, size: Size) -> String {
    let cases: [(&str, Vec<u8>); 7] = [
        ("proto", vec![0x0B; size.scaled(1_000_000)]),
        ("proto", vec![0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("proto", vec![0xFF; 100]),
        ("proto", vec![0x0A, 1, 7, 0x12, 3, b'<', 0xFF, 0xFE, 0x1A, 1, 1]),
        ("msgpack", vec![0xC6, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("msgpack", vec![0x91; size.scaled(1_000_000)]),
        ("json", vec![b'['; size.scaled(1_000_000)]),
    ];
    let mut client = Grpc::connect(server.address);
    let mut taken = 0;
    for (subtype, message) in &cases {
        let asked = request(&format!("application/grpc+{subtype}"));
        let reply = client.call(asked, &[&framed(message)]);
        taken += usize::from(reply.field("grpc-status") == "0");
    }
    format!("{taken} taken of {}", cases.len())
}

fn compressed(server: &Running, _: Size) -> String {
    let mut message = framed(b"x");
    message[0] = 1;
    one_answer(server, &[call_head(1), frame(DATA, END_STREAM, 1, &message)].concat())
}

fn descriptors(server: &Running, _: Size) -> String {
    let open: Vec<TcpStream> = (0..200).map(|_| connect(server.address)).collect();
    std::thread::sleep(Duration::from_millis(500));
    drop(open);
    let mut late = Grpc::connect(server.address);
    let reply = late.call(request("application/grpc+reflect"), &[&framed(b"x")]);
    format!("served after: {}", reply.field("grpc-status"))
}

fn churn(server: &Running, size: Size) -> String {
    let folder = format!("/proc/{}/fd", server.program.child.id());
    let count = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
    let before = count();
    let whole = [PREFACE, &frame(SETTINGS, 0, 0, b""), &call(1, 10)].concat();
    for at in 0..size.scaled(5000) {
        let mut stream = connect(server.address);
        let _ = stream.write_all(&whole[..at % whole.len()]);
        reset(stream);
    }
    let is_back = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        count() <= before
    });
    if is_back { "no descriptor lost".to_owned() } else { format!("{} more", count() - before) }
}

fn long_json(server: &Running, size: Size) -> String {
    let mut client = Grpc::connect(server.address);
    let message = framed(&json(size));
    let reply = client.call(request("application/grpc+json"), &[&message]);
    format!("status {}", reply.field("grpc-status"))
}
