//! `ndecho lanes`: instructions of protocols and codecs in memory, under valgrind.

use std::path::Path;
use std::process::Command;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

/// Lane that fills buffers on its stack.
const LANE: &str = "codec/json/i8/encode";

fn has_valgrind() -> bool {
    let has = Command::new("valgrind").arg("--version").output().is_ok();
    assert!(has || std::env::var_os("CI").is_none(), "valgrind is needed in CI");
    has
}

/// Counts `lane` in a process whose environment is longer by `bytes`.
fn count(lane: &str, bytes: usize, file: &Path) -> String {
    let mut command = Command::new(NDECHO);
    command.args(["lanes", lane, "--write"]).arg(file).env("PADDING", "x".repeat(bytes));
    let output = command.output().expect("the program is here");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(file).expect("its counts")
}

#[test]
fn counts_do_not_depend_on_the_length_of_the_environment() {
    if !has_valgrind() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("counts");
    let first = count(LANE, 0, &file);
    assert!(first.contains(",all,"), "{first}");
    for bytes in [16, 1000] {
        assert_eq!(count(LANE, bytes, &file), first, "{bytes} bytes more");
    }
}
