//! Unix sockets: every driver and stack serves them, our client loads them, and the file of a
//! socket is handled with care: a stale one is replaced, a live one refused, our own removed at
//! exit.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;

use ndecho::axis::{Driver, Encoding, Family, Protocol, Rung, Transport};
use ndecho::load;
use ndecho::record::trial_spec::{Length, LoadSpec, ServerUrl};
use ndecho::server::{self, Listen, Options, Plan, Server};
use ndecho::service::codecs::CodecSet;
use ndecho::sys::address::Address;
use ndecho::wire::Limits;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const URING_SERVER: &str = env!("CARGO_BIN_EXE_uring-server");
const TONIC_SERVER: &str = env!("CARGO_BIN_EXE_tonic-server");
const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// Loads `url` with 40 requests; each reply is checked.
fn assert_answers(url: &ServerUrl, encoding: Encoding, case: &str) {
    let connections = if url.family == Family::Rest { 4 } else { 2 };
    let spec = LoadSpec {
        connections,
        in_flight: 4,
        warmup: Length::Requests(0),
        window: Length::Requests(40),
        ..LoadSpec::new(url.clone(), encoding)
    };
    let measured = load::run(&spec).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(measured.requests, 40, "{case}");
    assert_eq!(measured.socket.nodelay, None, "{case}");
}

/// Starts one worker, not pinned; `None` if the machine has no io_uring.
fn serve(driver: Driver, listen: Listen) -> Option<Server> {
    let (driver_options, limits) = (ndecho::driver::Options::default(), Limits::default());
    let options = Options { cores: vec![None], limits, driver: driver_options };
    let plan = Plan { driver, listens: vec![listen], codecs: CodecSet::own() };
    match server::start(&plan, &options, &channel().0) {
        Ok(server) => Some(server),
        Err(error) if error.to_string().contains("io_uring is not available") => {
            eprintln!("{driver} left out: {error}");
            None
        }
        Err(error) => panic!("{driver}: {error}"),
    }
}

#[test]
fn every_stack_on_every_driver_answers_our_client() {
    let folder = folder();
    for driver in Driver::ALL {
        for protocol in Protocol::ALL {
            let encoding = Encoding::Protobuf;
            let Ok(rung) = Rung::new(driver, protocol, encoding.own(), Transport::Unix) else {
                continue;
            };
            let address = Address::Unix(folder.path().join("socket"));
            let url = ServerUrl::new(protocol.family(), &address);
            let Some(running) = serve(driver, Listen { protocol, address }) else { continue };
            assert_answers(&url, encoding, &rung.to_string());
            let report = running.stop().expect("workers end well");
            assert!(report.accepted >= 2, "{rung}");
            assert_eq!(report.socket.expect("a connection was there").congestion, None, "{rung}");
            assert!(!folder.path().join("socket").exists(), "{rung}");
        }
    }
}

/// A program that is killed at the end, with its ready line.
struct Program {
    child: Child,
    ready: String,
}

impl Program {
    fn start(program: &str, args: &[&str]) -> Program {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is built");
        let mut ready = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("text");
        if ready.is_empty() {
            let output = child.wait_with_output().expect("it is our child");
            panic!("{program}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Program { child, ready: ready.trim_end().to_owned() }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it runs");
    }

    /// Sends `signal` and waits for the end.
    fn stop(mut self, signal: Signal) -> bool {
        self.signal(signal);
        self.child.wait().expect("it is our child").success()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program that is to fail at once.
fn refused(program: &str, args: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } =
        Command::new(program).args(args).stdin(Stdio::null()).output().expect("it is built");
    let text = String::from_utf8(stderr).expect("text");
    (status.code().expect("no signal ended it"), text)
}

fn health(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).expect("it listens");
    let request = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("text");
    reply
}

#[test]
fn both_programs_serve_both_protocols_and_remove_their_files() {
    for program in [URING_SERVER, TONIC_SERVER] {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let folder = folder();
            let (grpc, rest) = (folder.path().join("grpc.sock"), folder.path().join("rest.sock"));
            let running =
                Program::start(program, &["--grpc", &unix(&grpc), "--rest", &unix(&rest)]);
            assert_eq!(running.ready, format!("ready grpc={} rest={}", unix(&grpc), unix(&rest)));
            assert!(health(&rest).starts_with("HTTP/1.1 200"));
            for url in [format!("grpc+{}", unix(&grpc)), format!("http+{}", unix(&rest))] {
                assert_answers(&url.parse().expect("a URL"), Encoding::Protobuf, &url);
            }
            assert!(running.stop(signal));
            assert!(!grpc.exists() && !rest.exists(), "{program} left a file");
        }
    }
}

#[test]
fn a_rung_has_a_fresh_socket_or_the_given_one() {
    let rung = "tokio/h1/npy@unix";
    let running = Program::start(NDECHO, &["serve", rung]);
    let address = running.ready.strip_prefix("ready ").expect("a ready line").to_owned();
    assert!(address.starts_with("unix:/"), "{address}");
    assert_answers(&format!("http+{address}").parse().expect("a URL"), Encoding::Npy, rung);
    assert!(running.stop(Signal::SIGTERM));

    let folder = folder();
    let given = unix(&folder.path().join("echo.sock"));
    let running = Program::start(NDECHO, &["serve", rung, "--listen", &given]);
    assert_eq!(running.ready, format!("ready {given}"));
    drop(running);

    let (code, text) = refused(NDECHO, &["serve", rung, "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 2);
    assert!(text.contains("needs the address of a Unix socket"), "{text}");
}

#[test]
fn two_workers_share_a_socket() {
    let cores = ndecho::sys::affinity::cores();
    let [first, second, ..] = cores[..] else { return };
    let folder = folder();
    let path = folder.path().join("echo.sock");
    let cores = format!("{first},{second}");
    let args = ["serve", "tokio/h1/npy@unix", "--cpu", &cores, "--listen", &unix(&path)];
    let running = Program::start(NDECHO, &args);
    let url = format!("http+{}", unix(&path));
    assert_answers(&url.parse().expect("a URL"), Encoding::Npy, "two workers");
    assert!(running.stop(Signal::SIGTERM));
    assert!(!path.exists());
}

fn serve_at(path: &Path) -> [String; 4] {
    ["serve", "tokio/h1/npy@unix", "--listen", &unix(path)].map(str::to_owned)
}

fn refused_at(path: &Path) -> String {
    let args = serve_at(path);
    let (code, text) = refused(NDECHO, &args.each_ref().map(String::as_str));
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    text
}

#[test]
fn a_stale_file_is_replaced() {
    let folder = folder();
    let path = folder.path().join("echo.sock");
    let args = serve_at(&path);
    let args = args.each_ref().map(String::as_str);
    let running = Program::start(NDECHO, &args);
    running.signal(Signal::SIGKILL);
    drop(running);
    assert!(path.exists(), "a killed server leaves its file");
    let running = Program::start(NDECHO, &args);
    assert!(health(&path).starts_with("HTTP/1.1 200"));
    assert!(running.stop(Signal::SIGTERM));
}

#[test]
fn a_live_socket_is_refused_and_goes_on() {
    let folder = folder();
    let path = folder.path().join("echo.sock");
    let live = UnixListener::bind(&path).expect("a free path");
    let text = refused_at(&path);
    assert!(text.contains("another program listens there: stop it"), "{text}");
    assert!(path.exists());
    UnixStream::connect(&path).expect("it still listens");
    drop(live);
}

#[test]
fn a_file_that_is_no_socket_is_refused_and_kept() {
    let folder = folder();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, b"notes").expect("the folder is writable");
    let text = refused_at(&path);
    assert!(text.contains("the file there is no socket"), "{text}");
    assert_eq!(std::fs::read(&path).expect("it is there"), b"notes");
}

#[test]
fn a_bad_path_gets_one_clear_line() {
    let folder = folder();
    let long = folder.path().join("x".repeat(120));
    let bytes = long.as_os_str().len();
    let text = refused_at(&long);
    let reason = format!("the path has {bytes} bytes, the path of a Unix socket at most 107");
    assert!(text.contains(&reason), "{text}");

    let text = refused_at(&folder.path().join("missing/echo.sock"));
    assert!(text.contains("create the folder"), "{text}");
    assert_eq!(text.matches("No such file").count(), 1, "{text}");

    // Nobody may create a file there, not even root.
    let text = refused_at(Path::new("/sys/echo.sock"));
    assert!(text.contains("choose a folder in which this user may create files"), "{text}");
}

#[test]
fn a_load_without_a_server_says_so() {
    let folder = folder();
    let url = format!("http+{}", unix(&folder.path().join("none.sock")));
    let (code, text) = refused(NDECHO, &["load", &url]);
    assert_eq!(code, 1);
    assert!(
        text.contains("cannot connect to unix:") && text.contains("start the server"),
        "{text}"
    );
    for wrong in ["grpc+unix:", "ftp+unix:/a"] {
        let (code, text) = refused(NDECHO, &["load", wrong]);
        assert_eq!(code, 2, "{text}");
    }
}
