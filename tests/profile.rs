//! A profile finds a cost in the layer in which it was planted.
//!
//! The tests are skipped where `perf` is not installed or may not sample; with `CI` set, they fail
//! instead.

#[path = "common/perf.rs"]
mod perf;
#[path = "common/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use perf::can_profile;
use process::Server;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

/// Load generator that ends together with the test.
struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// File in which Python names its functions.
struct NamesFile(PathBuf);

impl Drop for NamesFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn load(server: &Server) -> Load {
    let url = format!("grpc://{}", server.address(""));
    let mut command = Command::new(NDECHO);
    command.args(["load", &url, "--codec", "protobuf", "--size", "8", "--in-flight", "16"]);
    command.args(["--connections", "1", "--duration", "60s"]);
    Load(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program is here"))
}

/// Returns a Python that names its functions: 3.13 or later, anywhere in `PATH`.
fn python() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["python3.13", "python3.14", "python3"];
    let files = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    let is_new = |file: &PathBuf| {
        let mut ask = Command::new(file);
        ask.args(["-c", "import sys; sys.exit(sys.version_info < (3, 13))"]);
        ask.stdout(Stdio::null()).stderr(Stdio::null());
        ask.status().is_ok_and(|status| status.success())
    };
    files.into_iter().find(is_new)
}

/// Returns the shares of the layers of a loaded server in per cent, and the whole text.
fn profile(server: &Server) -> (Vec<(String, f64)>, String) {
    profile_with(&[], server)
}

fn profile_with(flags: &[&str], server: &Server) -> (Vec<(String, f64)>, String) {
    let _load = load(server);
    profile_pid(flags, server.pid())
}

fn profile_pid(flags: &[&str], pid: u32) -> (Vec<(String, f64)>, String) {
    let output = Command::new(NDECHO)
        .args(["profile", "--pid", &pid.to_string(), "--duration", "1500ms"])
        .args(flags)
        .output()
        .expect("the program is here");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let share = |line: &str| {
        let (name, share) = line.strip_suffix(" %")?.rsplit_once("  ")?;
        Some((name.trim().to_owned(), share.trim().parse().ok()?))
    };
    let shares = text.lines().take_while(|line| !line.is_empty()).filter_map(share).collect();
    (shares, text)
}

fn share(shares: &[(String, f64)], layer: &str) -> f64 {
    shares.iter().find(|(name, _)| name == layer).map_or(0.0, |(_, share)| *share)
}

/// Layers in which own HTTP/2 can spend a delay.
const OWN: [&str; 6] =
    ["application", "codec decode", "HTTP framing", "runtime", "allocator", "user copies"];

const TONIC: [&str; 5] = ["application", "codec decode", "framework", "allocator", "user copies"];

/// Layers whose planted work is many short calls. Without optimization the loop around them takes
/// most of the time, so a debug build shows nothing.
const CALLED: [&str; 2] = ["allocator", "user copies"];

/// Share of a layer, in per cent, from which a delay that takes nearly all the time lies in it.
const FOUND: f64 = 80.0;

fn plain(rung: &str) -> Server {
    Server::start(NDECHO, &["serve", rung, "--cpu", "0"])
}

/// Starts a server with a delay, which is long: it ends by the clock, so a busy machine takes time
/// from it, and none from the other work of a call.
fn planted(rung: &str, layer: &str) -> Server {
    let serve = ["serve", rung, "--cpu", "0", "--delay", "40ms", "--delay-in", layer];
    Server::start(NDECHO, &serve)
}

/// Plants a delay in each layer in turn, and asserts that each profile shows it there and nowhere
/// else: a claim that it lies in another layer would be wrong.
fn assert_found_where_planted(rung: &str, layers: &[&str]) {
    let is_shown = |layer: &&&str| !cfg!(debug_assertions) || !CALLED.contains(*layer);
    for really in layers.iter().filter(is_shown) {
        let (shares, text) = profile(&planted(rung, really));
        for claimed in layers {
            let is_found = share(&shares, claimed) > FOUND;
            assert_eq!(is_found, claimed == really, "{rung}, {really}, {claimed}: {text}");
        }
    }
}

#[test]
fn a_plain_server_has_hardly_a_sample_without_a_layer() {
    if !can_profile() {
        return;
    }
    let (shares, text) = profile(&plain("uring/h2/protobuf"));
    let all: f64 = shares.iter().map(|(_, share)| share).sum();
    assert!((99.0..101.0).contains(&all), "{text}");
    assert!(share(&shares, "unattributed") < 5.0, "{text}");
    assert!(OWN.iter().all(|layer| share(&shares, layer) < FOUND), "{text}");
    let of_crates = |line: &str| {
        let share = line.strip_prefix("  by ")?.strip_suffix(" %")?.rsplit_once(' ')?.1;
        share.parse::<f64>().ok()
    };
    let of_crates: f64 = text.lines().filter_map(of_crates).sum();
    assert!((90.0..101.0).contains(&of_crates), "crates below 1 % are left out: {text}");
}

#[test]
fn a_delay_in_own_http2_is_found_in_the_layer_in_which_it_was_planted() {
    if can_profile() {
        assert_found_where_planted("uring/h2/protobuf", &OWN);
    }
}

#[test]
fn samples_of_perf_have_the_same_layers() {
    if !can_profile() {
        return;
    }
    // A planted delay outweighs the scheduler and the kernel, whose shares a busy machine changes.
    let server = planted("uring/h2/protobuf", "codec decode");
    let (without, without_text) = profile(&server);
    let (with, with_text) = profile_with(&["--sampler", "perf"], &server);
    let all: f64 = without.iter().map(|(_, share)| share).sum();
    assert!((99.0..101.0).contains(&all), "{without_text}");
    assert!(share(&without, "unattributed") < 5.0, "{without_text}");
    for layer in OWN {
        let shares = [share(&with, layer), share(&without, layer)];
        let are_found = shares.map(|share| share > FOUND);
        assert_eq!(are_found, [layer == "codec decode"; 2], "{layer}\n{with_text}\n{without_text}");
    }
}

#[test]
fn a_delay_in_tonic_is_found_in_the_layer_in_which_it_was_planted() {
    if can_profile() {
        assert_found_where_planted("tokio/tonic/protobuf:prost", &TONIC);
    }
}

/// Debian 12 has no Python 3.13, so the test is skipped where there is none, in CI too.
#[test]
fn a_python_program_shows_its_functions() {
    const PROGRAM: &str = "
import json
def encode(count):
    return json.dumps([number / 7 for number in range(count)])
def answer():
    return json.loads(encode(1000))
answer()
# The interpreter writes names in blocks of 4 KiB, so that more functions must follow.
for number in range(100):
    exec(f'def other{number}(): pass\\nother{number}()')
while True:
    answer()
";
    let Some(python) = python().filter(|_| can_profile()) else {
        eprintln!("skipped: no Python 3.13 or later");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("echo.py");
    std::fs::write(&program, PROGRAM).expect("the folder is writable");
    for (sampler, names) in [("own", true), ("perf", true), ("own", false)] {
        let mut command = Command::new(&python);
        command.arg(&program).env("PYTHON_PERF_JIT_SUPPORT", if names { "1" } else { "" });
        let child = command.spawn().expect("it ran before");
        let names_file = NamesFile(format!("/tmp/jit-{}.dump", child.id()).into());
        let program = Load(child);
        // Until it has reached its loop, and its first functions are written.
        std::thread::sleep(Duration::from_millis(500));
        let (shares, text) = profile_pid(&["--sampler", sampler], program.0.id());
        assert!(share(&shares, "interpreter") > 20.0, "{text}");
        assert_eq!(text.contains("echo.py encode"), names, "{text}");
        assert_eq!(text.contains("have names with Python 3.13"), !names, "{text}");
        drop(program);
        drop(names_file);
    }
}

#[test]
fn a_flag_without_a_meaning_for_a_running_process_is_wrong_usage() {
    let pid = std::process::id().to_string();
    let flags: [&[&str]; 16] = [
        &["uring/h2/protobuf"],
        &["--sizes", "8"],
        &["--array", "a.npy"],
        &["--rounds", "6"],
        &["--connections", "1"],
        &["--in-flight", "1"],
        &["--malloc", "keep"],
        &["--seed", "1"],
        &["--h2-window", "64KiB"],
        &["--h2-frame-size", "64KiB"],
        &["--equal-headers"],
        &["--index-headers"],
        &["--external-dir", "."],
        &["--environments", "."],
        &["--cpu-server", "0"],
        &["--out", "records"],
    ];
    for flag in flags {
        let args = [&["profile", "--pid", &pid, "--duration", "1ms"], flag].concat();
        let output = Command::new(NDECHO).args(&args).output().expect("the program is here");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains("cannot be used with"), "{args:?}: {stderr}");
    }
    let long = ["profile", "--pid", &pid, "--duration", "601s"];
    let output = Command::new(NDECHO).args(long).output().expect("the program is here");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("sampled for at most 10m"), "{stderr}");
}

#[test]
fn a_layer_without_a_place_is_refused_with_those_that_have_one() {
    let output = Command::new(NDECHO)
        .args(["serve", "tokio/axum/npy", "--delay", "1us", "--delay-in", "HTTP framing"])
        .output()
        .expect("the program is here");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("no place for a delay in HTTP framing"), "{text}");
    assert!(text.contains("codec decode, application, allocator, user copies"), "{text}");
}

/// Shares in per cent of the layers of collapsed stacks, whose first frame is the layer.
fn collapsed_shares(text: &str) -> BTreeMap<String, f64> {
    let stacks: Vec<(&str, f64)> = text
        .lines()
        .map(|line| {
            let (stack, samples) = line.rsplit_once(' ').expect("a stack and its samples");
            let (layer, _) = stack.split_once(';').expect("a layer and a function");
            (layer, samples.parse().expect("a number"))
        })
        .collect();
    let all: f64 = stacks.iter().map(|(_, samples)| samples).sum();
    let mut shares = BTreeMap::new();
    for (layer, samples) in stacks {
        *shares.entry(layer.to_owned()).or_default() += samples / all * 100.0;
    }
    shares
}

#[test]
fn exports_of_a_process_have_the_samples_of_its_table() {
    if !can_profile() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let [firefox, collapsed, icicle] = [file("a.json"), file("a.txt"), file("a.svg")];
    let server = Server::start(NDECHO, &["serve", "uring/h2/protobuf", "--cpu", "0"]);
    let flags = ["--firefox", &firefox, "--collapsed", &collapsed, "--icicle", &icicle];
    let (table, text) = profile_with(&flags, &server);
    let read = |path: &str| std::fs::read_to_string(path).expect("the file is written");
    let shares = collapsed_shares(&read(&collapsed));
    let svg = read(&icicle);
    for (layer, share) in &table {
        let found = shares.get(layer).copied().unwrap_or(0.0);
        assert!((found - share).abs() < 0.051, "{layer}: {found} in {text}");
        assert!(svg.contains(&format!("{layer} {share:.1} %</text>")), "{layer}: {text}");
    }
    assert_eq!(shares.len(), table.len(), "{text}");
    let profile: serde_json::Value = serde_json::from_str(&read(&firefox)).expect("JSON");
    let weights = profile["threads"][0]["samples"]["weight"].as_array().expect("a column");
    let samples: u64 = weights.iter().filter_map(serde_json::Value::as_u64).sum();
    assert!(text.contains(&format!("{samples} samples")), "{samples}: {text}");
}
