//! Lines of a limited width.

/// Breaks `text` between words. The first line begins with `label`, the others below its text.
pub(super) fn wrap(label: &str, text: &str, width: usize) -> String {
    let indent = label.chars().count();
    let mut lines = String::new();
    let mut line = label.to_owned();
    let mut used = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > indent && used + 1 + length > width {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = " ".repeat(indent);
            used = indent;
        }
        if used > indent {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
    }
    lines + line.trim_end() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_below_the_text() {
        let text = wrap("  Layers  ", "one two three four", 19);
        assert_eq!(text, "  Layers  one two\n          three\n          four\n");
        assert_eq!(wrap("a ", "unbreakable", 5), "a unbreakable\n");
        assert_eq!(wrap("a ", "", 5), "a\n");
    }
}
