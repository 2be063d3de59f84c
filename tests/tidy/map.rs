//! Map of the crate in the doc of `src/lib.rs`, compared with the tree of files.
//!
//! The map is the code block after the heading `# Map`. An entry begins with a name that ends in
//! `/` or `.rs`, indented by four columns for each folder above it. A description follows, then the
//! files of the folder in brackets, without `.rs` and without `mod`. A line that begins with
//! another word continues the entry. Folders called `tests` are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::report::Report;
use super::source::Tree;

const ROOT: &str = "src/lib.rs";

/// Columns by which an entry is indented for each folder above it.
const INDENT: usize = 4;

/// Reports every folder whose files are not those in the map.
pub(crate) fn check(tree: &Tree, report: &mut Report) {
    let Some(root) = tree.sources.iter().find(|source| source.path == ROOT) else { return };
    let drawn = drawn(&root.text);
    let found = found(tree);
    for folder in drawn.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        match (drawn.get(folder), found.get(folder)) {
            (Some(drawn), Some(files)) if drawn.1 == *files => {}
            (drawn, Some(files)) => {
                let files: Vec<&str> = files.iter().map(String::as_str).collect();
                let line = drawn.map_or(1, |drawn| drawn.0);
                report.add(
                    ROOT,
                    line,
                    format!("the map should have {folder}: {}", files.join(" ")),
                );
            }
            (Some(drawn), None) => {
                report.add(ROOT, drawn.0, format!("the map has {folder}, which does not exist"));
            }
            (None, None) => {}
        }
    }
}

/// Files by folder, as the map draws them, with the line of the folder.
fn drawn(text: &str) -> BTreeMap<String, (usize, BTreeSet<String>)> {
    let lines = (1..).zip(text.lines().map(|line| line.strip_prefix("//! ").unwrap_or_default()));
    let mut lines = lines.skip_while(|(_, line)| *line != "# Map");
    let mut folders: BTreeMap<String, (usize, BTreeSet<String>)> = BTreeMap::new();
    folders.insert("src/".to_owned(), (1, BTreeSet::new()));
    let mut path: Vec<String> = Vec::new();
    let mut is_list = false;
    lines.by_ref().find(|(_, line)| line.starts_with("```"));
    for (number, line) in lines.take_while(|(_, line)| !line.starts_with("```")) {
        let depth = (line.len() - line.trim_start().len()) / INDENT;
        let first = line.split_whitespace().next().unwrap_or_default();
        if first.ends_with('/') {
            path.truncate(depth);
            path.push(first.to_owned());
            folders.insert(format!("src/{}", path.concat()), (number, BTreeSet::new()));
        } else if let Some(stem) = first.strip_suffix(".rs") {
            folders.entry("src/".to_owned()).or_default().1.insert(stem.to_owned());
        }
        for word in line.split_whitespace() {
            is_list |= word.starts_with('[');
            if is_list {
                let stem = word.trim_matches(['[', ']']).to_owned();
                folders.entry(format!("src/{}", path.concat())).or_default().1.insert(stem);
            }
            is_list &= !word.ends_with(']');
        }
    }
    folders
}

/// Files by folder, as they lie on the disk.
fn found(tree: &Tree) -> BTreeMap<String, BTreeSet<String>> {
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in tree.sources.iter().filter(|source| source.path.starts_with("src/")) {
        let (folder, file) = source.path.rsplit_once('/').expect("it lies in src");
        if folder.split('/').any(|part| part == "tests") {
            continue;
        }
        let files = folders.entry(format!("{folder}/")).or_default();
        let stem = file.trim_end_matches(".rs");
        if !["mod", "lib"].contains(&stem) {
            files.insert(stem.to_owned());
        }
    }
    folders
}
