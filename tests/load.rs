//! The load generator measures correct servers and detects every kind of fault.
//!
//! Most servers here are small blocking threads. Each has one fault, which depends on the number of
//! the request. The real programs follow. Wrong bytes in a reply are tested in `load::verify` and,
//! for gRPC, in `load_grpc.rs`.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ndecho::array::{DType, NdArray, Shape};
use ndecho::codec::{self, ArrayCodec as _, Encoding};
use ndecho::load::{self, LoadError, conformance};
use ndecho::record::Measurement;
use ndecho::record::trial_spec::{ArraySpec, Knobs, Length, LoadSpec};
use ndecho::report::summary;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "peers/ring.rs"]
mod ring;

/// Action of a server on the body of request number `n` of a connection.
enum Act {
    Reply(Vec<u8>),
    Refuse(&'static str),
    Hang,
    Close,
    Bytes(&'static [u8]),
}

type Fault = fn(n: u32, body: Vec<u8>) -> Act;

fn echo(_: u32, body: Vec<u8>) -> Act {
    Act::Reply(body)
}

/// Framing of messages in both directions.
#[derive(Clone, Copy)]
enum Speech {
    Raw,
    Http,
}

impl Speech {
    fn scheme(self) -> &'static str {
        match self {
            Speech::Raw => "raw",
            Speech::Http => "http",
        }
    }

    fn read(self, stream: &mut TcpStream) -> Option<Vec<u8>> {
        let len = match self {
            Speech::Raw => {
                let mut head = [0; 5];
                stream.read_exact(&mut head).ok()?;
                u32::from_be_bytes(head[..4].try_into().unwrap()) as usize
            }
            Speech::Http => {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).ok()?;
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                let (_, value) = head.split_once("content-length:").unwrap();
                value.lines().next().unwrap().trim().parse().unwrap()
            }
        };
        let mut body = vec![0; len];
        stream.read_exact(&mut body).ok()?;
        Some(body)
    }

    fn reply(self, body: &[u8]) -> Vec<u8> {
        let head = match self {
            Speech::Raw => [&(body.len() as u32).to_be_bytes()[..], b"\0"].concat(),
            Speech::Http => {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes()
            }
        };
        [&head, body].concat()
    }

    fn refusal(self, text: &str) -> Vec<u8> {
        let head = match self {
            Speech::Raw => [&(text.len() as u32).to_be_bytes()[..], b"\xff"].concat(),
            Speech::Http => format!(
                "HTTP/1.1 500 Internal Server Error\r\nContent-Length: {}\r\n\r\n",
                text.len()
            )
            .into_bytes(),
        };
        [&head, text.as_bytes()].concat()
    }
}

/// Starts a server. Its threads end with the connections.
fn server(speech: Speech, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || serve(&mut stream, speech, fault));
        }
    });
    address
}

fn serve(stream: &mut TcpStream, speech: Speech, fault: Fault) {
    for n in 0.. {
        let Some(body) = speech.read(stream) else { return };
        let bytes = match fault(n, body) {
            Act::Reply(body) => speech.reply(&body),
            Act::Refuse(text) => speech.refusal(text),
            Act::Hang => continue,
            Act::Close => return,
            Act::Bytes(bytes) => bytes.to_vec(),
        };
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn spec(scheme: &str, address: SocketAddr) -> LoadSpec {
    let url = format!("{scheme}://{address}").parse().unwrap();
    LoadSpec {
        array: ArraySpec::float64(64, 1),
        connections: 2,
        in_flight: 2,
        warmup: Length::Requests(10),
        window: Length::Requests(200),
        timeout: Duration::from_secs(5),
        ..LoadSpec::new(url, Encoding::Reflect)
    }
}

fn run(speech: Speech, fault: Fault) -> Result<Measurement, LoadError> {
    load::run(&spec(speech.scheme(), server(speech, fault)))
}

fn failure(speech: Speech, fault: Fault) -> String {
    run(speech, fault).expect_err("the server is wrong").to_string()
}

#[test]
fn right_servers_are_measured() {
    if ring::is_missing() {
        return;
    }
    for speech in [Speech::Raw, Speech::Http] {
        let measured = run(speech, echo).unwrap();
        assert_eq!(measured.requests, 200);
        assert!(measured.wall_ns > 0 && measured.latency_ns.p50 > 0);
        assert!(measured.bytes_in >= 200 * 64 && measured.bytes_out >= 200 * 64);
        assert!(measured.client_cpu.total_ns > 0);
        assert_eq!(measured.socket.nodelay, Some(true));
        assert!(summary::summary(&measured).contains("200 in "));
    }
}

/// Blocks the server while the client waits for the reply.
fn think(_: u32, body: Vec<u8>) -> Act {
    std::thread::sleep(Duration::from_millis(1));
    Act::Reply(body)
}

#[test]
fn a_client_that_stays_awake_says_how_long_it_had_nothing_to_do() {
    if ring::is_missing() {
        return;
    }
    for (busy_poll, spins) in [(Duration::ZERO, false), (Duration::from_secs(1), true)] {
        let mut spec = spec("raw", server(Speech::Raw, think));
        (spec.connections, spec.in_flight) = (1, 1);
        let knobs = Knobs { busy_poll, ..Knobs::default() };
        let measured = load::run(&LoadSpec { knobs, ..spec }).unwrap();
        assert_eq!(measured.client_busy_poll_idle_ns > 0, spins, "{measured:?}");
        let work_ns = measured.client_work_ns();
        assert_eq!(work_ns < measured.client_cpu.total_ns, spins, "{measured:?}");
    }
}

#[test]
fn every_size_passes_with_many_requests_in_flight() {
    if ring::is_missing() {
        return;
    }
    for size in [8, 2048, 65_536, 1 << 20] {
        let mut spec = spec("raw", server(Speech::Raw, echo));
        spec.array = ArraySpec::float64(size, 1);
        spec.in_flight = 16;
        spec.window = Length::Requests(100);
        assert_eq!(load::run(&spec).unwrap().requests, 100, "{size}");
    }
}

#[test]
fn a_window_of_time_is_kept() {
    if ring::is_missing() {
        return;
    }
    let mut spec = spec("raw", server(Speech::Raw, echo));
    spec.warmup = Length::Time(Duration::from_millis(20));
    spec.window = Length::Time(Duration::from_millis(100));
    spec.targets[0].pid = Some(std::process::id());
    let measured = load::run(&spec).unwrap();
    assert!(measured.wall_ns >= 100_000_000 && measured.requests > 0);
    assert!(measured.server_cpu.unwrap().total_ns > 0);
}

#[test]
fn wrong_replies_are_caught() {
    if ring::is_missing() {
        return;
    }
    for speech in [Speech::Raw, Speech::Http] {
        let flipped = failure(speech, |n, mut body| {
            body[50] ^= u8::from(n == 30);
            Act::Reply(body)
        });
        assert!(flipped.contains("wrong reply: byte 50 of the array is 0x"), "{flipped}");
        let cut = failure(speech, |n, mut body| {
            body.truncate(64 - usize::from(n == 30));
            Act::Reply(body)
        });
        assert!(cut.ends_with("wrong reply: 63 bytes, expected 64"), "{cut}");
        let cached = failure(speech, |n, body| {
            thread_local!(static LAST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
            let last = LAST.replace(body.clone());
            Act::Reply(if n == 30 { last } else { body })
        });
        assert!(cached.contains("it carries the nonce of request "), "{cached}");
    }
}

#[test]
fn one_wrong_reply_in_a_hundred_thousand_is_caught() {
    if ring::is_missing() {
        return;
    }
    let rarely = |n, mut body: Vec<u8>| {
        body[9] ^= u8::from(n == 70_000);
        Act::Reply(body)
    };
    let mut spec = spec("raw", server(Speech::Raw, rarely));
    (spec.connections, spec.in_flight) = (1, 64);
    spec.window = Length::Requests(100_000);
    spec.timeout = Duration::from_secs(60);
    let error = load::run(&spec).unwrap_err().to_string();
    assert!(error.starts_with("request 70000: wrong reply"), "{error}");
}

#[test]
fn arrays_of_every_kind_are_told_apart_by_what_they_are() {
    if ring::is_missing() {
        return;
    }
    let conformance = |fault| LoadSpec {
        array: ArraySpec::Conformance { seed: 5, body_bytes_max: None },
        connections: 1,
        in_flight: 1,
        window: Length::Requests(conformance::ARRAYS as u64),
        warmup: Length::Requests(0),
        ..spec("raw", server(Speech::Raw, fault))
    };
    assert_eq!(load::run(&conformance(echo)).unwrap().requests, conformance::ARRAYS as u64);
    // This server expects arrays of 64 bytes.
    let learnt = load::run(&conformance(|_, mut body| {
        body.resize(64, 0);
        Act::Reply(body)
    }));
    let error = learnt.unwrap_err().to_string();
    assert!(error.starts_with("array 1 of 48, ") && error.contains("wrong reply"), "{error}");
    // This server closes the connection on another array. The error names the array in any case.
    let fussy = |n, body| if n == 20 { Act::Close } else { Act::Reply(body) };
    let error = load::run(&conformance(fussy)).unwrap_err().to_string();
    assert!(error.starts_with("array 21 of 48, ") && error.contains("closed"), "{error}");
}

/// Stalls for 100 ms once in 500 requests: about once a second at 500 requests per second.
fn stall(n: u32, body: Vec<u8>) -> Act {
    if n % 500 == 499 {
        std::thread::sleep(Duration::from_millis(100));
    }
    Act::Reply(body)
}

#[test]
fn a_stall_shows_in_an_open_loop_and_hides_in_a_closed_one() {
    if ring::is_missing() {
        return;
    }
    let mut spec = spec("raw", server(Speech::Raw, stall));
    (spec.connections, spec.in_flight) = (1, 1);
    spec.warmup = Length::Time(Duration::from_millis(100));
    spec.window = Length::Requests(2000);
    let closed = load::run(&spec).unwrap();
    assert!(closed.latency_ns.p99 < 50_000_000, "{:?}", closed.latency_ns);
    spec.rate_hz = Some(500.0);
    spec.window = Length::Time(Duration::from_millis(2500));
    spec.timeout = Duration::from_secs(30);
    let open = load::run(&spec).unwrap();
    // A tenth of the requests were due during a stall, and each waited for its end.
    assert!(open.latency_ns.p99 > 70_000_000, "{:?}", open.latency_ns);
    assert!(open.latency_ns.p999 > 90_000_000, "{:?}", open.latency_ns);
    let schedule = open.schedule.expect("of an open loop");
    assert_eq!(schedule.offered_hz, 500.0);
    assert!(schedule.lag_ns.p50 < 5_000_000, "the stall is no lag of ours: {:?}", schedule.lag_ns);
}

#[test]
fn refusals_are_quoted() {
    if ring::is_missing() {
        return;
    }
    let no = |n, body| if n == 5 { Act::Refuse("I would rather not") } else { Act::Reply(body) };
    for speech in [Speech::Raw, Speech::Http] {
        let refused = failure(speech, no);
        assert!(refused.contains("wrong reply: refused: "), "{refused}");
        assert!(refused.ends_with("I would rather not"), "{refused}");
    }
}

#[test]
fn closed_connections_are_caught() {
    if ring::is_missing() {
        return;
    }
    let close = |n, body| if n == 5 { Act::Close } else { Act::Reply(body) };
    for speech in [Speech::Raw, Speech::Http] {
        let closed = failure(speech, close);
        assert!(closed.contains("closed a connection"), "{closed}");
    }
}

#[test]
fn nonsense_is_caught() {
    if ring::is_missing() {
        return;
    }
    for speech in [Speech::Raw, Speech::Http] {
        let nonsense = failure(speech, |_, _| Act::Bytes(b"220 smtp.example ESMTP ready\r\n\r\n"));
        assert!(!nonsense.is_empty(), "{nonsense}");
    }
}

#[test]
fn a_server_that_hangs_fails_the_run_in_time() {
    if ring::is_missing() {
        return;
    }
    for scheme in ["raw", "http", "grpc"] {
        let speech = if scheme == "http" { Speech::Http } else { Speech::Raw };
        let address = server(speech, |n, body| if n == 5 { Act::Hang } else { Act::Reply(body) });
        let mut spec = spec(scheme, address);
        spec.timeout = Duration::from_millis(300);
        let start = Instant::now();
        let error = load::run(&spec).expect_err("the server hangs").to_string();
        assert!(start.elapsed() < Duration::from_secs(3), "{scheme}: {error}");
        let expected = if scheme == "grpc" { "" } else { "timed out after 300ms" };
        assert!(error.starts_with(expected), "{scheme}: {error}");
    }
}

#[test]
fn nobody_at_the_address_is_an_error() {
    if ring::is_missing() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = load::run(&spec("raw", address)).expect_err("nobody listens").to_string();
    assert!(error.contains(&address.to_string()), "{error}");
}

/// Server program on free ports, ended by its process id.
struct Program {
    child: Child,
    grpc: SocketAddr,
    rest: SocketAddr,
}

impl Program {
    fn start(program: &str) -> Program {
        let mut command = Command::new(program);
        command.args(["--grpc", "127.0.0.1:0", "--rest", "127.0.0.1:0", "--drain-timeout", "1s"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program is built");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready).expect("text");
        let address = |name: &str| {
            let word = ready.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.expect("a ready line").parse().expect("an address")
        };
        Program { grpc: address("grpc="), rest: address("rest="), child }
    }

    fn flags(&self, scheme: &str, codec: &str, size: &str) -> Vec<String> {
        let (address, connections, in_flight) = match scheme {
            "grpc" => (self.grpc, "3", "100"),
            _ => (self.rest, "20", "20"),
        };
        let url = format!("{scheme}://{address}");
        let pid = self.child.id().to_string();
        let flags = [
            "load",
            &url,
            "--codec",
            codec,
            "--size",
            size,
            "--connections",
            connections,
            "--in-flight",
            in_flight,
            "--server-pid",
            &pid,
            "--json",
            "--warmup",
            "0",
        ];
        flags.map(str::to_owned).to_vec()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it is our child");
        self.child.wait().expect("it ends");
    }
}

fn ndecho(flags: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ndecho")).args(flags).output().expect("the program is built")
}

fn loaded(flags: &[String]) -> Measurement {
    let output = ndecho(flags);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{flags:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("one JSON line")
}

#[test]
fn the_real_servers_make_no_error() {
    if ring::is_missing() {
        return;
    }
    for program in [env!("CARGO_BIN_EXE_uring-server"), env!("CARGO_BIN_EXE_tonic-server")] {
        let server = Program::start(program);
        for scheme in ["grpc", "http"] {
            let codec = if scheme == "grpc" { "protobuf" } else { "msgpack" };
            let mut flags = server.flags(scheme, codec, "8");
            flags.extend(["--requests", "10000"].map(str::to_owned));
            let measured = loaded(&flags);
            assert_eq!(measured.requests, 10_000);
            assert!(measured.server_cpu.expect("its pid was given").total_ns > 0);
            for codec in ["reflect", "protobuf", "json", "json_binary", "msgpack", "npy"] {
                for (size, requests) in [("8", "300"), ("64KiB", "60"), ("1MiB", "4")] {
                    let mut flags = server.flags(scheme, codec, size);
                    flags.extend(["--requests", requests].map(str::to_owned));
                    assert_eq!(loaded(&flags).requests.to_string(), requests);
                }
            }
        }
    }
}

#[test]
fn an_array_from_a_file_is_sent() {
    if ring::is_missing() {
        return;
    }
    let array = NdArray::seeded(DType::F8, Shape::new(&[5, 7]).unwrap(), 3).unwrap();
    let mut bytes = Vec::new();
    let npy = codec::npy::Npy;
    let view = array.view();
    let head_len = npy.encode(&view, &mut bytes).expect("npy carries everything").head_len;
    bytes.splice(head_len..head_len, view.data().iter().copied());
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &bytes).expect("room for it");
    let (url, path) = (format!("raw://{}", server(Speech::Raw, echo)), file.path().to_str());
    let path = path.expect("a plain name");
    let bytes_out = |array: &str| {
        let flags = ["load", &url, "--codec", "reflect", "--requests", "50", "--warmup", "0"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_ndecho"));
        command.args(flags).args(["--json", "--array", array]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program is built");
        // A program that reads the file has ended or ignores its stdin.
        let _ = child.stdin.take().expect("piped").write_all(&bytes);
        let output = child.wait_with_output().expect("it ends");
        let measured: Measurement = serde_json::from_slice(&output.stdout).expect(array);
        (measured.requests, measured.bytes_out)
    };
    for array in [path, "-", "/dev/stdin"] {
        assert_eq!(bytes_out(array), (50, 50 * (5 + 5 * 7 * 8)), "{array}");
    }
}

static ECHOED: AtomicU64 = AtomicU64::new(0);

fn counted_echo(_: u32, body: Vec<u8>) -> Act {
    ECHOED.fetch_add(1, Ordering::Relaxed);
    Act::Reply(body)
}

#[test]
fn a_load_that_is_stopped_prints_what_it_has_counted() {
    if ring::is_missing() {
        return;
    }
    let url = format!("raw://{}", server(Speech::Raw, counted_echo));
    for (signal, code, warmup) in [
        (Signal::SIGINT, 130, "0"),
        (Signal::SIGTERM, 143, "0"),
        (Signal::SIGINT, 130, "1000000000"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ndecho"));
        command.args(["load", &url, "--codec", "reflect", "--duration", "50s", "--json"]);
        command.args(["--warmup", warmup]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.expect("the program is built");
        let enough = ECHOED.load(Ordering::Relaxed) + 100;
        while ECHOED.load(Ordering::Relaxed) < enough {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("it runs");
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        if warmup == "0" {
            let measured: Measurement = serde_json::from_slice(&output.stdout).expect("a line");
            assert!(measured.requests >= 99 && measured.wall_ns > 0, "{measured:?}");
            assert!(said.contains("stopped early; requests without a reply: 1\n"), "{said}");
        } else {
            assert!(output.stdout.is_empty());
            assert!(said.contains("stopped before a reply was counted"), "{said}");
        }
    }
}

#[test]
fn exit_codes_tell_wrong_flags_from_failures() {
    let run =
        |flags: &[&str]| ndecho(&flags.iter().map(|flag| flag.to_string()).collect::<Vec<_>>());
    let code = |output: &Output| output.status.code().expect("no signal");
    let wrong = run(&["load", "http://127.0.0.1:1", "--connections", "2", "--in-flight", "9"]);
    assert_eq!(code(&wrong), 2);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("one request in flight"));
    let failed = run(&["load", "raw://127.0.0.1:1", "--codec", "reflect", "--requests", "1"]);
    assert_eq!(code(&failed), 1);
    let errors = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(failed.stdout.is_empty());
}
