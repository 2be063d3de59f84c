//! Child processes that run lanes: by the clock, and under valgrind, which counts instructions.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::{Context, anyhow, bail, ensure};

use crate::axis::Malloc;
use crate::cli::planted_steps::PlantedSteps;
use crate::probe::profile::{Instructions, ObjectFiles};
use crate::record::{LaneDocument, LaneTimed};
use crate::server::lane;
use crate::sys::malloc;

/// Settings of glibc that make its copies the same loop on every processor. By default long ones
/// are `rep movsb` where that is fast, which counts as an instruction for each byte.
const GLIBC_TUNABLES: &str = "glibc.cpu.x86_rep_movsb_threshold=0x7fffffff:\
                              glibc.cpu.x86_rep_stosb_threshold=0x7fffffff:\
                              glibc.cpu.x86_non_temporal_threshold=0x7fffffff";

pub(super) const NO_VALGRIND: &str = "valgrind is not installed (package valgrind); without it, lanes \
                                      are measured by the clock only";

/// Lines of a child's stderr that a message repeats.
const SAID_LINES: usize = 3;

/// Lane for a child.
#[derive(Clone, Debug)]
pub(super) enum LaneInput {
    /// One of the usual lanes, with work in each call or without.
    Usual {
        name: String,
        planted: Option<PlantedSteps>,
    },
    Document(Box<LaneDocument>),
}

/// Times a lane of a run in a process of its own.
pub(super) fn time(program: &Path, document: &LaneDocument) -> anyhow::Result<LaneTimed> {
    let mut command = Command::new(program);
    command.args(["lanes", "--spec", "-"]);
    malloc::set(&mut command, document.subject.malloc);
    let output = output_of(&mut command, Some(document))?;
    ensure!(output.status.success(), "{}", last_words(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Fails if valgrind cannot be started, and says how to get it.
pub(super) fn check_valgrind() -> anyhow::Result<()> {
    let mut version = Command::new("valgrind");
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    match version.status() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(NO_VALGRIND),
        Err(error) => Err(anyhow!(error).context("valgrind cannot be started")),
    }
}

/// Counts the instructions of each lane in a process of its own, `jobs` of them at the same time.
/// Hands each result to `take`, with the number of its lane; ends once that fails.
pub(super) fn count(
    inputs: &[LaneInput],
    jobs: usize,
    mut take: impl FnMut(usize, anyhow::Result<Instructions>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let program = program()?;
    let folder = std::env::temp_dir().join(format!("ndecho-lanes-{}", std::process::id()));
    std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    let counted = count_in(&folder, &program, inputs, jobs, &mut take);
    let _ = std::fs::remove_dir_all(&folder);
    counted
}

pub(super) fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find the path of this program")
}

fn count_in(
    folder: &Path,
    program: &Path,
    inputs: &[LaneInput],
    jobs: usize,
    take: &mut dyn FnMut(usize, anyhow::Result<Instructions>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    let mut files = ObjectFiles::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(inputs.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(input) = inputs.get(index) else { break };
                    let counted = callgrind(program, input, &folder.join(index.to_string()));
                    // The receiver has gone after a failure, so the rest is in vain.
                    if sender.send((index, counted)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (index, counted) in results {
            let read = |text: String| Ok(Instructions::read(&text, &mut files, lane::SOURCES)?);
            take(index, counted.and_then(read))?;
        }
        Ok(())
    })
}

/// Runs a lane under callgrind. Returns the text of its file.
fn callgrind(program: &Path, input: &LaneInput, file: &Path) -> anyhow::Result<String> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--dump-instr=yes", "--demangle=no"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--toggle-collect=*{}*", lane::COUNTED_SYMBOL))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .env("GLIBC_TUNABLES", GLIBC_TUNABLES);
    // The length of the path changes what lies on the heap, and so how long malloc searches.
    match (program.parent(), program.file_name()) {
        (Some(folder), Some(name)) => command.current_dir(folder).arg(Path::new(".").join(name)),
        _ => command.arg(program),
    };
    command.args(["lanes", "--bare"]);
    let (malloc, document) = match input {
        LaneInput::Usual { name, planted } => {
            command.arg(globset::escape(name));
            if let Some(planted) = planted {
                command.arg("--plant").arg(planted.to_string());
            }
            (Malloc::Default, None)
        }
        LaneInput::Document(document) => {
            command.args(["--spec", "-"]);
            (document.subject.malloc, Some(&**document))
        }
    };
    malloc::set(&mut command, malloc);
    let output = output_of(&mut command, document).context("valgrind cannot be started")?;
    ensure!(
        output.status.success(),
        "valgrind ended with {}: {}",
        output.status,
        last_words(&output)
    );
    let text = std::fs::read_to_string(file).context("valgrind wrote no counts")?;
    let _ = std::fs::remove_file(file);
    Ok(text)
}

/// Runs a child that reads `document` from its stdin.
fn output_of(command: &mut Command, document: Option<&LaneDocument>) -> anyhow::Result<Output> {
    let Some(document) = document else {
        return Ok(command.stdin(Stdio::null()).output()?);
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let written = child.stdin.take().map(|mut stdin| {
        // A child that ends early says why on its stderr.
        stdin.write_all(serde_json::to_string(document).unwrap_or_default().as_bytes())
    });
    let output = child.wait_with_output()?;
    match written {
        Some(Err(error)) if output.status.success() => Err(error.into()),
        _ => Ok(output),
    }
}

fn last_words(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(SAID_LINES)..].join(" ");
    last.strip_prefix("ndecho: ").unwrap_or(&last).to_owned()
}
