//! Elements of an SVG. Text is escaped, and coordinates have one decimal place.

use std::fmt::Write as _;

use super::markup::{decimal, escape};

/// Elements in drawing order.
#[derive(Default)]
pub(super) struct Svg {
    elements: String,
}

/// Rectangle with a text on it and a tooltip.
pub(super) struct Area<'a> {
    pub(super) class: &'a str,
    pub(super) corner: (f64, f64),
    pub(super) size: (f64, f64),
    pub(super) tooltip: &'a str,
    pub(super) text: &'a str,
    /// Start of the text's baseline from the corner.
    pub(super) text_offset: (f64, f64),
}

impl Svg {
    /// Adds a text whose baseline begins at `(x, y)`, or ends there for the class `end`.
    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), content: &str) {
        let (x, y, content) = (decimal(x), decimal(y), escape(content));
        let _ =
            writeln!(self.elements, r#"<text class="{class}" x="{x}" y="{y}">{content}</text>"#);
    }

    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let [x, y, width, height] = [x, y, width, height].map(decimal);
        let _ = writeln!(
            self.elements,
            r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"/>"#
        );
    }

    /// Adds an area with a text on it, if the text is not empty, and a tooltip.
    pub(super) fn area(&mut self, area: &Area<'_>) {
        let (x, y) = area.corner;
        let _ = write!(self.elements, "<g><title>{}</title>", escape(area.tooltip));
        self.rect(area.class, area.corner, area.size);
        if !area.text.is_empty() {
            let (right, down) = area.text_offset;
            self.text("name", (x + right, y + down), area.text);
        }
        self.elements.push_str("</g>\n");
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(decimal);
        let _ = writeln!(
            self.elements,
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        );
    }

    pub(super) fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let point = |(x, y): &(f64, f64)| format!("{},{}", decimal(*x), decimal(*y));
        let points: Vec<String> = points.iter().map(point).collect();
        let points = points.join(" ");
        let _ = writeln!(self.elements, r#"<polyline class="{class}" points="{points}"/>"#);
    }

    /// Returns the document. `title` and `description` are read to people who do not see it.
    pub(super) fn document(
        self,
        (width, height): (f64, f64),
        style: &str,
        title: &str,
        description: &str,
    ) -> String {
        let [page_width, page_height] = [width - 1.0, height - 1.0].map(decimal);
        let [width, height] = [width, height].map(decimal);
        let [title, description] = [title, description].map(escape);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="title description">
<title id="title">{title}</title>
<desc id="description">{description}</desc>
<style>
{style}</style>
<rect class="page" x="0.5" y="0.5" width="{page_width}" height="{page_height}"/>
{}</svg>
"#,
            self.elements
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_coordinates_are_short() {
        let mut svg = Svg::default();
        svg.text("figure", (1.0, 2.25), "<f8 & \"x\"\u{1}");
        assert_eq!(
            svg.elements,
            "<text class=\"figure\" x=\"1\" y=\"2.2\">&lt;f8 &amp; &quot;x&quot;\u{fffd}</text>\n"
        );
    }
}
