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

/// Figures of the sentence: its words in front of each, and the rows of the table that it sums.
const FIGURES: [(&str, &[&str]); 7] = [
    ("splits tonic's ", &["CPU/request"]),
    ("HTTP framing in h2 and hyper ", &["HTTP framing"]),
    ("the allocator ", &["allocator"]),
    ("copies ", &["user copies"]),
    ("tonic with its middleware ", &["gRPC semantics", "framework"]),
    (
        "the kernel ",
        &[
            "page faults",
            "system call entry",
            "kernel socket",
            "kernel copy",
            "kernel ring, epoll",
            "scheduler",
            "interrupts",
        ],
    ),
    ("runtime ", &["runtime"]),
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

    /// Returns the sum of some rows in microseconds, and the interval of a single row.
    fn figure(&self, rows: &[&str]) -> String {
        let of = |row: &&str| {
            let found = self.0.iter().find(|(name, _)| name == row);
            Figure::parse(&found.unwrap_or_else(|| panic!("no row {row}")).1)
        };
        let figures: Vec<Figure> = rows.iter().map(of).collect();
        match figures.as_slice() {
            [Figure { us, range: Some((low, high)) }] if rows != ["runtime"] => {
                format!("{} [{}-{}]", rounded(*us), rounded(*low), rounded(*high))
            }
            several => rounded(several.iter().map(|it| it.us).sum()),
        }
    }
}

/// Rounds to a digit, halves upwards: 3.55 is a little less in binary.
fn rounded(us: f64) -> String {
    format!("{:.1}", us + 1e-9)
}

/// `2.45 µs [1.74-3.22] 29.8 %`, or `-`.
struct Figure {
    us: f64,
    range: Option<(f64, f64)>,
}

impl Figure {
    fn parse(cell: &str) -> Figure {
        let mut words = cell.split_whitespace();
        let Some(Ok(figure)) = words.next().map(str::parse::<f64>) else {
            return Figure { us: 0.0, range: None };
        };
        let step = match words.next() {
            Some("ns") => 1e-3,
            Some("µs") => 1.0,
            other => panic!("{other:?} in {cell:?} is no unit of this table"),
        };
        let range = words.next().and_then(|range| {
            let (low, high) = range.strip_prefix('[')?.strip_suffix(']')?.split_once('-')?;
            Some((low.parse::<f64>().ok()? * step, high.parse::<f64>().ok()? * step))
        });
        Figure { us: figure * step, range }
    }
}

#[test]
fn the_layers_of_a_small_call_are_those_of_the_committed_tables() {
    let tables = fs::read_to_string(root(TABLES)).expect("it is in the tree");
    let column = Column::read(&tables);
    let readme = readme().split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, sentence) = readme.split_once(START).expect("the sentence about layers");
    let sentence = format!("{START}{}", sentence.split_once("([").expect("its link").0);
    for (words, rows) in FIGURES {
        let wanted = format!("{words}{}", column.figure(rows));
        assert!(sentence.contains(&wanted), "the README should have {wanted:?}: {sentence}");
    }
}
