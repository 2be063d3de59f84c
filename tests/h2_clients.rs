//! Clients of other projects against own HTTP/2 on every driver: tonic with 1000 concurrent calls
//! and with 64 MiB, the h2 crate with the smallest and the largest windows and frames, and padding
//! from a plain socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use futures_util::future::join_all;
use h2::client::Builder;
use ndecho::array::{DType, NdArray, Shape};
use ndecho::axis::{Driver, Protocol};
use ndecho::generated::NdArray as Message;
use ndecho::generated::calculator_client::CalculatorClient;
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;
use tonic::transport::{Channel, Endpoint};

#[path = "peers/grpc.rs"]
mod grpc;
#[path = "peers/server.rs"]
mod server;

use grpc::{Grpc, framed, request};
use server::Running;

/// Smallest SETTINGS_MAX_FRAME_SIZE, which is also the default, and the largest.
const FRAME_SIZES: [u32; 2] = [16_384, 16_777_215];

/// Returns own HTTP/2 on each driver that works on this machine.
fn servers() -> impl Iterator<Item = Running> {
    Driver::ALL.into_iter().filter_map(|driver| {
        server::start(driver, Protocol::H2, CodecSet::own(), Limits::default())
    })
}

fn array(points: u64, seed: u64) -> Message {
    let array = NdArray::seeded(DType::F8, Shape::new(&[points]).unwrap(), seed).expect("it fits");
    Message { buffer: array.view().data().to_vec(), dtype: "<f8".to_owned(), shape: vec![points] }
}

/// Runs `work` with the client of tonic on `server`.
fn with_tonic(server: &Running, work: impl AsyncFnOnce(CalculatorClient<Channel>)) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{}", server.address()));
        let client = CalculatorClient::connect(endpoint.expect("a URI")).await.expect("it listens");
        let client = client.max_decoding_message_size(usize::MAX);
        let bounded = tokio::time::timeout(Duration::from_secs(120), work(client));
        bounded.await.expect("all of it in time");
    });
}

#[test]
fn tonic_makes_a_thousand_calls_at_once() {
    for server in servers() {
        with_tonic(&server, async |client| {
            for points in [1, 256, 2048] {
                let calls = (0..1000).map(|seed| {
                    let (mut client, sent) = (client.clone(), array(points, seed));
                    async move {
                        let reply = client.echo(sent.clone()).await.expect("status 0");
                        assert!(reply.into_inner() == sent, "{points} points: the reply differs");
                    }
                });
                join_all(calls).await;
            }
        });
        assert_eq!(server.stop().peer_faults, 0);
    }
}

#[test]
fn tonic_sends_sixty_four_mebibytes() {
    for server in servers() {
        with_tonic(&server, async |mut client| {
            let sent = array(8 << 20, 1);
            let reply = client.echo(sent.clone()).await.expect("status 0");
            assert!(reply.into_inner() == sent, "the reply differs");
        });
        assert_eq!(server.stop().peer_faults, 0);
    }
}

#[test]
fn the_h2_crate_allows_one_byte_at_a_time() {
    for server in servers() {
        let mut peer = Grpc::connect_as(server.address(), Builder::new().initial_window_size(1));
        for len in [0, 1, 500] {
            let message = framed(&vec![7; len]);
            let reply = peer.call(request("application/grpc+reflect"), &[&message]);
            assert_eq!((reply.field("grpc-status"), &reply.body), ("0", &message));
        }
        drop(peer);
        server.stop();
    }
}

#[test]
fn the_h2_crate_takes_the_smallest_and_the_largest_frames() {
    let message = framed(&(0..40_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<u8>>());
    for server in servers() {
        for size in FRAME_SIZES {
            let mut builder = Builder::new();
            builder.max_frame_size(size).initial_window_size(1 << 30);
            let builder = builder.initial_connection_window_size(1 << 30);
            let mut peer = Grpc::connect_as(server.address(), builder);
            let reply = peer.call(request("application/grpc+reflect"), &[&message]);
            assert_eq!(reply.field("grpc-status"), "0", "frames of {size}");
            assert!(reply.body == message, "frames of {size}: the reply differs");
        }
        server.stop();
    }
}

#[test]
fn padded_frames_arrive_whole_however_long_they_are() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
    let message = framed(&body);
    for server in servers() {
        for content in [1000, 16_384, 200_000, 1_000_000] {
            for pad in [0, 255] {
                let frames = padded(&message, content, pad);
                let reply = converse(server.address(), &frames);
                assert!(reply == message, "{content} bytes padded by {pad}: the reply differs");
            }
        }
        assert_eq!(server.stop().peer_faults, 0);
    }
}

/// Returns a call on stream 1 whose DATA frames hold `content` bytes of `message` each and the
/// padding `pad`.
fn padded(message: &[u8], content: usize, pad: u8) -> Vec<Vec<u8>> {
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0x7F, 0xFF, 0xFF, 0xFF]);
    let mut call = vec![
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        settings,
        frame(WINDOW_UPDATE, 0, 0, &[0x40, 0, 0, 0]),
    ];
    let mut block = vec![0x83, 0x86];
    for (index, value) in [(0x04, "/Calculator/Echo"), (0x01, "test")] {
        block.extend([&[index, value.len() as u8], value.as_bytes()].concat());
    }
    block.extend([&[0x0F, 0x10, 24][..], b"application/grpc+reflect"].concat());
    call.push(frame(HEADERS, 0x4, 1, &block));
    for chunk in message.chunks(content) {
        let payload = [&[pad][..], chunk, &vec![0; usize::from(pad)]].concat();
        call.push(frame(DATA, 0x8, 1, &payload));
    }
    call.push(frame(DATA, END_STREAM, 1, b""));
    call
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends `call`, each frame once the server's window for the stream holds all of it, and returns
/// the content of the reply on stream 1.
fn converse(address: SocketAddr, call: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("positive");
    let mut window = 1 << 20;
    let mut frames = call.iter().peekable();
    let mut content = Vec::new();
    loop {
        let cost = |frame: &Vec<u8>| if frame[3] == DATA { frame.len() - 9 } else { 0 };
        if let Some(frame) = frames.next_if(|frame| cost(frame) <= window) {
            window -= cost(frame);
            stream.write_all(frame).expect("it reads");
            continue;
        }
        let mut head = [0; 9];
        stream.read_exact(&mut head).expect("a frame");
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).expect("all of it");
        match (head[3], head[8]) {
            (WINDOW_UPDATE, 1) => {
                window += u32::from_be_bytes(payload.try_into().expect("a word")) as usize;
            }
            (DATA, 1) => content.extend(payload),
            (HEADERS, 1) if head[4] & END_STREAM != 0 => return content,
            (RST_STREAM | GOAWAY, _) => panic!("it gave up: {payload:?}"),
            _ => {}
        }
    }
}
