//! One page with all that a run shows: sentences, pictures, tables, and the records themselves.
//!
//! The page is one file without a network: its policy allows its own style and script and nothing
//! else. It can be read without the script, which only sorts a table and offers downloads. The same
//! records give the same bytes. Text from records is escaped by `markup`, wherever it stands.
//!
//! | part | files |
//! |---|---|
//! | run, evaluated once | `subject` |
//! | text and tables | `text`, `heat`, `layers`, `cells`, `environment` |
//! | pictures | `dots`, `waterfall`, `sizes`, made of `figure`, `chart`, `kind` |
//! | style | `theme` |
//! | records to read back | `records` |

mod cells;
mod chart;
mod dots;
mod environment;
mod figure;
mod heat;
mod kind;
mod layers;
mod records;
mod sizes;
mod subject;
mod text;
mod theme;
mod waterfall;

use super::Run;
use super::markup::escape;
use figure::Figure;
use subject::Subject;

pub use records::{PageError, extract};

/// Largest page that holds its records. The page of a main job has 250 kB.
pub const PAGE_BYTES_MAX: usize = 300_000;

const SCRIPT: &str = include_str!("script.js");

const TITLE: &str = "What a call costs the server, in CPU time";

/// Page of a run.
pub struct Page {
    pub html: String,
    /// False if the records would have made the page larger than [`PAGE_BYTES_MAX`].
    pub holds_records: bool,
}

/// File of a picture of a page, or of the figures behind it.
pub struct PictureFile {
    pub name: String,
    pub text: String,
}

/// Makes the page of `run`.
pub fn render(run: &Run) -> Page {
    let body = body(&Subject::evaluate(run));
    let page = |records: &str| document(&body, records);
    let html = page(&records::element(run));
    if html.len() <= PAGE_BYTES_MAX {
        return Page { html, holds_records: true };
    }
    Page { html: page(&records::left_out()), holds_records: false }
}

/// Returns each picture of the page of `run` as an SVG file, and its figures as a CSV file.
pub fn picture_files(run: &Run) -> Vec<PictureFile> {
    let subject = Subject::evaluate(run);
    let heat = heat::tables(&subject).into_iter().map(|(_, figure)| figure);
    let sizes = sizes::figures(&subject).into_iter().map(|(figure, _)| figure);
    let (waterfalls, _) = waterfall::figures(&subject);
    let all = dots::figures(&subject).into_iter().chain(waterfalls).chain(sizes).chain(heat);
    let files = |figure: Figure| {
        let file =
            |end: &str, text: String| PictureFile { name: format!("{}.{end}", figure.name), text };
        [file("svg", figure.svg()), file("csv", figure.csv())]
    };
    all.flat_map(files).collect()
}

fn document(body: &str, records: &str) -> String {
    let (style, title) = (theme::page(), escape(TITLE));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'sha256-{STYLE_HASH}'; script-src 'sha256-{SCRIPT_HASH}'; base-uri 'none'; \
         form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}{records}\
         <script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

fn body(subject: &Subject<'_>) -> String {
    let (waterfalls, left_out) = waterfall::figures(subject);
    let all = |figures: &[Figure]| figures.iter().map(Figure::html).collect::<String>();
    let parts = [
        ("short", "In short", text::in_short(subject)),
        ("reading", "How to read this page", text::guide()),
        (
            "cost",
            "CPU time per request",
            format!("{}{}", text::kinds(subject), grid(&all(&dots::figures(subject)))),
        ),
        (
            "waterfall",
            "From the bare socket to the framework",
            format!(
                "{}{}",
                text::waterfalls(subject, waterfalls.len(), left_out),
                grid(&all(&waterfalls))
            ),
        ),
        ("size", "Cost over the size of the array", text::sizes(subject)),
        ("encodings", "Encodings and stacks", text::encodings(subject)),
        ("layers", "Layers inside each rung", text::layers(subject)),
        ("counts", "Counts per request", text::counts(subject.run)),
        ("all", "All cells", cells::table(subject) + &cells::legend()),
        ("validity", "Validity", cells::validity(subject)),
        ("environment", "Environment", environment::lists(&subject.run.header)),
        ("records", "Records", text::records()),
    ];
    let entry = |(name, title, _): &(&str, &str, String)| {
        format!("<li><a href=\"#{name}\">{title}</a></li>")
    };
    let entries: String = parts.iter().map(entry).collect();
    let section = |(name, title, html): &(&str, &str, String)| {
        format!(
            "<section id=\"{name}\" aria-labelledby=\"{name}-title\">\n\
             <h2 id=\"{name}-title\">{title}</h2>\n{html}</section>\n"
        )
    };
    let sections: String = parts.iter().map(section).collect();
    format!(
        "<a class=\"skip\" href=\"#main\">Skip to the answer</a>\n\
         <header>\n<p class=\"brand\">ndecho</p>\n<h1>{TITLE}</h1>\n{}</header>\n\
         <nav aria-label=\"Contents\"><ol>{entries}</ol></nav>\n<main id=\"main\">\n{sections}\
         </main>\n<footer><p>Made by <code>ndecho report DIR --html</code>. The same records give \
         the same page.</p></footer>\n",
        text::head(subject)
    )
}

fn grid(figures: &str) -> String {
    if figures.is_empty() {
        String::new()
    } else {
        format!("<div class=\"grid\">\n{figures}</div>\n")
    }
}

/// SHA-256 of the style and of the script, by which the policy of the page allows them.
const STYLE_HASH: &str = "opvEJEbVtFbQ4L6bxFOjFGAPgSoY248X2un/8L0gu0w=";
const SCRIPT_HASH: &str = "TZLDRzpKL94JBvMzg52FABr+cKEFkUnMuk3f7/TfHQw=";
