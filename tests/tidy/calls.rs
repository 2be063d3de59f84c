//! Calls that a room may not make, and attributes that stand only in certain files.

use super::arrows::room;
use super::report::Report;
use super::source::{Source, Tree};

/// Parts of other crates that a pure room may not use: clock, environment, sockets, files, threads.
const IMPURE: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "socket2",
    "tokio",
];

/// Rooms that work on the values they are given.
const PURE: &[&str] = &["axis", "array", "codec", "wire", "stats", "record", "report", "ladder"];

/// Files that read the clock on the wall, which may jump: for a date that a person or a peer reads,
/// or for a number that differs from run to run. Durations and deadlines use `Instant`.
const WALL_CLOCK: &[&str] = &["src/cli/measure.rs", "src/load/worker.rs", "src/server/build.rs"];

/// Files where unsafe code is allowed.
const UNSAFE_FENCE: &[&str] = &[
    "src/codec/simd/",
    "src/driver/uring/",
    "src/sys/malloc.rs",
    "src/sys/mapping.rs",
    "src/sys/perf_events.rs",
    "src/sys/unsent.rs",
];

/// Reports clocks, sockets and the like in pure rooms.
pub(crate) fn check_purity(tree: &Tree, report: &mut Report) {
    for source in tree.product().filter(|source| PURE.contains(&room(&source.path))) {
        for import in &source.imports {
            let path = import.path.join("::");
            let is_below = |banned: &&&str| {
                path.strip_prefix(**banned)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            if IMPURE.iter().any(|banned| is_below(&banned)) {
                report.add(
                    &source.path,
                    import.line,
                    format!("{} is pure: {path}", room(&source.path)),
                );
            }
        }
    }
}

/// Reports readings of the clock on the wall.
pub(crate) fn check_wall_clock(tree: &Tree, report: &mut Report) {
    for source in tree.product().filter(|source| !WALL_CLOCK.contains(&source.path.as_str())) {
        for import in &source.imports {
            if import.path.join("::").ends_with("SystemTime::now") {
                let text = "reads a clock that may jump; use Instant".to_owned();
                report.add(&source.path, import.line, text);
            }
        }
    }
}

/// Reports unsafe code outside of its fence, and dead code that an attribute hides.
pub(crate) fn check_attributes(source: &Source, report: &mut Report) {
    let is_inside = UNSAFE_FENCE.iter().any(|fence| source.path.starts_with(fence));
    for (number, line) in (1..).zip(source.text.lines().map(str::trim)) {
        let is_lint = |name: &str| {
            let levels = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
            levels.iter().any(|level| line.starts_with(level)) && line.contains(name)
        };
        if is_lint("unsafe_code") && !(is_inside && line.starts_with("#![allow(unsafe_code)] // "))
        {
            let text =
                "unsafe code outside of its fence, or without `// reason` after the attribute";
            report.add(&source.path, number, text.to_owned());
        }
        if is_lint("dead_code") && source.path.starts_with("src/") {
            report.add(&source.path, number, "dead code".to_owned());
        }
        if ["TODO", "FIXME", "XXX"].iter().any(|mark| line.contains(&format!("// {mark}"))) {
            report.add(&source.path, number, "open task in a comment".to_owned());
        }
    }
}
