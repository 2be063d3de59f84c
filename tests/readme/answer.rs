//! The answer in the README: five groups of sentences that the program makes of the committed
//! record.

use std::fs::File;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use ndecho::report::{Run, answer};

use super::{RECORD, root};

/// Groups of sentences that the README has.
const GROUPS: [&str; 5] = ["Layers", "Best", "Encoding", "Choice", "How sure"];

/// Lines around the answer.
const START: &str =
    "<!-- from docs/results/main, by `cargo test --test readme -- --ignored rewrite` -->\n";
const END: &str = "<!-- end -->\n";

const COLUMNS: usize = 100;

pub(crate) fn record() -> Run {
    let file = File::open(root(RECORD).join("records.jsonl.gz")).expect("it is in the tree");
    let mut text = String::new();
    MultiGzDecoder::new(file).read_to_string(&mut text).expect("records are text");
    Run::parse(&text).expect("records")
}

/// Returns the text before the answer, the answer, and the text after it.
pub(crate) fn split(readme: &str) -> (&str, &str, &str) {
    let start = readme.find(START).expect("the line before the answer") + START.len();
    let end = start + readme[start..].find(END).expect("the line after the answer");
    (&readme[..start], &readme[start..end], &readme[end..])
}

/// Returns the answer of `run` as a list in Markdown.
pub(crate) fn list(run: &Run) -> String {
    let groups = answer::in_short(run).expect("the run has an answer");
    let item = |name: &&str| {
        let (_, sentences) = groups.iter().find(|(group, _)| group == name)?;
        Some(item(name, sentences))
    };
    GROUPS.iter().filter_map(item).collect()
}

/// Returns a list item whose lines fit into [`COLUMNS`].
fn item(name: &str, sentences: &str) -> String {
    let text = format!("- **{name}**: {}", sentences.replace('<', "\\<"));
    let (mut item, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            item.push_str(&line);
            item.push('\n');
            line = " ".to_owned();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    item + &line + "\n"
}

#[test]
fn lines_break_below_their_item() {
    let item = item("Choice", &"abc <f8 ".repeat(14));
    let lines: Vec<&str> = item.lines().collect();
    assert!(
        lines[0].starts_with("- **Choice**: abc \\<f8 ") && lines[1].starts_with("  "),
        "{item}"
    );
    assert!(lines.len() == 2 && lines[0].len() <= COLUMNS && lines[0].len() > 90, "{item}");
}
