//! Old names of flags, which are still read. Each use prints one line with the new name.

use std::ffi::OsString;

const FLAGS: [(&str, &str); 5] = [
    ("--peers", "--external"),
    ("--peers-dir", "--external-dir"),
    ("--spin", "--delay"),
    ("--client-spin", "--client-delay"),
    ("--spin-per-reply", "--client-delay"),
];

/// Replaces old names and reports each to `tell`. Arguments after `--` belong to another program.
pub(super) fn renamed(argv: Vec<OsString>, tell: &mut dyn FnMut(&str)) -> Vec<OsString> {
    let mut is_ours = true;
    let mut rename = |argument: OsString| {
        is_ours &= argument != "--";
        let new = argument.to_str().filter(|_| is_ours).and_then(|text| new_name(text, tell));
        new.map_or(argument, OsString::from)
    };
    argv.into_iter().map(&mut rename).collect()
}

fn new_name(argument: &str, tell: &mut dyn FnMut(&str)) -> Option<String> {
    let name = argument.split('=').next().unwrap_or(argument);
    let (old, new) = FLAGS.into_iter().find(|(old, _)| *old == name)?;
    tell(&format!("{old} is now called {new}"));
    Some(format!("{new}{}", &argument[old.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed_text(text: &str) -> (String, Vec<String>) {
        let mut told = Vec::new();
        let argv = text.split(' ').map(OsString::from).collect();
        let new = renamed(argv, &mut |line| told.push(line.to_owned()));
        let words: Vec<&str> = new.iter().filter_map(|word| word.to_str()).collect();
        (words.join(" "), told)
    }

    #[test]
    fn old_flags_get_their_new_names_and_a_line() {
        let (new, told) = renamed_text("ndecho ladder --peers --client-spin=5us --peers-dir a");
        assert_eq!(new, "ndecho ladder --external --client-delay=5us --external-dir a");
        assert_eq!(told[0], "--peers is now called --external");
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn other_words_stay() {
        for text in ["ndecho serve --spinner --delay 5us", "ndecho exec -- server --peers"] {
            assert_eq!(renamed_text(text), (text.to_owned(), Vec::new()));
        }
    }
}
