//! The ladder as text: an indented tree of all rungs, plain lists, and two Markdown tables.

use std::fmt::Write;

use crate::axis::{Codec, Rung};

use super::table::{self, STACKS};

const ADDS_COLUMN: usize = 52;

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

pub fn names() -> String {
    table::rungs().into_iter().map(|rung| format!("{rung}\n")).collect()
}

/// Prints every rung as a JSON object, one a line, for scripts.
pub fn json() -> String {
    let object = |rung: Rung| {
        serde_json::json!({
            "rung": rung,
            "driver": rung.driver(),
            "transport": rung.transport(),
            "protocol": rung.protocol(),
            "codec": rung.codec(),
            "encoding": rung.encoding(),
            "scheme": rung.family().scheme(),
        })
    };
    table::rungs().into_iter().map(|rung| format!("{}\n", object(rung))).collect()
}

pub fn markdown() -> String {
    let mut text = String::from("| stack | comes from | changes | codecs |\n|---|---|---|---|\n");
    for stack in STACKS {
        let (from, adds) = match stack.parent {
            Some((driver, protocol)) => {
                let rung = stack.rung(stack.codecs[0]);
                let adds = rung.map(|rung| table::adds(rung, table::parent(rung)));
                (format!("`{driver}/{protocol}`"), adds.unwrap_or_default())
            }
            None => (String::new(), stack.protocol.spec().about.to_owned()),
        };
        let _ = writeln!(text, "| `{stack}` | {from} | {adds} | {} |", codecs(stack));
    }
    text.push_str("\n| codec | comes from | is |\n|---|---|---|\n");
    for codec in Codec::ALL {
        let from = table::simpler(codec).map_or(String::new(), |from| format!("`{from}`"));
        let _ = writeln!(text, "| `{codec}` | {from} | {} |", codec.about());
    }
    text
}

fn codecs(stack: &table::Stack) -> String {
    if stack.codecs.len() == Codec::ALL.len() {
        return "all".to_owned();
    }
    stack.codecs.iter().map(Codec::to_string).collect::<Vec<_>>().join(", ")
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
            assert!(text.contains(&format!("| `{stack}` | ")), "{stack}");
        }
        for codec in Codec::ALL {
            assert!(text.contains(&format!("| `{codec}` | ")), "{codec}");
        }
    }
}
