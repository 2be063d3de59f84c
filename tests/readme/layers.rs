//! The layers of tonic's small call in the README, against the committed tables of docs/LAYERS.md.

use std::fs;

use super::{readme, root};

const TABLES: &str = "docs/LAYERS.md";
const RUNG: [&str; 2] = ["tokio/tonic", "protobuf:prost"];
const LOAD: &str = "8 B <f8 [1], 1 connection, 1000 in flight: ";

/// First words of the sentence.
const START: &str = "splits tonic's ";

/// Widths of the columns of a table: `NAME_WIDTH` and `CELL_WIDTH` of src/report/profile.rs.
const NAME: usize = 20;
const CELL: usize = 40;

/// Figures of the sentence: its words in front of each, and the row of the table.
const FIGURES: [(&str, &str); 9] = [
    ("splits tonic's ", "CPU/request"),
    ("h2 ", "by h2"),
    ("http ", "by http"),
    ("tokio ", "by tokio"),
    ("tonic itself ", "by tonic"),
    ("hyper ", "by hyper"),
    ("the kernel ", "by kernel"),
    ("the allocator takes ", "allocator"),
    ("copies ", "user copies"),
];

/// Column of the rung in the tables of its load.
struct Column(Vec<(String, String)>);

impl Column {
    fn read(tables: &str) -> Column {
        let section = tables.split_once(LOAD).expect("a table of the load").1;
        let lines: Vec<Vec<char>> = section.lines().map(|line| line.chars().collect()).collect();
        let cell = |line: &[char], column: usize| -> String {
            let start = NAME + column * CELL;
            let cell = line.get(start..line.len().min(start + CELL)).unwrap_or_default();
            cell.iter().collect::<String>().trim().to_owned()
        };
        let is_head = |at: usize, column: usize| {
            lines.get(at..at + 2).is_some_and(|two| {
                two.iter().zip(RUNG).all(|(line, part)| cell(line, column) == part)
            })
        };
        let places = (0..lines.len()).flat_map(|at| [(at, 0), (at, 1)]);
        let (at, column) =
            places.into_iter().find(|(at, column)| is_head(*at, *column)).expect("it");
        let rows = lines[at + 2..].iter().take_while(|line| !line.is_empty());
        let name = |line: &[char]| line[..NAME.min(line.len())].iter().collect::<String>();
        Column(rows.map(|line| (name(line).trim().to_owned(), cell(line, column))).collect())
    }

    /// Returns the figure of a row in microseconds, with its interval.
    fn figure(&self, row: &str) -> String {
        let found = self.0.iter().find(|(name, _)| name == row);
        let Figure { us, low, high } =
            Figure::parse(&found.unwrap_or_else(|| panic!("no row {row}")).1);
        format!("{} [{}-{}]", rounded(us), rounded(low), rounded(high))
    }
}

/// Rounds to two digits, halves upwards: 0.695 is a little less in binary.
fn rounded(us: f64) -> String {
    format!("{:.2}", us + 1e-9)
}

/// `2.45 µs [1.74-3.22] 29.8 %`.
struct Figure {
    us: f64,
    low: f64,
    high: f64,
}

impl Figure {
    fn parse(cell: &str) -> Figure {
        let words: Vec<&str> = cell.split_whitespace().collect();
        let [figure, unit, range, ..] = words[..] else { panic!("{cell:?} has no interval") };
        let step = match unit {
            "ns" => 1e-3,
            "µs" => 1.0,
            other => panic!("{other:?} in {cell:?} is no unit of this table"),
        };
        let range = range.strip_prefix('[').and_then(|range| range.strip_suffix(']'));
        let (low, high) = range.and_then(|range| range.split_once('-')).expect("an interval");
        let us = |text: &str| text.parse::<f64>().expect("a number") * step;
        Figure { us: us(figure), low: us(low), high: us(high) }
    }
}

#[test]
fn the_layers_of_a_small_call_are_those_of_the_committed_tables() {
    let tables = fs::read_to_string(root(TABLES)).expect("it is in the tree");
    let column = Column::read(&tables);
    let readme = readme().split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, sentence) = readme.split_once(START).expect("the sentence about layers");
    let sentence = format!("{START}{}", sentence.split_once("([tables]").expect("its link").0);
    for (words, row) in FIGURES {
        let wanted = format!("{words}{}", column.figure(row));
        assert!(sentence.contains(&wanted), "the README should have {wanted:?}: {sentence}");
    }
}
