//! Runs the commands of the README, each as it stands there but for the replacements and the added
//! flags below.
//!
//! A block is one session in a folder of its own, which has the record of the picture and an array.
//! A command that serves goes on until the next server starts or the block ends. Another command
//! with `&` runs beside those that follow it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::NamedTempFile;

use super::process::Server;
use super::{NDECHO, PICTURE, RECORD, root};

/// Texts of commands that the test replaces, in this order. The programs are those of this build.
const REPLACED: &[(&str, &str)] = &[
    ("cargo run --release --bin ", ""),
    ("cargo run --release --", "ndecho"),
    ("cargo run --release", "ndecho"),
    ("target/release/", ""),
    ("OLD/ndecho NEW/ndecho", "$NDECHO $NDECHO"),
    ("DIR", "docs/results/main"),
    // The session knows the server's process.
    (" & SERVER=$!", " &"),
    // The session ends its server itself, after the commands beside it.
    ("; kill $SERVER", ""),
    ("sleep 10", "sleep 1"),
    ("--duration 20s", "--duration 6s"),
    // Address of the server in the ready line.
    ("127.0.0.1:50051", "$GRPC"),
    ("127.0.0.1:50055", "$REST"),
    // The release profile takes minutes to build. That the bench exists is checked here.
    ("cargo bench", "cargo read-manifest --manifest-path $ROOT/Cargo.toml | grep"),
    ("--bench echo", "'\"name\":\"echo\",\"src_path\":[^,]*/benches/echo.rs'"),
];

/// Words of a command, each with the program that it needs and that a user may not have.
const TOOLS: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("perf", "perf"),
    ("profile", "perf"),
    ("h2load", "h2load"),
    ("wrk", "wrk"),
    ("python3", "python3"),
];

/// Longest time of a command.
const SECONDS_MAX: &str = "100";

/// One kind of command, after the replacements.
struct Kind {
    /// First words.
    start: &'static str,
    /// Flags that make it short, or that give it a free port.
    added: &'static str,
    end: End,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Ends with status 0.
    Success,
    /// Ends with a verdict: same, slower, or none.
    Verdict,
    /// Goes on until it is told to stop, and ends with status 0.
    Serves,
}

const ANY_PORTS: &str = "--grpc 127.0.0.1:0 --rest 127.0.0.1:0";

const ONE_BLOCK: &str = "--rounds 1 --duration 20ms";

/// Kinds of commands; the first that fits is taken.
const KINDS: &[Kind] = &[
    Kind { start: "uring-server", added: ANY_PORTS, end: End::Serves },
    Kind { start: "tonic-server", added: ANY_PORTS, end: End::Serves },
    Kind { start: "ndecho serve", added: "", end: End::Serves },
    Kind { start: "ndecho load", added: "", end: End::Success },
    Kind { start: "ndecho report", added: "", end: End::Success },
    Kind { start: "ndecho rungs", added: "", end: End::Success },
    Kind { start: "ndecho advise", added: "--time 1s", end: End::Success },
    Kind { start: "ndecho ladder", added: ONE_BLOCK, end: End::Success },
    Kind { start: "ndecho profile --pid", added: "--duration 1s", end: End::Success },
    Kind { start: "ndecho profile", added: ONE_BLOCK, end: End::Success },
    Kind {
        start: "ndecho compare",
        added: "--rungs uring/raw/reflect --sizes 8 --rounds 5 --duration 20ms",
        end: End::Verdict,
    },
    Kind {
        start: "ndecho --array",
        added: "--rounds 1 --duration 20ms --rungs uring/h1/npy,tokio/axum/npy",
        end: End::Success,
    },
    Kind { start: "ndecho", added: ONE_BLOCK, end: End::Success },
    Kind { start: "curl", added: "--fail --silent --show-error", end: End::Success },
    Kind { start: "perf record", added: "", end: End::Success },
    Kind { start: "cargo read-manifest", added: "", end: End::Success },
];

/// Runs every command. A command of no known kind fails.
pub(crate) fn run_all(blocks: &[Vec<String>]) {
    assert!(blocks.iter().map(Vec::len).sum::<usize>() >= 10, "few commands: {blocks:?}");
    blocks.iter().for_each(|block| Session::new().run(block));
}

/// Commands of a block with what they share.
struct Session {
    folder: tempfile::TempDir,
    server: Option<Server>,
    /// Addresses of the last server, for gRPC and REST.
    addresses: [String; 2],
    background: Vec<Started>,
}

/// Command that has been started.
struct Started {
    command: String,
    child: Child,
    /// File with what it prints.
    printed: PathBuf,
    statuses: &'static [i32],
}

impl Session {
    fn new() -> Session {
        let folder = tempfile::tempdir().expect("a folder");
        let record = folder.path().join(RECORD);
        fs::create_dir_all(&record).expect("a folder");
        fs::copy(root(RECORD).join("records.jsonl.gz"), record.join("records.jsonl.gz"))
            .expect("it is in the tree");
        fs::copy(root("tests/data/npy_descr_float64.npy"), folder.path().join("some.npy"))
            .expect("it is in the tree");
        Session { folder, server: None, addresses: Default::default(), background: Vec::new() }
    }

    fn run(mut self, block: &[String]) {
        for command in block {
            let (text, end) = prepare(command).unwrap_or_else(|error| panic!("{error}"));
            if let Some(tool) = missing_tool(command) {
                assert!(std::env::var_os("CI").is_none(), "{tool} is needed in CI: {command}");
                eprintln!("skipped, because {tool} is not here: {command}");
                continue;
            }
            println!("{command}\n    as {text}");
            let statuses: &'static [i32] = match end {
                End::Serves => {
                    self.serve(&text);
                    continue;
                }
                End::Success => &[0],
                End::Verdict => &[0, 1, 3],
            };
            let started = self.start(command, &text, statuses);
            match command.ends_with('&') {
                true => self.background.push(started),
                false => started.finish(),
            }
        }
        self.background.into_iter().for_each(Started::finish);
        let drawn = self.folder.path().join(PICTURE);
        if drawn.exists() {
            let same = fs::read(drawn).ok() == fs::read(root(PICTURE)).ok();
            assert!(same, "a command draws another picture than {PICTURE}");
        }
    }

    fn serve(&mut self, text: &str) {
        // The server before it has the same core.
        self.server = None;
        let script = format!("export PATH='{}'; exec {text}", path());
        let server = Server::start("bash", &["-c", &script]);
        let names = if text.contains("--rest") { ["grpc", "rest"] } else { ["", ""] };
        self.addresses = names.map(|name| server.address(name).to_owned());
        self.server = Some(server);
    }

    fn start(&self, command: &str, text: &str, statuses: &'static [i32]) -> Started {
        // Into a pipe, perf would write its records.
        let (file, printed) =
            NamedTempFile::new_in(&self.folder).and_then(|file| Ok(file.keep()?)).expect("a file");
        let [grpc, rest] = &self.addresses;
        let child = Command::new("timeout")
            .args([SECONDS_MAX, "bash", "-c", text])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a descriptor"))
            .stderr(file)
            .env("PATH", path())
            .env("NDECHO", NDECHO)
            .env("ROOT", root(""))
            .env("SERVER", self.server.as_ref().map_or_else(String::new, |it| it.pid().to_string()))
            .env("GRPC", grpc)
            .env("REST", rest)
            .spawn()
            .expect("timeout and bash are here");
        Started { command: command.to_owned(), child, printed, statuses }
    }
}

impl Started {
    /// Waits for the end, and checks the status.
    fn finish(mut self) {
        let status = self.child.wait().expect("it can be waited for");
        let printed = fs::read(&self.printed).expect("its output");
        assert!(
            status.code().is_some_and(|status| self.statuses.contains(&status)),
            "{}\nended with {status}\n{}",
            self.command,
            String::from_utf8_lossy(&printed)
        );
    }
}

/// Returns the search path with the programs of this build in front.
fn path() -> String {
    let programs = Path::new(NDECHO).parent().expect("a folder").display().to_string();
    format!("{programs}:{}", std::env::var("PATH").unwrap_or_default())
}

/// Returns the command that the test runs, and how it ends.
fn prepare(command: &str) -> Result<(String, End), String> {
    let replaced =
        REPLACED.iter().fold(command.to_owned(), |text, (from, to)| text.replace(from, to));
    let replaced = replaced.trim_end_matches(['&', ' ']);
    let is_of = |kind: &&Kind| {
        replaced
            .strip_prefix(kind.start)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let kind = KINDS
        .iter()
        .find(is_of)
        .ok_or_else(|| format!("this command of the README is not tested: {command}"))?;
    let added = if kind.added.is_empty() { String::new() } else { format!(" {}", kind.added) };
    Ok((format!("{replaced}{added}"), kind.end))
}

/// Returns a tool that `command` needs and that is not here.
fn missing_tool(command: &str) -> Option<&'static str> {
    let words: Vec<&str> = command.split([' ', ',']).collect();
    let needed = TOOLS.iter().filter(|(word, _)| words.contains(word));
    needed.map(|(_, tool)| *tool).find(|tool| !is_here(tool))
}

fn is_here(tool: &str) -> bool {
    // perf may be installed and forbidden.
    let args: &[&str] = match tool {
        "perf" => &["record", "-o", "/dev/null", "-e", "cpu-clock", "true"],
        _ => &["--version"],
    };
    let output = Command::new(tool).args(args).output();
    output.is_ok_and(|output| tool != "perf" || output.status.success())
}

#[test]
fn an_unknown_command_is_an_error() {
    for command in ["rm -rf target", "ndechoo", "uring-servers --cpu 0"] {
        let error = prepare(command).map(|(text, _)| text).expect_err(command);
        assert!(error.contains("is not tested") && error.contains(command), "{error}");
    }
}

#[test]
fn a_command_stays_as_it_is_but_for_what_the_tables_say() {
    let prepared = |command: &str| prepare(command).expect("a known command").0;
    assert_eq!(prepared("cargo run --release"), format!("ndecho {ONE_BLOCK}"));
    assert_eq!(
        prepared("target/release/uring-server --cpu 0 &"),
        format!("uring-server --cpu 0 {ANY_PORTS}")
    );
    assert_eq!(prepared("ndecho report DIR --full"), "ndecho report docs/results/main --full");
}
