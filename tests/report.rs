//! The report of a recorded run: version 3 records of an earlier program are read, and give the
//! same figures.
//!
//! `tests/data/report/records.jsonl` is a shortened and edited run: some trials are copies with
//! another variant, outcome, parent or cost, so that every kind of row is there. `records.csv` is
//! the CSV that an earlier program printed for these records, with the columns `client`, `headers`,
//! `data_set` and `coding` added. `records.txt` is the terminal report of this program; its figures
//! were compared with those of the earlier one.

use std::fs;

use ndecho::report::{Run, csv, table};

fn run() -> Run {
    let text = fs::read_to_string("tests/data/report/records.jsonl").expect("it is in the tree");
    Run::parse(&text).expect("version 3")
}

fn assert_same_lines(got: &str, path: &str) {
    let want = fs::read_to_string(path).expect("it is in the tree");
    for (number, (got, want)) in got.lines().zip(want.lines()).enumerate() {
        assert_eq!(got, want, "line {} of {path}", number + 1);
    }
    assert_eq!(got.lines().count(), want.lines().count(), "lines of {path}");
}

#[test]
fn the_csv_has_the_recorded_columns_and_figures() {
    assert_same_lines(&csv::render(&run()), "tests/data/report/records.csv");
}

#[test]
fn the_table_has_the_recorded_figures() {
    assert_same_lines(&table::render(&run()), "tests/data/report/records.txt");
}

#[test]
fn json_names_of_version_3_are_kept() {
    let text = fs::read_to_string("tests/data/report/records.jsonl").expect("it is in the tree");
    for line in text.lines() {
        let record: ndecho::record::Line = serde_json::from_str(line).expect("version 3");
        let written = serde_json::to_value(&record).expect("it has only text keys");
        assert_kept(&serde_json::from_str(line).expect("JSON"), &written, "line");
    }
}

/// Asserts that `new` has every name and value of `old`.
fn assert_kept(old: &serde_json::Value, new: &serde_json::Value, path: &str) {
    match old {
        serde_json::Value::Object(fields) => {
            for (name, old) in fields {
                let path = format!("{path}.{name}");
                assert_kept(old, new.get(name).unwrap_or(&serde_json::Value::Null), &path);
            }
        }
        _ => assert_eq!(old, new, "{path}"),
    }
}
