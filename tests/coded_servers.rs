//! Our servers answer a coded message in its coding, refuse what they cannot undo with the error of
//! the protocol, bound the inflated message, and stay in step afterwards.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ndecho::axis::{CODING_TOKENS, Coding, DataSet, Driver, Encoding, Family, Protocol};
use ndecho::coding::{deflate, inflate};
use ndecho::generated::NdArray;
use ndecho::generated::calculator_client::CalculatorClient;
use ndecho::load::{self, conformance};
use ndecho::record::trial_spec::{ArraySpec, Length, LoadSpec};
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;
use tonic::codec::CompressionEncoding;

#[path = "peers/grpc.rs"]
mod grpc;
#[path = "peers/rest.rs"]
mod rest;
#[path = "peers/ring.rs"]
mod ring;
#[path = "peers/server.rs"]
mod server;

use grpc::{Grpc, framed, request};
use rest::Rest;
use server::Running;

/// Largest message of the servers with a limit.
const LIMIT: usize = 200_000;

/// Sizes on both sides of the bound from which a message is a job.
const SIZES: [u64; 4] = [8, 4096, 100_000, 600_000];

fn compressions() -> impl Iterator<Item = Coding> {
    Coding::ALL.into_iter().filter(|coding| *coding != Coding::Identity)
}

fn serve(protocol: Protocol) -> Running {
    serve_with(protocol, LIMIT)
}

fn serve_with(protocol: Protocol, body_bytes_max: usize) -> Running {
    let limits = Limits { body_bytes_max, ..Limits::default() };
    server::start(Driver::Tokio, protocol, CodecSet::own(), limits).expect("epoll is there")
}

fn coded(coding: Coding, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    deflate(coding, 8, &[message], &mut out);
    out
}

fn plain(coding: Coding, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    inflate(coding, message, 1 << 24, &mut out, &mut |_| true).expect("a coded reply");
    out
}

/// Returns a message with its prefix and the flag of compression.
fn flagged(message: &[u8]) -> Vec<u8> {
    let mut framed = framed(message);
    framed[0] = 1;
    framed
}

fn call(coding: &str, accepted: &str) -> http::Request<()> {
    let mut request = request("application/grpc+reflect");
    for (name, value) in [("grpc-encoding", coding), ("grpc-accept-encoding", accepted)] {
        if !value.is_empty() {
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
    }
    request
}

fn post(coding: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!(
        "POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-encoding: {coding}\r\n{more}\
         content-length: {len}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn our_client_gets_every_coding_of_every_data_set_back() {
    for (family, protocol) in [(Family::Rest, Protocol::H1), (Family::Grpc, Protocol::H2)] {
        for driver in [Driver::Tokio, Driver::Uring] {
            if driver == Driver::Uring && ring::is_missing() {
                continue;
            }
            let running = server::start(driver, protocol, CodecSet::own(), Limits::default());
            let running = running.expect("the driver is there");
            let url = format!("{}://{}", family.scheme(), running.address());
            let base = LoadSpec {
                connections: 2,
                in_flight: 2,
                warmup: Length::Requests(0),
                window: Length::Requests(6),
                ..LoadSpec::new(url.parse().expect("a URL"), Encoding::Npy)
            };
            for coding in Coding::ALL {
                for name in DataSet::ALL {
                    for bytes in SIZES {
                        let array = ArraySpec::DataSet { name, bytes, seed: 1 };
                        let spec = LoadSpec { coding, array, ..base.clone() };
                        let measured = load::run(&spec);
                        let case = format!("{driver}/{protocol} {coding} {name} {bytes}");
                        let measured = measured.unwrap_or_else(|error| panic!("{case}: {error}"));
                        assert_eq!(measured.requests, 6, "{case}");
                        let plain = 12 * bytes;
                        let fits = measured.bytes_in + measured.bytes_out < plain * 8 / 10;
                        let shrinks = coding == Coding::ShuffleZstd && name == DataSet::Smooth;
                        assert!(fits || !shrinks || bytes < 100_000, "{case}: {measured:?}");
                    }
                }
                let spec = LoadSpec {
                    coding,
                    encoding: Encoding::Json,
                    array: ArraySpec::Conformance { seed: 1, body_bytes_max: None },
                    connections: 1,
                    in_flight: 1,
                    window: Length::Requests(conformance::ARRAYS as u64),
                    ..base.clone()
                };
                load::run(&spec).unwrap_or_else(|error| panic!("{protocol} {coding}: {error}"));
            }
            assert_eq!(running.stop().peer_faults, 0);
        }
    }
}

#[test]
fn a_load_refuses_a_reply_without_its_coding_and_a_target_without_codings() {
    let raw = LoadSpec::new("raw://127.0.0.1:1".parse().expect("a URL"), Encoding::Npy);
    let error = LoadSpec { coding: Coding::Gzip, ..raw }.check().unwrap_err().to_string();
    assert!(error.contains("--coding gzip needs grpc:// or http://"), "{error}");
    let running = server::start(Driver::Tokio, Protocol::Hyper, CodecSet::own(), Limits::default());
    let running = running.expect("epoll is there");
    let url = format!("http://{}", running.address()).parse().expect("a URL");
    let spec = LoadSpec { coding: Coding::Lz4, ..LoadSpec::new(url, Encoding::Npy) };
    let error = load::run(&spec).unwrap_err().to_string();
    assert!(error.contains("415") && error.contains("content codings"), "{error}");
    running.stop();
}

#[test]
fn grpc_answers_in_the_coding_if_it_is_accepted_and_the_flag_is_set() {
    let running = serve(Protocol::H2);
    let mut peer = Grpc::connect(running.address());
    let message = b"0123456789".repeat(1000);
    for coding in compressions() {
        let (token, body) = (coding.token(), coded(coding, &message));
        for pieces in [&[&flagged(&body)[..]][..], &[&flagged(&body)[..7], &flagged(&body)[7..]]] {
            let reply = peer.call(call(token, token), pieces);
            assert_eq!((reply.field("grpc-status"), reply.field("grpc-encoding")), ("0", token));
            assert_eq!(reply.body[0], 1);
            assert_eq!(plain(coding, &reply.body[5..]), message, "{coding}");
        }
        for (accepted, sent) in [("", flagged(&body)), ("identity", flagged(&body))] {
            let reply = peer.call(call(token, accepted), &[&sent]);
            assert_eq!(reply.field("grpc-encoding"), "", "{coding}");
            assert_eq!((reply.body[0], &reply.body[5..]), (0, &message[..]));
        }
        // A coding that is named but not used.
        let reply = peer.call(call(token, token), &[&framed(&message)]);
        assert_eq!((reply.field("grpc-status"), reply.body[0]), ("0", 0), "{coding}");
        assert_eq!(&reply.body[5..], message);
    }
    let reply = Grpc::connect(running.address()).call(call("", ""), &[&framed(b"x")]);
    assert_eq!(reply.field("grpc-accept-encoding"), CODING_TOKENS);
    running.stop();
}

#[test]
fn grpc_refuses_as_the_specification_has_it_and_stays_in_step() {
    let running = serve(Protocol::H2);
    let mut peer = Grpc::connect(running.address());
    let gzip = coded(Coding::Gzip, &b"some text ".repeat(100));
    let mut damaged = gzip.clone();
    damaged[12] ^= 0xFF;
    let mut bombs = Vec::new();
    for coding in compressions() {
        bombs.push((coding.token(), coded(coding, &vec![0; LIMIT + 1]), "8"));
        bombs.push((coding.token(), coded(coding, &vec![0; 100 * LIMIT]), "8"));
    }
    let cases = [
        ("deflate", gzip.clone(), "12"),
        ("br", gzip.clone(), "12"),
        ("", gzip.clone(), "13"),
        ("identity", gzip.clone(), "13"),
        ("gzip", gzip[..gzip.len() - 3].to_vec(), "13"),
        ("gzip", damaged, "13"),
        ("gzip", Vec::new(), "13"),
        ("zstd", gzip.clone(), "13"),
        ("x-shuffle-zstd", gzip.clone(), "13"),
    ];
    for (coding, body, status) in cases.into_iter().chain(bombs) {
        let case = format!("{coding} {} B", body.len());
        let reply = peer.call(call(coding, "gzip"), &[&flagged(&body)]);
        assert_eq!(reply.field("grpc-status"), status, "{case}: {reply:?}");
        match status {
            "12" => assert_eq!(reply.field("grpc-accept-encoding"), CODING_TOKENS, "{case}"),
            "8" => assert!(reply.field("grpc-message").contains("200000 bytes"), "{case}"),
            _ => {}
        }
        let good = peer.call(call("gzip", "gzip"), &[&flagged(&gzip)]);
        assert_eq!(good.field("grpc-status"), "0", "after {case}");
    }
    running.stop();
}

#[test]
fn http_answers_in_the_coding_if_it_is_accepted() {
    let running = serve(Protocol::H1);
    let mut peer = Rest::connect(running.address());
    let message = b"0123456789".repeat(1000);
    for coding in compressions() {
        let (token, body) = (coding.token(), coded(coding, &message));
        let accepted = format!("accept-encoding: br, {token};q=0.5\r\n");
        for more in ["", &accepted] {
            peer.send(&post(token, more, &body));
            let reply = peer.reply();
            assert_eq!((reply.status, reply.field("content-encoding")), (200, Some(token)));
            assert_eq!(plain(coding, &reply.body), message, "{coding}");
        }
        for more in ["accept-encoding: br\r\n", &format!("accept-encoding: {token};q=0\r\n")] {
            peer.send(&post(token, more, &body));
            let reply = peer.reply();
            assert_eq!((reply.status, reply.field("content-encoding")), (200, None), "{more}");
            assert_eq!(reply.body, message);
        }
        let mine = format!("accept-encoding: {token}\r\n");
        let two_lines = [
            format!("{mine}host2: b\r\naccept-encoding: br\r\n"),
            format!("accept-encoding: br\r\nx-accept-encoding: br\r\n{mine}"),
        ];
        for more in two_lines {
            peer.send(&post(token, &more, &body));
            assert_eq!(peer.reply().field("content-encoding"), Some(token), "{more}");
        }
        // The second request is there before the first is answered.
        peer.send(&[post(token, "", &body), post("identity", "", b"next")].concat());
        assert_eq!(plain(coding, &peer.reply().body), message);
        assert_eq!(peer.reply().body, b"next");
    }
    peer.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi");
    let reply = peer.reply();
    assert_eq!((reply.field("content-encoding"), &reply.body[..]), (None, &b"hi"[..]));
    running.stop();
}

#[test]
fn http_refuses_unknown_codings_damage_and_bombs_and_stays_in_step() {
    let running = serve(Protocol::H1);
    let mut peer = Rest::connect(running.address());
    let gzip = coded(Coding::Gzip, &b"some text ".repeat(100));
    for coding in ["br", "gzip, gzip", "deflate", "x"] {
        peer.send(&post(coding, "", &gzip));
        let reply = peer.reply();
        let accepted = reply.field("accept-encoding");
        assert_eq!((reply.status, accepted), (415, Some(CODING_TOKENS)), "{coding}");
    }
    peer.send(&post("gzip", "content-encoding: zstd\r\n", &gzip));
    assert_eq!(peer.reply().status, 415);
    for (coding, body) in [("gzip", &gzip[..30]), ("zstd", &gzip[..]), ("x-lz4", b"")] {
        peer.send(&post(coding, "", body));
        assert_eq!(peer.reply().status, 400, "{coding}");
    }
    for coding in compressions() {
        for bytes in [LIMIT + 1, 100 * LIMIT] {
            peer.send(&post(coding.token(), "", &coded(coding, &vec![0; bytes])));
            let reply = peer.reply();
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert_eq!(reply.status, 413, "{coding} {bytes}: {text}");
            assert!(text.contains("limit of 200000 bytes"), "{text}");
        }
    }
    peer.send(&post("gzip", "", &gzip));
    assert_eq!(plain(Coding::Gzip, &peer.reply().body), b"some text ".repeat(100));
    running.stop();
}

#[test]
fn the_client_of_tonic_gets_its_compressed_messages_back() {
    let running = serve_with(Protocol::H2, 1 << 24);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
            let url = format!("http://{}", running.address());
            let client = CalculatorClient::connect(url).await.expect("it listens");
            let mut client = client.send_compressed(encoding).accept_compressed(encoding);
            for items in [0_u64, 1, 500, 60_000] {
                let buffer: Vec<u8> = (0..items * 8).map(|byte| (byte / 9) as u8).collect();
                let sent = NdArray { buffer, dtype: "<f8".to_owned(), shape: vec![items] };
                let reply = client.echo(sent.clone()).await.expect("an echo");
                let named = reply.metadata().get("grpc-encoding").cloned();
                assert!(named.is_some(), "the reply is compressed");
                assert_eq!(reply.into_inner(), sent);
            }
        }
    });
    running.stop();
}

#[test]
fn curl_reads_a_compressed_reply() {
    let running = serve(Protocol::H1);
    let message = b"0123456789".repeat(3000);
    let url = format!("http://{}/echo_reflect", running.address());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--compressed", "--data-binary", "@-"]);
    curl.args(["--header", "Content-Encoding: gzip", &url]);
    let child = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("left out: curl: {error}");
            running.stop();
            return;
        }
    };
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(&coded(Coding::Gzip, &message)).expect("curl reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("curl ends");
    assert!(output.status.success() && output.stdout == message, "{:?}", output.status);
    running.stop();
}
