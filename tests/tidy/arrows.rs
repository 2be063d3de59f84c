//! Directions of imports: between rooms by level, between files without a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Kind, resolve};
use super::report::Report;
use super::source::Tree;

/// Rooms by level. A room imports only rooms on the levels below its own.
pub(crate) const LEVELS: &[&[&str]] = &[
    &["bin"],
    &["cli"],
    &["server", "experiment", "report"],
    &["stack", "load", "ladder", "external"],
    &["driver", "service"],
    &["wire", "codec", "coding", "sys", "probe", "record", "stats"],
    &["axis", "array", "generated", "generated_bytes", "generated_packed"],
];

/// Imports between rooms on one level, each with its reason.
const SIDEWAYS: &[(&str, &str)] = &[
    // A record is composed of the structs of those rooms that measure.
    ("record", "probe"),
    ("record", "sys"),
    ("record", "stats"),
    // A probe runs its threads on cores that it chooses.
    ("probe", "sys"),
];

/// Forbidden imports of single modules. The load generator has one I/O path for all rungs: the
/// ring, or poll(2) where there is none.
const NEVER: &[(&str, &str)] = &[("load", "crate::driver::tokio")];

/// Reports imports of rooms on the same level or above.
pub(crate) fn check_arrows(tree: &Tree, report: &mut Report) {
    for source in tree.product() {
        let room = room(&source.path);
        if room == "lib" {
            continue;
        }
        let Some(level) = level(room) else {
            report.add(&source.path, 1, format!("room {room:?} has no level in LEVELS"));
            continue;
        };
        for import in &source.imports {
            if import.path.first().is_none_or(|first| first != "crate") {
                continue;
            }
            let Some(other) = import.path.get(1) else { continue };
            let path = import.path.join("::");
            let is_never = NEVER.iter().any(|(from, to)| *from == room && path.starts_with(to));
            let is_sideways = SIDEWAYS.contains(&(room, other.as_str()));
            let is_below = self::level(other).is_none_or(|other| other > level);
            if is_never || !(other == room || is_below || is_sideways) {
                report.add(&source.path, import.line, format!("{room} may not import {path}"));
            }
        }
    }
}

/// Reports files that import each other, directly or through other files.
///
/// The files of a folder share the types of its `mod.rs`, which in turn names them, for instance in
/// a `match` over all codecs. Imports of the `mod.rs` above therefore do not count.
pub(crate) fn check_circles(tree: &Tree, report: &mut Report) {
    let edges = edges(tree);
    for circle in circles(&edges) {
        for from in &circle {
            for (to, (line, path)) in &edges[from] {
                if circle.contains(to) {
                    report.add(
                        from,
                        *line,
                        format!("circle of {} files: imports {path} of {to}", circle.len()),
                    );
                }
            }
        }
    }
}

/// File, imported file, line and path of the first such import.
type Edges<'a> = BTreeMap<&'a str, BTreeMap<&'a str, (usize, String)>>;

fn edges(tree: &Tree) -> Edges<'_> {
    let mut edges = Edges::new();
    for source in tree.product() {
        let targets = edges.entry(source.path.as_str()).or_default();
        for import in &source.imports {
            let Some(target) = resolve(&tree.root, &import.path) else { continue };
            let is_name_only = import.kind == Kind::Use && target.is_module;
            let is_root = target.file == "src/lib.rs" || source.path == "src/lib.rs";
            let is_part = is_part(target.file, &source.path);
            if import.kind == Kind::Export || is_name_only || is_root || is_part {
                continue;
            }
            let path = import.path.join("::");
            targets.entry(target.file).or_insert((import.line, path));
        }
    }
    edges
}

/// Returns true if `file` is `whole` itself, or lies in the folder whose `mod.rs` is `whole`.
fn is_part(whole: &str, file: &str) -> bool {
    file == whole || whole.strip_suffix("mod.rs").is_some_and(|folder| file.starts_with(folder))
}

/// Groups of files that all reach each other.
fn circles<'a>(edges: &Edges<'a>) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|from| (*from, reach(edges, from))).collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for from in edges.keys() {
        let is_mutual = |to: &&&str| reached.get(**to).is_some_and(|back| back.contains(from));
        let circle: BTreeSet<&str> = reached[from].iter().filter(is_mutual).copied().collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reach<'a>(edges: &Edges<'a>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> =
        edges.get(from).into_iter().flat_map(|to| to.keys().copied()).collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(edges.get(file).into_iter().flat_map(|to| to.keys().copied()));
        }
    }
    reached
}

/// `src/codec/json/read.rs` lies in the room `codec`, `src/array.rs` in `array`.
pub(crate) fn room(path: &str) -> &str {
    path.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default()
}

fn level(room: &str) -> Option<usize> {
    LEVELS.iter().position(|rooms| rooms.contains(&room))
}
