//! Commands in the code blocks of a Markdown text.

/// Languages of blocks without a command.
const OTHER_LANGUAGES: &[&str] = &["text", "rust", "toml"];

/// Returns the commands of each `sh` block: without comments, and with lines joined that end in a
/// backslash. A block of an unknown language is an error, because it could hold commands.
pub(crate) fn parse(markdown: &str) -> Result<Vec<Vec<String>>, String> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        match language.trim() {
            "sh" => blocks.push(commands(&block)),
            other if OTHER_LANGUAGES.contains(&other) => {}
            other => return Err(format!("a block of the language {other:?}: {block:?}")),
        }
    }
    Ok(blocks)
}

fn commands(block: &[&str]) -> Vec<String> {
    let mut commands = Vec::new();
    let mut command = String::new();
    for line in block {
        let line = without_comment(line).trim();
        if let Some(begun) = line.strip_suffix('\\') {
            command.push_str(begun);
            continue;
        }
        command.push_str(line);
        if !command.is_empty() {
            commands.push(std::mem::take(&mut command));
        }
    }
    commands
}

/// Returns the line up to a `#` that begins a word outside of quotes.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (index, character) in line.char_indices() {
        match (quote, character) {
            (None, '#') if before == ' ' => return &line[..index],
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        before = character;
    }
    line
}

#[test]
fn commands_are_read_without_comments_and_joined() {
    let text =
        "a\n```sh\nx --a '1 # 2' # comment\n# comment\ny \\\n    --b\n```\n```text\nz\n```\n";
    let want = vec![vec!["x --a '1 # 2'".to_owned(), "y --b".to_owned()]];
    assert_eq!(parse(text), Ok(want));
}

#[test]
fn a_block_that_could_hide_commands_is_an_error() {
    for language in ["", "bash", "console"] {
        assert!(parse(&format!("```{language}\nx\n```\n")).is_err(), "{language:?}");
    }
}
