//! One page with all that a run shows: sentences, pictures, tables, and the records themselves.
//!
//! The page is one file without a network: its policy allows its own style and script and nothing
//! else. It can be read without the script, which only sorts a table and offers downloads. The same
//! records give the same bytes. Text from records is escaped by `markup`, wherever it stands.
//!
//! | part | files |
//! |---|---|
//! | run, evaluated once | `subject` |
//! | text and tables | `text`, `heat`, `layers`, `lanes`, `cells`, `environment` |
//! | pictures | `dots`, `waterfall`, `sizes`, `icicles`, `closure`, made of `figure`, `chart` |
//! | choice of pictures without a script | `selector` |
//! | style | `theme` |
//! | records to read back | `records` |

mod cells;
mod chart;
mod closure;
mod dots;
mod environment;
mod figure;
mod heat;
mod icicles;
mod kind;
mod lanes;
mod layers;
mod records;
mod selector;
mod sizes;
mod subject;
mod text;
mod theme;
mod waterfall;

use super::Run;
use super::markup::escape;
use figure::Figure;
use icicles::Folded;
use selector::Choosable;
use subject::Subject;
use waterfall::Waterfall;

pub use icicles::Icicles;
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

/// Makes the page of `run`, with icicles as fine as it has room for.
pub fn render(run: &Run, icicles: &Icicles) -> Page {
    let subject = Subject::evaluate(run);
    let parts = parts(&subject);
    let records = records::element(run);
    let mut least = Folded::default();
    for folded in icicles.candidates() {
        let html =
            document(&body(&subject, &parts, &folded), &(records.clone() + &folded.element()));
        if html.len() <= PAGE_BYTES_MAX {
            return Page { html, holds_records: true };
        }
        least = folded;
    }
    let html = document(&body(&subject, &parts, &least), &records::left_out());
    Page { html, holds_records: false }
}

/// Returns each picture of the page of `run` as an SVG file, and its figures as a CSV file.
pub fn picture_files(run: &Run, icicles: &Icicles) -> Vec<PictureFile> {
    let subject = Subject::evaluate(run);
    let heat = heat::tables(&subject).into_iter().map(|(_, figure)| figure);
    let sizes = sizes::figures(&subject).into_iter().map(|(figure, _)| figure);
    let (waterfalls, _) = waterfall::figures(&subject);
    let waterfalls = waterfalls.into_iter().map(|waterfall| waterfall.figure);
    let costs = dots::figures(&subject).into_iter();
    let tables = sizes.chain(heat).chain(closure::figures(&subject));
    let all = costs.chain(waterfalls).chain(tables).chain(icicles.figures());
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

/// Section of a page: anchor, title, content.
type Part = (&'static str, &'static str, String);

/// Returns the sections before the icicles, and those after them.
fn parts(subject: &Subject<'_>) -> (Vec<Part>, Vec<Part>) {
    let (waterfalls, left_out) = waterfall::figures(subject);
    let all = |figures: &[Figure]| figures.iter().map(Figure::html).collect::<String>();
    let costs = grid(&all(&dots::figures(subject)));
    let waterfall = text::waterfalls(subject, waterfalls.len(), left_out);
    let waterfalls: Vec<Choosable> = waterfalls.iter().map(Waterfall::choosable).collect();
    let before = vec![
        ("short", "In short", text::in_short(subject)),
        ("reading", "How to read this page", text::guide()),
        ("cost", "CPU time per request", text::kinds(subject) + &costs),
        (
            "waterfall",
            "From the bare socket to the framework",
            waterfall + &selector::selectable(&waterfalls),
        ),
        ("size", "Cost over the size of the array", text::sizes(subject)),
        ("encodings", "Encodings and stacks", text::encodings(subject)),
        ("layers", "Layers inside each rung", text::layers(subject)),
    ];
    let after = vec![
        ("closure", "Differences between rungs by layer", closure::section(subject)),
        ("lanes", "Protocols and codecs in memory", text::lanes(subject.run)),
        ("counts", "Counts per request", text::counts(subject.run)),
        ("all", "All cells", cells::table(subject) + &cells::legend()),
        ("validity", "Validity", cells::validity(subject)),
        ("environment", "Environment", environment::lists(&subject.run.header)),
        ("records", "Records", text::records()),
    ];
    (before, after)
}

fn body(
    subject: &Subject<'_>,
    (before, after): &(Vec<Part>, Vec<Part>),
    folded: &Folded,
) -> String {
    let is_profiled = !layers::all(subject).is_empty();
    let icicles = folded.section(is_profiled, &text::profile_command(subject));
    let icicles = ("icicles", "Functions inside each layer", icicles);
    let parts = || before.iter().chain([&icicles]).chain(after);
    let entry = |(name, title, _): &Part| format!("<li><a href=\"#{name}\">{title}</a></li>");
    let entries: String = parts().map(entry).collect();
    let section = |(name, title, html): &Part| {
        format!(
            "<section id=\"{name}\" aria-labelledby=\"{name}-title\">\n\
             <h2 id=\"{name}-title\">{title}</h2>\n{html}</section>\n"
        )
    };
    let sections: String = parts().map(section).collect();
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
const STYLE_HASH: &str = "FhLm1qOWsTUO0tUiBZEwFjCYLi0MIhVPabA82o+5SFU=";
const SCRIPT_HASH: &str = "TZLDRzpKL94JBvMzg52FABr+cKEFkUnMuk3f7/TfHQw=";
