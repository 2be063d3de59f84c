//! A chart whose width follows the page. Horizontal positions are per cent of the width, vertical
//! ones are pixels, so that text keeps its size on a narrow screen.

use std::fmt::Write as _;

use super::super::markup::{decimal, escape};
use super::theme;

/// Width of a chart in a file of its own, in pixels.
const FILE_WIDTH: f64 = 560.0;

/// Margin of a chart in a file of its own.
const FILE_MARGIN: f64 = 20.0;

/// Characters of a label that fit beside a figure on a narrow screen.
const LABEL_MAX: usize = 37;

/// Half the length of the line at the end of a whisker.
const WHISKER_END: f64 = 3.5;

/// Elements in drawing order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    elements: String,
    height: f64,
    file_width: f64,
}

impl Chart {
    pub(super) fn new(height: f64) -> Chart {
        Chart { elements: String::new(), height, file_width: FILE_WIDTH }
    }

    /// Sets the width in a file of its own, in pixels.
    pub(super) fn with_file_width(self, file_width: f64) -> Chart {
        Chart { file_width, ..self }
    }

    /// Adds a text that begins at `(x, y)`, or ends there for the class `end`.
    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), content: &str) {
        let (x, y, content) = (percent(x), decimal(y), escape(content));
        let _ = writeln!(
            self.elements,
            "<text{} x=\"{x}\" y=\"{y}\">{content}</text>",
            class_of(class)
        );
    }

    /// Adds a text to the left, cut in its middle if it is too long.
    pub(super) fn label(&mut self, class: &str, y: f64, content: &str) {
        self.text(class, (0.0, y), &cut(content));
    }

    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64)) {
        let (x, y) = (percent(x), decimal(y));
        let _ =
            writeln!(self.elements, "<circle{} cx=\"{x}\" cy=\"{y}\" r=\"4.5\"/>", class_of(class));
    }

    /// Adds a bar from `x.0` to `x.1`.
    pub(super) fn bar(&mut self, class: &str, x: (f64, f64), (top, height): (f64, f64)) {
        self.faded_bar(class, x, (top, height), 1.0);
    }

    pub(super) fn faded_bar(
        &mut self,
        class: &str,
        x: (f64, f64),
        (top, height): (f64, f64),
        opacity: f64,
    ) {
        let (left, width) = (percent(x.0.min(x.1)), percent((x.1 - x.0).abs()));
        let (top, height) = (decimal(top), decimal(height));
        let opacity = match opacity {
            1.0 => String::new(),
            opacity => format!(" fill-opacity=\"{opacity:.2}\""),
        };
        let _ = writeln!(
            self.elements,
            "<rect{} x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"{opacity}/>",
            class_of(class)
        );
    }

    /// Adds an area with a tooltip and a text, which ends where the area does.
    pub(super) fn area(
        &mut self,
        class: &str,
        [from, to]: [f64; 2],
        (top, height): (f64, f64),
        tooltip: &str,
        text: &str,
    ) {
        let (left, width, top) = (percent(from), percent(to - from), decimal(top));
        let height = decimal(height);
        let _ = write!(
            self.elements,
            "<svg x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\">\
             <title>{}</title><rect class=\"{class} area\" width=\"100%\" height=\"100%\"/>",
            escape(tooltip)
        );
        if !text.is_empty() {
            let _ = write!(self.elements, "<text x=\"4\" y=\"12.5\">{}</text>", escape(text));
        }
        self.elements.push_str("</svg>\n");
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let [x1, x2] = [from.0, to.0].map(percent);
        let [y1, y2] = [from.1, to.1].map(decimal);
        let _ = writeln!(
            self.elements,
            "<line{} x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>",
            class_of(class)
        );
    }

    /// Adds an interval.
    pub(super) fn whisker(&mut self, class: &str, (low, high): (f64, f64), y: f64) {
        self.line(class, (low, y), (high, y));
        for end in [low, high] {
            self.line(class, (end, y - WHISKER_END), (end, y + WHISKER_END));
        }
    }

    /// Adds a curve through `points` in an area that begins at `top`.
    pub(super) fn curve(&mut self, class: &str, points: &[(f64, f64)], (top, height): (f64, f64)) {
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{} {}", decimal(x * 10.0), decimal(y - top));
        }
        let (top, height) = (decimal(top), decimal(height));
        let _ = writeln!(
            self.elements,
            "<svg y=\"{top}\" width=\"100%\" height=\"{height}\" viewBox=\"0 0 1000 {height}\" \
             preserveAspectRatio=\"none\"><path{} d=\"{path}\"/></svg>",
            class_of(class)
        );
    }

    /// Returns the chart as an element of a page. `name` is read to people who do not see it.
    pub(super) fn inline(&self, name: &str) -> String {
        format!(
            "<svg class=\"chart\" role=\"img\" aria-label=\"{}\" width=\"100%\" height=\"{}\">\n{}</svg>\n",
            escape(name),
            decimal(self.height),
            self.elements
        )
    }

    /// Returns the chart as a file.
    pub(super) fn file(&self, title: &str, note: &str) -> String {
        let [title, note] = [title, note].map(escape);
        let [width, margin, inner] =
            [self.file_width, FILE_MARGIN, self.file_width - 2.0 * FILE_MARGIN].map(decimal);
        let head = FILE_MARGIN + 24.0;
        let height = decimal(head + self.height + FILE_MARGIN);
        let (head, inner_height) = (decimal(head), decimal(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title note\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"note\">{note}</desc>\n\
             <style>\n{}</style>\n\
             <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n\
             <text class=\"title\" x=\"{margin}\" y=\"28\">{title}</text>\n\
             <svg x=\"{margin}\" y=\"{head}\" width=\"{inner}\" height=\"{inner_height}\" \
             overflow=\"visible\">\n{}</svg>\n</svg>\n",
            theme::picture(),
            self.elements
        )
    }
}

fn class_of(class: &str) -> String {
    if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") }
}

/// `12.35%`.
fn percent(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}%", if text == "-0" { "0" } else { text })
}

/// Cuts the middle out of a long name: its end tells more than its middle.
pub(super) fn cut(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= LABEL_MAX {
        return name.to_owned();
    }
    let half = (LABEL_MAX - 1) / 2;
    let (start, end) = (&letters[..half], &letters[letters.len() - half..]);
    start.iter().chain(&['…']).chain(end).collect()
}

/// Least distance of two ticks, in per cent of the width.
const TICK_ROOM: f64 = 17.0;

/// Figures of a power of ten that are ticks, from many to few.
const STEPS: [&[f64]; 5] = [
    &[1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0],
    &[1.0, 2.0, 3.0, 5.0],
    &[1.0, 2.0, 5.0],
    &[1.0, 3.0],
    &[1.0],
];

/// Scale from figures to per cent of the width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
}

/// Space that a logarithmic scale leaves at each end, in per cent.
const LOG_MARGIN: f64 = 2.0;

impl Scale {
    /// Creates a linear scale that holds 0 and `values`.
    pub(super) fn linear(values: impl IntoIterator<Item = f64>) -> Scale {
        let (low, high) = ends(values.into_iter().chain([0.0]));
        Scale { low, high, is_log: false }
    }

    /// Creates a logarithmic scale that holds those of `values` that are above 0.
    pub(super) fn log(values: impl IntoIterator<Item = f64>) -> Scale {
        let values = values.into_iter().filter(|value| *value > 0.0 && value.is_finite());
        let (low, high) = ends(values);
        if low > high {
            Scale { low: 1.0, high: 10.0, is_log: true }
        } else {
            Scale { low, high, is_log: true }
        }
    }

    /// Returns the place of `value`; a value outside of the scale is at its end.
    pub(super) fn x(&self, value: f64) -> f64 {
        let Scale { low, high, is_log } = *self;
        if is_log {
            let share = (value.max(f64::MIN_POSITIVE) / low).ln() / (high / low).ln();
            let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 };
            return LOG_MARGIN + share * (100.0 - 2.0 * LOG_MARGIN);
        }
        if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) * 100.0 } else { 0.0 }
    }

    /// Returns round figures for a logarithmic scale: as many as have room for their texts.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let of = |steps: &[f64]| -> Vec<f64> {
            let all = powers
                .clone()
                .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
            all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
        };
        let has_room = |ticks: &Vec<f64>| {
            ticks.windows(2).all(|pair| self.x(pair[1]) - self.x(pair[0]) >= TICK_ROOM)
        };
        STEPS.iter().map(|steps| of(steps)).find(has_room).unwrap_or_default()
    }
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_per_cent() {
        let linear = Scale::linear([-50.0, 150.0]);
        assert_eq!(
            [-50.0, 0.0, 150.0, 900.0].map(|value| linear.x(value)),
            [0.0, 25.0, 100.0, 100.0]
        );
        assert_eq!(Scale::linear([0.0]).x(5.0), 0.0);
        let log = Scale::log([10.0, 1000.0, 0.0]);
        assert_eq!(
            [1.0, 10.0, 100.0, 1000.0].map(|value| log.x(value).round()),
            [2.0, 2.0, 50.0, 98.0]
        );
        assert_eq!(Scale::log([7.0]).x(7.0), 50.0);
        assert!(Scale::log([]).x(7.0).is_finite());
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(Scale::log([90.0, 700.0]).ticks(), [100.0, 200.0, 300.0, 500.0]);
        assert_eq!(Scale::log([20.0, 60.0]).ticks(), [20.0, 30.0, 40.0, 60.0]);
        assert_eq!(Scale::log([1.0, 1e4]).ticks(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert!(Scale::log([1.0, 1e12]).ticks().len() < 8);
    }

    #[test]
    fn text_is_escaped_and_long_names_lose_their_middle() {
        let mut chart = Chart::new(20.0);
        chart.label("a", 12.0, "</script><img onerror=1>");
        let page = chart.inline("<b>\"") + &chart.file("</style>", "&");
        assert!(
            !page.contains("<img") && !page.contains("</script") && !page.contains("<b>"),
            "{page}"
        );
        assert_eq!(page.matches("</style>").count(), 1, "{page}");
        let name = "external/a-server-with-a-very-long-name/json_binary:pybase64";
        assert_eq!(cut(name), "external/a-server-…on_binary:pybase64");
        assert_eq!(cut(name).chars().count(), LABEL_MAX);
        assert_eq!(cut("tokio/tonic"), "tokio/tonic");
    }
}
