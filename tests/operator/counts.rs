//! Each program counts what it serves, and shows it while it runs and at its end.

use nix::sys::signal::Signal;

use crate::grpc::{Grpc, framed, request};
use crate::program::Program;
use crate::rest::Rest;
use crate::scrape::{METRICS, address, await_count, await_value, scrape};
use crate::{NDECHO, TONIC_SERVER, URING_SERVER};

const HELD: &str = "ndecho_held_bytes";

const MESSAGE: &[u8] = br#"{"data": [1.5], "dtype": "<f8"}"#;

#[test]
fn a_server_with_grpc_and_rest_counts_both() {
    for program in [URING_SERVER, TONIC_SERVER] {
        let flags = [&["--grpc", "127.0.0.1:0", "--rest", "127.0.0.1:0"][..], &METRICS].concat();
        let Some(program) = Program::start_on_ring(program, &flags) else { continue };
        let (metrics, addresses) = (address(&program), program.addresses());
        let (grpc, rest) = (addresses[0], addresses[1]);
        let mut peer = Rest::connect(rest);
        for _ in 0..3 {
            assert_eq!(peer.post("/echo_json", MESSAGE).status, 200);
        }
        assert_eq!(peer.post("/echo_json", b"{").status, 400);
        assert_eq!(peer.post("/nowhere", MESSAGE).status, 404);
        let mut client = Grpc::connect(grpc);
        let reply = client.call(request("application/grpc+json"), &[&framed(MESSAGE)]);
        assert_eq!(reply.field("grpc-status"), "0", "{reply:?}");
        let reply = client.call(request("application/grpc+json"), &[&framed(b"{")]);
        assert_eq!(reply.field("grpc-status"), "3", "{reply:?}");
        await_count(metrics, "ndecho_requests_total{worker=\"0\"}", 6.0);
        let counts = scrape(metrics);
        for (name, expected) in [
            ("ndecho_refusals_total{code=\"400\"}", 1.0),
            ("ndecho_refusals_total{code=\"404\"}", 1.0),
            ("ndecho_refusals_total{code=\"INVALID_ARGUMENT\"}", 1.0),
            ("ndecho_refusals_total{code=\"413\"}", 0.0),
            ("ndecho_connections_accepted_total{worker=\"0\"}", 2.0),
            ("ndecho_limits_total{limit=\"message\"}", 0.0),
            ("ndecho_alarms_total{alarm=\"panicked\"}", 0.0),
        ] {
            assert_eq!(counts.get(name), Some(&expected), "{name}: {counts:#?}");
        }
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_cpu_seconds_total",
            "ndecho_loop_turns_total{worker=\"0\"}",
            "ndecho_loop_busy_seconds_total{worker=\"0\"}",
        ] {
            assert!(counts.get(name).is_some_and(|value| *value > 0.0), "{name}: {counts:#?}");
        }
    }
}

#[test]
fn limits_are_counted_while_the_connection_is_open() {
    for driver in ["tokio", "tokio-uring", "uring"] {
        for (protocol, reached) in [("h1", "head"), ("raw", "message"), ("h2", "message")] {
            let rung = format!("{driver}/{protocol}/reflect");
            let limits = ["serve", &rung, "--max-head", "1KiB", "--max-message", "1KiB"];
            let flags = [&limits[..], &METRICS].concat();
            let Some(program) = Program::start_on_ring(NDECHO, &flags) else { continue };
            let (metrics, server) = (address(&program), program.addresses()[0]);
            let mut open = Rest::connect(server);
            match protocol {
                "h1" => {
                    let field = "x".repeat(2000);
                    open.send(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {field}").as_bytes());
                    assert_eq!(open.reply().status, 431, "{rung}");
                }
                "raw" => open.send(&[0, 0, 8, 0, 7]),
                _ => {
                    let mut client = Grpc::connect(server);
                    let long = framed(&[0; 2000]);
                    let reply = client.call(request("application/grpc+reflect"), &[&long]);
                    assert_eq!(reply.field("grpc-status"), "8", "{rung}: {reply:?}");
                }
            }
            await_count(metrics, &format!("ndecho_limits_total{{limit=\"{reached}\"}}"), 1.0);
            let accepted = scrape(metrics)["ndecho_connections_accepted_total{worker=\"0\"}"];
            drop(open);
            await_count(metrics, "ndecho_connections_closed_total{worker=\"0\"}", accepted);
        }
    }
}

#[test]
fn the_memory_for_peers_is_shown_with_its_limit() {
    const MIB: usize = 1024 * 1024;
    for driver in ["tokio", "tokio-uring", "uring"] {
        let rung = format!("{driver}/h1/reflect");
        let flags = [&["serve", &rung, "--memory-budget", "16MiB"][..], &METRICS].concat();
        let Some(program) = Program::start_on_ring(NDECHO, &flags) else { continue };
        let metrics = address(&program);
        let held = |is_wanted: &dyn Fn(f64) -> bool| await_value(metrics, HELD, is_wanted);
        let calm = held(&|bytes| bytes < MIB as f64);
        let mut peer = Rest::connect(program.addresses()[0]);
        let head = "POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 4194304\r\n\r\n";
        peer.send(head.as_bytes());
        peer.send(&vec![7; 3 * MIB]);
        held(&|bytes| bytes >= calm + 3.0 * MIB as f64);
        peer.send(&vec![7; MIB]);
        assert_eq!(peer.reply().body.len(), 4 * MIB, "{rung}");
        drop(peer);
        // An eighth of the budget may stay in idle buffers.
        held(&|bytes| bytes <= calm + 2.0 * MIB as f64);
        let counts = scrape(metrics);
        assert_eq!(counts["ndecho_memory_budget_bytes"], 16.0 * MIB as f64, "{rung}");
        let peak = counts["ndecho_held_peak_bytes"];
        assert!((3.0..16.0).contains(&(peak / MIB as f64)), "{rung}: {peak}");
    }
}

#[test]
fn the_counts_are_printed_at_the_end() {
    let flags = ["serve", "tokio/h1/reflect", "--max-message", "1KiB"];
    let mut program = Program::start(NDECHO, &flags);
    let mut peer = Rest::connect(program.addresses()[0]);
    assert_eq!(peer.post("/nowhere", b"x").status, 404);
    peer.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 2000\r\n\r\n");
    assert_eq!(peer.reply().status, 413);
    drop(peer);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended(), 0);
    let said = program.complained();
    for line in [
        "refused requests: 404 1, 413 1\n",
        "limits that peers reached: message 1\n",
        "connections closed for a fault of the peer: 1\n",
    ] {
        assert!(said.contains(line), "{said:?}");
    }
}

#[test]
fn a_scrape_is_answered_beside_idle_and_wrong_ones() {
    let flags = [&["serve", "tokio/h1/reflect"][..], &METRICS].concat();
    let program = Program::start(NDECHO, &flags);
    let metrics = address(&program);
    let idle: Vec<Rest> = (0..20).map(|_| Rest::connect(metrics)).collect();
    for (head, status) in [
        ("GET / HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("HEAD /metrics HTTP/1.1", 200),
        ("GET /metrics", 400),
    ] {
        let mut peer = Rest::connect(metrics);
        peer.send(format!("{head}\r\nhost: a\r\n\r\n").as_bytes());
        let reply = peer.try_reply_head().expect("a reply");
        assert_eq!(reply.status, status, "{head}");
    }
    assert!(scrape(metrics).len() > 20);
    drop(idle);
}
