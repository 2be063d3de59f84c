//! Colours of the page and of its pictures, in one table, and the style of both.
//!
//! The page has them as CSS variables. A picture that stands alone has the values in their place,
//! because programs other than browsers do not know variables.

const PICTURE: &str = include_str!("picture.css");
const PAGE: &str = include_str!("page.css");

/// Name, colour on a light ground, colour on a dark ground. Text has a contrast of 4.5 or more on
/// `paper` and `card`.
const COLOURS: [(&str, &str, &str); 18] = [
    ("paper", "#ffffff", "#0d1117"),
    ("card", "#f6f8fa", "#151b23"),
    ("ink", "#1f2328", "#e6edf3"),
    ("muted", "#59636e", "#9198a1"),
    ("rule", "#d1d9e0", "#3d444d"),
    ("link", "#0550ae", "#4493f8"),
    ("warning", "#7d4e00", "#d29922"),
    ("ours", "#0969da", "#4493f8"),
    ("standard", "#d2691e", "#e8833a"),
    ("best", "#fbe3c6", "#3a2610"),
    ("best-edge", "#b85c00", "#f0a04b"),
    ("between", "#8c959f", "#767f8a"),
    ("external", "#8250df", "#a371f7"),
    ("heat", "#e07b16", "#d9771a"),
    ("program", "#d2691e", "#e8833a"),
    ("memory", "#2da44e", "#3fb950"),
    ("kernel", "#57606a", "#8b949e"),
    ("codec", "#0969da", "#4493f8"),
];

/// Returns the style of the page.
pub(super) fn page() -> String {
    let variables = |dark: bool| -> String {
        let value = |(name, on_light, on_dark): &(&str, &str, &str)| {
            format!("--{name}:{};", if dark { on_dark } else { on_light })
        };
        COLOURS.iter().map(value).collect()
    };
    let dark = variables(true);
    format!(
        ":root{{color-scheme:light dark;{}}}\n\
         @media (prefers-color-scheme:dark){{@media screen{{:root{{{dark}}}}}}}\n{PAGE}{PICTURE}",
        variables(false)
    )
}

/// Returns the style of a picture that stands alone.
pub(super) fn picture() -> String {
    let filled = |dark: bool| {
        COLOURS.iter().fold(PICTURE.to_owned(), |style, (name, on_light, on_dark)| {
            style.replace(&format!("var(--{name})"), if dark { on_dark } else { on_light })
        })
    };
    format!("{}@media (prefers-color-scheme:dark){{\n{}}}\n", filled(false), filled(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of a colour (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).expect("two hex digits");
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn colour(name: &str, dark: bool) -> &'static str {
        let found = COLOURS.iter().find(|(known, ..)| *known == name);
        let (_, on_light, on_dark) = found.expect("a colour of the table");
        if dark { on_dark } else { on_light }
    }

    #[test]
    fn text_can_be_read_on_every_ground() {
        for dark in [false, true] {
            for text in ["ink", "muted", "link", "warning"] {
                for ground in ["paper", "card"] {
                    let [one, other] = [text, ground].map(|name| luminance(colour(name, dark)));
                    let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                    assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}, dark: {dark}");
                }
            }
        }
    }

    #[test]
    fn every_variable_has_a_colour_and_a_picture_alone_has_none() {
        for style in [PICTURE, PAGE] {
            for name in style.split("var(--").skip(1).filter_map(|rest| rest.split_once(')')) {
                assert!(COLOURS.iter().any(|(known, ..)| *known == name.0), "{}", name.0);
            }
        }
        assert!(!picture().contains("var("), "{}", picture());
    }
}
