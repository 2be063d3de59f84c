//! Words of a command that a user copies to a shell.

use std::path::Path;

/// Returns `word` as a POSIX shell has to read it: as it is, or in single quotes.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_@%+=:,./-".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns a path in quotes as far as needed. A file whose name looks like a flag gets its folder.
pub(super) fn quoted_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    quoted(&if text.starts_with('-') { format!("./{text}") } else { text.into_owned() })
}

/// Returns the words that call the program at `path`: a name without a folder would be looked for
/// in PATH.
pub(super) fn program(path: &Path) -> String {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => quoted_path(path),
        _ => quoted_path(&Path::new(".").join(path)),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_each_word_back_as_it_was() {
        let words = ["plain/path-1.npy", "", "with space", "it's", "a\"b", "*/npy", "$HOME", "é;x"];
        let list: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let script = format!("for word in {}; do printf '<%s>\\n' \"$word\"; done", list.join(" "));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let expected: String = words.iter().map(|word| format!("<{word}>\n")).collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        assert_eq!(quoted("p99=5ms"), "p99=5ms");
    }

    #[test]
    fn a_path_is_neither_a_flag_nor_a_name_in_path() {
        assert_eq!(quoted_path(Path::new("-x")), "./-x");
        assert_eq!(program(Path::new("ndecho")), "./ndecho");
        assert_eq!(program(Path::new("target/my build/ndecho")), "'target/my build/ndecho'");
    }
}
