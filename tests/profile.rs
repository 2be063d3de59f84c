//! A profile finds a cost in the layer in which it was planted.
//!
//! The tests are skipped where `perf` is not installed or may not sample; with `CI` set, they fail
//! instead.

#[path = "common/process.rs"]
mod process;

use std::process::{Child, Command, Stdio};

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

fn load(server: &Server) -> Load {
    let url = format!("grpc://{}", server.address(""));
    let mut command = Command::new(NDECHO);
    command.args(["load", &url, "--codec", "protobuf", "--size", "8", "--in-flight", "64"]);
    command.args(["--connections", "1", "--duration", "60s"]);
    Load(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program is here"))
}

fn can_profile() -> bool {
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-e", "cpu-clock", "-o", "/dev/null", "true"]);
    perf.stdout(Stdio::null()).stderr(Stdio::null());
    let can = perf.status().is_ok_and(|status| status.success());
    assert!(can || std::env::var_os("CI").is_none(), "perf is needed in CI (package linux-perf)");
    if !can {
        eprintln!("skipped: perf is not installed, or this user may not sample");
    }
    can
}

/// Folders in which a shell looks for `perf`.
fn path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// Returns the shares of the layers of a loaded server in per cent, and the whole text.
fn profile(server: &Server) -> (Vec<(String, f64)>, String) {
    profile_in(&path(), server)
}

/// Like [`profile`], with `perf` only if it is in the folders of `path`.
fn profile_in(path: &str, server: &Server) -> (Vec<(String, f64)>, String) {
    let _load = load(server);
    let pid = server.pid().to_string();
    let output = Command::new(NDECHO)
        .args(["profile", "--pid", &pid, "--duration", "1500ms"])
        .env("PATH", path)
        .output()
        .expect("the program is here");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let is_without = stderr.contains("perf is not installed: samples are taken through");
    assert_eq!(is_without, path.is_empty(), "{stderr}");
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

#[test]
fn a_planted_delay_is_found_in_the_application_and_nowhere_else() {
    if !can_profile() {
        return;
    }
    let serve = ["serve", "uring/h2/protobuf", "--cpu", "0"];
    let (plain, text) = profile(&Server::start(NDECHO, &serve));
    let all: f64 = plain.iter().map(|(_, share)| share).sum();
    assert!((99.0..101.0).contains(&all), "{text}");
    assert!(share(&plain, "unattributed") < 5.0, "{text}");
    let (planted, text) =
        profile(&Server::start(NDECHO, &[&serve[..], &["--delay", "100us"]].concat()));
    let application = share(&planted, "application");
    assert!(application > 80.0, "{text}");
    // The other layers keep their proportions, so each has shrunk.
    for (layer, share) in planted.iter().filter(|(layer, _)| layer != "application") {
        assert!(*share < 20.0, "{layer}: {text}");
    }
}

#[test]
fn samples_without_perf_have_the_same_layers() {
    if !can_profile() {
        return;
    }
    let server = Server::start(NDECHO, &["serve", "uring/h2/protobuf", "--cpu", "0"]);
    let (with, with_text) = profile(&server);
    let (without, without_text) = profile_in("", &server);
    let all: f64 = without.iter().map(|(_, share)| share).sum();
    assert!((99.0..101.0).contains(&all), "{without_text}");
    assert!(share(&without, "unattributed") < 5.0, "{without_text}");
    for (layer, of_layer) in with.iter().chain(&without).filter(|(_, share)| *share > 5.0) {
        let difference = (share(&with, layer) - share(&without, layer)).abs();
        assert!(difference < of_layer / 2.0, "{layer}\n{with_text}\n{without_text}");
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
