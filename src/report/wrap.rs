//! Lines of a limited width.

/// Breaks `text` between words, and a word that is longer than a line where the line ends. The
/// first line begins with `label`, the others below its text.
pub(super) fn wrap(label: &str, text: &str, width: usize) -> String {
    let indent = label.chars().count();
    let mut lines = String::new();
    let mut line = label.to_owned();
    let mut used = indent;
    let length_max = width.saturating_sub(indent).max(1);
    for word in text.split_whitespace().flat_map(|word| pieces(word, length_max)) {
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

/// Splits a word into pieces of at most `length_max` characters.
fn pieces(word: &str, length_max: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), word);
    while let Some((at, _)) = rest.char_indices().nth(length_max) {
        let (piece, later) = rest.split_at(at);
        pieces.push(piece);
        rest = later;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_below_the_text() {
        let text = wrap("  Layers  ", "one two three four", 19);
        assert_eq!(text, "  Layers  one two\n          three\n          four\n");
        assert_eq!(wrap("a ", "", 5), "a\n");
    }

    #[test]
    fn a_word_that_is_longer_than_a_line_is_broken() {
        assert_eq!(wrap("a ", "unbreakable é", 5), "a unb\n  rea\n  kab\n  le\n  é\n");
        assert_eq!(wrap("  ", "µµµµ", 4), "  µµ\n  µµ\n");
        assert_eq!(wrap("label ", "ab", 3), "label a\n      b\n");
    }
}
