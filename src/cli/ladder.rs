//! Flags of `ndecho ladder`, and the course of a run.
//!
//! Server and load generator share a core if there is only one. The CPU time of a process is still
//! exact, but rates and latencies are those of two programs that take turns; reports omit them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser};

use crate::axis::Malloc;
use crate::axis::external::{self as names, PREFIX};
use crate::cli::external::ExternalArgs;
use crate::cli::interrupt::Interrupt;
use crate::cli::load::KnobArgs;
use crate::cli::measure::{self, TestbedArgs, header, now_unix_s};
use crate::cli::old_names;
use crate::cli::output::{Failure, print, render, tell};
use crate::cli::profile;
use crate::cli::progress::Analysis;
use crate::cli::run_folder::{read, read_named};
use crate::cli::run_lanes;
use crate::cli::values;
use crate::experiment::cell::Cell;
use crate::experiment::child::foreign;
use crate::experiment::child::python::{self, PythonClient};
use crate::experiment::open_loop;
use crate::experiment::options::{BUSY_POLL, RunOptions};
use crate::experiment::plan::Plan;
use crate::experiment::preset::{Preset, SLICES};
use crate::experiment::profiled;
use crate::experiment::records::{RECORDS, Records};
use crate::experiment::session::Totals;
use crate::experiment::testbed::Testbed;
use crate::external::ExternalServer;
use crate::external::environment::Environments;
use crate::ladder::select;
use crate::probe::build::Build;
use crate::probe::profile::SampledBy;
use crate::record::trial_spec::RequestHeaders;
use crate::record::{Client, Header, Lane, Line, Trial};
use crate::report::aggregate::is_resolved;
use crate::report::{Run, forecast};

/// Runs rungs in turns and prints the cost of each.
#[derive(Args, Clone, Debug)]
pub struct LadderArgs {
    /// Choice of rungs, arrays and loads
    #[arg(long, value_enum, default_value = "quick")]
    pub preset: Preset,

    /// Rungs to try instead, as globs: 'uring/*,tokio/tonic/*', 'external/*'
    #[arg(long, value_name = "GLOB")]
    pub rungs: Option<String>,

    /// Adds external servers, which are not part of this crate: all their rungs, or with --rungs
    /// those that it names
    #[arg(long)]
    pub external: bool,

    #[command(flatten)]
    pub folders: ExternalArgs,

    /// Clients that load the servers, e.g. own,h2load: each client loads the same processes in
    /// turn, and has tables of its own
    #[arg(long, value_enum, value_delimiter = ',', default_value = "own")]
    pub client: Vec<Client>,

    /// Sizes of the float64 vectors to send, e.g. 8,64KiB,1MiB; with --preset compression, of its
    /// data sets
    #[arg(long, value_name = "SIZES", value_parser = values::size, value_delimiter = ',', conflicts_with = "array")]
    pub sizes: Option<Vec<u64>>,

    /// Sends the array in this .npy file
    #[arg(long, value_name = "FILE.npy")]
    pub array: Option<PathBuf>,

    /// Exact number of blocks, each of which tries every cell once [default: until every ratio is
    /// known or the time is up]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,

    /// Time for all blocks
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    pub time: Option<Duration>,

    /// After the run, sends requests at 30, 60 and 80 % of the standard server's rate, and prints
    /// latencies
    #[arg(long)]
    pub open_loop: bool,

    /// Resumes a run that was stopped, with its own flags
    #[arg(long = "continue", value_name = "DIR", exclusive = true)]
    pub resume: Option<PathBuf>,

    /// Seed of the order of trials
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    #[command(flatten)]
    pub testbed: TestbedArgs,

    /// Time for which the load generator polls for replies before it sleeps, so that no server has
    /// to wake it; 0us on a core that it shares with the server [default: 1ms]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub client_busy_poll: Option<Duration>,

    /// Connections, the same for every rung
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: Option<u32>,

    /// Requests in flight over all connections, the same for every rung
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: Option<u32>,

    /// Memory allocator of every server: default, keep or mimalloc; a server that is not ours gets
    /// default instead of mimalloc [default: keep for rungs with :best, default for others]
    #[arg(long, value_name = "NAME")]
    pub malloc: Option<Malloc>,

    #[command(flatten)]
    pub knobs: KnobArgs,

    /// First counts the system calls and allocations of a lone request to each rung
    #[arg(long)]
    pub counts: bool,

    /// Samples a second server of each rung, and splits the difference to the parent rung over
    /// layers; without --rungs and --preset, the rungs are those of --preset chains
    #[arg(long, conflicts_with = "open_loop")]
    pub attribute: bool,

    /// Program that takes the samples of --attribute
    #[arg(long, value_enum, default_value_t, requires = "attribute")]
    pub sampler: SampledBy,

    /// Time for which replies of a cell are counted in a block, over all its slices
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    pub duration: Option<Duration>,

    /// Length of a slice: the load visits the servers of a group in turns, for this long each
    /// [default: 40ms; 200ms with h2load and wrk]
    #[arg(long, value_name = "TIME", value_parser = slice)]
    pub slice: Option<Duration>,

    /// Time limit of one trial; a cell that needs more is DNF
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    pub budget: Option<Duration>,

    /// Lists the cells and tries nothing
    #[arg(long)]
    pub list: bool,
}

/// The flags alone, for the command line in a record.
#[derive(Parser)]
#[command(name = "ndecho ladder")]
struct RecordedArgs {
    #[command(flatten)]
    args: LadderArgs,
}

impl LadderArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let Some(folder) = &self.resume else {
            return self.start(None);
        };
        let run = read_named(folder)?;
        let mut args = LadderArgs::recorded(&run.header.argv).with_context(|| {
            format!(
                "{}: not a run of `ndecho ladder`, which alone can be resumed",
                folder.display()
            )
        })?;
        args.testbed.out = Some(folder.clone());
        args.start(Some(run))
    }

    /// Reads the command line of a recorded run; `None` if another command made it.
    fn recorded(argv: &[String]) -> Option<LadderArgs> {
        let argv = argv.iter().map(Into::into).collect();
        let mut argv = old_names::renamed(argv, &mut |_| {});
        if argv.get(1).is_some_and(|command| command == "ladder") {
            argv.remove(1);
        }
        RecordedArgs::try_parse_from(argv).ok().map(|recorded| recorded.args)
    }

    fn start(&self, earlier: Option<Run>) -> Result<(), Failure> {
        let plan = self.plan().map_err(Failure::Usage)?;
        let started_unix_s = now_unix_s();
        let testbed = self.testbed.testbed(started_unix_s).map_err(Failure::Usage)?;
        if self.list {
            return Ok(print(&listing(&plan))?);
        }
        let interrupt = Interrupt::watch()?;
        let ended = self.carry_out(plan, testbed, started_unix_s, earlier, interrupt.flag());
        interrupt.attribute(ended.map_err(Failure::Run))
    }

    fn carry_out(
        &self,
        mut plan: Plan,
        mut testbed: Testbed,
        started_unix_s: u64,
        earlier: Option<Run>,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        testbed.sampler = self.sampler;
        self.set_up(&mut testbed, &mut plan, stop)?;
        measure::preflight(&testbed, &mut plan)?;
        if self.attribute
            && let Err(reason) = profile::check_sampler(&testbed)
        {
            tell(format!("warning: no server is sampled, so no pair is attributed: {reason:#}"));
            profiled::skip(&mut plan, &format!("{reason:#}"));
        }
        let opened = match earlier {
            Some(run) => {
                measure::watch(&testbed);
                OpenRun::resume(run, &testbed.out, &plan)?
            }
            None => {
                let header = header(&plan, &testbed, plan.preset.name(), started_unix_s);
                OpenRun::start(self.testbed.create_records(&mut testbed)?, header)?
            }
        };
        let totals = measure(&testbed, &plan, opened, self.open_loop, stop)?;
        finish(&testbed, totals, plan.preset)
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        self.check_clients()?;
        self.options()?.plan()
    }

    fn check_clients(&self) -> anyhow::Result<()> {
        let is_python = self.client.contains(&Client::Python);
        ensure!(
            !is_python || self.preset == Preset::Seed,
            "--client python needs --preset seed, whose requests are those of the original"
        );
        ensure!(
            !is_python || self.client.len() == 1,
            "--client python cannot load a server in turns with others; run it by itself"
        );
        let is_usual = self.preset != Preset::Seed && !self.open_loop && !self.counts;
        let is_foreign = |client: &&Client| matches!(client, Client::H2load | Client::Wrk);
        if let Some(client) = self.client.iter().find(is_foreign).filter(|_| !is_usual) {
            bail!(
                "--client {} has no form for --preset seed, --open-loop or --counts; leave it out",
                client.name()
            );
        }
        ensure!(
            self.headers() != RequestHeaders::Indexed || self.client.contains(&Client::Own),
            "--index-headers needs headers that change, which only --client own sends"
        );
        ensure!(
            !self.attribute || (self.client.len() == 1 && !is_python),
            "--attribute samples a server for one client that loads it in slices; name one of own, \
             h2load and wrk"
        );
        let is_usual = !self.open_loop && !self.counts && !self.attribute;
        ensure!(
            self.preset != Preset::Compression || (is_usual && self.client == [Client::Own]),
            "--preset compression has no form for --open-loop, --counts and --attribute, and only \
             --client own sends its codings; leave them out"
        );
        let is_again = |(at, client)| self.client[..at].contains(client);
        ensure!(
            !self.client.iter().enumerate().any(is_again),
            "--client names a client twice; name each of them once"
        );
        Ok(())
    }

    fn headers(&self) -> RequestHeaders {
        self.knobs.knobs(BUSY_POLL).headers
    }

    fn external(&self, globs: Option<&str>) -> anyhow::Result<Vec<Arc<ExternalServer>>> {
        let is_named = globs.is_some_and(|globs| select::names_any(globs, PREFIX));
        let is_usual = self.preset == Preset::Seed && self.rungs.is_none();
        let is_rivals = self.preset == Preset::Rivals && self.rungs.is_none();
        if self.external || is_named || is_rivals || (is_usual && self.folders.folder().is_ok()) {
            return self.folders.read();
        }
        Ok(Vec::new())
    }

    /// Makes the environments. A server without one is skipped; the Python client must have one.
    fn set_up(
        &self,
        testbed: &mut Testbed,
        plan: &mut Plan,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let versions: anyhow::Result<Vec<Option<String>>> =
            plan.clients.iter().map(|client| foreign::version(*client)).collect();
        let versions: Vec<String> = versions?.into_iter().flatten().collect();
        testbed.foreign_client = (!versions.is_empty()).then(|| versions.join(" and "));
        let mut needed = plan.external();
        let is_python = plan.clients.contains(&Client::Python);
        let python = is_python.then(|| self.python_server()).transpose()?;
        needed.extend(python.clone());
        if needed.is_empty() {
            return Ok(());
        }
        let site = self.folders.site()?;
        let servers = needed.iter().map(|server| &**server);
        testbed.environments = Environments::prepare(servers, &site, stop, &mut |line| tell(line))?;
        plan.skip_without(&testbed.environments);
        if let Some(server) = python {
            testbed.foreign_client = Some("the Python client (client.py)".to_owned());
            testbed.python = Some(PythonClient::new(&server, &testbed.environments)?);
        }
        Ok(())
    }

    fn python_server(&self) -> anyhow::Result<Arc<ExternalServer>> {
        let mut servers = self.folders.read()?.into_iter();
        let found = servers.find(|server| server.manifest.environment() == python::ENVIRONMENT);
        found.with_context(|| {
            format!(
                "--client python needs an external server with the environment {:?}",
                python::ENVIRONMENT
            )
        })
    }

    /// Returns the globs of `--rungs` and reports old names of external rungs.
    fn globs(&self) -> Option<String> {
        let given = self.rungs.clone()?;
        let Some(new) = names::renamed(&given) else { return Some(given) };
        tell(format!("--rungs: external servers are now named external/...: reading {new}"));
        Some(new)
    }

    fn options(&self) -> anyhow::Result<RunOptions> {
        let globs = self.globs();
        // The answer of the main job has no place for latencies and counts.
        let has_answer = !self.open_loop && !self.counts;
        let preset = match self.preset {
            Preset::Quick if self.attribute && globs.is_none() => Preset::Chains,
            asked if asked.has_answer() && !has_answer => Preset::Broad,
            preset => preset,
        };
        Ok(RunOptions {
            preset,
            external: self.external(globs.as_deref())?,
            rungs: globs,
            every_external: self.external,
            clients: self.client.clone(),
            sizes: self.sizes.clone(),
            array: self.array.clone(),
            connections: self.connections,
            in_flight: self.in_flight,
            malloc: self.malloc,
            knobs: self.knobs.knobs(self.client_busy_poll.unwrap_or(BUSY_POLL)),
            counts: self.counts,
            attribute: self.attribute,
            rounds: self.rounds,
            time: self.time,
            duration: self.duration,
            slice: self.slice,
            budget: self.budget,
            seed: self.seed,
        })
    }
}

fn measure(
    testbed: &Testbed,
    plan: &Plan,
    run: OpenRun,
    open_loop: bool,
    stop: &AtomicBool,
) -> anyhow::Result<Totals> {
    let OpenRun { mut records, trials, lanes } = run;
    let earlier = trials.clone();
    let analysis = Analysis { is_enough: is_resolved, forecast: forecast::of_ladder };
    let totals = measure::run(testbed, plan, &mut records, earlier, stop, analysis)?;
    if plan.has_profiles() && !totals.interrupted {
        run_lanes::measure(testbed, plan, &mut records, &lanes, stop)?;
    }
    if !open_loop || totals.interrupted {
        return Ok(totals);
    }
    let plan = open_loop::plan(plan, &read(&testbed.out)?.trials);
    let opened = measure::run(testbed, &plan, &mut records, trials, stop, analysis)?;
    Ok(Totals { blocks: totals.blocks, ..opened })
}

struct OpenRun {
    records: Records,
    trials: Vec<Trial>,
    lanes: Vec<Lane>,
}

impl OpenRun {
    fn start(mut records: Records, header: Header) -> anyhow::Result<OpenRun> {
        records.append(&Line::Header(Box::new(header)))?;
        Ok(OpenRun { records, trials: Vec::new(), lanes: Vec::new() })
    }

    /// Opens a run that was stopped. The build and the plan have to be those of its start.
    fn resume(run: Run, out: &Path, plan: &Plan) -> anyhow::Result<OpenRun> {
        let build = Build::read();
        if run.header.build != build {
            bail!(
                "{}: begun by another build ({} {}), so this one ({} {}) cannot resume it",
                out.display(),
                run.header.build.version,
                run.header.build.commit.as_deref().unwrap_or("without a commit"),
                build.version,
                build.commit.as_deref().unwrap_or("without a commit"),
            );
        }
        let is_other = |trial: &&Trial| {
            let cell = plan.cells.get(trial.cell as usize);
            cell.is_some_and(|cell| !cell.matches(trial))
        };
        if let Some(trial) = run.trials.iter().find(is_other) {
            bail!(
                "{}: cell {} was {}; the same command line makes another cell today",
                out.display(),
                trial.cell,
                trial.rung
            );
        }
        Ok(OpenRun { records: Records::resume(out)?, trials: run.trials, lanes: run.lanes })
    }
}

fn slice(text: &str) -> Result<Duration, String> {
    let slice = values::duration(text)?;
    let range = SLICES;
    if range.contains(&slice) {
        return Ok(slice);
    }
    Err(format!("expected {:?} to {:?}", range.start(), range.end()))
}

fn listing(plan: &Plan) -> String {
    let line = |cell: &Cell, client: Client| {
        let name = match client {
            Client::Own => String::new(),
            other => format!(" by {}", other.name()),
        };
        let skipped = cell.obstacle(client).map(|reason| format!("  skipped: {reason}"));
        format!("{cell}{name}{}\n", skipped.unwrap_or_default())
    };
    let lines = |cell: &Cell| -> String {
        plan.clients_of(cell).iter().map(|client| line(cell, *client)).collect()
    };
    plan.cells.iter().map(lines).collect()
}

fn finish(testbed: &Testbed, totals: Totals, preset: Preset) -> anyhow::Result<()> {
    let run = read(&testbed.out)?;
    let path = testbed.out.join(RECORDS);
    print(&format!("{}\nrecords: {}\n", render(&run, None), path.display())).with_context(
        || format!("the report was not printed; the records are in {}", path.display()),
    )?;
    // The preset `full` has cells that nobody expects to finish; elsewhere that is a failure.
    let unfinished = if preset == Preset::Full { 0 } else { totals.unfinished };
    if totals.interrupted {
        let out = testbed.out.display();
        bail!("stopped before its end; resume with `ndecho ladder --continue {out}`");
    }
    if totals.failed + unfinished > 0 {
        bail!("{} trials failed, {unfinished} did not finish", totals.failed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::answer;

    #[test]
    fn the_answer_has_a_place_for_every_rung_of_the_main_job_and_of_messages() {
        let plans = [Preset::Quick, Preset::Messages].map(|preset| RunOptions::new(preset).plan());
        let cells = plans.into_iter().flat_map(|plan| plan.unwrap().cells);
        let tried: BTreeSet<String> = cells.map(|cell| cell.rung.to_string()).collect();
        let shown: BTreeSet<String> = answer::rungs().into_iter().map(str::to_owned).collect();
        assert_eq!(tried, shown);
    }
}
