//! Table of every cell with its figures and its validity, which the script of the page can sort.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::aggregate::{Row, Section};
use super::super::columns::{LEGEND, View, shown_columns};
use super::super::markup::escape;
use super::super::text::notes;
use super::figure::slug;
use super::heat::breakable;
use super::kind::Kind;
use super::subject::{Subject, load_anchor, short_load};

/// Returns the table.
pub(super) fn table(subject: &Subject<'_>) -> String {
    let heads: String = ["rung", "load"]
        .into_iter()
        .chain(shown_columns().map(|column| column.head))
        .map(|head| format!("<th scope=\"col\">{}</th>", escape(head)))
        .collect();
    let mut anchors = BTreeSet::new();
    let mut rows = String::new();
    for (index, section) in subject.sections.iter().enumerate() {
        for row in &section.rows {
            let anchor = anchor(subject, index, row, &mut anchors);
            rows.push_str(&line(subject, section, row, &anchor));
        }
    }
    format!(
        "<p>CPU time of the server per request, its ratios, rates and latencies. The name of a rung \
         is a link to its row.</p>\n\
         <div class=\"scroll tall\" tabindex=\"0\" role=\"region\" aria-label=\"Table of all cells\">\n\
         <table class=\"cells\" id=\"cells\"><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\
         </table></div>\n"
    )
}

/// Returns an anchor that no other row has.
fn anchor(subject: &Subject<'_>, index: usize, row: &Row, known: &mut BTreeSet<String>) -> String {
    let name = format!("{}--{}", load_anchor(&subject.sections, index), slug(&row.rung));
    let names = std::iter::once(name.clone()).chain((2..).map(|count| format!("{name}-{count}")));
    let free = names.into_iter().find(|name| !known.contains(name)).unwrap_or(name);
    known.insert(free.clone());
    free
}

fn line(subject: &Subject<'_>, section: &Section, row: &Row, anchor: &str) -> String {
    let head = format!(
        "<tr id=\"{anchor}\"><th scope=\"row\"><a href=\"#{anchor}\"><i class=\"key {}\"></i>{}</a>\
         </th><td data-v=\"{}\">{}</td>",
        Kind::of_rung(&row.rung).class(),
        breakable(&row.rung),
        section.array.bytes,
        escape(&short_load(section))
    );
    let mut html = head;
    match &row.result {
        Ok(figures) => {
            let shares_core = subject.run.shares_core();
            let view = View { section, row, figures, shares_core };
            for (text, value) in view.cells() {
                let value = match value.parse::<f64>() {
                    Ok(number) => format!(" data-v=\"{}\"", short(number)),
                    Err(_) => String::new(),
                };
                let _ = write!(html, "<td{value}>{}</td>", escape(&text));
            }
        }
        Err(obstacle) => {
            let columns = shown_columns().count();
            let _ =
                write!(html, "<td colspan=\"{columns}\" class=\"why\">{}</td>", escape(obstacle));
        }
    }
    html + "</tr>\n"
}

/// Six significant digits, which are enough to sort by.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let places = (5 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Returns the reasons of cells that are not simply valid, the controls of each load, and the
/// meaning of the columns.
pub(super) fn validity(subject: &Subject<'_>) -> String {
    let mut html = "<p>CLIENT-LIMITED concerns the rate: the server could do more. The cost of a \
                    request counts all the same.</p>\n"
        .to_owned();
    if let Some(conformance) = subject.run.conformance() {
        let _ = writeln!(html, "<p>{}.</p>", sentence(&conformance));
    }
    for (section, load) in subject.sections.iter().zip(&subject.loads) {
        let reason = |row: &Row| match &row.result {
            Ok(figures) => {
                let reason = Some(figures.status.reason()).filter(|reason| !reason.is_empty())?;
                Some(format!("{}: {} ({reason})", row.rung, figures.status.word()))
            }
            Err(obstacle) => Some(format!("{}: {obstacle}", row.rung)),
        };
        let reasons = section.rows.iter().filter_map(reason);
        let lines: String = reasons
            .chain(notes(section))
            .map(|line| format!("<li>{}</li>\n", escape(&line)))
            .collect();
        let valid = section.rows.iter().filter(|row| {
            row.result.as_ref().is_ok_and(|figures| figures.status.reason().is_empty())
        });
        let _ = writeln!(
            html,
            "<h3>{}</h3>\n<p>{} of {} cells are valid without reservation.</p>\n<ul>\n{lines}</ul>",
            escape(&load.long_title()),
            valid.count(),
            section.rows.len()
        );
    }
    html
}

/// Returns the meaning of the columns.
pub(super) fn legend() -> String {
    let lines: String = LEGEND.iter().map(|line| format!("<li>{}</li>\n", escape(line))).collect();
    format!("<details><summary>What the columns mean</summary>\n<ul>\n{lines}</ul></details>\n")
}

/// Escapes `text` and begins it with a capital letter.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    escape(&(first + letters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_to_sort_by_have_six_digits() {
        let values = [0.0, 1234.56789, 0.0123456789, 1e9, f64::NAN, 17.0];
        assert_eq!(values.map(short), ["0", "1234.57", "0.0123457", "1000000000", "0", "17"]);
    }
}
