//! A server may end a connection between two requests. The load generator connects again, and
//! loses or doubles no request.
//!
//! The test with nginx is skipped where nginx is not installed; with `CI` set, it fails instead.

#[path = "common/process.rs"]
mod process;
#[path = "peers/ring.rs"]
mod ring;

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ndecho::record::Measurement;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use process::Server;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

fn load(flags: &[&str]) -> Measurement {
    measured(&mut Command::new(NDECHO), flags)
}

/// Loads a server as on a machine where io_uring is forbidden.
fn load_on_poll(flags: &[&str]) -> Measurement {
    const IO_URING_SETUP: &str = "425";
    let mut python = Command::new("python3");
    measured(python.args(["tests/data/without_call.py", IO_URING_SETUP, NDECHO]), flags)
}

fn measured(command: &mut Command, flags: &[&str]) -> Measurement {
    command.args(["load", "--json", "--warmup", "0"]).args(flags);
    let output = command.output().expect("the program is here");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{flags:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("one JSON line")
}

/// Starts an HTTP server that echoes, and ends each connection with its reply number
/// `per_connection`, whose head begins with `last`. Returns its address and its count of requests.
fn short_server(per_connection: u64, last: &'static str) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let requests = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming().map(|stream| stream.expect("a connection")) {
            let count = Arc::clone(&count);
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                for number in 1..=per_connection {
                    let Some(body) = request(&mut stream) else { return };
                    count.fetch_add(1, Ordering::Relaxed);
                    let head = if number == per_connection { last } else { "HTTP/1.1 200 OK\r\n" };
                    let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
                    let reply = [head.as_bytes(), &body].concat();
                    stream.get_mut().write_all(&reply).expect("the client reads");
                }
            });
        }
    });
    (address, requests)
}

/// Reads a request and returns its body; `None` at the end of the connection.
fn request(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut len = None;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            len = value.trim_end().parse().ok();
        }
        if line == "\r\n" {
            let mut body = vec![0; len.expect("the client announces its body")];
            stream.read_exact(&mut body).ok()?;
            return Some(body);
        }
    }
}

#[test]
fn a_reply_that_closes_its_connection_is_followed_by_a_new_one() {
    if ring::is_missing() {
        return;
    }
    for (per_connection, last) in [
        (7, "HTTP/1.1 200 OK\r\nConnection: close\r\n"),
        (1, "HTTP/1.1 200 OK\r\nConnection: close\r\n"),
        (7, "HTTP/1.0 200 OK\r\n"),
    ] {
        for load in [load, load_on_poll] {
            let (address, requests) = short_server(per_connection, last);
            let url = format!("http://localhost:{}", address.port());
            let flags = ["--codec", "reflect", "--connections", "3", "--requests", "210"];
            let measured = load(&[&[&url[..]], &flags[..]].concat());
            assert_eq!((measured.requests, requests.load(Ordering::Relaxed)), (210, 210));
            assert!(measured.reconnects >= 210 / per_connection - 3, "{}", measured.reconnects);
        }
    }
}

/// nginx with its defaults in front of both listeners of a server, in one process.
struct Nginx {
    child: Child,
    folder: tempfile::TempDir,
    grpc: SocketAddr,
    rest: SocketAddr,
}

impl Nginx {
    /// Returns `None` where nginx is not installed.
    fn start(server: &Server) -> Option<Nginx> {
        if Command::new("nginx").arg("-v").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "nginx is needed in CI");
            eprintln!("skipped: nginx is not here");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        // nginx does not tell which port it got, so it cannot pick one.
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let [grpc, rest] = [free(), free()].map(|address| address.expect("a free port"));
        let config = CONFIG
            .replace("GRPC_FRONT", &grpc.to_string())
            .replace("REST_FRONT", &rest.to_string())
            .replace("GRPC_BACK", server.address("grpc"))
            .replace("REST_BACK", server.address("rest"));
        fs::write(folder.path().join("nginx.conf"), config).expect("a temporary folder");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).args(["-e", "error.log", "-c", "nginx.conf"]);
        let mut child = command.stderr(Stdio::inherit()).spawn().expect("nginx is here");
        let late = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(rest).is_err() {
            assert!(child.try_wait().expect("our child").is_none(), "nginx ended: {CONFIG}");
            assert!(Instant::now() < late, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Nginx { child, folder, grpc, rest })
    }

    /// Stops nginx and returns the statuses of the requests that it logged.
    fn statuses(mut self) -> Vec<String> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGQUIT).expect("it runs");
        self.child.wait().expect("our child");
        let log = fs::read_to_string(self.folder.path().join("access.log")).expect("a log");
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // This fails only if nginx has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Places of files and listeners. All else is a default, such as 1000 requests per connection.
const CONFIG: &str = "
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
    log_format status $status;
    access_log access.log status;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server { listen REST_FRONT; location / { proxy_pass http://REST_BACK; } }
    server { listen GRPC_FRONT http2; location / { grpc_pass grpc://GRPC_BACK; } }
}
";

#[test]
fn three_thousand_requests_pass_through_nginx() {
    if ring::is_missing() {
        return;
    }
    let ports = ["--grpc", "127.0.0.1:0", "--rest", "127.0.0.1:0"];
    let server = Server::start(env!("CARGO_BIN_EXE_uring-server"), &ports);
    let Some(nginx) = Nginx::start(&server) else { return };
    let url = format!("http://{}", nginx.rest);
    let flags = ["--codec", "npy", "--size", "2KiB", "--requests", "3000"];
    let measured = load(&[&[&url[..]], &flags[..]].concat());
    assert_eq!((measured.requests, measured.reconnects), (3000, 2));
    let url = format!("grpc://{}", nginx.grpc);
    let flags = ["--size", "2KiB", "--in-flight", "8", "--requests", "3000"];
    let measured = load(&[&[&url[..]], &flags[..]].concat());
    assert_eq!((measured.requests, measured.reconnects), (3000, 2));
    let statuses = nginx.statuses();
    assert!(statuses.iter().all(|status| status == "200"), "{statuses:?}");
    assert_eq!(statuses.len(), 6000, "one line for each request");
}
