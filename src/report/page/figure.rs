//! A picture with its caption, and the figures behind it as CSV.

use super::super::markup::escape;
use super::chart::Chart;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// Name of the file, and anchor in the page.
    pub(super) name: String,
    pub(super) title: String,
    /// Reading aid, as a sentence.
    pub(super) note: String,
    pub(super) chart: Chart,
    /// Lines of the CSV, the head first.
    pub(super) data: Vec<Vec<String>>,
}

impl Figure {
    pub(super) fn html(&self) -> String {
        let Figure { name, title, note, chart, .. } = self;
        let note = if note.is_empty() { String::new() } else { format!("<p>{}</p>", escape(note)) };
        format!(
            "<figure class=\"card\" id=\"{name}\">\n<figcaption><h3>{}</h3>{note}</figcaption>\n{}\
             <details class=\"data\"><summary>Figures as CSV</summary>\
             <pre tabindex=\"0\">{}</pre></details>\n</figure>\n",
            escape(title),
            chart.inline(title),
            escape(&self.csv())
        )
    }

    pub(super) fn svg(&self) -> String {
        self.chart.file(&self.title, &self.note)
    }

    pub(super) fn csv(&self) -> String {
        csv_of(&self.data)
    }
}

/// Returns lines of fields as CSV.
pub(super) fn csv_of(lines: &[Vec<String>]) -> String {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for line in lines {
        writer.write_record(line).expect("a vector takes all lines");
    }
    let bytes = writer.into_inner().expect("a vector takes all lines");
    String::from_utf8(bytes).expect("all fields are text")
}

/// Returns `text` as a part of an anchor: letters, digits and hyphens.
pub(super) fn slug(text: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    text.chars().map(letter).collect()
}

/// Returns head and fields of an interval, as the CSV of a run has them.
pub(super) fn interval_fields(interval: Option<crate::stats::bootstrap::Interval>) -> [String; 3] {
    let (low, high) = interval.and_then(|interval| interval.range).unzip();
    [interval.map(|interval| interval.estimate), low, high]
        .map(|value| value.map_or_else(String::new, |value| format!("{value:.1}")))
}
