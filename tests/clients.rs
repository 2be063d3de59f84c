//! Clients of other projects against both server programs: grpcio (synchronous and asyncio),
//! tritonclient, pyarrow, grpc-js, aiohttp, requests, curl and h2load. The Python clients run in
//! virtual environments that the first test of each creates; tritonclient needs an older protobuf
//! than the others. The test of grpc-js installs it with npm.
//!
//! If a client is not installed, its test is skipped with a message. With `CI` set, it fails
//! instead.

#[path = "common/process.rs"]
mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use process::Server;

const PROTO_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
const INTEROP_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/interop");

const ANY_PORTS: [&str; 4] = ["--grpc", "127.0.0.1:0", "--rest", "127.0.0.1:0"];

fn uring_server() -> Server {
    Server::start(env!("CARGO_BIN_EXE_uring-server"), &ANY_PORTS)
}

fn uring_server_on_the_h2_crate() -> Server {
    let args = [&ANY_PORTS[..], &["--grpc-engine", "h2-crate"]].concat();
    Server::start(env!("CARGO_BIN_EXE_uring-server"), &args)
}

fn tonic_server() -> Server {
    Server::start(env!("CARGO_BIN_EXE_tonic-server"), &ANY_PORTS)
}

/// Skips on a user's machine, fails in CI.
fn missing(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} is needed in CI");
    eprintln!("skipped: {what} is not here");
}

fn present(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        missing(program);
    }
    found
}

/// Virtual environment with the packages of one file of requirements.
struct Environment {
    requirements: &'static str,
    folder: &'static str,
    python: OnceLock<Option<PathBuf>>,
}

static INTEROP: Environment = Environment::new("requirements.txt", "interop-venv");
static TRITON: Environment = Environment::new("requirements-kserve.txt", "kserve-venv");

impl Environment {
    const fn new(requirements: &'static str, folder: &'static str) -> Environment {
        Environment { requirements, folder, python: OnceLock::new() }
    }

    /// Returns the Python of the environment, which the first use creates, or `None` if that fails.
    fn python(&self) -> Option<&Path> {
        let made = self.python.get_or_init(|| match self.make() {
            Ok(python) => Some(python),
            Err(reason) => {
                missing(&reason);
                None
            }
        });
        made.as_deref()
    }

    fn make(&self) -> Result<PathBuf, String> {
        let listed = format!("{INTEROP_DIR}/{}", self.requirements);
        let requirements =
            std::fs::read_to_string(&listed).map_err(|error| format!("{listed}: {error}"))?;
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(self.folder);
        let python = home.join("bin/python");
        let stamp = home.join("requirements.txt");
        if std::fs::read_to_string(&stamp).is_ok_and(|made| made == requirements) {
            return Ok(python);
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&listed))?;
        std::fs::write(&stamp, requirements)
            .map_err(|error| format!("{}: {error}", stamp.display()))?;
        Ok(python)
    }

    /// Runs a script of tools/interop and prints its output.
    fn script(&self, name: &str, args: &[&str]) {
        let Some(python) = self.python() else { return };
        let output = run(Command::new(python).arg(format!("{INTEROP_DIR}/{name}")).args(args))
            .unwrap_or_else(|error| panic!("{error}"));
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
}

fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    Err(format!("{command:?}: {}\n{stdout}{stderr}", output.status))
}

/// Runs a script of tools/interop in the environment that most of them need.
fn script(name: &str, args: &[&str]) {
    INTEROP.script(name, args);
}

fn curl(args: &[&str]) -> String {
    let output = run(Command::new("curl").args(["--silent", "--show-error"]).args(args))
        .unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn grpcio_calls_uring_server() {
    let server = uring_server();
    script("grpc_client.py", &[server.address("grpc"), PROTO_DIR, "--gzip"]);
}

#[test]
fn grpcio_calls_uring_server_on_the_h2_crate() {
    let server = uring_server_on_the_h2_crate();
    script("grpc_client.py", &[server.address("grpc"), PROTO_DIR]);
}

#[test]
fn grpcio_calls_tonic_server() {
    let server = tonic_server();
    script("grpc_client.py", &[server.address("grpc"), PROTO_DIR, "--gzip"]);
}

#[test]
fn tritonclient_infers_over_grpc_on_every_server() {
    for server in [uring_server(), uring_server_on_the_h2_crate(), tonic_server()] {
        TRITON.script("kserve_grpc.py", &[server.address("grpc")]);
    }
}

/// Installs the packages of the server over grpc-js, with the versions of its lock file, in a
/// folder that is kept. Returns that folder.
fn grpc_js() -> Result<PathBuf, String> {
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/external/node-grpc-js");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grpc-js");
    let stamp = home.join("installed");
    let wanted = std::fs::read_to_string(format!("{lock}/package-lock.json"))
        .map_err(|error| format!("package-lock.json: {error}"))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(home);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", home.display());
    std::fs::create_dir_all(&home).map_err(failed)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(format!("{lock}/{name}"), home.join(name)).map_err(failed)?;
    }
    let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"];
    run(Command::new("npm").args(options).arg(&home))?;
    std::fs::write(&stamp, wanted).map_err(failed)?;
    Ok(home)
}

#[test]
fn grpc_js_calls_every_server() {
    if !present("node") || !present("npm") {
        return;
    }
    let modules = match grpc_js() {
        Ok(modules) => modules,
        Err(reason) => return missing(&reason),
    };
    for server in [uring_server(), uring_server_on_the_h2_crate(), tonic_server()] {
        let output = run(Command::new("node")
            .arg(format!("{INTEROP_DIR}/grpc_client.mjs"))
            .args([server.address("grpc"), &format!("{PROTO_DIR}/ndecho.proto")])
            .arg(&modules))
        .unwrap_or_else(|error| panic!("{error}"));
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn tritonclient_infers_over_http_on_both_servers() {
    for server in [uring_server(), tonic_server()] {
        TRITON.script("kserve_http.py", &[server.address("rest")]);
    }
}

#[test]
fn grpcio_and_curl_call_both_servers_over_unix_sockets() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (grpc, rest) = (path("grpc.sock"), path("rest.sock"));
    let args = ["--grpc", &format!("unix:{grpc}"), "--rest", &format!("unix:{rest}")];
    // By default grpcio sends the escaped path as authority, which tonic's HTTP/2 refuses.
    let authority = ["--authority", "localhost"];
    for (program, options) in [
        (env!("CARGO_BIN_EXE_uring-server"), &authority[..0]),
        (env!("CARGO_BIN_EXE_tonic-server"), &authority[..]),
    ] {
        let server = Server::start(program, &args);
        let target = [server.address("grpc"), PROTO_DIR];
        script("grpc_client.py", &[&target[..], options].concat());
        if present("curl") {
            let message = r#"{"data": [0.5, -1.25], "dtype": "<f8"}"#;
            let url = "http://localhost/echo_json";
            let reply = curl(&["--unix-socket", &rest, "--data", message, url]);
            assert_eq!(reply.replace(" ", ""), message.replace(" ", ""));
        }
    }
}

#[test]
fn aiohttp_and_requests_call_uring_server() {
    let server = uring_server();
    let url = format!("http://{}", server.address("rest"));
    script("rest_client.py", &[&url, PROTO_DIR]);
}

#[test]
fn pyarrow_calls_both_servers() {
    for server in [uring_server(), tonic_server()] {
        let url = format!("http://{}", server.address("rest"));
        script("arrow_client.py", &[&url]);
    }
}

#[test]
fn the_text_of_doubles_is_that_of_python() {
    let server = uring_server();
    let url = format!("http://{}", server.address("rest"));
    script("json_floats.py", &[&url, "--count", "140000"]);
}

#[test]
fn aiohttp_and_requests_call_tonic_server() {
    let server = tonic_server();
    let url = format!("http://{}", server.address("rest"));
    script("rest_client.py", &[&url, PROTO_DIR, "--library-json"]);
}

#[test]
fn curl_echoes_and_is_refused_with_a_reason() {
    if !present("curl") {
        return;
    }
    let server = uring_server();
    let url = format!("http://{}", server.address("rest"));
    let message = r#"{"data": [0.5, -1.25], "dtype": "<f8"}"#;
    assert_eq!(curl(&["--data", message, &format!("{url}/echo_json")]), message);
    assert_eq!(curl(&[&format!("{url}/healthz")]).trim(), "ok");

    let ragged = r#"{"data": [[1, 2], [3]], "dtype": "<f8"}"#;
    let reply =
        curl(&["--write-out", "%{http_code}", "--data", ragged, &format!("{url}/echo_json")]);
    assert!(reply.ends_with("400") && reply.len() > 10, "{reply:?}");
}

#[test]
fn curl_waits_for_100_continue_with_a_large_body() {
    if !present("curl") {
        return;
    }
    let server = uring_server();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("curl-body.bin");
    let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(&file, &body).expect("the temporary folder is writable");
    let echoed = file.with_extension("echo");
    curl(&[
        "--header",
        "expect: 100-continue",
        "--data-binary",
        &format!("@{}", file.display()),
        "--output",
        &echoed.to_string_lossy(),
        &format!("http://{}/echo_reflect", server.address("rest")),
    ]);
    assert!(std::fs::read(&echoed).expect("curl wrote the reply") == body, "the reply differs");
}

#[test]
fn h2load_gets_every_reply_from_every_server() {
    if !present("h2load") {
        return;
    }
    // One message: flag 0, length 18, NDArray{buffer: 8 bytes, dtype: "<f8", shape: [1]}.
    let mut body = vec![0, 0, 0, 0, 18];
    body.extend(b"\x0a\x08\0\0\0\0\0\0\xf0\x3f\x12\x03<f8\x1a\x01\x01");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("h2load-body.bin");
    std::fs::write(&file, &body).expect("the temporary folder is writable");
    for server in [uring_server(), uring_server_on_the_h2_crate(), tonic_server()] {
        let output = run(Command::new("h2load")
            .args(["-n", "20000", "-c", "1", "-m", "1000", "-w", "24", "-W", "26", "-d"])
            .arg(&file)
            .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
            .arg(format!("http://{}/Calculator/Echo", server.address("grpc"))))
        .unwrap_or_else(|error| panic!("{error}"));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("20000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
        let data = format!("({}) data", 20000 * body.len());
        assert!(text.contains(&data), "expected {data} bytes of replies:\n{text}");
    }
}
