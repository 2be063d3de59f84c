//! Lines on stderr that an operator should see.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::program::Program;
use crate::rest::Rest;
use crate::scrape::{METRICS, address, await_count, scrape};
use crate::{NDECHO, TONIC_SERVER, URING_SERVER};

const DRIVERS: [&str; 3] = ["tokio", "tokio-uring", "uring"];

fn serve(rung: &str, flags: &[&str]) -> Option<Program> {
    Program::start_on_ring(NDECHO, &[&["serve", rung], flags, &METRICS].concat())
}

#[test]
fn full_slots_are_told_and_counted() {
    for driver in DRIVERS {
        let rung = format!("{driver}/h1/reflect");
        let Some(mut program) = serve(&rung, &["--max-connections", "2"]) else { continue };
        let server = program.addresses()[0];
        let mut inside: Vec<Rest> = (0..2).map(|_| Rest::connect(server)).collect();
        for peer in &mut inside {
            assert_eq!(peer.post("/echo_reflect", b"x").status, 200, "{rung}");
        }
        await_count(address(&program), "ndecho_alarms_total{alarm=\"connections_full\"}", 1.0);
        drop(inside);
        program.signal(Signal::SIGTERM);
        assert_eq!(program.ended(), 0, "{rung}");
        let said = program.complained();
        assert!(said.contains("all connections of a worker were in use"), "{rung}: {said}");
    }
}

#[test]
fn a_lack_of_descriptors_is_told_once_and_heals() {
    const DESCRIPTORS: u32 = 40;
    for driver in DRIVERS {
        let rung = format!("{driver}/h1/reflect");
        let limited =
            format!("ulimit -n {DESCRIPTORS}; exec {NDECHO} serve {rung} {}", METRICS.join(" "));
        let Some(mut program) = Program::start_on_ring("sh", &["-c", &limited]) else { continue };
        let (server, metrics) = (program.addresses()[0], address(&program));
        let mut peers: Vec<Rest> = (0..2 * DESCRIPTORS).map(|_| Rest::connect(server)).collect();
        std::thread::sleep(Duration::from_millis(500));
        // The listener of the counts has no descriptor left either.
        peers.drain(DESCRIPTORS as usize..);
        peers.truncate(10);
        let mut late = Rest::connect(server);
        assert_eq!(late.post("/echo_reflect", b"x").body, b"x", "{rung}");
        let failed = scrape(metrics)["ndecho_alarms_total{alarm=\"accept_failed\"}"];
        assert!(failed >= 1.0, "{rung}");
        drop((peers, late));
        program.signal(Signal::SIGTERM);
        assert_eq!(program.ended(), 0, "{rung}");
        let said = program.complained();
        let lines = said.lines().filter(|line| line.contains("could not be accepted")).count();
        assert!((1..=2).contains(&lines), "{rung}: one in ten seconds, one at the end: {said}");
    }
}

#[test]
fn a_drain_that_is_cut_off_is_told() {
    for driver in DRIVERS {
        let rung = format!("{driver}/h1/reflect");
        let flags = ["--drain-timeout", "200ms"];
        let Some(mut program) = serve(&rung, &flags) else { continue };
        let server = program.addresses()[0];
        let mut open = Rest::connect(server);
        open.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
        assert_eq!(Rest::connect(server).post("/echo_reflect", b"x").status, 200);
        program.signal(Signal::SIGTERM);
        assert_eq!(program.ended(), 0, "{rung}");
        let said = program.complained();
        assert!(said.contains("the shutdown cut requests off"), "{rung}: {said}");
    }
}

#[test]
fn a_bind_beyond_loopback_warns_and_one_on_loopback_does_not() {
    for program in [URING_SERVER, TONIC_SERVER] {
        for (grpc, warns) in [("0.0.0.0:0", true), ("[::]:0", true), ("127.0.0.1:0", false)] {
            let flags = ["--grpc", grpc, "--rest", "127.0.0.1:0"];
            let Some(mut program) = Program::start_on_ring(program, &flags) else { continue };
            program.signal(Signal::SIGTERM);
            assert_eq!(program.ended(), 0);
            let said = program.complained();
            assert_eq!(said.contains("warning: other machines may reach"), warns, "{said}");
        }
    }
}

#[test]
fn a_taken_address_of_the_counts_ends_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let mut command = Command::new(NDECHO);
    command.args(["serve", "tokio/h1/reflect", "--metrics", &address]).stdin(Stdio::null());
    let begun = Instant::now();
    let output = command.output().expect("the program is built");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && begun.elapsed() < Duration::from_secs(60), "{said}");
}
