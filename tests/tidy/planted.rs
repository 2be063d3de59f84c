//! Each rule reports a violation that is planted here, and nothing else.

use super::report::Report;
use super::source::{Source, Tree};
use super::{arrows, calls, map, words};

fn tree(files: &[(&str, &str)]) -> Tree {
    Tree::new(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())))
}

fn report_of(files: &[(&str, &str)], rule: impl Fn(&Tree, &mut Report)) -> Report {
    let mut report = Report::default();
    rule(&tree(files), &mut report);
    report
}

fn report_of_file(path: &str, text: &str, rule: impl Fn(&Source, &mut Report)) -> Report {
    report_of(&[(path, text)], |tree, report| rule(&tree.sources[0], report))
}

const ROOT: (&str, &str) = ("src/lib.rs", "pub mod wire; pub mod driver; pub mod sys;");

#[test]
fn an_upward_arrow_is_reported_wherever_it_stands() {
    for import in [
        "use crate::driver::Ring;",
        "use crate::{driver::{self, Ring as R}};",
        "fn f() { crate::driver::run(); }",
        "use super::driver::Ring;",
        "fn f() { assert!(1 == crate::driver::run()); }",
        "fn f(x: Option<crate::driver::Ring>) {}",
    ] {
        let files = [ROOT, ("src/driver.rs", ""), ("src/wire.rs", import), ("src/sys.rs", "")];
        let report = report_of(&files, arrows::check_arrows);
        assert!(report.len() > 0, "{import}");
    }
    let downward = ("src/driver.rs", "use crate::wire::Machine; use crate::sys;");
    let tests = ("src/wire.rs", "#[cfg(test)] mod tests { use crate::driver::Ring; }");
    report_of(&[ROOT, downward, tests, ("src/sys.rs", "")], arrows::check_arrows).assert_empty();
}

#[test]
fn a_room_on_the_same_level_is_reported() {
    let files = [ROOT, ("src/sys.rs", "use crate::wire::Machine;"), ("src/wire.rs", "")];
    report_of(&files, arrows::check_arrows)
        .assert_only("src/sys.rs:1: sys may not import crate::wire");
}

#[test]
fn a_circle_inside_a_room_is_reported() {
    let files = |a: &'static str, b: &'static str| {
        [
            ("src/lib.rs", "mod wire;"),
            ("src/wire/mod.rs", "mod a; mod b; mod c; pub use c::C; pub struct M;"),
            ("src/wire/a.rs", a),
            ("src/wire/b.rs", b),
            ("src/wire/c.rs", "use super::M; pub struct C;"),
        ]
    };
    for (a, b) in [
        ("use super::b::B; pub struct A;", "use crate::wire::a::A; pub struct B;"),
        ("use super::b; fn f() { b::g() }", "pub fn g() { super::a::h() }"),
        ("use super::b::*; pub struct A;", "use super::{a::A, C}; pub struct B;"),
        ("use super::b::B; pub struct A;", "fn f() { vec![super::a::A]; }"),
    ] {
        assert_eq!(report_of(&files(a, b), arrows::check_circles).len(), 2, "{a} {b}");
    }
    let one_way = files("use super::{b::B, C, M}; pub struct A;", "use super::a; pub struct B;");
    report_of(&one_way, arrows::check_circles).assert_empty();
    let two_parents = [
        ("src/lib.rs", "mod wire; mod sys;"),
        ("src/wire/mod.rs", "mod a; pub struct M(a::A);"),
        ("src/wire/a.rs", "use super::M; use crate::sys::S; pub struct A;"),
        ("src/sys.rs", "use crate::wire::M; pub struct S;"),
    ];
    assert_eq!(report_of(&two_parents, arrows::check_circles).len(), 3);
}

#[test]
fn a_clock_in_wire_is_reported() {
    for clock in [
        "use std::time::Instant; fn f() { Instant::now(); }",
        "use std::time; fn f() { time::Instant::now(); }",
        "fn f() { std::time::SystemTime::now(); }",
        "use std::time::Instant as Clock; fn f() { assert!(Clock::now() > x); }",
    ] {
        let files = [("src/lib.rs", "mod wire;"), ("src/wire.rs", clock)];
        report_of(&files, calls::check_purity).assert_only("wire is pure: std::time::");
    }
    let socket = [("src/lib.rs", "mod wire;"), ("src/wire.rs", "use std::net::TcpStream;")];
    report_of(&socket, calls::check_purity).assert_only("std::net::TcpStream");
    let pure = "use std::time::Instant; fn f(now: Instant) -> Instant { now }";
    let files = [("src/lib.rs", "mod wire;"), ("src/wire.rs", pure)];
    report_of(&files, calls::check_purity).assert_empty();
}

#[test]
fn a_clock_that_may_jump_is_reported() {
    let clock = "use std::time::SystemTime; fn f() { SystemTime::now(); }";
    let files = [("src/lib.rs", "mod driver;"), ("src/driver.rs", clock)];
    report_of(&files, calls::check_wall_clock).assert_only("src/driver.rs:1: reads a clock");
    let files = [
        ("src/lib.rs", "mod load;"),
        ("src/load/mod.rs", "mod worker;"),
        ("src/load/worker.rs", clock),
    ];
    report_of(&files, calls::check_wall_clock).assert_empty();
}

#[test]
fn unsafe_code_outside_of_its_fence_is_reported() {
    let rule = calls::check_attributes;
    let allowed = "#![allow(unsafe_code)] // the ring's memory\n";
    report_of_file("src/driver/uring/ring.rs", allowed, rule).assert_empty();
    report_of_file("src/wire/mod.rs", allowed, rule)
        .assert_only("unsafe code outside of its fence");
    report_of_file("src/driver/uring/ring.rs", "#![allow(unsafe_code)]\n", rule)
        .assert_only("without `// reason`");
    report_of_file("src/wire/mod.rs", "#[allow(dead_code)]\nfn f() {}\n", rule)
        .assert_only("dead code");
}

#[test]
fn a_summary_that_begins_with_what_is_reported() {
    let text = "//! What a frame is.\n\n/// Frame of HTTP/2.\n/// What follows is no summary.\nstruct F;\n";
    let rule = |source: &Source, report: &mut Report| {
        assert_eq!(words::check_summaries(source, report), 2);
    };
    report_of_file("src/wire.rs", text, rule)
        .assert_only("src/wire.rs:1: a summary begins with \"What\"");
}

#[test]
fn a_wide_comment_is_reported() {
    let wide = format!("// {}\n", "word ".repeat(20));
    report_of_file("src/wire.rs", &wide, words::check_width).assert_only("comment of 103 columns");
    let address = format!("// https://{}\n", "x".repeat(100));
    report_of_file("src/wire.rs", &address, words::check_width).assert_empty();
}

#[test]
fn a_missing_module_doc_is_reported() {
    report_of_file("src/wire.rs", "use std::fmt;\n", words::check_module_doc)
        .assert_only("module doc");
}

#[test]
fn a_map_that_differs_from_the_tree_is_reported() {
    let lib = "//! Crate.\n//!\n//! # Map\n//!\n//! ```text\n//! array.rs    arrays\n//! wire/       protocols (RFC 1)\n\
               //!             [raw\n//!             h1]\n//!     h2/     HTTP/2 [frame]\n//! ```\n\
               mod array; mod wire;\n";
    let files = |more: &'static str| {
        let files = [
            "src/array.rs",
            "src/wire/mod.rs",
            "src/wire/raw.rs",
            "src/wire/h1.rs",
            "src/wire/h2/frame.rs",
            "src/wire/tests/raw.rs",
            more,
        ];
        files.map(|path| (path, "")).into_iter().chain([("src/lib.rs", lib)]).collect::<Vec<_>>()
    };
    report_of(&files("src/wire/h2/mod.rs"), map::check).assert_empty();
    report_of(&files("src/wire/h2/flow.rs"), map::check)
        .assert_only("src/lib.rs:10: the map should have src/wire/h2/: flow frame");
    report_of(&files("src/sys.rs"), map::check).assert_only("the map should have src/: array sys");
    report_of(&files("src/sys/mod.rs"), map::check).assert_only("the map should have src/sys/: ");
}

#[test]
fn a_file_that_no_module_declares_is_reported() {
    let tree = tree(&[("src/lib.rs", "mod wire;"), ("src/wire.rs", ""), ("src/lost.rs", "")]);
    assert_eq!(tree.undeclared, ["src/lost.rs"]);
    let stray =
        super::planted::tree(&[("src/lib.rs", "#[cfg(test)] mod sim;"), ("src/sim.rs", "")]);
    assert_eq!(stray.stray_tests, ["src/sim.rs"]);
    assert!(stray.product().all(|source| source.path != "src/sim.rs"));
}
