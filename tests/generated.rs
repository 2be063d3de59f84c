//! The generated files in `proto` equal the output of the compiler for their sources, byte for
//! byte.
//!
//! The compiler is protox, which is pure Rust, so this test does not need protoc. After a change of
//! a proto file, run `cargo test --test generated -- --ignored rewrite`.

use std::path::{Path, PathBuf};

use tonic_prost_build::Builder;

/// File of generated code: its source, its name, the first sentence of its doc, and its options.
struct Generated {
    source: &'static str,
    file: &'static str,
    summary: &'static str,
    options: fn(Builder) -> Builder,
}

const FILES: [Generated; 4] = [
    Generated {
        source: "ndecho.proto",
        file: "generated.rs",
        summary: "\
//! `NDArray` and `Calculator` as prost and tonic generate them, with the defaults of prost
//! (`buffer` is a `Vec<u8>`).
",
        options: |builder| builder,
    },
    Generated {
        source: "ndecho.proto",
        file: "generated_bytes.rs",
        summary: "\
//! `NDArray` and `Calculator` as prost and tonic generate them with `.bytes(\".\")` (`buffer` is a
//! `Bytes`).
",
        options: |builder| builder.bytes("."),
    },
    Generated {
        source: "inference.proto",
        file: "generated_inference.rs",
        summary: "\
//! Messages and service of the Open Inference Protocol as prost and tonic generate them.
",
        options: |builder| builder,
    },
    Generated {
        source: "packed.proto",
        file: "generated_packed.rs",
        summary: "\
//! `PackedArray` as prost generates it.
",
        options: |builder| builder,
    },
];

const HEAD: &str = "\
//!
//! @generated from `proto/SOURCE`. `tests/generated.rs` compares and rewrites this file.
#![allow(clippy::all, clippy::too_many_lines, missing_docs, reason = \"generated code keeps its generator's habits\")]

";

fn proto() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("proto")
}

fn remake(generated: &Generated) -> String {
    let proto = proto();
    let source = proto.join(generated.source);
    let files = protox::compile([source], [proto]).expect("the proto compiles");
    let out = tempfile::tempdir().expect("a temporary directory");
    (generated.options)(tonic_prost_build::configure())
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .compile_fds(files)
        .expect("code generation");
    let head = HEAD.replace("SOURCE", generated.source);
    [generated.summary, &head, &only_file(out.path())].concat()
}

fn only_file(folder: &Path) -> String {
    let mut files = std::fs::read_dir(folder).expect("a readable folder");
    let file = files.next().expect("one file was made").expect("its entry is readable");
    assert!(files.next().is_none(), "more than one file was made");
    std::fs::read_to_string(file.path()).expect("generated text is UTF-8")
}

#[test]
fn committed_code_is_what_the_proto_gives() {
    for generated in FILES {
        let committed = std::fs::read_to_string(proto().join(generated.file)).expect("it exists");
        assert!(
            committed == remake(&generated),
            "proto/{} differs from its source: cargo test --test generated -- --ignored rewrite",
            generated.file
        );
    }
}

#[test]
#[ignore = "writes the generated files in proto"]
fn rewrite() {
    for generated in FILES {
        let text = remake(&generated);
        std::fs::write(proto().join(generated.file), text).expect("proto is writable");
    }
}
