//! House rules that neither the compiler nor clippy checks: directions of imports, circles, purity
//! of rooms, the fence around unsafe code, the map in `src/lib.rs`, and words.

mod arrows;
mod calls;
mod imports;
mod map;
mod planted;
mod report;
mod source;
mod words;

use std::sync::LazyLock;

use report::Report;
use source::{Source, Tree};

const FILE_LINES_MAX: usize = 500;

/// Files with a long table.
const LONG_FILES: &[&str] = &[];

/// Lines of a program: parse flags, run, return the exit code.
const BIN_LINES_MAX: usize = 50;

/// Functions whose name says nothing.
const EMPTY_NAMES: &[&str] = &["at", "of", "is_it", "is_its", "is_one"];

/// Share of doc summaries that may begin with a weak word, in thousandths.
const WEAK_SUMMARIES_MAX: usize = 10;

static TREE: LazyLock<Tree> = LazyLock::new(Tree::read);

fn check_files(rule: impl Fn(&Source, &mut Report)) {
    assert!(TREE.sources.len() > 20, "found {} files only", TREE.sources.len());
    check_tree(|tree, report| {
        tree.sources.iter().for_each(|source| rule(source, report));
    });
}

fn check_tree(rule: impl Fn(&Tree, &mut Report)) {
    let mut report = Report::default();
    rule(&TREE, &mut report);
    report.assert_empty();
}

#[test]
fn rooms_import_only_rooms_below() {
    check_tree(arrows::check_arrows);
}

#[test]
fn no_files_import_each_other() {
    check_tree(arrows::check_circles);
}

#[test]
fn pure_rooms_use_no_clock_environment_or_socket() {
    check_tree(calls::check_purity);
}

#[test]
fn no_duration_depends_on_the_clock_on_the_wall() {
    check_tree(calls::check_wall_clock);
}

#[test]
fn unsafe_and_dead_code_stay_inside_their_fence() {
    check_files(calls::check_attributes);
}

#[test]
fn every_file_has_a_module_doc() {
    check_files(words::check_module_doc);
}

#[test]
fn the_map_equals_the_tree() {
    check_tree(map::check);
}

#[test]
fn every_file_is_declared_and_tests_lie_in_tests() {
    check_tree(|tree, report| {
        for path in &tree.undeclared {
            report.add(path, 1, "no module declares this file".to_owned());
        }
        for path in &tree.stray_tests {
            report.add(path, 1, "test code outside of a folder called `tests`".to_owned());
        }
    });
}

#[test]
fn files_and_programs_are_short() {
    check_files(|source, report| {
        let lines = source.text.lines().count();
        let is_bin = source.path.starts_with("src/bin/");
        let limit = if is_bin { BIN_LINES_MAX } else { FILE_LINES_MAX };
        if lines > limit && source.path.starts_with("src/") && !LONG_FILES.contains(&&*source.path)
        {
            report.add(&source.path, 1, format!("{lines} lines, at most {limit}"));
        }
    });
}

#[test]
fn functions_have_names() {
    check_files(|source, report| {
        for (number, line) in (1..).zip(source.text.lines()) {
            let name = line.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next());
            if name.is_some_and(|name| EMPTY_NAMES.contains(&name)) {
                report.add(
                    &source.path,
                    number,
                    format!("a name that says nothing: {}", line.trim()),
                );
            }
        }
    });
}

#[test]
fn comments_fit_the_width_of_code() {
    check_files(words::check_width);
}

#[test]
fn doc_summaries_stand_alone() {
    let mut report = Report::default();
    let count: usize =
        TREE.sources.iter().map(|source| words::check_summaries(source, &mut report)).sum();
    if report.len() * 1000 > count * WEAK_SUMMARIES_MAX {
        println!("{count} summaries");
        report.assert_empty();
    }
}
