//! Our load generator against every external server: each codec, dtype and shape, arrays of 64 MiB,
//! and messages that are not arrays. The Python client against our servers.
//!
//! If the machine does not have what a server needs, the test skips that server with a message.
//! With `CI` set, the test fails instead.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ndecho::array::{DType, Shape};
use ndecho::axis::{Encoding, Family};
use ndecho::experiment::child::process::{READY_TIMEOUT, Server};
use ndecho::external::environment::{self, Environment, Site};
use ndecho::external::{self, ExternalRung, ExternalServer};
use ndecho::load;
use ndecho::record::Client;
use ndecho::record::trial_spec::{ArraySpec, Length, LoadSpec};
use ndecho::report::seed::ORIGINAL_ROWS;
use ndecho::sys::address::Address;

mod expected;
#[path = "../common/perf.rs"]
mod perf;
#[path = "../common/process.rs"]
mod process;
#[path = "../peers/ring.rs"]
mod ring;
#[path = "../peers/zmtp.rs"]
mod zmtp;

use expected::{BY_HAND, BY_HAND_VARIABLE, MALFORMED, NAMES, REFUSED};

const SERVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/external");

/// Dimensions of the arrays sent: 0-d, empty, and more than one.
const SHAPES: [&[u64]; 6] = [&[], &[0], &[3], &[2, 0, 3], &[2, 3], &[4, 1, 2]];

const LARGE: u64 = 64 << 20;

fn all() -> Vec<Arc<ExternalServer>> {
    external::read(Path::new(SERVERS), &mut |line| panic!("{line}"))
        .expect("the manifests are sound")
}

/// Installs the environment of `server` in the folder that a user's runs use. Returns `None` if
/// that fails.
fn environment(server: &ExternalServer) -> Option<Environment> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let site = Site {
        program: PathBuf::from(env!("CARGO_BIN_EXE_ndecho")),
        folder: target.join("ndecho-external"),
        search: std::env::split_paths(&path).collect(),
    };
    let stop = AtomicBool::new(false);
    match environment::prepare(server, &site, &stop, &mut |line| eprintln!("{line}")) {
        Ok(environment) => Some(environment),
        Err(reason) => {
            let name = &server.manifest.name;
            assert!(std::env::var_os("CI").is_none(), "{name} is needed in CI: {reason}");
            eprintln!("skipped: {name}: {reason}");
            None
        }
    }
}

/// Starts a server as the ladder does, but without pinning, because several servers run at once.
fn start(rung: &ExternalRung, environment: &Environment) -> Server {
    let mut words = rung.command(&environment.path, 0);
    // This process may not be allowed to use the core. The test needs no particular one.
    if let Some(at) = words.iter().position(|word| word == "--cpu") {
        words.drain(at..at + 2);
    }
    if words[0] == "taskset" {
        words.drain(..3); // taskset -c CPU
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(&rung.server.folder);
    let stop = AtomicBool::new(false);
    Server::start(&mut command, rung.ready_line(), 4 * READY_TIMEOUT, &stop)
        .unwrap_or_else(|failure| panic!("{rung}: {failure:?}"))
}

/// Returns whether the manifest lets the server refuse an array of `bytes`.
fn is_too_large(rung: &ExternalRung, bytes: u64) -> bool {
    rung.server.manifest.limits.body_bytes_max.is_some_and(|most| bytes > most)
}

fn send(rung: &ExternalRung, server: &Server, array: ArraySpec, requests: u64, case: &str) {
    let in_flight = match rung.family() {
        Family::Rest | Family::Zmtp => 1,
        Family::Grpc | Family::Raw => 4,
    };
    let in_flight =
        in_flight.min(rung.server.manifest.limits.in_flight_max(8192, Client::Own).unwrap_or(4));
    let url = format!("{}://{}", rung.family().scheme(), server.address());
    let url = url.parse().expect("an address");
    let spec = LoadSpec {
        array,
        in_flight,
        warmup: Length::Requests(0),
        window: Length::Requests(requests),
        timeout: Duration::from_secs(120),
        ..LoadSpec::new(url, rung.encoding())
    };
    match load::run(&spec) {
        Ok(measured) => assert_eq!(measured.requests, requests, "{rung} {case}"),
        // The client refuses what an encoding does not hold before it sends anything.
        Err(load::LoadError::Codec(error)) => {
            assert!(!is_held(rung.encoding(), case), "{rung} {case}: {error}");
        }
        Err(error) => panic!("{rung} {case}: {error}"),
    }
}

/// Returns whether an encoding holds the array that `case` names. No list holds complex numbers, a
/// JSON list has no dimensions inside an empty one, and protobuf has no halves.
fn is_held(encoding: Encoding, case: &str) -> bool {
    match encoding {
        Encoding::Json => !case.contains('c') && !case.contains("0, 3"),
        Encoding::ProtobufPacked => !case.contains('c') && !case.contains("f2"),
        _ => true,
    }
}

/// Returns whether this run leaves `server` out, and says so.
fn is_left_out(server: &ExternalServer) -> bool {
    let name = server.manifest.name.as_str();
    let is_left_out = BY_HAND.contains(&name) && std::env::var_os(BY_HAND_VARIABLE).is_none();
    if is_left_out {
        eprintln!("left out: {name}: set {BY_HAND_VARIABLE}=1 to build and test it");
    }
    is_left_out
}

/// Runs `work` for every rung of every server that can be installed here, all servers in parallel.
/// Servers of [`BY_HAND`] are left out unless they are asked for.
fn for_each_rung(work: impl Fn(&ExternalRung, &Environment) + Sync) {
    if ring::is_missing() {
        return;
    }
    let work = &work;
    std::thread::scope(|scope| {
        for server in all() {
            if is_left_out(&server) {
                continue;
            }
            scope.spawn(move || {
                let Some(environment) = environment(&server) else { return };
                for rung in external::rungs(&[server]) {
                    work(&rung, &environment);
                }
            });
        }
    });
}

#[test]
fn every_server_is_listed_and_has_the_rows_of_the_original() {
    let servers = all();
    let names: Vec<&str> = servers.iter().map(|server| server.manifest.name.as_str()).collect();
    assert_eq!(names, NAMES);
    assert!(BY_HAND.iter().all(|name| NAMES.contains(name)), "{BY_HAND:?}");
    let rungs = external::rungs(&servers);
    let rows: Vec<&str> = rungs.iter().filter_map(ExternalRung::original).collect();
    let distinct: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!((rows.len(), distinct), (ORIGINAL_ROWS.len(), ORIGINAL_ROWS.into()));
}

#[test]
fn every_server_answers_every_codec_dtype_and_shape() {
    for_each_rung(|rung, environment| {
        let server = start(rung, environment);
        let small = Shape::new(&[5]).expect("small");
        let dtypes = DType::all().map(|dtype| (dtype, small.clone()));
        let doubles = SHAPES.iter().map(|dims| (DType::F8, Shape::new(dims).expect("small")));
        for (dtype, shape) in dtypes.chain(doubles) {
            let case = format!("{} {:?}", dtype.name(), shape.dims());
            send(rung, &server, ArraySpec::Seeded { dtype, shape, seed: 3 }, 8, &case);
        }
        let kib = if is_too_large(rung, 64 << 10) { 8 } else { 64 };
        send(rung, &server, ArraySpec::float64(kib << 10, 3), 8, &format!("{kib} KiB"));
        server.stop().unwrap_or_else(|failure| panic!("{rung} does not drain: {failure:?}"));
    });
}

/// Binary encodings only, because a Python server needs half a minute for text of that size.
#[test]
fn sixty_four_mebibytes_pass_through_every_server() {
    for_each_rung(|rung, environment| {
        let is_text = matches!(rung.encoding(), Encoding::Json | Encoding::JsonBinary);
        if is_text || is_too_large(rung, LARGE) {
            return;
        }
        let server = start(rung, environment);
        let array = ArraySpec::float64(LARGE, 3);
        send(rung, &server, array, 1, "64 MiB");
        server.stop().unwrap_or_else(|failure| panic!("{rung} does not drain: {failure:?}"));
    });
}

/// Status and body of the reply to `body`. Reads as much as the reply's `Content-Length` says,
/// because may_minihttp does not close the connection.
fn post(address: &Address, path: &str, body: &[u8]) -> (String, String) {
    let mut stream =
        TcpStream::connect(address.tcp().expect("it listens on TCP")).expect("it listens");
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: server\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).expect("it reads");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("a head of text"), 0, "no head: {head}");
    }
    let status = head.split(' ').nth(1).unwrap_or_default();
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = lengths.next().expect("a length of the body");
    let mut body = vec![0; length.trim().parse().expect("a number")];
    reader.read_exact(&mut body).expect("a body");
    (status.to_owned(), String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn every_rest_server_refuses_a_bad_array_with_a_reason() {
    for_each_rung(|rung, environment| {
        let bad = REFUSED.iter().filter(|(encoding, _)| *encoding == rung.encoding());
        if rung.family() != Family::Rest || bad.clone().count() == 0 {
            return;
        }
        let server = start(rung, environment);
        for (encoding, message) in bad {
            let (status, reason) = post(server.address(), encoding.path(), message);
            let case = String::from_utf8_lossy(message);
            assert!(
                status == "400" && !reason.trim().is_empty(),
                "{rung} {case}: {status} {reason}"
            );
        }
        let array = ArraySpec::float64(8, 3);
        send(rung, &server, array, 8, "after refusals");
        server.stop().unwrap_or_else(|failure| panic!("{rung} does not drain: {failure:?}"));
    });
}

/// Messages with a fault: their parts, and a word of the reason.
const REFUSED_PARTS: [(&[&[u8]], &str); 10] = [
    (&[b"{"], "1 parts"),
    (&[b"{}", b"", b""], "3 parts"),
    (&[b"{", b""], "JSONDecodeError"),
    (&[b"\xff", b""], "UnicodeDecodeError"),
    (&[b"[1]", b""], "expected a JSON head"),
    (&[br#"{"dtype": "|u1"}"#, b""], "expected a JSON head"),
    (&[br#"{"dtype": "|u1", "shape": 1}"#, b"7"], "expected a JSON head"),
    (&[br#"{"dtype": "|O", "shape": [1]}"#, b"12345678"], "dtype '|O' is not supported"),
    (&[br#"{"dtype": "|u1", "shape": [-1]}"#, b"7"], "none negative"),
    (&[br#"{"dtype": "<f8", "shape": [4294967296, 4294967296]}"#, b""], "overflows"),
];

#[test]
fn every_zeromq_server_answers_a_bad_message_with_one_part_and_goes_on() {
    for_each_rung(|rung, environment| {
        if rung.family() != Family::Zmtp {
            return;
        }
        let server = start(rung, environment);
        let address = server.address().tcp().expect("it listens on TCP");
        let mut req = zmtp::Req::connect(address);
        for (parts, reason) in REFUSED_PARTS {
            let reply = req.call(parts);
            let [text] = reply.as_slice() else { panic!("{rung} {reason}: {reply:?}") };
            let text: serde_json::Value = serde_json::from_slice(text).expect("JSON");
            assert!(text["error"].as_str().is_some_and(|it| it.contains(reason)), "{rung}: {text}");
            let head = br#"{"dtype": "|u1", "shape": [3]}"#;
            assert_eq!(req.call(&[head, b"abc"]), [head, &b"abc"[..]], "{rung} after {reason}");
        }
        server.stop().unwrap_or_else(|failure| panic!("{rung} does not drain: {failure:?}"));
    });
}

/// grpcio's own client. It sends one call of 64 KiB at a time, because purerpc loses calls
/// otherwise (see the faults in its manifest).
#[test]
fn every_grpc_server_answers_and_refuses_grpcio() {
    let Some(python) = python() else { return };
    for_each_rung(|rung, environment| {
        let is_protobuf = rung.family() == Family::Grpc && rung.encoding() == Encoding::Protobuf;
        if !is_protobuf || is_too_large(rung, 64 << 10) {
            return;
        }
        let server = start(rung, environment);
        let root = env!("CARGO_MANIFEST_DIR");
        let mut command = Command::new(python.path.join("bin/python"));
        command.arg(format!("{root}/tools/interop/grpc_client.py"));
        command.arg(server.address().to_string());
        command.args([&format!("{root}/proto"), "--large-mib", "0", "--large-parallel", "1"]);
        let deviation = MALFORMED.iter().find(|(name, _)| *name == rung.server.manifest.name);
        let status = deviation.map_or("INVALID_ARGUMENT", |(_, status)| status);
        command.args(["--malformed", status]);
        let output = command.output().expect("the environment has an interpreter");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{rung}: {text}");
        server.stop().unwrap_or_else(|failure| panic!("{rung} does not drain: {failure:?}"));
    });
}

/// Messages that are lists of numbers, by protobuf's upb.
#[test]
fn every_server_with_lists_in_protobuf_refuses_what_is_no_array() {
    let Some(python) = python() else { return };
    for_each_rung(|rung, environment| {
        if rung.encoding() != Encoding::ProtobufPacked {
            return;
        }
        let server = start(rung, environment);
        let mut command = Command::new(python.path.join("bin/python"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/interop/packed_refusals.py"));
        command.arg(server.address().to_string());
        let output = command.output().expect("the environment has an interpreter");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{rung}: {text}");
        server.stop().unwrap_or_else(|failure| panic!("{rung} does not drain: {failure:?}"));
    });
}

/// Runs the Python client with `args` in the environment of the Python servers. Returns its exit
/// status and the line that it prints.
fn client(environment: &Environment, args: &[&str]) -> (Option<i32>, serde_json::Value) {
    let mut command = Command::new(environment.path.join("bin/python"));
    command.arg(format!("{SERVERS}/client.py")).args(args);
    let output = command.output().expect("the environment has an interpreter");
    let line = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code(), line)
}

fn python() -> Option<Environment> {
    let servers = all();
    let grpcio = servers.iter().find(|server| server.manifest.name == "grpcio");
    environment(grpcio.expect("it is listed"))
}

#[test]
fn the_python_client_is_answered_by_our_servers() {
    let Some(python) = python() else { return };
    for program in [env!("CARGO_BIN_EXE_uring-server"), env!("CARGO_BIN_EXE_tonic-server")] {
        let server =
            process::Server::start(program, &["--grpc", "127.0.0.1:0", "--rest", "127.0.0.1:0"]);
        let grpc = format!("grpc://{}", server.address("grpc"));
        let rest = format!("http://{}", server.address("rest"));
        let over_rest = ["json", "json_binary", "msgpack", "npy", "protobuf"];
        let over_rest = over_rest.map(|codec| (rest.as_str(), codec));
        for (url, codec) in std::iter::once((grpc.as_str(), "protobuf")).chain(over_rest) {
            for (points, parallel) in [("1", "1000"), ("8192", "50")] {
                let args = [url, "--codec", codec, "--points", points, "--parallel", parallel];
                let (status, line) = client(&python, &args);
                assert_eq!((status, &line["failed"]), (Some(0), &0.into()), "{args:?}: {line}");
                assert_eq!(line["requests"].to_string(), parallel, "{args:?}: {line}");
            }
        }
    }
}

#[test]
fn the_python_client_notices_a_wrong_reply() {
    let Some(python) = python() else { return };
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/external/server.py");
    let server = process::Server::start("python3", &[fixture, "wrong", "0"]);
    let url = format!("http://{}", server.address(""));
    let (status, line) =
        client(&python, &[&url, "--codec", "npy", "--points", "4", "--parallel", "7"]);
    assert_eq!((status, &line["failed"]), (Some(1), &7.into()), "{line}");
    assert!(line["first_failure"].as_str().is_some_and(|why| why.contains("differ")), "{line}");
}

#[test]
fn the_bench_of_python_codecs_times_them_all() {
    let Some(python) = python() else { return };
    let mut command = Command::new(python.path.join("bin/python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/codec_bench.py"));
    command.args(["--sizes", "8", "--arrays", "f8,u1", "--rounds", "1", "--csv"]);
    let output = command.output().expect("the environment has an interpreter");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let timed: BTreeSet<&str> =
        text.lines().skip(1).filter_map(|line| line.split(',').nth(2)).collect();
    let spoken: BTreeSet<String> = external::rungs(&all())
        .iter()
        .filter(|rung| rung.encoding() != Encoding::Reflect && rung.family() != Family::Zmtp)
        .map(|rung| rung.codec.to_string())
        .collect();
    assert_eq!(timed, spoken.iter().map(String::as_str).collect());
}

#[test]
fn the_originals_table_can_be_timed_by_the_python_client() {
    if ring::is_missing() || python().is_none() {
        return;
    }
    let out = tempfile::tempdir().expect("a folder");
    let rungs = "uring/h2/protobuf,uring/raw/reflect,tokio/axum/msgpack:serde,external/{aiohttp/msgpack,grpcio/protobuf}";
    let mut command = Command::new(env!("CARGO_BIN_EXE_ndecho"));
    command.args([
        "ladder", "--preset", "seed", "--client", "python", "--rounds", "1", "--sizes", "8",
    ]);
    command.args(["--rungs", rungs, "--out"]).arg(out.path().join("run"));
    let output = command.output().expect("the binary is built");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let is_measured = |name: &str| {
        let mut lines =
            text.lines().filter(|line| line.split(':').next().map(str::trim) == Some(name));
        lines.any(|line| line.ends_with(" ms/request"))
    };
    for name in ["grpc", "asyncio msgpack", "uring/h2/protobuf"] {
        assert!(is_measured(name), "no figure for {name}: {text}");
    }
    assert!(text.contains("tokio/axum/msgpack:serde") && !text.contains("uring/raw"), "{text}");
    assert!(text.contains("Timed by the Python client"), "{text}");
}

/// Shares of the layers in per cent, from the rows of a profile of one rung.
fn shares(profile: &str) -> Vec<(&str, f64)> {
    let rows = profile.lines().filter(|line| line.ends_with(" %") && !line.starts_with(' '));
    let share = |line: &str| line.strip_suffix(" %")?.rsplit_once(' ')?.1.parse().ok();
    rows.filter_map(|line| Some((line.split("  ").next()?, share(line)?))).collect()
}

#[test]
fn a_profile_of_a_python_server_has_interpreter_codec_allocator_and_kernel() {
    if !perf::can_profile() {
        return;
    }
    let Some(python) = python() else { return };
    let environments = python.path.parent().expect("the folder of all environments");
    let records = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_ndecho"))
        .args(["profile", "external/aiohttp/json", "--sizes", "64KiB", "--rounds", "1"])
        .args(["--duration", "1s", "--connections", "2", "--external-dir", SERVERS])
        .arg("--environments")
        .arg(environments)
        .arg("--out")
        .arg(records.path().join("run"))
        .output()
        .expect("the program is here");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let shares = shares(&text);
    let of = |is_wanted: &dyn Fn(&str) -> bool| -> f64 {
        shares.iter().filter(|(name, _)| is_wanted(name)).map(|(_, share)| share).sum()
    };
    let rows: [(&str, f64); 4] = [
        ("interpreter", of(&|name| name == "interpreter")),
        ("C codec", of(&|name| name.starts_with("codec "))),
        ("allocator", of(&|name| name == "allocator")),
        ("kernel", of(&|name| name.starts_with("kernel "))),
    ];
    for (name, share) in rows {
        assert!(share > 0.0, "{name}: {rows:?}\n{text}");
    }
}
