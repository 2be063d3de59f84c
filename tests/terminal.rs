//! Reports stay readable on a narrow terminal, on one without colours, and in a pipe.

use std::process::Command;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

/// Runs a command of ndecho on a terminal with a number of columns. `None` if the program that
/// makes a terminal is missing.
fn on_terminal(columns: usize, command: &str, environment: &[(&str, &str)]) -> Option<String> {
    let command = format!("stty rows 40 cols {columns}; {NDECHO} {command}");
    let made = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .output();
    let Ok(output) = made else {
        assert!(std::env::var_os("CI").is_none(), "`script` of util-linux is needed in CI");
        eprintln!("skipped: `script` of util-linux is missing");
        return None;
    };
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{command}: {text}");
    Some(text.replace('\r', ""))
}

fn in_pipe(command: &str) -> String {
    let output = Command::new(NDECHO).args(command.split(' ')).output().expect("it is built");
    assert!(output.status.success(), "{command}");
    String::from_utf8(output.stdout).expect("text")
}

/// Asserts that the lines fit, up to the commands and sources of an advice, which stay whole.
fn assert_fits(text: &str, columns: usize, named: &str) {
    let text = text.split("\nServer\n").next().expect("one part at least");
    assert!(text.lines().count() > 10, "{named}: {text}");
    for line in text.lines() {
        assert!(line.chars().count() <= columns, "{named}: {line}");
        assert!(!line.contains('\x1b'), "{named} has a control sequence: {line:?}");
    }
}

const ANSWER: &str = "report docs/results/main";
const TABLES: &str = "report docs/results/main --full";
const ADVICE: &str = "advise --dtype f8 --shape 8192 --from docs/results/main";

#[test]
fn answer_and_advice_fit_a_terminal_of_80_columns() {
    for command in [ANSWER, ADVICE] {
        for environment in [&[("TERM", "xterm-256color")][..], &[("TERM", "dumb")]] {
            let Some(text) = on_terminal(80, command, environment) else { return };
            assert_fits(&text, 80, command);
        }
    }
}

#[test]
fn all_tables_fit_100_columns() {
    for columns in [80, 100] {
        let Some(text) = on_terminal(columns, TABLES, &[("TERM", "xterm")]) else { return };
        assert_fits(&text, 100, TABLES);
    }
}

#[test]
fn a_pipe_and_a_terminal_without_colours_get_the_same_text() {
    for command in [ANSWER, TABLES, ADVICE] {
        let piped = in_pipe(command);
        assert_fits(&piped, 100, command);
        for environment in [[("NO_COLOR", "1"), ("TERM", "xterm")], [("A", "b"), ("TERM", "dumb")]]
        {
            let Some(text) = on_terminal(100, command, &environment) else { return };
            assert_eq!(text, piped, "{command}");
        }
    }
}
