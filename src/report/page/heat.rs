//! Cost by encoding and stack: a table whose cells are darker the dearer they are.

use std::collections::{BTreeMap, BTreeSet};

use super::super::aggregate::Section;
use super::super::markup::escape;
use super::super::units;
use super::chart::{Chart, cut};
use super::figure::Figure;
use super::subject::{Subject, load_anchor};
use crate::stats::bootstrap::Interval;

/// Number of shades; the dearest cell has the last one.
const SHADES: usize = 9;

/// Least opacity of a shade and its rise to the dearest, chosen so that text stays readable.
const OPACITY: (f64, f64) = (0.06, 0.5);

/// Codec and stack.
type Place<'a> = (&'a str, &'a str);

struct Heat<'a> {
    encodings: Vec<&'a str>,
    stacks: Vec<&'a str>,
    /// Cheapest codec of an encoding on a stack, with its cost.
    cells: BTreeMap<Place<'a>, (&'a str, Interval)>,
    ends: (f64, f64),
}

/// Returns the table of each load with two encodings or more, and its picture.
pub(super) fn tables(subject: &Subject<'_>) -> Vec<(String, Figure)> {
    let table = |(index, section): (usize, &Section)| {
        let heat = Heat::new(section)?;
        let title = subject.loads[index].long_title();
        let name = format!("heat-{}", load_anchor(&subject.sections, index));
        let figure = Figure {
            chart: heat.chart(),
            data: heat.data(),
            note: "CPU time of the server per request.".to_owned(),
            title,
            name,
        };
        Some((heat.html(&figure), figure))
    };
    subject.sections.iter().enumerate().filter_map(table).collect()
}

impl<'a> Heat<'a> {
    fn new(section: &'a Section) -> Option<Heat<'a>> {
        let mut cells: BTreeMap<Place<'a>, (&'a str, Interval)> = BTreeMap::new();
        for row in &section.rows {
            let Some((stack, codec)) = row.rung.rsplit_once('/') else { continue };
            let cost = row.result.as_ref().ok().and_then(|figures| figures.cell.server_cpu_ns);
            let Some(cost) = cost else { continue };
            let encoding = codec.split([':', '@']).next().unwrap_or(codec);
            let known = cells.get(&(encoding, stack));
            if known.is_none_or(|(_, known)| cost.estimate < known.estimate) {
                cells.insert((encoding, stack), (codec, cost));
            }
        }
        let unique = |part: fn(&Place<'a>) -> &'a str| -> Vec<&'a str> {
            cells.keys().map(part).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let (encodings, stacks) = (unique(|place| place.0), unique(|place| place.1));
        let costs = || cells.values().map(|(_, cost)| cost.estimate);
        let ends = (costs().fold(f64::INFINITY, f64::min), costs().fold(0.0, f64::max));
        let is_table = encodings.len() > 1 && stacks.len() > 1;
        is_table.then_some(Heat { encodings, stacks, cells, ends })
    }

    /// Returns the shade of a cost on a logarithmic scale.
    fn shade(&self, cost: &Interval) -> usize {
        let (low, high) = self.ends;
        let share = (cost.estimate / low).ln() / (high / low).ln();
        if share.is_finite() { (share * (SHADES - 1) as f64).round() as usize } else { 0 }
    }

    fn html(&self, figure: &Figure) -> String {
        let heads: String = self
            .stacks
            .iter()
            .map(|stack| format!("<th scope=\"col\">{}</th>", breakable(stack)))
            .collect();
        let rows: String = self.encodings.iter().map(|encoding| self.row(encoding)).collect();
        let title = escape(&figure.title);
        format!(
            "<figure class=\"card\" id=\"{}\">\n<figcaption><h3>{title}</h3></figcaption>\n\
             <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Cost by encoding \
             and stack, {title}\">\n<table class=\"heat\"><thead><tr><th scope=\"col\">encoding</th>\
             {heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n\
             <details class=\"data\"><summary>Figures as CSV</summary><pre tabindex=\"0\">{}</pre>\
             </details>\n</figure>\n",
            figure.name,
            escape(&figure.csv())
        )
    }

    fn row(&self, encoding: &str) -> String {
        let cell = |stack: &&str| match self.cells.get(&(encoding, stack)) {
            Some((codec, cost)) => {
                let library = codec.split_once(':').map_or("", |(_, library)| library);
                let library = match library {
                    "" => String::new(),
                    library => format!("<small>{}</small>", escape(library)),
                };
                format!(
                    "<td class=\"h{}\">{}{library}</td>",
                    self.shade(cost),
                    units::time(cost.estimate)
                )
            }
            None => "<td class=\"none\">–</td>".to_owned(),
        };
        let cells: String = self.stacks.iter().map(cell).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(encoding))
    }

    /// Draws the table with the stacks below each other.
    fn chart(&self) -> Chart {
        const LABEL: f64 = 30.0;
        const ROW: f64 = 26.0;
        let width = (100.0 - LABEL) / self.encodings.len() as f64;
        let left = |column: usize| LABEL + width * column as f64;
        let mut chart = Chart::new(ROW * (self.stacks.len() + 1) as f64);
        for (column, encoding) in self.encodings.iter().enumerate() {
            chart.text("strong middle", (left(column) + width / 2.0, 17.0), &cut(encoding));
        }
        for (row, stack) in self.stacks.iter().enumerate() {
            let top = ROW * (row + 1) as f64;
            chart.label("", top + 17.0, stack);
            for (column, encoding) in self.encodings.iter().enumerate() {
                let Some((_, cost)) = self.cells.get(&(*encoding, *stack)) else { continue };
                let share = self.shade(cost) as f64 / (SHADES - 1) as f64;
                let opacity = OPACITY.0 + share * OPACITY.1;
                let x = (left(column) + 0.3, left(column) + width - 0.3);
                chart.faded_bar("heat", x, (top + 1.0, ROW - 2.0), opacity);
                let middle = left(column) + width / 2.0;
                chart.text("middle", (middle, top + 17.0), &units::time(cost.estimate));
            }
        }
        chart
    }

    fn data(&self) -> Vec<Vec<String>> {
        let head = std::iter::once("encoding").chain(self.stacks.iter().copied());
        let mut lines = vec![head.map(str::to_owned).collect::<Vec<_>>()];
        for encoding in &self.encodings {
            let cost = |stack: &&str| {
                let cell = self.cells.get(&(*encoding, *stack));
                cell.map_or_else(String::new, |(_, cost)| format!("{:.1}", cost.estimate))
            };
            let costs = self.stacks.iter().map(cost);
            lines.push(std::iter::once((*encoding).to_owned()).chain(costs).collect());
        }
        lines
    }
}

/// Escapes a name, and allows a line to break after each slash.
pub(super) fn breakable(name: &str) -> String {
    escape(name).replace('/', "/<wbr>")
}
