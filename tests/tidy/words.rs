//! Voice rules that a program can check: first words of doc summaries, width of comments, module
//! docs.

use super::report::Report;
use super::source::Source;

/// First words of a summary that names nothing by itself.
const WEAK_STARTS: &[&str] = &[
    "What", "Whatever", "Whether", "How", "Who", "Whoever", "Whose", "When", "Where", "Which",
    "Why", "Its", "It", "Of", "That", "Those", "As", "If",
];

/// Columns of a comment, as of code in rustfmt.toml.
const COLUMNS_MAX: usize = 100;

/// Reports summaries with a weak first word. Returns the number of summaries.
pub(crate) fn check_summaries(source: &Source, report: &mut Report) -> usize {
    let mut count = 0;
    let mut before = "";
    for (number, line) in (1..).zip(source.text.lines().map(str::trim)) {
        if let Some(text) = doc(line)
            && doc(before).is_none()
        {
            count += 1;
            let first = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            if WEAK_STARTS.contains(&first) {
                report.add(
                    &source.path,
                    number,
                    format!("a summary begins with {first:?}: {text}"),
                );
            }
        }
        before = line;
    }
    count
}

/// Text of a line of a doc comment.
fn doc(line: &str) -> Option<&str> {
    line.strip_prefix("///").or(line.strip_prefix("//!")).map(str::trim)
}

/// Reports comments that are too wide. A single long word, such as an address, is allowed.
pub(crate) fn check_width(source: &Source, report: &mut Report) {
    for (number, line) in (1..).zip(source.text.lines()) {
        let columns = line.chars().count();
        let is_one_word = line.trim().split(' ').count() <= 2;
        if columns > COLUMNS_MAX && line.trim().starts_with("//") && !is_one_word {
            report.add(&source.path, number, format!("comment of {columns} columns"));
        }
    }
}

/// Reports files without a module doc. The tests of a file in `src/` belong to that file.
pub(crate) fn check_module_doc(source: &Source, report: &mut Report) {
    let mut lines = source.text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with("#!["));
    if !source.is_test && !first.is_some_and(|line| line.starts_with("//!") && line.len() > 12) {
        report.add(&source.path, 1, "does not begin with a module doc".to_owned());
    }
}
