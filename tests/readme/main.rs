//! Promises of the README: its picture and its answer are what the program makes of the committed
//! record, and every command in it works.
//!
//! After a new record in `docs/results/main`, or a change of the answer's words or its picture, run
//! `cargo test --test readme -- --ignored rewrite`.

mod answer;
mod blocks;
mod commands;
mod layers;
#[path = "../common/process.rs"]
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

/// Folder of the record behind the picture and the answer, and the picture.
const RECORD: &str = "docs/results/main";
const PICTURE: &str = "docs/answer.svg";

/// Lines that keep the README short enough for a newcomer.
const LINES_MAX: usize = 140;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn readme() -> String {
    fs::read_to_string(root("README.md")).expect("it is in the tree")
}

fn report(args: &[&str]) -> Output {
    Command::new(NDECHO).arg("report").args(args).current_dir(root("")).output().expect("it runs")
}

fn text_of(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn the_committed_picture_is_drawn_from_the_committed_record() {
    let drawn = text_of(&report(&[RECORD, "--svg"]));
    let committed = fs::read_to_string(root(PICTURE)).expect("it is in the tree");
    assert!(drawn == committed, "{PICTURE} differs: ndecho report {RECORD} --svg {PICTURE}");
    assert!(readme().contains(&format!("]({PICTURE})")), "the README shows {PICTURE}");
}

#[test]
fn the_answer_is_that_of_the_committed_record() {
    let readme = readme();
    let (_, committed, _) = answer::split(&readme);
    assert_eq!(committed, answer::list(&answer::record()), "-- --ignored rewrite");
}

#[test]
fn the_record_of_the_picture_was_made_by_the_program_as_users_build_it() {
    let run = answer::record();
    assert_eq!(
        (run.header.build.profile.as_str(), run.header.preset.as_str()),
        ("release", "quick")
    );
    assert!(text_of(&report(&[RECORD, "--full"])).contains("A/A: "), "all tables can be printed");
}

#[test]
fn a_newcomer_can_read_it_at_once() {
    let lines = readme().lines().count();
    assert!(lines <= LINES_MAX, "{lines} lines");
}

#[test]
fn files_that_it_links_to_exist() {
    let readme = readme();
    let links: Vec<&str> =
        readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 8, "{links:?}");
    for link in links.into_iter().filter(|link| !link.starts_with("http")) {
        let path = link.split('#').next().expect("a path");
        assert!(root(path).exists(), "{link}");
    }
}

#[test]
fn every_command_works() {
    commands::run_all(&blocks::parse(&readme()).expect("a README of known blocks"));
}

#[test]
fn a_record_without_an_answer_has_no_picture() {
    let output = report(&["tests/data/report", "--svg"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("only a run of the main job") && stderr.contains("--full"), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_damaged_compressed_record_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = fs::read(root(RECORD).join("records.jsonl.gz")).expect("it is in the tree");
    fs::write(folder.path().join("records.jsonl.gz"), &whole[..1000]).expect("a file");
    let output = report(&[folder.path().to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("records.jsonl.gz cannot be decompressed"), "{stderr}");
}

#[test]
#[ignore = "writes docs/answer.svg and the answer in README.md"]
fn rewrite() {
    let drawn = text_of(&report(&[RECORD, "--svg"]));
    fs::write(root(PICTURE), drawn).expect("docs is writable");
    let readme = readme();
    let (before, _, after) = answer::split(&readme);
    let text = [before, &answer::list(&answer::record()), after].concat();
    fs::write(root("README.md"), text).expect("the README is writable");
}
