//! Text and coordinates in SVG and HTML.

/// Replaces what has a meaning in XML or HTML, and characters that XML does not allow. Attributes
/// must stand in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push('\n'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `12`, `12.5`.
pub(super) fn decimal(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_are_replaced() {
        assert_eq!(escape("<f8 & \"x\"\u{1}\n"), "&lt;f8 &amp; &quot;x&quot;\u{fffd}\n");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([-0.01, 12.0, 0.5].map(decimal), ["0", "12", "0.5"]);
    }
}
