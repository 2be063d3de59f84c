//! Colours of everything that is drawn, in one table, for a light page and for a dark one.
//!
//! Style sheets name a colour as a CSS variable, `var(--ink)`. A page declares the variables. A
//! picture that stands alone has the values in their place, because programs other than browsers
//! do not know variables.
//!
//! The hue of a layer stands for a group of layers: green for the codecs and the echo, yellow to
//! red for the protocols, violet for memory in the program, blue for the kernel. Text can be read
//! on each of them.

use crate::axis::Layer;

/// Class of an area that has no layer.
pub(super) const WITHOUT_LAYER: &str = "no-layer";

/// Colour as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colour {
    light: &'static str,
    dark: &'static str,
}

/// Grounds, text, and kinds of servers. Text has a contrast of 4.5 or more on `paper` and `card`.
const NAMED: [(&str, &str, &str); 15] = [
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
    (WITHOUT_LAYER, "#eaeef2", "#262c36"),
];

fn of_layer(layer: Layer) -> Colour {
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
    Colour { light, dark }
}

/// Returns the class of an area of `layer`, which is the name of its colour too.
pub(super) fn class(layer: Layer) -> String {
    let letters = layer.name().chars().filter(|letter| letter.is_alphanumeric() || *letter == ' ');
    letters.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
}

/// Returns a rule for the class of each layer, which gives its colour to `properties`.
pub(super) fn layer_rules(properties: &[&str]) -> String {
    let rule = |layer| {
        let class = class(layer);
        let values: Vec<String> =
            properties.iter().map(|property| format!("{property}: var(--{class})")).collect();
        format!(".{class} {{ {} }}\n", values.join("; "))
    };
    Layer::ALL.into_iter().map(rule).collect()
}

/// Returns the declarations of all variables: those on a light ground, and those on a dark one.
pub(super) fn variables() -> [String; 2] {
    let all = |value: fn(Colour) -> &'static str| -> String {
        colours().map(|(name, colour)| format!("--{name}:{};", value(colour))).collect()
    };
    [all(|colour| colour.light), all(|colour| colour.dark)]
}

/// Replaces the variables of the style sheet of a picture by their values, and adds the rules for
/// readers who choose a dark ground.
pub(super) fn style_of_picture(style: &str) -> String {
    let filled = |value: fn(Colour) -> &'static str| {
        colours().fold(style.to_owned(), |style, (name, colour)| {
            style.replace(&format!("var(--{name})"), value(colour))
        })
    };
    let (light, dark) = (filled(|colour| colour.light), filled(|colour| colour.dark));
    // A rule without a colour is the same in both.
    let coloured: String =
        dark.lines().filter(|rule| rule.contains('#')).map(|rule| format!("  {rule}\n")).collect();
    format!("{light}@media (prefers-color-scheme: dark) {{\n{coloured}}}\n")
}

fn colours() -> impl Iterator<Item = (String, Colour)> {
    let named = NAMED.into_iter();
    let named = named.map(|(name, light, dark)| (name.to_owned(), Colour { light, dark }));
    named.chain(Layer::ALL.into_iter().map(|layer| (class(layer), of_layer(layer))))
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

    fn named(name: &str) -> Colour {
        colours().find(|(known, _)| known == name).expect("a colour of the table").1
    }

    #[test]
    fn text_can_be_read_on_every_ground_and_layer() {
        let grounds = ["paper", "card"];
        let texts = ["ink", "muted", "link", "warning"];
        let on_grounds = grounds.iter().flat_map(|ground| texts.map(|text| (text, named(ground))));
        let on_layers = Layer::ALL.into_iter().map(|layer| ("ink", of_layer(layer)));
        for (text, ground) in on_grounds.chain(on_layers).chain([("ink", named(WITHOUT_LAYER))]) {
            let text_colour = named(text);
            for (one, other) in [(text_colour.light, ground.light), (text_colour.dark, ground.dark)]
            {
                let contrast = contrast(one, other);
                assert!(contrast >= CONTRAST_MIN, "{text} {one} on {other}: {contrast:.2}");
            }
        }
    }

    #[test]
    fn every_layer_has_a_class_and_colours_of_its_own() {
        let all = |part: &dyn Fn(Layer) -> String| -> usize {
            Layer::ALL.into_iter().map(part).collect::<BTreeSet<String>>().len()
        };
        assert_eq!(all(&class), Layer::ALL.len());
        assert_eq!(all(&|layer| of_layer(layer).light.to_owned()), Layer::ALL.len());
        assert_eq!(all(&|layer| of_layer(layer).dark.to_owned()), Layer::ALL.len());
        assert_eq!(class(Layer::KernelRing), "kernel-ring-epoll");
        let names: BTreeSet<String> = colours().map(|(name, _)| name).collect();
        assert_eq!(names.len(), NAMED.len() + Layer::ALL.len(), "a name has two colours");
    }

    #[test]
    fn a_picture_has_values_in_the_place_of_variables() {
        let style = style_of_picture(".a { fill: var(--ink) }\n.b { rx: 2px }\n");
        assert_eq!(
            style,
            ".a { fill: #1f2328 }\n.b { rx: 2px }\n\
             @media (prefers-color-scheme: dark) {\n  .a { fill: #e6edf3 }\n}\n"
        );
        let layers = style_of_picture(&layer_rules(&["fill"]));
        assert!(layers.contains(".http-framing { fill: #ee7f6d }"), "{layers}");
        assert!(layers.contains("  .http-framing { fill: #963a2f }"), "{layers}");
    }
}
