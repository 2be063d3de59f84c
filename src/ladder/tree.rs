//! The ladder as text: an indented tree of all rungs, and the two short Markdown tables it is made of.

use std::fmt::Write;

use super::Rung;
use super::rung;
use super::table::{self, STACKS};

/// Column at which `tree` says what a rung adds.
const ADDS_COLUMN: usize = 52;

/// Every rung under its parent, with what it adds to it.
pub fn tree() -> String {
    let rungs = table::rungs();
    let mut text = String::new();
    for root in rungs.iter().filter(|rung| table::parent(**rung).is_none()) {
        branch(*root, 0, &rungs, &mut text);
    }
    text
}

fn branch(rung: Rung, depth: usize, rungs: &[Rung], text: &mut String) {
    let parent = table::parent(rung);
    let name = format!("{:1$}{rung}", "", 2 * depth);
    let _ = writeln!(text, "{name:<ADDS_COLUMN$}  {}", table::adds(rung, parent));
    for child in rungs.iter().filter(|other| table::parent(**other) == Some(rung)) {
        branch(*child, depth + 1, rungs, text);
    }
}

/// Every rung's name, one a line.
pub fn names() -> String {
    table::rungs().into_iter().map(|rung| format!("{rung}\n")).collect()
}

/// The stacks and the codecs as two Markdown tables; a rung is one of each.
pub fn markdown() -> String {
    let mut text = String::from("| stack | comes from | changes | codecs |\n|---|---|---|---|\n");
    for stack in STACKS {
        let name = format!("{}/{}", stack.driver, stack.protocol);
        let (from, adds) = match stack.parent {
            Some((driver, protocol)) if driver == stack.driver => {
                (format!("`{driver}/{protocol}`"), protocol_step(stack.protocol))
            }
            Some((driver, protocol)) => {
                let about = table::about_driver(stack.driver);
                (format!("`{driver}/{protocol}`"), format!("driver: {about}"))
            }
            None => (String::new(), table::about_protocol(stack.protocol).to_owned()),
        };
        let _ = writeln!(text, "| `{name}` | {from} | {adds} | {} |", codecs(stack));
    }
    text.push_str("\n| codec | comes from | is |\n|---|---|---|\n");
    for codec in rung::codec_names() {
        let from = table::simpler(codec).map_or(String::new(), |name| format!("`{name}`"));
        let _ = writeln!(text, "| `{codec}` | {from} | {} |", table::about_codec(codec));
    }
    text
}

fn protocol_step(protocol: &str) -> String {
    format!("protocol: {}", table::about_protocol(protocol))
}

fn codecs(stack: &table::Stack) -> String {
    let all = rung::codec_names();
    let carried: Vec<&str> =
        all.iter().copied().filter(|codec| stack.rung(codec).is_some()).collect();
    if carried.len() == all.len() { "all".to_owned() } else { carried.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_has_every_rung_once() {
        let tree = tree();
        for rung in table::rungs() {
            let name = rung.to_string();
            let times = tree.lines().filter(|line| line.split_whitespace().next() == Some(&name));
            assert_eq!(times.count(), 1, "{rung}");
        }
        assert_eq!(tree.lines().count(), table::rungs().len());
        assert_eq!(names().lines().count(), table::rungs().len());
    }

    #[test]
    fn the_markdown_has_every_stack_and_every_codec() {
        let text = markdown();
        for stack in STACKS {
            let start = format!("| `{}/{}` | ", stack.driver, stack.protocol);
            assert!(text.contains(&start), "{start}");
        }
        for codec in rung::codec_names() {
            assert!(text.contains(&format!("| `{codec}` | ")), "{codec}");
        }
    }
}
