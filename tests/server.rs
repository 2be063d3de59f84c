//! Server programs: flags, ready line, shutdown, and the replies to bad requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ndecho::array::{DType, NdArray, Shape};
use ndecho::axis::{Driver, Encoding, Family, Protocol, Shape as StackShape};
use ndecho::record::{DelayTotals, Measurement, ServerReport};
use ndecho::service::codecs::CodecSet;
use ndecho::wire::Limits;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

#[path = "peers/grpc.rs"]
mod grpc;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/rest.rs"]
mod rest;
#[path = "peers/server.rs"]
mod server;

use grpc::{Grpc, framed, request};
use program::Program;
use rest::Rest;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");
const TONIC_SERVER: &str = env!("CARGO_BIN_EXE_tonic-server");
const URING_SERVER: &str = env!("CARGO_BIN_EXE_uring-server");

fn outcome(program: &str, flags: &[&str]) -> (i32, String) {
    let Output { status, stderr, stdout } =
        Command::new(program).args(flags).output().expect("the program is built");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    (status.code().expect("no signal"), String::from_utf8_lossy(&stderr).into_owned())
}

const ANY_PORTS: [&str; 4] = ["--grpc", "127.0.0.1:0", "--rest", "127.0.0.1:0"];

#[test]
fn wrong_flags_are_usage_errors() {
    let cases: [(&[&str], &str); 8] = [
        (&["serve"], "RUNG"),
        (&["serve", "tokio/raw/reflect", "--colour"], "--colour"),
        (&["serve", "tokio/raw"], "driver/protocol/codec"),
        (&["serve", "tokio/h3/reflect"], "unknown protocol"),
        (&["serve", "uring/tonic/protobuf"], "tokio/tonic/protobuf"),
        (&["serve", "tokio/raw/reflect", "--cpu", "4-1"], "list of cores"),
        (&["serve", "tokio/raw/reflect", "--max-message", "64K"], "KiB"),
        (&["serve", "tokio/raw/reflect", "--workers", "0"], "--workers"),
    ];
    for (flags, expected) in cases {
        let (code, said) = outcome(NDECHO, flags);
        assert_eq!(code, 2, "{flags:?}: {said}");
        assert!(said.contains(expected), "{flags:?}: {said}");
    }
    let (code, said) = outcome(TONIC_SERVER, &["--workers", "9999"]);
    assert!(code == 2 && said.contains("--cpu"), "{said}");
    let (code, said) = outcome(TONIC_SERVER, &["--busy-poll", "50us"]);
    assert!(code == 2 && said.contains("uring"), "{said}");
    let (code, said) = outcome(URING_SERVER, &["--grpc-engine", "h3"]);
    assert!(code == 2 && said.contains("h2-crate"), "{said}");
}

#[test]
fn a_core_that_is_not_there_is_named() {
    let (code, said) = outcome(NDECHO, &["serve", "tokio/raw/reflect", "--cpu", "60000"]);
    assert!(code == 2 && said.contains("core 60000"), "{said}");
}

#[test]
fn a_server_gets_the_allocator_that_was_asked_for() {
    let environment = |flags: &[&str]| {
        let flags = [&["serve", "tokio/h1/reflect"], flags].concat();
        let mut program = Program::start(NDECHO, &flags);
        let path = format!("/proc/{}/environ", program.child.id());
        let environment = std::fs::read_to_string(path).expect("it runs");
        let reply = Rest::connect(program.addresses()[0]).post("/echo_reflect", b"some bytes");
        assert_eq!(reply.body, b"some bytes");
        program.signal(Signal::SIGTERM);
        assert_eq!(program.ended(), 0);
        environment
    };
    for (flags, variable) in [
        (&["--malloc", "mimalloc"][..], "NDECHO_MALLOC=mimalloc"),
        (&["--malloc", "keep"], "MALLOC_TOP_PAD_="),
    ] {
        assert!(environment(flags).contains(variable), "{flags:?}");
        assert!(!environment(&[]).contains(variable), "without a flag");
    }
    let (code, said) = outcome(NDECHO, &["serve", "tokio/h1/reflect", "--malloc", "jemalloc"]);
    assert!(code == 2 && said.contains("default, keep, mimalloc"), "{said}");
}

#[test]
fn a_taken_port_gives_advice() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, said) = outcome(NDECHO, &["serve", "tokio/h1/reflect", "--addr", &address]);
    assert_eq!(code, 1, "{said}");
    let [addresses, advice] = [&*address, "another port"].map(|it| said.matches(it).count());
    assert_eq!((addresses, advice), (1, 1), "{said}");
}

#[test]
fn a_server_prints_a_call_that_works() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [grpc, rest] = ["grpc", "rest"].map(|name| {
        let path = folder.path().join(name);
        format!("unix:{}", path.to_str().expect("UTF-8"))
    });
    let sockets = ["--grpc", &grpc, "--rest", &rest];
    let started = [
        Some(Program::start(TONIC_SERVER, &ANY_PORTS)),
        Program::start_on_ring(URING_SERVER, &ANY_PORTS),
        Program::start_on_ring(URING_SERVER, &sockets),
    ];
    for mut program in started.into_iter().flatten() {
        let mut said = String::new();
        let stderr = program.child.stderr.as_mut().expect("it is piped");
        BufReader::new(stderr).read_line(&mut said).expect("text");
        let call = said.strip_prefix("try: curl ").unwrap_or_else(|| panic!("{said:?}"));
        if Command::new("curl").arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "curl is needed in CI");
            continue;
        }
        let command = format!("curl --silent --show-error {call}");
        let output = Command::new("sh").args(["-c", &command]).output().expect("every machine");
        let reply: serde_json::Value = serde_json::from_slice(&output.stdout).expect(&command);
        assert_eq!(reply, serde_json::json!({"data": [1.5, 2.5], "dtype": "<f8"}));
    }
}

fn serves_until_told(mut program: Program, signal: Signal) {
    let (grpc, rest) = (program.addresses()[0], program.addresses()[1]);
    assert_eq!(Rest::connect(rest).post("/echo_reflect", b"some bytes").body, b"some bytes");
    let reply = Grpc::connect(grpc).call(request("application/grpc+reflect"), &[&framed(b"x")]);
    assert_eq!(reply.body, framed(b"x"));
    program.signal(signal);
    assert_eq!(program.ended(), 0);
    assert_eq!(program.printed(), "");
}

#[test]
fn the_ready_line_names_each_address_and_nothing_else_is_printed() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let program = Program::start(TONIC_SERVER, &ANY_PORTS);
        let [grpc, rest] = program.addresses()[..] else { panic!("{}", program.ready) };
        assert_eq!(program.ready, format!("ready grpc={grpc} rest={rest}"));
        serves_until_told(program, signal);
        let flags = [&ANY_PORTS[..], &["--raw", "127.0.0.1:0"]].concat();
        for more in [&[][..], &["--busy-poll", "20ms"]] {
            let flags = [&flags[..], more].concat();
            let Some(program) = Program::start_on_ring(URING_SERVER, &flags) else { continue };
            let [grpc, rest, raw] = program.addresses()[..] else { panic!("{}", program.ready) };
            assert_eq!(program.ready, format!("ready grpc={grpc} rest={rest} raw={raw}"));
            serves_until_told(program, signal);
        }
    }
}

#[test]
fn a_server_that_stays_awake_keeps_its_deadlines() {
    let flags = [&ANY_PORTS[..], &["--busy-poll", "10m", "--head-timeout", "50ms"]].concat();
    let Some(program) = Program::start_on_ring(URING_SERVER, &flags) else { return };
    let mut stream = TcpStream::connect(program.addresses()[1]).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("positive");
    stream.write_all(b"POST /echo_npy HT").expect("room");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("it hangs up in time");
}

#[test]
fn the_engine_of_grpc_is_chosen_and_own_by_default() {
    let first_frame = |flags: &[&str]| {
        let program = Program::start_on_ring(URING_SERVER, &[&ANY_PORTS[..], flags].concat())?;
        let mut stream = TcpStream::connect(program.addresses()[0]).expect("it listens");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("room");
        let mut head = [0; 9];
        stream.read_exact(&mut head).expect("SETTINGS");
        let mut settings = vec![0; usize::from(head[2])];
        stream.read_exact(&mut settings).expect("all of it");
        serves_until_told(program, Signal::SIGTERM);
        Some(settings)
    };
    let Some(default) = first_frame(&[]) else { return };
    let named = |engine| first_frame(&["--grpc-engine", engine]).expect("there is a ring");
    assert_eq!(default, named("h2"));
    assert_ne!(default, named("h2-crate"));
}

#[test]
fn a_thousand_idle_connections_cost_little() {
    let Some(program) = Program::start_on_ring(URING_SERVER, &ANY_PORTS) else { return };
    ndecho::server::raise_descriptor_limit().expect("a soft limit may be raised");
    let before = ndecho::probe::memory::rss_peak_bytes(program.child.id()).expect("it runs");
    let mut connections: Vec<Rest> =
        (0..1000).map(|_| Rest::connect(program.addresses()[1])).collect();
    for connection in &mut connections {
        assert_eq!(connection.post("/echo_reflect", b"some bytes").status, 200);
    }
    let after = ndecho::probe::memory::rss_peak_bytes(program.child.id()).expect("it runs");
    let grown = after - before;
    assert!(grown <= 16 << 20, "1000 connections took {} KiB", grown >> 10);
}

#[test]
fn a_thousand_idle_http2_connections_cost_little() {
    let Some(program) = Program::start_on_ring(URING_SERVER, &ANY_PORTS) else { return };
    ndecho::server::raise_descriptor_limit().expect("a soft limit may be raised");
    let mut block = vec![0x83, 0x86];
    for (index, value) in [(0x04, "/Calculator/Echo"), (0x01, "test")] {
        block.extend([&[index, value.len() as u8], value.as_bytes()].concat());
    }
    block.extend([&[0x0F, 0x10, 24][..], b"application/grpc+reflect"].concat());
    let message = framed(&[7; 100]);
    let mut dialogue = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for (kind, flags, payload) in [(1, 4, &block), (0, 1, &message)] {
        dialogue.extend([0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1]);
        dialogue.extend(payload);
    }
    let before = ndecho::probe::memory::rss_peak_bytes(program.child.id()).expect("it runs");
    let connections: Vec<TcpStream> = (0..1000)
        .map(|_| {
            let mut stream = TcpStream::connect(program.addresses()[0]).expect("it listens");
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("positive");
            stream.write_all(&dialogue).expect("room");
            let (mut said, mut piece) = (Vec::new(), [0; 1024]);
            while !said.ends_with(b"grpc-status\x010") {
                let got = stream.read(&mut piece).expect("an answer in time");
                assert_ne!(got, 0, "it hung up after {said:?}");
                said.extend_from_slice(&piece[..got]);
            }
            stream
        })
        .collect();
    let after = ndecho::probe::memory::rss_peak_bytes(program.child.id()).expect("it runs");
    let each = (after - before) / connections.len() as u64;
    assert!(each <= 16 << 10, "an idle connection takes {each} bytes");
}

#[test]
fn what_a_large_call_needed_is_given_back() {
    for rung in ["uring/h2/reflect", "uring/h2-crate/reflect", "tokio/hyper-h2/reflect"] {
        let Some(program) = Program::start_on_ring(NDECHO, &["serve", rung]) else { continue };
        let resident = || {
            let path = format!("/proc/{}/statm", program.child.id());
            let pages = std::fs::read_to_string(path).expect("it runs");
            pages.split(' ').nth(1).expect("a column").parse::<usize>().expect("pages") << 12
        };
        let mut peer = Grpc::connect(program.addresses()[0]);
        let message = framed(&vec![7; 32 << 20]);
        let reply = peer.call(request("application/grpc+reflect"), &[&message]);
        assert!(reply.body == message, "{rung}: the reply differs");
        let peak =
            ndecho::probe::memory::rss_peak_bytes(program.child.id()).expect("it runs") as usize;
        let late = Instant::now() + Duration::from_secs(20);
        while resident() + (24 << 20) > peak {
            assert!(Instant::now() < late, "{rung}: {} of {peak} bytes stay", resident());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn large_arrays_take_little_more_memory_than_their_bytes_in_flight() {
    const ARRAY: u64 = 64 << 20;
    const CONNECTIONS: u64 = 4;
    for (rung, scheme) in
        [("uring/h2/protobuf", "grpc"), ("uring/raw/protobuf", "raw"), ("uring/h1/npy", "http")]
    {
        let Some(program) = Program::start_on_ring(NDECHO, &["serve", rung]) else { continue };
        let codec = rung.rsplit('/').next().expect("a part");
        let url = format!("{scheme}://{}", program.addresses()[0]);
        let pid = program.child.id().to_string();
        let mut load = Command::new(NDECHO);
        load.args(["load", &url, "--codec", codec, "--size", "64MiB", "--json"]);
        load.args(["--connections", &CONNECTIONS.to_string(), "--server-pid", &pid]);
        load.args(["--warmup", "8", "--requests", "12"]);
        let output = load.output().expect("the program is built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{rung}: {said}");
        let measured: Measurement = serde_json::from_slice(&output.stdout).expect("a measurement");
        let peak = measured.server_rss_peak_bytes.expect("its pid was given");
        let most = ARRAY * CONNECTIONS * 3 / 2 + (16 << 20);
        assert!(peak <= most, "{rung}: {} of {} MiB", peak >> 20, most >> 20);
    }
}

#[test]
fn a_drain_finishes_what_is_open_and_reports() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = folder.path().join("report.json");
    let stacks =
        ["uring/h1", "uring/hyper", "tokio/h1", "tokio/hyper", "tokio-uring/h1", "tokio/axum"];
    for stack in stacks {
        let path = report.to_str().expect("UTF-8");
        let rung = format!("{stack}/reflect");
        let flags = ["serve", &rung, "--report", path];
        let Some(mut program) = Program::start_on_ring(NDECHO, &flags) else { continue };
        let address = program.addresses()[0];
        let mut open = Rest::connect(address);
        open.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello");
        // Answered after the head above has been read, so the signal finds an open request.
        assert_eq!(Rest::connect(address).post("/echo_reflect", b"x").status, 200);
        program.signal(Signal::SIGTERM);
        program.wait_until_it_refuses();
        open.send(b"world");
        let reply = open.reply();
        assert_eq!((reply.status, &reply.body[..]), (200, &b"helloworld"[..]), "{stack}");
        drop(open);
        let asked = Instant::now();
        assert_eq!(program.ended(), 0, "{stack}");
        assert!(asked.elapsed() < Duration::from_secs(3), "{stack} waits for nobody");
        let said = std::fs::read_to_string(&report).expect("a report was written");
        let said: ServerReport = serde_json::from_str(&said).expect("a report");
        assert!(said.accepted >= 2 && said.rss_peak_bytes > 0, "{said:?}");
        assert!(said.socket.expect("a connection was there").nodelay == Some(true));
    }
}

#[test]
fn a_known_cost_is_spent_on_every_message_and_accounted_for() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = folder.path().join("report.json");
    let rungs = [
        "uring/h1/reflect",
        "tokio/axum/reflect",
        "tokio/hyper/protobuf",
        "uring/h2/protobuf",
        "tokio/h2-crate/protobuf",
        "tokio/tonic/protobuf:prost",
        "tokio/tonic/protobuf",
    ];
    for rung in rungs {
        let path = report.to_str().expect("UTF-8");
        let flags = ["serve", rung, "--delay", "300us", "--report", path];
        let Some(mut program) = Program::start_on_ring(NDECHO, &flags) else { continue };
        let address = program.addresses()[0];
        let begun = Instant::now();
        for _ in 0..5 {
            match rung {
                _ if rung.ends_with("/reflect") => {
                    assert_eq!(Rest::connect(address).post("/echo_reflect", b"x").status, 200);
                }
                "tokio/hyper/protobuf" => {
                    let message = &good_message()[5..];
                    let reply = Rest::connect(address).post("/echo_protobuf", message);
                    assert_eq!(reply.status, 200);
                }
                _ => {
                    let mut peer = Grpc::connect(address);
                    let reply = peer.call(request("application/grpc"), &[&good_message()]);
                    assert_eq!(reply.field("grpc-status"), "0", "{rung}");
                }
            }
        }
        let took = begun.elapsed().as_nanos() as u64;
        program.signal(Signal::SIGTERM);
        assert_eq!(program.ended(), 0, "{rung}");
        let said = std::fs::read_to_string(&report).expect("a report was written");
        let said: ServerReport = serde_json::from_str(&said).expect("a report");
        let DelayTotals { messages, ns } = said.injected_delay.expect("an account");
        assert_eq!(messages, 5, "{rung}");
        assert!(ns > 5 * 270_000 && ns < took, "{rung}: {ns} of {took}");
    }
}

#[test]
fn limits_that_were_hit_are_reported_and_others_are_served_meanwhile() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = folder.path().join("report.json");
    let flags = [&ANY_PORTS[..], &["--report", report.to_str().expect("UTF-8")]].concat();
    let Some(mut program) = Program::start_on_ring(URING_SERVER, &flags) else { return };
    let mut honest = Grpc::connect(program.addresses()[0]);
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for id in (1..4000_u32).step_by(2) {
        // `:method POST`, `:scheme http`, `:path /`; then RST_STREAM CANCEL.
        flood.extend([&[0, 0, 3, 1, 4][..], &id.to_be_bytes(), &[0x83, 0x86, 0x84]].concat());
        flood.extend([&[0, 0, 4, 3, 0][..], &id.to_be_bytes(), &[0, 0, 0, 8]].concat());
    }
    for _ in 0..3 {
        let mut attacker = TcpStream::connect(program.addresses()[0]).expect("it listens");
        attacker.set_read_timeout(Some(Duration::from_secs(20))).expect("positive");
        attacker.write_all(&flood).expect("it lingers");
        let asked = Instant::now();
        let reply = honest.call(request("application/grpc+reflect"), &[&framed(b"x")]);
        assert_eq!(reply.body, framed(b"x"));
        assert!(asked.elapsed() < Duration::from_secs(1), "one connection slows another");
        let mut said = Vec::new();
        attacker.read_to_end(&mut said).expect("an end");
        let text = b"too many streams are reset";
        assert!(said.windows(text.len()).any(|at| at == text), "GOAWAY says why");
    }
    drop(honest);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended(), 0);
    let said = std::fs::read_to_string(&report).expect("a report was written");
    let said: ServerReport = serde_json::from_str(&said).expect("a report");
    assert_eq!(said.limits.into_iter().collect::<Vec<_>>(), [("resets".to_owned(), 3)]);
    let mut told = String::new();
    program.child.stderr.take().expect("it is piped").read_to_string(&mut told).expect("text");
    assert!(told.contains("resets 3"), "{told:?}");
}

#[test]
fn a_second_signal_ends_a_drain_that_hangs() {
    let mut program =
        Program::start(NDECHO, &["serve", "tokio/h1/reflect", "--drain-timeout", "60s"]);
    let mut open = Rest::connect(program.addresses()[0]);
    open.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello");
    assert_eq!(Rest::connect(program.addresses()[0]).post("/echo_reflect", b"x").status, 200);
    program.signal(Signal::SIGTERM);
    let late = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(program.addresses()[0]).is_ok() && Instant::now() < late {}
    assert!(
        program.child.try_wait().expect("our child").is_none(),
        "it waits for the open request"
    );
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended(), 143, "128 and the number of the signal");
}

/// Returns two allowed cores in the form of `--cpu`. With one core, prints a message and returns
/// `None`.
fn two_cores() -> Option<String> {
    let cores = nix::sched::sched_getaffinity(Pid::from_raw(0)).expect("a mask");
    let cores: Vec<usize> = (0..1024).filter(|core| cores.is_set(*core).unwrap_or(false)).collect();
    let [first, second, ..] = cores[..] else {
        eprintln!("left out: it needs two cores");
        return None;
    };
    Some(format!("{first},{second}"))
}

#[test]
fn two_workers_share_their_ports() {
    let Some(list) = two_cores() else { return };
    let program = Program::start(TONIC_SERVER, &[&ANY_PORTS[..], &["--cpu", &list]].concat());
    let address = program.addresses()[1];
    let mut connections: Vec<Rest> = (0..100).map(|_| Rest::connect(address)).collect();
    for connection in connections.iter_mut().chain(&mut [Rest::connect(address)]) {
        assert_eq!(connection.post("/echo_reflect", b"some bytes").body, b"some bytes");
    }
}

#[test]
fn what_two_workers_spend_is_one_account() {
    let Some(list) = two_cores() else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = folder.path().join("report.json");
    let mut flags = vec!["serve", "tokio/h1/reflect", "--cpu", &list, "--delay", "50us"];
    flags.extend(["--report", report.to_str().expect("UTF-8")]);
    let mut program = Program::start(NDECHO, &flags);
    let address = program.addresses()[0];
    let mut connections: Vec<Rest> = (0..40).map(|_| Rest::connect(address)).collect();
    for connection in &mut connections {
        assert_eq!(connection.post("/echo_reflect", b"x").status, 200);
    }
    drop(connections);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended(), 0);
    let said = std::fs::read_to_string(&report).expect("a report was written");
    let said: ServerReport = serde_json::from_str(&said).expect("a report");
    assert_eq!(said.injected_delay.map(|spun| spun.messages), Some(40));
}

/// Limits that a test reaches soon.
fn tight() -> Limits {
    Limits {
        body_bytes_max: 10_000,
        head_timeout: Duration::from_millis(200),
        body_gap_timeout: Duration::from_millis(200),
        ..Limits::default()
    }
}

#[test]
fn a_bad_rest_request_is_told_why_and_the_server_goes_on() {
    let long = "x".repeat(20_000);
    let cases = [
        (400, "POST /echo_npy HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc".to_owned()),
        (400, "nonsense\r\n\r\n".to_owned()),
        (404, "POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned()),
        (405, "GET /echo_npy HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        (408, "POST /echo_npy HTTP/1.1\r\nhos".to_owned()),
        (408, "POST /echo_npy HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\na".to_owned()),
        (411, "POST /echo_npy HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        (413, format!("POST /echo_npy HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\n\r\n{long}")),
        (414, format!("POST /{long} HTTP/1.1\r\nhost: a\r\n\r\n")),
        (415, "POST /echo_npy HTTP/1.1\r\nhost: a\r\ncontent-encoding: br\r\ncontent-length: 0\r\n\r\n".to_owned()),
        (431, format!("POST /echo_npy HTTP/1.1\r\nhost: a\r\nlong: {long}\r\n\r\n")),
        (501, "POST /echo_npy HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n".to_owned()),
        (505, "POST /echo_npy HTTP/2.0\r\nhost: a\r\n\r\n".to_owned()),
    ];
    // The own replies of a borrowed stack have no body, need a timer, or do not tell cases apart.
    let statuses = |protocol: Protocol| match protocol.spec().shape {
        StackShape::Machine => &[400, 404, 405, 408, 411, 413, 414, 415, 431, 501, 505][..],
        StackShape::Service => &[404, 405, 411, 413, 415],
        StackShape::Standalone { .. } => &[404, 405, 413],
    };
    for (protocol, statuses) in
        of_family(Family::Rest).map(|protocol| (protocol, statuses(protocol)))
    {
        let server =
            server::start(Driver::Tokio, protocol, CodecSet::own(), tight()).expect("tokio");
        for (status, bytes) in cases.iter().filter(|(status, _)| statuses.contains(status)) {
            let mut connection = Rest::connect(server.address());
            connection.send(bytes.as_bytes());
            let shown = &bytes[..bytes.len().min(60)];
            let reply = connection.try_reply();
            let reply = reply.unwrap_or_else(|error| panic!("{protocol}: {shown}: {error}"));
            assert_eq!(reply.status, *status, "{protocol}: {shown}");
            let text = String::from_utf8(reply.body.clone()).expect("text");
            assert!(text.trim_end().len() > 5 && text.trim_end().lines().count() == 1, "{text:?}");
            if *status == 405 {
                assert_eq!(reply.field("allow"), Some("POST"));
            }
        }
        assert_eq!(Rest::connect(server.address()).post("/echo_reflect", b"ok").body, b"ok");
        server.stop();
    }
}

#[test]
fn health_is_told() {
    for protocol in of_family(Family::Rest) {
        let server =
            server::start(Driver::Tokio, protocol, CodecSet::own(), tight()).expect("tokio");
        let mut connection = Rest::connect(server.address());
        connection.send(b"GET /healthz?deep=no HTTP/1.1\r\nhost: a\r\n\r\n");
        let reply = connection.reply();
        assert_eq!((reply.status, &reply.body[..]), (200, &b"ok\n"[..]), "{protocol}");
        server.stop();
    }
}

#[test]
fn health_is_told_to_grpc_probes() {
    for protocol in of_family(Family::Grpc).filter(|protocol| protocol.only_driver().is_none()) {
        let server =
            server::start(Driver::Tokio, protocol, CodecSet::own(), tight()).expect("tokio");
        let mut peer = Grpc::connect(server.address());
        let mut check = |service: &[u8]| {
            let mut probe = request("application/grpc");
            let path = "http://test/grpc.health.v1.Health/Check";
            *probe.uri_mut() = path.parse().expect("a URI");
            peer.call(probe, &[&framed(service)])
        };
        for known in [&b""[..], b"\x0a\x0aCalculator"] {
            let reply = check(known);
            assert_eq!(reply.field("grpc-status"), "0", "{protocol}");
            assert!(reply.field("content-type").starts_with("application/grpc"), "{protocol}");
            assert_eq!(reply.body, framed(&[8, 1]), "{protocol}: SERVING");
        }
        assert_eq!(check(b"\x0a\x05Other").field("grpc-status"), "5", "{protocol}");
        assert_eq!(check(b"\x0a\x05cut").field("grpc-status"), "3", "{protocol}");
        drop(peer);
        server.stop();
    }
}

/// Protocols of a family, all of which run on tokio.
fn of_family(family: Family) -> impl Iterator<Item = Protocol> {
    Protocol::ALL.into_iter().filter(move |protocol| protocol.family() == family)
}

fn good_message() -> Vec<u8> {
    let array = NdArray::seeded(DType::F8, Shape::new(&[3]).unwrap(), 1).expect("small");
    let (view, mut out) = (array.view(), Vec::new());
    let codecs = CodecSet::own();
    let codec = codecs.get(Encoding::Protobuf).expect("own");
    let encoded = codec.encode(&view, &mut out).expect("protobuf carries all");
    framed(&[&out[..encoded.head_len], encoded.payload, &out[encoded.head_len..]].concat())
}

#[test]
fn a_bad_grpc_call_gets_its_status_and_the_connection_goes_on() {
    let good = good_message();
    let object = framed(b"\x0a\x08\0\0\0\0\0\0\0\0\x12\x02|O\x1a\x01\x01");
    let short = framed(b"\x0a\x01\0\x12\x03<f8\x1a\x01\x01");
    let compressed = [&[1][..], &good[1..]].concat();
    let cases: [(&str, &str, Vec<&[u8]>); 10] = [
        ("3", "not a message", vec![b"\0\0\0\0\x01\xff"]),
        ("3", "|O", vec![&object]),
        ("3", "shape", vec![&short]),
        ("8", "", vec![b"\0\0\0\x27\x11"]),
        ("13", "", vec![]),
        ("13", "", vec![b""]),
        ("13", "", vec![&good[..good.len() - 1]]),
        ("13", "", vec![&good, &good]),
        ("13", "", vec![&compressed]),
        ("0", "", vec![&good[..2], &good[2..7], b"", &good[7..], b""]),
    ];
    for protocol in of_family(Family::Grpc) {
        let server =
            server::start(Driver::Tokio, protocol, CodecSet::own(), tight()).expect("tokio");
        let mut peer = Grpc::connect(server.address());
        for (status, text, pieces) in &cases {
            let reply = peer.call(request("application/grpc"), pieces);
            let (got, message) = (reply.field("grpc-status"), reply.field("grpc-message"));
            assert_eq!(reply.status, 200, "{protocol}");
            if protocol.only_driver().is_some() && !["0", "3"].contains(status) {
                // tonic differs: OUT_OF_RANGE for a long message, and it reads the first of two
                // messages.
                continue;
            }
            assert_eq!(got, *status, "{protocol}: {text}: {message}");
            assert!(*status == "0" || !message.is_empty());
            assert!(!text.starts_with('|') || message.contains("|O"), "{message}");
        }
        assert_eq!(peer.call(request("application/grpc+proto"), &[&good]).body, good);
        // This client runs only inside a call, so it cannot answer a GOAWAY.
        drop(peer);
        server.stop();
    }
}

#[test]
fn a_foreign_grpc_call_is_turned_away_by_its_head() {
    let good = good_message();
    for protocol in of_family(Family::Grpc) {
        let server =
            server::start(Driver::Tokio, protocol, CodecSet::own(), tight()).expect("tokio");
        let mut peer = Grpc::connect(server.address());
        let mut elsewhere = request("application/grpc");
        *elsewhere.uri_mut() = "http://test/Calculator/echo".parse().expect("a URI");
        let reply = peer.call(elsewhere, &[&good]);
        assert_eq!(reply.field("grpc-status"), "12", "{protocol}");
        let reply = peer.call(request("application/grpc+thrift"), &[&good]);
        assert_eq!(reply.field("grpc-status"), "3", "{protocol}");
        let mut zipped = request("application/grpc");
        zipped.headers_mut().insert("grpc-encoding", "br".parse().expect("a value"));
        let reply = peer.call(zipped, &[&[1], &good[1..]]);
        assert_eq!(reply.field("grpc-status"), "12", "{protocol}");
        if protocol.only_driver().is_none() {
            let reply = peer.call(request("application/json"), &[&good]);
            assert_eq!((reply.status, reply.body.is_empty()), (415, false), "{protocol}");
            let mut get = request("application/grpc");
            *get.method_mut() = http::Method::GET;
            let reply = peer.call(get, &[]);
            assert_eq!((reply.status, reply.body.is_empty()), (405, false), "{protocol}");
            assert_eq!(reply.field("allow"), "POST");
        }
        assert_eq!(peer.call(request("application/grpc"), &[&good]).body, good);
        drop(peer);
        server.stop();
    }
}

#[test]
fn a_call_whose_message_never_comes_ends() {
    let unended = |server: &server::Running, request| {
        let peer = Grpc::connect(server.address());
        let part = Bytes::from_static(b"\0\0\0");
        let call = grpc::exchange(peer.requests.clone(), request, vec![part], false);
        peer.runtime.block_on(call).expect("an answer")
    };
    let keeps_deadlines =
        |protocol: &Protocol| protocol.only_driver().is_none() || *protocol == Protocol::TonicBest;
    for protocol in of_family(Family::Grpc).filter(keeps_deadlines) {
        let server = server::start(Driver::Tokio, protocol, CodecSet::own(), Limits::default())
            .expect("tokio");
        let mut late = request("application/grpc");
        late.headers_mut().insert("grpc-timeout", "50m".parse().expect("a value"));
        let reply = unended(&server, late);
        assert_eq!(reply.field("grpc-status"), "4", "{protocol}: {}", reply.field("grpc-message"));
        server.stop();
    }
    for protocol in [Protocol::H2, Protocol::H2Crate] {
        let server =
            server::start(Driver::Tokio, protocol, CodecSet::own(), tight()).expect("tokio");
        let reply = unended(&server, request("application/grpc"));
        let status = reply.field("grpc-status");
        assert_eq!(status, "4", "{protocol}: no piece for longer than the limit");
        server.stop();
    }
}

#[test]
fn a_grpc_peer_that_is_quiet_for_too_long_is_dismissed() {
    let limits = Limits { idle_timeout: Duration::from_millis(100), ..Limits::default() };
    for protocol in [Protocol::H2, Protocol::H2Crate] {
        let server =
            server::start(Driver::Tokio, protocol, CodecSet::own(), limits.clone()).expect("tokio");
        let mut stream = TcpStream::connect(server.address()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("positive");
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .expect("buffered");
        let mut said = Vec::new();
        stream.read_to_end(&mut said).expect("it closes");
        // A GOAWAY with NO_ERROR, with any last stream and text.
        let goaway =
            said.windows(17).any(|at| at[3..9] == [7, 0, 0, 0, 0, 0] && at[13..] == [0; 4]);
        assert!(goaway, "{protocol}: no GOAWAY in {said:?}");
        server.stop();
    }
}

#[test]
fn bytes_that_are_no_protocol_close_the_connection() {
    for protocol in Protocol::ALL {
        let server =
            server::start(Driver::Tokio, protocol, CodecSet::own(), tight()).expect("tokio");
        let mut stream = TcpStream::connect(server.address()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("positive");
        stream.write_all(&[0xFF; 4096]).expect("buffered");
        // The server may answer, reset or do nothing. The connection must end.
        match stream.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{protocol}"),
        }
        server.stop();
    }
}
