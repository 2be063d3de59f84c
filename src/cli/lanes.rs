//! Flags of `ndecho lanes`: protocols and codecs in memory, by the clock and by instructions.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::cli::output::{Failure, print, tell, usage};
use crate::probe::profile::{Instructions, ObjectFiles};
use crate::report::lanes::{
    self, Counts, MeasuredLane, SEEDED_ALLOCATOR_TOLERANCE, SLACK, TOLERANCE,
};
use crate::server::lane::{self, Spec};

/// Time for which a lane is timed in each round.
const ROUND_TIME: Duration = Duration::from_millis(20);

/// Settings of glibc that make its copies the same loop on every processor. By default long ones
/// are `rep movsb` where that is fast, which counts as an instruction for each byte.
const GLIBC_TUNABLES: &str = "glibc.cpu.x86_rep_movsb_threshold=0x7fffffff:\
                              glibc.cpu.x86_rep_stosb_threshold=0x7fffffff:\
                              glibc.cpu.x86_non_temporal_threshold=0x7fffffff";

const NO_VALGRIND: &str = "valgrind is not installed (package valgrind); without it, lanes are \
                           measured by the clock only";

/// Measures protocols and codecs in memory, without sockets
///
/// A lane replays a conversation: its bytes are ready, and the replies are only counted. With
/// valgrind its instructions are counted by layer, which repeats to a few per mille on any machine.
#[derive(Args, Clone, Debug)]
pub(super) struct LanesArgs {
    /// Lanes, as globs: 'h2/*', 'tonic*/8', 'codec/json/*' [default: all]
    #[arg(value_name = "LANE")]
    lanes: Vec<String>,

    /// Counts the instructions of each layer, under valgrind
    #[arg(long)]
    instructions: bool,

    /// Compares the instructions with those in FILE; fails if a lane or a layer differs by over 2 %
    #[arg(long, value_name = "FILE", conflicts_with = "write")]
    check: Option<PathBuf>,

    /// Writes the instructions to FILE, for --check
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// Lanes that are counted at the same time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,

    /// Only does the calls of the lanes, for a tool that counts
    #[arg(long, hide = true)]
    bare: bool,
}

impl LanesArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let globs = self.globs().map_err(Failure::Usage)?;
        let is_wanted = |name: &str| globs.is_empty() || globs.is_match(name);
        let specs: Vec<Spec> =
            lane::specs().into_iter().filter(|spec| is_wanted(&spec.to_string())).collect();
        if specs.is_empty() {
            let all: Vec<String> = lane::specs().iter().map(Spec::to_string).collect();
            return Err(usage(format!(
                "no lane is called {}; the lanes are {}",
                self.lanes.join(", "),
                all.join(", ")
            )));
        }
        if self.bare {
            return Ok(do_calls(&specs)?);
        }
        // A file that is missing should be known before minutes of counting.
        let expected =
            self.check.as_deref().map(read_counts).transpose().map_err(Failure::Usage)?;
        let is_gate = expected.is_some() || self.write.is_some();
        let mut measured = if is_gate { untimed(&specs) } else { timed(&specs)? };
        if is_gate || self.instructions {
            self.count(&specs, &mut measured)?;
        }
        let counts = Counts::of_lanes(&measured);
        if let Some(file) = &self.write {
            std::fs::write(file, counts.to_string())
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        match (expected, self.instructions) {
            (Some(expected), _) => Ok(check(&counts, &expected.filtered(is_wanted))?),
            (None, true) => Ok(print(&(lanes::layers(&measured) + &lanes::list(&measured)))?),
            (None, false) if self.write.is_none() => Ok(print(&lanes::list(&measured))?),
            (None, false) => Ok(()),
        }
    }

    fn globs(&self) -> anyhow::Result<GlobSet> {
        let mut globs = GlobSetBuilder::new();
        for lane in &self.lanes {
            globs.add(Glob::new(lane).with_context(|| format!("{lane} is no glob"))?);
        }
        Ok(globs.build()?)
    }

    /// Counts the instructions of each lane in a process of its own.
    fn count(&self, specs: &[Spec], measured: &mut [MeasuredLane]) -> anyhow::Result<()> {
        check_valgrind()?;
        let program = std::env::current_exe().context("cannot find the path of this program")?;
        let folder = std::env::temp_dir().join(format!("ndecho-lanes-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let counted = self.count_in(&folder, &program, specs, measured);
        let _ = std::fs::remove_dir_all(&folder);
        counted
    }

    fn count_in(
        &self,
        folder: &Path,
        program: &Path,
        specs: &[Spec],
        measured: &mut [MeasuredLane],
    ) -> anyhow::Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or(cores, |jobs| jobs as usize).min(specs.len());
        let next = AtomicUsize::new(0);
        let (sender, results) = mpsc::channel();
        let mut files = ObjectFiles::default();
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(spec) = specs.get(index) else { break };
                        let counted = callgrind(program, spec, &folder.join(index.to_string()));
                        // The receiver has gone after a failure, so the rest is in vain.
                        if sender.send((index, counted)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for (index, counted) in results {
                let of_lane = || specs[index].to_string();
                let text = counted.with_context(of_lane)?;
                let instructions = Instructions::read(&text, &mut files, lane::SOURCES);
                measured[index].instructions = Some(instructions.with_context(of_lane)?);
            }
            Ok(())
        })
    }
}

/// Does the calls of each lane in the function that a tool counts.
fn do_calls(specs: &[Spec]) -> anyhow::Result<()> {
    for spec in specs {
        let mut lane = spec.prepare().with_context(|| spec.to_string())?;
        lane::counted(&mut lane).with_context(|| spec.to_string())?;
    }
    Ok(())
}

fn untimed(specs: &[Spec]) -> Vec<MeasuredLane> {
    let lane = |spec: &Spec| MeasuredLane {
        name: spec.to_string(),
        calls: spec.counted_calls(),
        ..MeasuredLane::default()
    };
    specs.iter().map(lane).collect()
}

fn timed(specs: &[Spec]) -> anyhow::Result<Vec<MeasuredLane>> {
    let mut measured = untimed(specs);
    for (spec, lane) in specs.iter().zip(&mut measured) {
        let time = spec.prepare().and_then(|mut lane| lane.time_ns(ROUND_TIME));
        lane.time_ns = Some(time.with_context(|| spec.to_string())?);
    }
    Ok(measured)
}

fn check_valgrind() -> anyhow::Result<()> {
    let mut version = Command::new("valgrind");
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    match version.status() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(NO_VALGRIND),
        Err(error) => Err(anyhow!(error).context("valgrind cannot be started")),
    }
}

/// Runs a lane under callgrind. Returns the text of its file.
fn callgrind(program: &Path, spec: &Spec, file: &Path) -> anyhow::Result<String> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-instr=yes", "--demangle=no"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--toggle-collect=*{}*", lane::COUNTED_SYMBOL))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["lanes", "--bare", &globset::escape(&spec.to_string())])
        .env("GLIBC_TUNABLES", GLIBC_TUNABLES)
        .stdin(Stdio::null())
        .output()
        .context("valgrind cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().take(3).collect::<Vec<_>>();
    let last = last.into_iter().rev().collect::<Vec<_>>().join(" ");
    ensure!(output.status.success(), "valgrind ended with {}: {last}", output.status);
    let text = std::fs::read_to_string(file).context("valgrind wrote no counts")?;
    let _ = std::fs::remove_file(file);
    Ok(text)
}

fn read_counts(file: &Path) -> anyhow::Result<Counts> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{}: --write FILE makes it", file.display()))?;
    Counts::parse(&text).with_context(|| file.display().to_string())
}

fn check(counts: &Counts, expected: &Counts) -> anyhow::Result<()> {
    let differences = counts.compare(expected);
    differences.iter().for_each(tell);
    ensure!(
        differences.is_empty(),
        "{} counts differ by over {:.0} % (allocator of other stacks: {:.0} %) and {SLACK} instructions a call; if \
         that is meant, write the file anew with --write",
        differences.len(),
        TOLERANCE * 100.0,
        SEEDED_ALLOCATOR_TOLERANCE * 100.0
    );
    Ok(())
}
