//! `ndecho advise`: it measures, chooses, and prints a server and a client; it advises from a
//! record only if that record has the array and the load.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ndecho::array::{DType, NdArray, Shape};
use ndecho::codec::{self, npy::Npy};

#[path = "peers/ring.rs"]
mod ring;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

fn advise(args: &[&str]) -> Output {
    let mut command = Command::new(NDECHO);
    command.arg("advise").args(args).stdin(Stdio::null());
    command.output().expect("the binary is built")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Runs `ndecho advise` with success, and returns what it prints.
fn advice(args: &[&str]) -> String {
    let output = advise(args);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{args:?}\n{stdout}{stderr}");
    let widest = stdout.lines().take_while(|line| *line != "Server");
    assert!(widest.map(|line| line.chars().count()).max() <= Some(100), "{stdout}");
    stdout.to_owned()
}

fn assert_refused(args: &[&str], status: i32, words: &[&str]) {
    let output = advise(args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{args:?}: no {word:?} in {stderr}");
    }
}

fn image() -> tempfile::NamedTempFile {
    let shape = Shape::new(&[24, 32, 3]).expect("three dimensions");
    let array = NdArray::seeded(DType::parse("uint8").expect("listed"), shape, 1).expect("small");
    let file = tempfile::Builder::new().suffix(".npy").tempfile().expect("a file");
    let npy = codec::message(&Npy, &array.view()).expect("npy carries it");
    fs::write(file.path(), npy).expect("it is writable");
    file
}

#[test]
fn an_array_is_measured_once_and_advised_on_again_from_the_record() {
    if ring::is_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let out = out.to_str().expect("text");
    let image = image();
    let image = image.path().to_str().expect("text");
    let first = advice(&["--array", image, "--time", "1s", "--clients", "2", "--out", out]);
    for part in [
        "For 2.25 KiB |u1 [24, 32, 3], 2 connections with one request in flight on each",
        "CPU/call",
        "\nChoice ",
        "\nMargin ",
        "\nWould change it ",
        "\nServer\n",
        "\nClient (needs ",
        &format!("\nFrom\n   {out}\nAgain\n   ndecho advise --from "),
    ] {
        assert!(first.contains(part), "{part:?} is not in\n{first}");
    }

    let snippets = folder.path().join("snippets");
    let files = ["--snippets", snippets.to_str().expect("text")];
    let grpc = [&["--from", out, "--language", "rust", "--rungs", "*/protobuf*"], &files[..]];
    let advised = advice(&grpc.concat());
    assert!(advised.contains("--addr 127.0.0.1:50051"), "{advised}");
    assert!(advised.contains("--- tools/clients/rust/src/bin/grpc.rs\n"), "{advised}");
    for file in ["server.sh", "client.sh", "tools/clients/rust/Cargo.toml", "proto/generated.rs"] {
        assert!(snippets.join(file).is_file(), "{file}");
    }
    let server = fs::read_to_string(snippets.join("server.sh")).expect("it is there");
    assert!(server.contains("serve ") && server.contains("${1:-127.0.0.1:50051}"), "{server}");

    assert_refused(&["--from", out, "--clients", "3"], 3, &["it has it with 2"]);
    let other = ["--from", out, "--dtype", "u1", "--shape", "2304"];
    assert_refused(&other, 3, &["no array 2.25 KiB |u1 [2304]", "it has 2.25 KiB |u1 [24, 32, 3]"]);
    let limit = ["--from", out, "--latency", "p99=5ms"];
    assert_refused(&limit, 3, &["no requests at one rate"]);
}

#[test]
fn a_limit_that_no_server_keeps_ends_in_a_status_of_its_own() {
    if ring::is_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let out = out.to_str().expect("text");
    let scalar = ["--dtype", "f8", "--shape", "", "--time", "1s", "--rungs", "tokio/axum/npy"];
    let args = [&scalar[..], &["--rate", "200", "--latency", "p50=1ns", "--out", out]].concat();
    let output = advise(&args);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{stdout}{stderr}");
    assert!(stdout.contains("none: no candidate had a p50 of at most 1.00 ns"), "{stdout}");
    assert!(!stdout.contains("\nServer") && stdout.contains("\nFrom\n"), "{stdout}");
    assert!(stderr.contains("no candidate can be chosen"), "{stderr}");
    let met = ["--from", out, "--rate", "200", "--latency", "p50=1m", "--language", "js"];
    let met = advice(&met);
    assert!(met.contains("Its p50 was ") && met.contains("echo.mjs"), "{met}");
}

#[test]
fn the_command_that_advises_again_is_read_by_a_shell_and_gives_the_same_advice() {
    if ring::is_missing() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("it's \"a run\" for $HOME; *");
    let out = out.to_str().expect("text");
    let scalar = ["--dtype", "f8", "--shape", "", "--time", "1s", "--rungs", "tokio/axum/npy"];
    let limits = ["--rate", "200", "--latency", "p50=1m", "--language", "js", "--out", out];
    let first = advice(&[&scalar[..], &limits].concat());
    let (_, again) = first.split_once("\nAgain\n   ndecho advise").expect("a command");
    let again = again.lines().next().expect("its line");
    let command = format!("\"$NDECHO\" advise{again}");
    for flag in ["--rate 200", "--latency p50=60s", "--language js"] {
        assert!(command.contains(flag), "{command}");
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).env("NDECHO", NDECHO).stdin(Stdio::null());
    let again = shell.output().expect("a shell");
    assert_eq!(text(&again.stdout), first, "{command}\n{}", text(&again.stderr));
}

#[test]
fn a_mistake_is_wrong_usage_and_measures_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let object = folder.path().join("object.npy");
    let head = "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }";
    let npy = [&b"\x93NUMPY\x01\x00v\x00"[..], format!("{head:<117}\n").as_bytes()].concat();
    fs::write(&object, npy).expect("it is writable");
    let object = object.to_str().expect("text");
    let image = image();
    let image = image.path().to_str().expect("text");
    let f4 = ["--dtype", "f4", "--shape", "8"];
    let with = |more: &[&'static str]| [&f4[..], more].concat();
    let cases: [(Vec<&str>, &[&str]); 15] = [
        (vec![], &["no array", "--array F.npy"]),
        (vec!["--dtype", "f4"], &["--shape"]),
        (vec!["--shape", "8"], &["--dtype"]),
        (vec!["--array", image, "--shape", "8"], &["--array", "cannot be used with"]),
        (vec!["--dtype", "O", "--shape", "8"], &["dtype \"O\" is not supported"]),
        (vec!["--dtype", "f4", "--shape", "0,5"], &["no items (shape [0, 5])"]),
        (vec!["--dtype", "f4", "--shape", "8x5"], &["shape \"8x5\"", "128,64"]),
        (vec!["--array", object], &["object.npy", "|O"]),
        (vec!["--array", "/no/such.npy"], &["/no/such.npy"]),
        (with(&["--latency", "99=5ms"]), &["p99=5ms"]),
        (with(&["--latency", "p99=5"]), &["unknown unit"]),
        (with(&["--rate", "0"]), &["requests per second from 1"]),
        (with(&["--clients", "0"]), &["--clients"]),
        (with(&["--language", "cobol"]), &["cobol", "c++"]),
        (with(&["--language", "js", "--rungs", "tokio/tonic*"]), &["no rung matches"]),
    ];
    let out = folder.path().join("run");
    for (args, words) in cases {
        let args = [&args[..], &["--out", out.to_str().expect("text")]].concat();
        assert_refused(&args, 2, words);
    }
    assert!(!Path::exists(&out), "nothing was measured");
    assert_refused(&["--from", "/no/such/folder"], 2, &["/no/such/folder"]);
}
