//! Tests of the rules on recorded stacks, and of the resolver on this process.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;

use crate::axis::Layer;

use super::c_functions::CFunctions;
use super::classify::{Basis, Frame, Place, classify};
use super::plain;
use super::program_file;
use super::rules::{Rules, Target};

mod files;
mod python;

const STACKS: &str = include_str!("stacks.txt");

fn frame(line: &str) -> Frame {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    let (place, function) = match words.as_slice() {
        ["kernel", ..] => (Place::Kernel, &line["kernel ".len()..]),
        ["c", ..] => (Place::C, line["c".len()..].trim_start()),
        ["object", name, ..] => {
            let start = "object ".len() + name.len();
            (Place::Object((*name).to_owned()), line[start..].trim_start())
        }
        ["source", name, path, function] => {
            (Place::Source { name: (*name).to_owned(), path: (*path).to_owned() }, *function)
        }
        _ => panic!("no frame: {line}"),
    };
    Frame { place, function: function.to_owned() }
}

fn source(name: &str, path: &str, function: &str) -> Frame {
    frame(&format!("source {name} {path} {function}"))
}

#[test]
fn recorded_stacks_have_their_layers() {
    let mut layers = BTreeSet::new();
    for block in STACKS.split("\n\n").filter(|block| block.starts_with('=')) {
        let (layer, frames) = block.split_once('\n').expect("a layer and frames");
        let layer: Layer = layer[1..].trim().parse().expect("a layer");
        let stack: Vec<Frame> = frames.trim_end().lines().map(frame).collect();
        assert_eq!(classify(Rules::built_in(), &stack).layer, layer, "{block}");
        layers.insert(layer);
    }
    let unseen = [Layer::Interpreter, Layer::Unattributed];
    let missing: Vec<Layer> =
        Layer::ALL.into_iter().filter(|it| !layers.contains(it) && !unseen.contains(it)).collect();
    assert_eq!(missing, [], "no recorded stack has these layers");
}

#[test]
fn a_transparent_frame_leaves_the_decision_to_its_caller() {
    let stack = [
        source("core", "src/ptr/mod.rs", "read"),
        source("bytes", "src/bytes_mut.rs", "split_to"),
        source("h2", "src/codec/framed_read.rs", "decode_frame"),
    ];
    let decision = classify(Rules::built_in(), &stack);
    assert_eq!(
        (decision.layer, decision.basis, decision.frame),
        (Layer::HttpFraming, Basis::Caller, 2)
    );
    let decision = classify(Rules::built_in(), &stack[..2]);
    assert_eq!((decision.layer, decision.basis), (Layer::Unattributed, Basis::Nothing));
}

#[test]
fn a_sample_counts_for_the_crate_that_decides_it() {
    let of = |stack: &[Frame]| {
        let decision = classify(Rules::built_in(), stack);
        super::crate_name(stack, decision).to_owned()
    };
    let h2 = source("h2", "src/codec/framed_read.rs", "decode_frame");
    let read = source("core", "src/ptr/mod.rs", "read");
    let glue = "drop_in_place<alloc::vec::Vec<h2::frame::Frame<tonic::body::Body>>>";
    let glue = source("core", "src/ptr/mod.rs", glue);
    let runtime = source("tokio", "src/runtime/task/core.rs", "poll");
    assert_eq!(of(&[read.clone(), h2.clone()]), "h2", "over a transparent frame");
    assert_eq!(of(&[glue, runtime]), "h2", "by the type that is dropped");
    assert_eq!(of(&[frame("c malloc"), h2.clone()]), "C library");
    assert_eq!(of(&[frame("kernel tcp_sendmsg_locked"), h2]), "kernel");
    assert_eq!(of(&[read]), "unattributed");
    assert_eq!(of(&[]), "unattributed");
}

#[test]
fn drop_glue_belongs_to_the_type_that_is_dropped() {
    let glue = |types: &str| {
        let stack = [
            source("core", "src/ptr/mod.rs", &format!("drop_in_place<{types}>")),
            source("tokio", "src/runtime/task/core.rs", "drop_future_or_output"),
        ];
        classify(Rules::built_in(), &stack)
    };
    let decision = glue("alloc::vec::Vec<h2::frame::Frame<tonic::body::Body>>");
    assert_eq!((decision.layer, decision.basis), (Layer::HttpFraming, Basis::DropType));
    let unknown = glue("alloc::vec::Vec<u8>");
    assert_eq!((unknown.layer, unknown.basis), (Layer::Runtime, Basis::Caller));
}

#[test]
fn the_nearest_function_with_a_direction_tells_it() {
    let layer = |outer: &str| {
        let inner = source("ndecho", "src/codec/cursor.rs", "advance");
        let stack = [inner, source("ndecho", "src/codec/npy.rs", outer)];
        classify(Rules::built_in(), &stack).layer
    };
    assert_eq!(layer("decode"), Layer::CodecDecode);
    assert_eq!(layer("encode<alloc::vec::Vec<u8>>"), Layer::CodecEncode);
    assert_eq!(layer("<impl Deserialize for T>::deserialize_any"), Layer::CodecDecode);
}

#[test]
fn a_copy_far_out_is_a_caller() {
    let stack = |depth: usize| {
        let mut stack = vec![source("core", "src/ptr/mod.rs", "read"); depth];
        stack.push(frame("c memcpy"));
        classify(Rules::built_in(), &stack).layer
    };
    assert_eq!((stack(2), stack(3)), (Layer::UserCopies, Layer::Unattributed));
}

#[test]
fn kernel_names_that_begin_alike_have_their_own_layers() {
    let rules = Rules::built_in();
    let of = |function| rules.kernel(function);
    assert_eq!(of("__mod_timer"), Some(Layer::KernelSocket));
    assert_eq!(of("__mod_memcg_lruvec_state"), Some(Layer::PageFaults));
    assert_eq!(of("io_cqring_wait"), Some(Layer::Scheduler));
    assert_eq!(of("io_recv"), Some(Layer::KernelSocket));
    assert_eq!(of("__io_submit_flush_completions"), Some(Layer::KernelRing));
    assert_eq!(of("_raw_spin_unlock_irqrestore"), None, "its caller decides");
    assert!(rules.enables_interrupts("_raw_spin_unlock_irqrestore"));
}

#[test]
fn memory_that_is_compared_is_not_copied() {
    let rules = Rules::built_in();
    for copy in ["memcpy", "__memmove_avx_unaligned_erms", "__memset_evex_unaligned"] {
        assert_eq!(rules.c_function(copy), Some(Layer::UserCopies), "{copy}");
    }
    assert_eq!(rules.c_function("__memcmp_avx2_movbe"), None);
    for allocation in ["__GI___libc_malloc", "_int_free", "unlink_chunk.constprop.0", "mi_free"] {
        assert_eq!(rules.c_function(allocation), Some(Layer::Allocator), "{allocation}");
    }
}

#[test]
fn a_new_crate_is_one_line_and_an_unknown_layer_an_error() {
    let text = include_str!("../rules.toml");
    let with = |line: &str| Rules::parse(&text.replacen("[crates]\n", line, 1));
    let rules = with("[crates]\nmonoio = \"runtime\"\n").expect("one more line");
    assert_eq!(rules.source("monoio", "src/lib.rs", "poll"), Some(Target::Layer(Layer::Runtime)));
    let error = with("[crates]\nmonoio = \"run time\"\n").expect_err("no such layer").to_string();
    assert!(
        error.contains("\"run time\"") && error.contains("did you mean \"runtime\""),
        "{error}"
    );
}

/// Returns what a pattern with braces stands for: `a{b,c}` for `ab` and `ac`.
fn alternatives(pattern: &str) -> Vec<String> {
    let Some(open) = pattern.find('{') else { return vec![pattern.to_owned()] };
    let (mut depth, mut cuts) = (0, vec![open]);
    for (at, letter) in pattern.char_indices().skip_while(|(at, _)| *at < open) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || depth == 1 && letter == ',' {
            cuts.push(at);
        }
        if depth == 0 {
            break;
        }
    }
    let (before, after) = (&pattern[..open], &pattern[cuts[cuts.len() - 1] + 1..]);
    let parts = cuts.windows(2).map(|cut| &pattern[cut[0] + 1..cut[1]]);
    parts.flat_map(|part| alternatives(&format!("{before}{part}{after}"))).collect()
}

#[test]
fn each_rule_of_our_own_files_names_a_file() {
    assert_eq!(alternatives("a/{b,c{d,}}e"), ["a/be", "a/cde", "a/ce"]);
    let rules: toml::Table = include_str!("../rules.toml").parse().expect("it is TOML");
    let own = |rule: &&toml::Value| rule["crate"].as_str() == Some("ndecho");
    let rules = rules["source"].as_array().expect("a list").iter().filter(own);
    let paths = rules.filter_map(|rule| rule["path"].as_str()).flat_map(alternatives);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in paths {
        let (exact, stem) = (root.join(&path), path.split('*').next().unwrap_or_default());
        // With a last part, a path that ends in a slash has its folder as parent.
        let folder = root.join(format!("{stem}_")).parent().expect("below the root").to_owned();
        let begins = |file: std::fs::DirEntry| file.path().to_string_lossy().contains(stem);
        let mut files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let is_there = if path.contains('*') { files.any(begins) } else { exact.exists() };
        assert!(is_there, "no file of this crate is {path}");
    }
}

#[test]
fn only_files_of_grpc_are_grpc_semantics() {
    let rules = Rules::built_in();
    let of = |file: &str| rules.source("ndecho", &format!("src/{file}.rs"), "poll");
    for (file, layer) in [
        ("stack/watch", Layer::Runtime),
        ("stack/input", Layer::Runtime),
        ("wire/timeouts", Layer::Runtime),
        ("stack/hyper", Layer::Framework),
        ("stack/echo", Layer::Application),
        ("stack/grpc", Layer::GrpcSemantics),
        ("wire/grpc/status", Layer::GrpcSemantics),
        ("wire/h2/server/response", Layer::GrpcSemantics),
    ] {
        assert_eq!(of(file), Some(Target::Layer(layer)), "{file}");
    }
}

#[test]
fn labels_have_no_generic_arguments() {
    assert_eq!(plain("poll<F: Fn(u8) -> u8, tower::Oneshot<A>>"), "poll");
    assert_eq!(plain("<alloc::vec::Vec<u8> as h2::Buf>::chunk"), "::chunk");
    assert_eq!(plain("<u8>"), "<u8>");
}

/// The C library of this process, if it is a dynamic one.
fn c_library() -> Option<std::path::PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
    maps.split_whitespace().find(|word| word.contains("/libc.so")).map(Into::into)
}

#[test]
fn a_stripped_c_library_still_shows_copies_and_malloc() {
    let Some(path) = c_library() else { return };
    let copies = program_file::copies(std::fs::metadata(&path).expect("it is there").ino());
    let bytes = std::fs::read(&path).expect("the library can be read");
    let library = object::File::parse(bytes.as_slice()).expect("it is an object");
    let functions = CFunctions::without_symbol_table(&library, &copies);
    let (copy, _) = copies[0];
    // One function may be both.
    let name = functions.name(copy + 8);
    assert!(matches!(name, Some("memcpy" | "memmove")), "{name:?}");
    let named = |name: &str| functions.ranges().filter(|(_, it)| *it == name).count();
    assert_eq!(named("malloc"), 1);
    assert!(named("malloc_inner") > 3, "malloc has inner functions");
    // Symbols, where they are installed, tell that these are the functions that matter. Around them
    // stand small ones that no server calls.
    let known = CFunctions::read(&library, &copies);
    let inner = functions.ranges().filter(|(_, name)| *name == "malloc_inner");
    let inside: Vec<&str> = inner.filter_map(|(range, _)| known.name(range.start + 1)).collect();
    for function in ["_int_malloc", "_int_free", "malloc_consolidate", "unlink_chunk", "sysmalloc"]
    {
        let is_there = inside.iter().any(|name| name.starts_with(function));
        assert!(inside.is_empty() || is_there, "{function}: {inside:?}");
    }
}
