//! Colours of the layers, the same in every picture.
//!
//! A hue stands for a group of layers: green for the codecs and the echo, yellow to red for the
//! protocols, violet for memory in the program, blue for the kernel. Each colour has a form for a
//! light page with dark text and one for a dark page with light text.

use crate::axis::Layer;

/// Class of a function that has no layer of its own.
pub(super) const WITHOUT_LAYER: &str = "no-layer";

/// Fills of an area with text on it, as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fill {
    light: &'static str,
    dark: &'static str,
}

fn fill(layer: Layer) -> Fill {
    let (light, dark) = match layer {
        Layer::CodecDecode => ("#86d19b", "#2b693a"),
        Layer::CodecEncode => ("#c3e4a1", "#456b25"),
        Layer::Application => ("#55b8aa", "#1f6b61"),
        Layer::GrpcSemantics => ("#f2c14e", "#76570f"),
        Layer::Framework => ("#f4a582", "#874829"),
        Layer::HttpFraming => ("#ee7f6d", "#963a2f"),
        Layer::Runtime => ("#e8d87d", "#67601f"),
        Layer::Allocator => ("#c9a0dc", "#6a3f85"),
        Layer::UserCopies => ("#a792e2", "#4f3f94"),
        Layer::PageFaults => ("#e59ac2", "#8a3a68"),
        Layer::SystemCallEntry => ("#bcd4ee", "#3a5170"),
        Layer::KernelSocket => ("#6fa8dc", "#22588c"),
        Layer::KernelCopy => ("#8ec9e8", "#286580"),
        Layer::KernelRing => ("#5fc4c9", "#1e676d"),
        Layer::Scheduler => ("#9fb4cc", "#44586e"),
        Layer::Interrupts => ("#c5c9d6", "#555b6b"),
        Layer::Interpreter => ("#d9b48f", "#6e4d2c"),
        Layer::Unattributed => ("#c8ccd1", "#4b5157"),
    };
    Fill { light, dark }
}

/// Returns the class of an area of `layer`.
pub(super) fn class(layer: Layer) -> String {
    let letters = layer.name().chars().filter(|letter| letter.is_alphanumeric() || *letter == ' ');
    letters.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
}

/// Returns the rules of a style sheet for all classes, which follow the reader's choice of light or
/// dark.
pub(super) fn style() -> String {
    let rules = |indent: &str, colour: &dyn Fn(Fill) -> &'static str| -> String {
        let rule =
            |layer| format!("{indent}.{} {{ fill: {} }}\n", class(layer), colour(fill(layer)));
        Layer::ALL.into_iter().map(rule).collect()
    };
    format!(
        "{}.{WITHOUT_LAYER} {{ fill: #eaeef2 }}\n\
         @media (prefers-color-scheme: dark) {{\n{}  .{WITHOUT_LAYER} {{ fill: #262c36 }}\n}}\n",
        rules("", &|fill| fill.light),
        rules("  ", &|fill| fill.dark),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Contrast of text that WCAG 2.2 asks for at level AA.
    const CONTRAST_MIN: f64 = 4.5;

    /// Relative luminance of WCAG 2.2.
    fn luminance(colour: &str) -> f64 {
        let part = |index: usize| {
            let byte = u8::from_str_radix(&colour[1 + 2 * index..3 + 2 * index], 16).unwrap();
            let part = f64::from(byte) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(1) + 0.0722 * part(2)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn text_can_be_read_on_every_colour() {
        for layer in Layer::ALL {
            let Fill { light, dark } = fill(layer);
            // Text colours of report/answer/picture/style.css.
            for (area, text) in [(light, "#1f2328"), (dark, "#e6edf3")] {
                let contrast = contrast(area, text);
                assert!(contrast >= CONTRAST_MIN, "{layer}: {area} has {contrast:.2}");
            }
        }
    }

    #[test]
    fn every_layer_has_a_class_and_colours_of_its_own() {
        let all = |part: &dyn Fn(Layer) -> String| -> usize {
            Layer::ALL.into_iter().map(part).collect::<BTreeSet<String>>().len()
        };
        assert_eq!(all(&class), Layer::ALL.len());
        assert_eq!(all(&|layer| fill(layer).light.to_owned()), Layer::ALL.len());
        assert_eq!(all(&|layer| fill(layer).dark.to_owned()), Layer::ALL.len());
        assert_eq!(class(Layer::KernelRing), "kernel-ring-epoll");
        assert!(style().contains(".http-framing { fill: #ee7f6d }"), "{}", style());
    }
}
