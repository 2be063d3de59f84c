//! The house rules that a text scan can keep: who may import whom, where `unsafe` may stand, module docs, function
//! length, leftovers. Every finding is one line, `file:line: what is wrong`.
//!
//! The scan works on the text with comments, strings and test modules blanked out, and leans on rustfmt's layout.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Rooms, and what each may import; a room may always import itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("array", &[]),
    ("stats", &[]),
    ("codec", &["array", "generated"]),
    ("wire", &[]),
    // stack: the family of a protocol, until the axes have a room of their own.
    ("service", &["wire", "codec", "array", "stack"]),
    ("sys", &["record"]),
    ("probe", &["sys"]),
    ("driver", &["wire", "sys"]),
    // array: a stack that does its own decoding checks what it decoded. sys: a stack with its own accept loop gives
    // its sockets the options that every driver gives them.
    ("stack", &["wire", "service", "codec", "array", "generated", "driver", "sys"]),
    ("server", &["stack", "driver", "codec", "service", "wire", "sys", "probe", "record"]),
    ("load", &["wire", "codec", "array", "stats", "record", "sys", "probe", "driver", "service"]),
    ("ladder", &["driver", "stack", "codec"]),
    ("external", &["codec", "stack", "sys", "experiment"]),
    // stats: how many blocks an interval needs decides what is tried.
    (
        "experiment",
        &[
            "ladder", "external", "driver", "stack", "codec", "array", "record", "stats", "sys",
            "probe",
        ],
    ),
    ("record", &["probe", "stats"]),
    ("report", &["probe", "record", "stats"]),
];

/// What is not to be imported even so: the load generator has one I/O path for all rungs, and that is the ring.
const NEVER: &[(&str, &str)] = &[("load", "driver::tokio"), ("load", "driver::tokio_uring")];

/// Rooms that may import everything: the flags and the programs.
const FREE_ROOMS: &[&str] = &["cli", "bin", "lib"];

/// Where `unsafe` may stand.
const UNSAFE_FENCE: &[&str] = &["src/codec/simd/", "src/driver/uring/", "src/sys/mapping.rs"];

/// Where printing is the work: the programs, the benches and the tests.
const PRINTERS: &[&str] = &["src/cli/", "src/bin/", "benches/", "tests/"];

/// Written by a program, not by hand.
const GENERATED: &str = "src/generated.rs";

/// Lines of a function: a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Lines of a program: parse, run, exit code.
const BIN_LINES_MAX: usize = 50;

struct Source {
    /// Path from the crate's root, with `/`.
    path: String,
    text: String,
    /// `text` without comments and the contents of strings; same lines.
    code: String,
}

#[test]
fn rooms_import_only_what_their_arrows_allow() {
    check(|source, report| {
        let room = room(&source.path);
        let is_ours = source.path.starts_with("src/") && !is_tests(&source.path);
        if !is_ours || FREE_ROOMS.contains(&room) {
            return;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            return report(1, format!("room {room:?} has no line in the table of arrows"));
        };
        for (line, import) in imports(without_tests(&source.code)) {
            let first = import.split("::").next().unwrap_or_default();
            let is_below = |path: &str| import == path || import.starts_with(&format!("{path}::"));
            let is_never = NEVER.iter().any(|(from, path)| *from == room && is_below(path));
            if is_never || (first != room && !allowed.contains(&first)) {
                report(line, format!("{room} may not import crate::{import}"));
            }
        }
    });
}

#[test]
fn unsafe_stays_inside_its_fence() {
    check(|source, report| {
        let is_inside = UNSAFE_FENCE.iter().any(|fence| source.path.starts_with(fence));
        let mut uses =
            lines_with(&source.code, |line| words(line).any(|word| word == "unsafe")).peekable();
        if is_inside {
            let allows = |line: &str| line.starts_with("#![allow(unsafe_code)] // ");
            if uses.peek().is_some() && !source.text.lines().any(allows) {
                report(
                    1,
                    "has unsafe code but no `#![allow(unsafe_code)] // why` at its head".into(),
                );
            }
            return;
        }
        for (line, _) in uses {
            report(line, format!("unsafe outside {}", UNSAFE_FENCE.join(" and ")));
        }
    });
}

#[test]
fn every_file_says_what_it_is() {
    check(|source, report| {
        if is_tests(&source.path) {
            return;
        }
        let mut lines = source.text.lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with("#!["));
        if !first.is_some_and(|line| line.starts_with("//!") && line.len() > 12) {
            report(1, "does not open with a module doc".into());
        }
    });
}

#[test]
fn functions_fit_a_screen() {
    check(|source, report| {
        for (line, name, length) in functions(&source.code) {
            if length > FUNCTION_LINES_MAX {
                report(line, format!("fn {name} has {length} lines, at most {FUNCTION_LINES_MAX}"));
            }
        }
    });
}

#[test]
fn nothing_is_left_over() {
    let everywhere =
        ["dbg!", "todo!", "unimplemented!", "#[allow(dead_code)]", "#![allow(dead_code)]"];
    let printing = ["println!", "print!", "eprintln!", "eprint!"];
    check(|source, report| {
        let prints = PRINTERS.iter().any(|place| source.path.starts_with(place));
        for (line, text) in source.code.lines().enumerate() {
            let left = everywhere.iter().find(|mark| has_macro(text, mark));
            let printed = printing.iter().find(|mark| !prints && has_macro(text, mark));
            if let Some(mark) = left.or(printed) {
                report(line + 1, format!("{mark} left over"));
            }
        }
        for mark in ["TODO", "FIXME", "XXX"] {
            for (line, _) in lines_with(&source.text, |line| line.contains(&format!("// {mark}"))) {
                report(line, format!("{mark} left over"));
            }
        }
    });
}

#[test]
fn programs_are_thin() {
    check(|source, report| {
        let length = source.text.lines().count();
        if source.path.starts_with("src/bin/") && length >= BIN_LINES_MAX {
            report(1, format!("{length} lines, a program has fewer than {BIN_LINES_MAX}"));
        }
    });
}

/// Runs `rule` over every file and fails with all that it reports.
fn check(rule: impl Fn(&Source, &mut dyn FnMut(usize, String))) {
    let sources = sources();
    assert!(sources.len() > 20, "the scan found {} files only", sources.len());
    let mut findings = String::new();
    for source in sources.iter().filter(|source| source.path != GENERATED) {
        rule(source, &mut |line, what| {
            let _ = writeln!(findings, "{}:{line}: {what}", source.path);
        });
    }
    assert!(findings.is_empty(), "\n{findings}");
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in ["src", "benches", "tests"] {
        walk(&root.join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("a source file is text");
        let path = path.strip_prefix(root).expect("it was found below").display().to_string();
        Source { path, code: blank(&text), text }
    };
    paths.iter().map(read).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|end| end == "rs") {
            paths.push(path);
        }
    }
}

/// `src/codec/json/parse.rs` is in `codec`, `src/array.rs` in `array`.
fn room(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    below.split(['/', '.']).next().unwrap_or_default()
}

/// The tests of a file in a file beside it; they belong to it and may lean on any room.
fn is_tests(path: &str) -> bool {
    path.starts_with("src/") && path.ends_with("/tests.rs")
}

/// Tests come last in a file.
fn without_tests(code: &str) -> &str {
    let is_tests =
        |at: &usize| code[*at..].lines().nth(1).is_some_and(|line| line.contains("mod tests"));
    let start = code.match_indices("#[cfg(test)]\n").map(|(at, _)| at).find(is_tests);
    &code[..start.unwrap_or(code.len())]
}

/// What stands behind each `crate::`, with its line; the members of `crate::{..}` one by one.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, mark) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + mark.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(members(group).into_iter().map(|name| (line, name))),
            None => found.push((line, path_at(rest))),
        }
    }
    found
}

/// The leading `a::b::c`.
fn path_at(text: &str) -> String {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    text[..end.unwrap_or(text.len())].trim_end_matches(':').to_owned()
}

/// The paths of a brace group, which `group` stands behind the opening of, without those nested in it.
fn members(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut starts = vec![0];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => starts.push(at + 1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    let paths = starts.into_iter().map(|start| path_at(group[start..].trim_start()));
    paths.filter(|path| !path.is_empty()).collect()
}

/// Line, name and length of every function with a body, by rustfmt's layout: it ends at the first `}` that stands
/// as far in as its `fn` line; a declaration ends in a `;` there. A table of cases is data and does not count.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line).filter(|_| !line.ends_with(['}', ';'])) else {
            continue;
        };
        let is_end = |other: &&str| {
            indent(other) == indent(line) && (other.trim() == "}" || other.ends_with(';'))
        };
        match lines[start + 1..].iter().position(is_end) {
            Some(at) if lines[start + 1 + at].trim() == "}" => {
                let length = at + 2 - table_lines(&lines[start + 1..start + 1 + at]);
                found.push((start + 1, name, length));
            }
            _ => {}
        }
    }
    found
}

/// Lines inside the array literals that a `let` names, from `= [` to the `];` that stands as far in.
fn table_lines(body: &[&str]) -> usize {
    let mut count = 0;
    let mut rest = body.iter();
    while let Some(line) = rest.next() {
        let is_let = line.trim_start().starts_with("let ");
        if is_let && (line.ends_with("= [") || line.ends_with("= &[")) {
            count += rest.by_ref().take_while(|other| indent(other) != indent(line)).count();
        }
    }
    count
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let is_qualifier = |word: &str| {
        word.starts_with("pub")
            || ["const", "async", "unsafe", "extern", "\"C\"", "in"].contains(&word)
    };
    let first = words.find(|word| !is_qualifier(word))?;
    (first == "fn").then(|| words.next().map(path_at))?
}

fn lines_with<'a>(
    text: &'a str,
    is_found: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = (usize, &'a str)> {
    text.lines()
        .enumerate()
        .filter(move |(_, line)| is_found(line))
        .map(|(at, line)| (at + 1, line))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

/// True when `mark` stands in `line` and is not the end of a longer name (`println!` in `eprintln!`).
fn has_macro(line: &str, mark: &str) -> bool {
    line.match_indices(mark)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The text with comments and the contents of strings and characters as spaces; every line stays where it is.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kept, blanked) = match token(rest, out.chars().next_back()) {
            Some(length) => (0, length),
            None => (first.len_utf8(), 0),
        };
        out.push_str(&rest[..kept]);
        let hidden = &rest[kept..kept + blanked];
        out.extend(hidden.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[kept + blanked..];
    }
    // Trailing blanks would hide where a line ends.
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

/// Length of the comment, string or character that `text` begins with, if it does.
fn token(text: &str, before: Option<char>) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(text.find("*/").map_or(text.len(), |end| end + 2));
    }
    if text.starts_with('"') {
        return Some(quoted(text, '"'));
    }
    let is_new_word = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if is_new_word && let Some(hashes) = raw_hashes(text) {
        let close = format!("\"{}", "#".repeat(hashes));
        let body = text.find('"').expect("raw_hashes saw it") + 1;
        return Some(text[body..].find(&close).map_or(text.len(), |at| body + at + close.len()));
    }
    // A character, not a lifetime: closed after one character or an escape.
    let mut chars = text.strip_prefix('\'')?.chars();
    let is_char = chars.next()? == '\\' || chars.next()? == '\'';
    is_char.then(|| quoted(text, '\''))
}

/// Length up to and with the closing `quote`; a backslash hides the character behind it.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_hidden = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_hidden => is_hidden = false,
            '\\' => is_hidden = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// How many `#` a raw string at the head of `text` has; `None` when there is none.
fn raw_hashes(text: &str) -> Option<usize> {
    let behind = text.strip_prefix("br").or(text.strip_prefix('r'))?;
    let hashes = behind.chars().take_while(|c| *c == '#').count();
    behind[hashes..].starts_with('"').then_some(hashes)
}

mod scan {
    //! The scan itself, on texts that would fool a simpler one.

    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        let text = "let a = \"dbg!\\\"\"; // dbg!\nlet b = r#\"todo!\"#; let c = '\"'; let d: &'static str = x;\n";
        let code = blank(text);
        assert!(!code.contains("dbg!") && !code.contains("todo!"), "{code}");
        assert!(code.contains("let d: &'static str = x;"), "{code}");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn grouped_and_inline_imports_are_found() {
        let code =
            "use crate::{array::{A, B},\n    codec, wire::h1::C};\nfn f() { crate::sys::g(); }\n";
        let names: Vec<String> = imports(code).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["array", "codec", "wire::h1::C", "sys::g"]);
        assert_eq!(imports(code)[3].0, 3);
        assert_eq!(imports("use other_crate::x;\n"), []);
    }

    #[test]
    fn a_function_is_measured_to_its_brace() {
        let body = "    let x = 1;\n".repeat(80);
        let code = format!(
            "trait T {{\n    fn a(\n        &self,\n    );\n}}\nfn b() {{}}\npub(crate) const fn c(\n) {{\n{body}}}\n"
        );
        assert_eq!(functions(&code), [(7, "c".to_owned(), 83)]);
        let table = "        1,\n".repeat(80);
        let code = format!("fn d() {{\n    let cases = [\n{table}    ];\n}}\n");
        assert_eq!(functions(&code), [(1, "d".to_owned(), 4)]);
    }

    #[test]
    fn tests_at_the_end_do_not_count() {
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {\n}\n"), "a\n");
        assert_eq!(without_tests("a\n#[cfg(test)]\nuse b;\n"), "a\n#[cfg(test)]\nuse b;\n");
    }
}
