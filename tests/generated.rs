//! `proto/generated.rs` equals the output of the compiler for `proto/ndecho.proto`, byte for byte.
//!
//! The compiler is protox, which is pure Rust, so this test does not need protoc. After a change of
//! the proto file, run `cargo test --test generated -- --ignored rewrite`.

use std::path::{Path, PathBuf};

const HEAD: &str = "\
//! `NDArray` and `Calculator` as prost and tonic generate them, with the defaults of prost
//! (`buffer` is a `Vec<u8>`).
//!
//! @generated from `proto/ndecho.proto`. `tests/generated.rs` compares and rewrites this file.
#![allow(clippy::all, missing_docs, reason = \"generated code keeps its generator's habits\")]

";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn remake() -> String {
    let proto = root().join("proto");
    let files = protox::compile([proto.join("ndecho.proto")], [proto]).expect("the proto compiles");
    let out = tempfile::tempdir().expect("a temporary directory");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .compile_fds(files)
        .expect("code generation");
    HEAD.to_owned() + &only_file(out.path())
}

fn only_file(folder: &Path) -> String {
    let mut files = std::fs::read_dir(folder).expect("a readable folder");
    let file = files.next().expect("one file was made").expect("its entry is readable");
    assert!(files.next().is_none(), "more than one file was made");
    std::fs::read_to_string(file.path()).expect("generated text is UTF-8")
}

#[test]
fn committed_code_is_what_the_proto_gives() {
    let committed = std::fs::read_to_string(root().join("proto/generated.rs")).expect("it exists");
    assert!(
        committed == remake(),
        "proto/generated.rs differs from its source: cargo test --test generated -- --ignored rewrite"
    );
}

#[test]
#[ignore = "writes proto/generated.rs"]
fn rewrite() {
    std::fs::write(root().join("proto/generated.rs"), remake()).expect("src is writable");
}
