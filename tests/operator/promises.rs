//! Promises of `docs/RELIABILITY.md`: each names a test, and the test exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the tests that the document names, each as `file::function`.
fn named(text: &str) -> BTreeSet<(String, String)> {
    let words = text.split('`').skip(1).step_by(2);
    let tests = words.filter_map(|word| word.rsplit_once("::"));
    let tests = tests.filter(|(file, _)| file.ends_with(".rs"));
    tests.map(|(file, test)| (file.to_owned(), test.to_owned())).collect()
}

#[test]
fn every_promise_has_a_test_that_exists() {
    let text = fs::read_to_string(root("docs/RELIABILITY.md")).expect("it is in the tree");
    let tests = named(&text);
    assert!(tests.len() > 20, "{tests:?}");
    for (file, test) in tests {
        let source = fs::read_to_string(root(&file)).unwrap_or_else(|_| panic!("no file {file}"));
        let attribute = source.find(&format!("fn {test}(")).map(|at| &source[..at]);
        let attribute = attribute.and_then(|before| before.rsplit("\n\n").next());
        let is_test = attribute.is_some_and(|before| before.contains("#[test]"));
        assert!(is_test, "{file} has no test {test}");
    }
}

#[test]
fn every_row_of_promises_names_a_test() {
    let text = fs::read_to_string(root("docs/RELIABILITY.md")).expect("it is in the tree");
    let (_, promises) = text.split_once("## Promises").expect("a list of promises");
    let (promises, _) = promises.split_once("\n## ").expect("the next part");
    let is_head = |line: &&str| line.starts_with("| promise |");
    let rows = promises.lines().filter(|line| line.starts_with("| ") && !is_head(line));
    for row in rows {
        assert!(!named(row).is_empty(), "no test in {row}");
    }
}
